//! Calls that are answered with a stream: what their callers hold, and how a worker runs them.

use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use ekiden_actors::{CallError, MethodError, Outcomes, Part, Reply, RunError};
use futures_core::Stream;

use super::chunks::{ChunkReceiver, ChunkSender, Unsent};
use super::{CallInput, ModelWorker};
use crate::value::Values;

/// Takes one chunk of a stream: the outputs of its method. Where it breaks, nobody wants any more.
pub(crate) type Emit<'a> = dyn FnMut(Values) -> ControlFlow<()> + 'a;

/// The answer to a call of a method that streams: chunks, each of them the method's outputs, as they come; then, if the call
/// failed, one error.
///
/// Dropping it cancels the call: one that waits is never run, and one that runs is stopped before its next chunk. An
/// executor is at most 16 chunks ahead of the reader; one that had to wait for 10 s, or for as long as the
/// method says, ends the stream with an error.
#[must_use = "dropping a stream cancels its call"]
pub struct ChunkStream {
    /// Until the call has ended. Dropped before `chunks`, so that a call that stops for want of a reader is cancelled.
    reply: Option<Reply<ModelWorker>>,
    chunks: ChunkReceiver,
    /// What comes after the last chunk.
    error: Option<CallError>,
}

impl ChunkStream {
    pub(super) fn new(reply: Reply<ModelWorker>, chunks: ChunkReceiver) -> Self {
        Self { reply: Some(reply), chunks, error: None }
    }

    /// The next chunk; `None` after the last one.
    ///
    /// # Errors
    /// The call's [`CallError`], once, after the chunks that there were.
    pub async fn next(&mut self) -> Option<Result<Values, CallError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The same for a thread, which is blocked until each chunk is there.
    ///
    /// # Errors
    /// [`CallError::InsideRuntime`] in any thread that belongs to a tokio runtime.
    pub fn blocking(self) -> Result<Blocking<Self>, CallError> {
        Blocking::new(self)
    }
}

impl Stream for ChunkStream {
    type Item = Result<Values, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // First, so that a stream whose chunks never cease ends at its deadline.
        if let Some(reply) = &mut this.reply
            && let Poll::Ready(result) = Pin::new(reply).poll(cx)
        {
            this.reply = None;
            this.chunks.close();
            this.error = result.err();
        }
        match this.chunks.poll(cx) {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if this.reply.is_some() => Poll::Pending,
            None => Poll::Ready(this.error.take().map(Err)),
        }
    }
}

impl fmt::Debug for ChunkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkStream").field("reply", &self.reply).finish_non_exhaustive()
    }
}

/// A stream for a thread that has nothing else to do: an iterator that blocks it.
#[derive(Debug)]
#[must_use = "dropping a stream cancels its call"]
pub struct Blocking<S> {
    stream: S,
}

impl<S> Blocking<S> {
    pub(crate) fn new(stream: S) -> Result<Self, CallError> {
        match tokio::runtime::Handle::try_current() {
            Ok(_) => Err(CallError::InsideRuntime),
            Err(_) => Ok(Self { stream }),
        }
    }
}

impl<S: Stream + Unpin> Iterator for Blocking<S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(item) = Pin::new(&mut self.stream).poll_next(&mut Context::from_waker(&waker)) {
                return item;
            }
            thread::park();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The one call of a method that streams, and where its chunks go.
pub(super) fn streaming<'a, 'b>(
    parts: &'a [Part<'b, CallInput>],
) -> Option<(&'a Part<'b, CallInput>, &'a ChunkSender)> {
    let [call] = parts else { return None };
    Some((call, call.input.chunks.as_ref()?))
}

impl ModelWorker {
    /// Runs a method that streams, and sends its chunks to the caller of the call.
    pub(super) fn run_stream(
        &mut self,
        method: usize,
        call: &Part<'_, CallInput>,
        chunks: &ChunkSender,
    ) -> Result<Outcomes<Values>, RunError> {
        let mut unsent = None;
        self.stream_into(method, call, &mut |chunk| match chunks.send(chunk) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                unsent = Some(why);
                ControlFlow::Break(())
            }
        })?;
        if unsent == Some(Unsent::Stalled) {
            // The caller's fault, and neither the method's nor the runner's.
            let seconds = chunks.patience().as_secs_f64();
            let problem = format!("the reader of the stream was too slow: it has taken nothing for {seconds} s");
            return Err(MethodError::invalid_input(problem).into());
        }
        // The chunks were the answer. Where the caller has gone, nobody hears that.
        Ok(vec![Ok(Values::new())])
    }

    /// Runs a method that streams, and checks each of its chunks before `emit` takes it.
    pub(crate) fn stream_into(
        &mut self,
        method: usize,
        call: &Part<'_, CallInput>,
        emit: &mut Emit<'_>,
    ) -> Result<(), RunError> {
        let signature = self.model.signature(method).cloned();
        let signature = signature.ok_or_else(|| MethodError::failed("there is no such method"))?;
        let (mut wrong, mut count) = (None, 0_u64);
        self.model.stream(method, call, &mut |chunk| {
            let checked = signature.check_outputs(&chunk, 1);
            count += 1;
            match checked {
                Ok(()) => emit(chunk),
                Err(problem) => {
                    wrong = Some(format!("chunk {count} of the runnable's stream has a wrong {problem}"));
                    ControlFlow::Break(())
                }
            }
        })?;
        wrong.map_or(Ok(()), |problem| Err(MethodError::failed(problem).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::super::chunks;
    use super::*;
    use crate::serving::Model;
    use crate::value::{Signature, Value, ValueKind, ValueSpec};

    /// Streams these chunks, and then fails.
    struct Says {
        signature: Signature,
        chunks: VecDeque<Value>,
    }

    impl Says {
        fn worker(chunks: impl IntoIterator<Item = Value>) -> ModelWorker {
            let outputs = vec![ValueSpec::of_kind(ValueKind::Text, "word")];
            let signature = Signature { inputs: Vec::new(), outputs, batching: None, streams: true };
            let model = Box::new(Self { signature, chunks: chunks.into_iter().collect() });
            ModelWorker { name: "says".to_owned(), model, setups: Arc::default() }
        }
    }

    impl Model for Says {
        fn signature(&self, method: usize) -> Option<&Signature> {
            (method == 0).then_some(&self.signature)
        }

        fn run(&mut self, _: usize, _: &[Part<'_, CallInput>]) -> Result<crate::serving::Answer, RunError> {
            panic!("it streams")
        }

        fn stream(&mut self, _: usize, _: &Part<'_, CallInput>, emit: &mut Emit<'_>) -> Result<(), RunError> {
            while let Some(chunk) = self.chunks.pop_front() {
                if emit(Values::from_iter([chunk])).is_break() {
                    return Ok(());
                }
            }
            Err(MethodError::failed("that was all").into())
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn run(worker: &mut ModelWorker, sender: &ChunkSender) -> Result<Outcomes<Values>, RunError> {
        let input = CallInput::new(Values::new(), None);
        worker.run_stream(0, &Part { input: &input, rows: 0..1 }, sender)
    }

    fn message(ran: Result<Outcomes<Values>, RunError>) -> String {
        CallError::from(ran.expect_err("it fails")).to_string()
    }

    #[test]
    fn a_reader_that_stalls_ends_the_stream_and_is_told_why() {
        let (sender, _receiver) = chunks::channel(Duration::ZERO);
        let ran = run(&mut Says::worker(std::iter::repeat_n(text("a"), 1_000)), &sender);
        assert_eq!(message(ran), "the reader of the stream was too slow: it has taken nothing for 0 s");
    }

    #[test]
    fn a_stream_that_nobody_reads_stops_before_its_second_chunk() {
        let (sender, receiver) = chunks::channel(Duration::MAX);
        drop(receiver);
        let ran = run(&mut Says::worker([text("a"), Value::Json(1.into())]), &sender);
        assert_eq!(ran, Ok(vec![Ok(Values::new())]), "the second chunk is wrong, and was not made");
    }

    #[test]
    fn a_wrong_chunk_is_not_sent() {
        let (sender, receiver) = chunks::channel(Duration::MAX);
        let ran = run(&mut Says::worker([text("a"), Value::Json(1.into()), text("b")]), &sender);
        let wrong = "chunk 2 of the runnable's stream has a wrong output \"word\": expected text, found json";
        assert_eq!(message(ran), wrong);
        let read = || receiver.poll(&Context::from_waker(Waker::noop()));
        assert_eq!((read(), read()), (Some(Values::from_iter([text("a")])), None));
    }
}
