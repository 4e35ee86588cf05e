//! `ModelStreamInfer`: many requests on one stream, each answered when it is done; by a method that streams, as often as it
//! has something.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::door::{Bounds, mended_status};
use super::infer::{Asked, log};
use super::inference::infer_parameter::ParameterChoice::BoolParam;
use super::inference::{InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use super::server::{Phase, over};
use super::status::shortened;
use crate::serving::Serving;

/// The most calls of a stream that are under way; the next request is read when one of them has been answered.
const MOST_CALLS: usize = 256;
/// Answers that wait to be sent; calls wait with more.
const MOST_WAITING: usize = 16;

/// A parameter of requests: whether a stream of answers ends with one that has no outputs, as Triton's clients may ask.
const WANTS_END: &str = "triton_enable_empty_final_response";
/// A parameter of answers: whether it is the request's last.
const IS_LAST: &str = "triton_final_response";

/// What goes back on a stream.
type Answer = Result<ModelStreamInferResponse, Status>;

/// The answers to a stream of requests. Dropping it, as happens when the client has cancelled or gone, cancels all calls that
/// are under way.
#[derive(Debug)]
pub(super) struct Answers {
    answers: mpsc::Receiver<Answer>,
    _reader: JoinSet<()>,
}

impl Stream for Answers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        self.answers.poll_recv(cx)
    }
}

/// What the calls of a stream have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) serving: Serving,
    pub(super) bounds: Bounds,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) max_message_bytes: usize,
}

/// Answers requests until the client has sent its last, or the server has finished what it had accepted.
pub(super) fn answers(requests: Streaming<ModelInferRequest>, common: Common) -> Answers {
    let (to, answers) = mpsc::channel(MOST_WAITING);
    let mut reader = JoinSet::new();
    reader.spawn(read(requests, common, to));
    Answers { answers, _reader: reader }
}

async fn read(mut requests: Streaming<ModelInferRequest>, common: Common, to: mpsc::Sender<Answer>) {
    let mut calls = JoinSet::new();
    let mut over = std::pin::pin!(over(common.phase.clone()));
    loop {
        tokio::select! {
            request = requests.message(), if calls.len() < MOST_CALLS => match request {
                Ok(Some(request)) => {
                    calls.spawn(answer(request, common.clone(), to.clone()));
                }
                Ok(None) => break,
                Err(status) => {
                    // A stream that cannot be read any further has ended, with all that was asked on it.
                    let _ = to.send(Err(mended_status(status, common.max_message_bytes))).await;
                    return;
                }
            },
            Some(_) = calls.join_next() => {}
            () = &mut over => break,
        }
    }
    while calls.join_next().await.is_some() {}
}

/// Answers one request: once, or as often as a method that streams does.
async fn answer(request: ModelInferRequest, common: Common, to: mpsc::Sender<Answer>) {
    let asked = ModelInferResponse {
        model_name: shortened(request.model_name.clone()),
        model_version: shortened(request.model_version.clone()),
        id: request.id.clone(),
        ..ModelInferResponse::default()
    };
    let wants_end =
        request.parameters.get(WANTS_END).is_some_and(|wants| wants.parameter_choice == Some(BoolParam(true)));
    let send = async |mut response: ModelInferResponse, last: bool| {
        response.parameters.insert(IS_LAST.to_owned(), InferParameter { parameter_choice: Some(BoolParam(last)) });
        let answer = ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) };
        // Nobody may be there to read it.
        let _ = to.send(Ok(answer)).await;
    };
    let outcome = async {
        let call = Asked::new(&common.serving, request, &common.bounds)?;
        if !call.streams() {
            send(call.run().await?, true).await;
            return Ok(());
        }
        let mut chunks = call.stream()?;
        while let Some(response) = chunks.next().await? {
            send(response, false).await;
        }
        if wants_end {
            send(chunks.end()?, true).await;
        }
        Ok(())
    };
    let outcome = outcome.await;
    log(&asked.model_name, &asked.id, &outcome);
    if let Err(error) = outcome {
        // With what identifies the request, as the stream goes on.
        let error_message = shortened(error.to_string());
        let _ = to.send(Ok(ModelStreamInferResponse { error_message, infer_response: Some(asked) })).await;
    }
}
