//! `ModelStreamInfer`: many requests on one stream, each answered when it is done.

use std::pin::Pin;
use std::task::{Context, Poll};

use ekiden_actors::CallError;
use futures_core::Stream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::door::{Deadline, mended_status};
use super::infer::infer;
use super::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use super::server::{Phase, over};
use super::status::shortened;
use crate::serving::Serving;

/// The most calls of a stream that are under way; the next request is read when one of them has been answered.
const MOST_CALLS: usize = 256;
/// Answers that wait to be sent; calls wait with more.
const MOST_WAITING: usize = 16;

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
    pub(super) deadline: Option<Deadline>,
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

/// Answers one request: a call has one answer.
async fn answer(request: ModelInferRequest, common: Common, to: mpsc::Sender<Answer>) {
    let asked = ModelInferResponse {
        model_name: shortened(request.model_name.clone()),
        model_version: shortened(request.model_version.clone()),
        id: request.id.clone(),
        ..ModelInferResponse::default()
    };
    let answer = match infer(&common.serving, request, common.deadline).await {
        Ok(response) => ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) },
        Err(error) => refused(&error, asked),
    };
    // Nobody may be there to read it.
    let _ = to.send(Ok(answer)).await;
}

/// An error goes with what identifies the request, as the stream goes on.
fn refused(error: &CallError, asked: ModelInferResponse) -> ModelStreamInferResponse {
    ModelStreamInferResponse { error_message: shortened(error.to_string()), infer_response: Some(asked) }
}
