//! A handle to one method of a running runner: values in, values out.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ekiden_actors::{Announcement, CallError, CallOptions, Cap, Cost, Group, Handle, MethodLimits, Reply};

use super::chunks;
use super::{CallInput, ChunkStream, ModelWorker};
use crate::metrics::{Counts, Statistics};
use crate::value::{Buckets, Signature, Values};

/// A call that is about to come.
pub(crate) type Announced = Announcement<ModelWorker>;

/// A handle to one method, for callers that know its signature only at run time. Clones are cheap.
#[derive(Clone, Debug)]
pub struct MethodHandle {
    handle: Handle<ModelWorker>,
    about: Arc<About>,
}

/// A method, as callers are told of it and it takes their calls.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) signature: Signature,
    pub(crate) example: Option<serde_json::Value>,
    pub(crate) limits: MethodLimits,
    pub(crate) buckets: Buckets,
    /// How long an executor waits for a stream's reader.
    pub(crate) patience: Duration,
    pub(crate) counts: Arc<Counts>,
}

impl MethodHandle {
    pub(crate) fn new(handle: Handle<ModelWorker>, about: About) -> Self {
        Self { handle, about: Arc::new(about) }
    }

    /// The method's name.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// What it takes and returns.
    pub fn signature(&self) -> &Signature {
        &self.about.signature
    }

    /// Inputs that show what a call looks like, as JSON, where whoever wrote it has given any.
    pub fn example(&self) -> Option<&serde_json::Value> {
        self.about.example.as_ref()
    }

    /// Its limits, as they are in effect.
    pub fn limits(&self) -> &MethodLimits {
        &self.about.limits
    }

    /// What its batches are padded to.
    pub fn buckets(&self) -> &Buckets {
        &self.about.buckets
    }

    /// The rows that wait for it.
    pub fn queued_rows(&self) -> usize {
        self.handle.queued_rows()
    }

    /// The calls whose inputs are still being received.
    pub fn announced_calls(&self) -> usize {
        self.handle.announced_calls()
    }

    /// How large its batches may be where a device has run out of memory, by the shape of their inputs.
    pub fn caps(&self) -> Vec<Cap> {
        self.handle.caps()
    }

    /// What its batches cost, as far as it has been measured, by the shape of their inputs.
    pub fn costs(&self) -> Vec<Cost> {
        self.handle.costs()
    }

    /// What it has done since its runner was launched.
    pub fn statistics(&self) -> Statistics {
        self.about.counts.read()
    }

    /// Calls the method and waits for its outputs. Dropping the future cancels the call.
    ///
    /// Inputs are checked before the call is queued. A call of no rows is answered with outputs of no rows, without
    /// running anything.
    ///
    /// # Errors
    /// The call's [`CallError`]; [`CallError::InvalidInput`] if the method streams: see [`stream`](Self::stream).
    pub async fn async_run(&self, inputs: Values, options: CallOptions) -> Result<Values, CallError> {
        self.submit(inputs, |input, rows| self.handle.call(input, rows, options))?.outputs().await
    }

    /// Calls a method that streams: see [`Signature::streams`]. The call is queued when this returns, and holds its executor
    /// until the stream has ended, or is dropped.
    ///
    /// # Errors
    /// The call's [`CallError`], where it is refused at once; [`CallError::InvalidInput`] if the method does not stream. Of
    /// what happens later, the stream tells.
    pub fn stream(&self, inputs: Values, options: CallOptions) -> Result<ChunkStream, CallError> {
        self.submit_stream(inputs, |input, rows| self.handle.call(input, rows, options))
    }

    /// As [`MethodHandle::stream`]; the call is queued with the others of `group`.
    pub(crate) fn stream_in(
        &self,
        group: &mut Group<ModelWorker>,
        inputs: Values,
        options: CallOptions,
        announced: Option<Announced>,
    ) -> Result<ChunkStream, CallError> {
        self.submit_stream(inputs, |input, rows| Ok(group.call(&self.handle, input, rows, options, announced)))
    }

    /// Says that a call is about to come, whose inputs are still being received.
    pub(crate) fn announce(&self) -> Announced {
        self.handle.announce()
    }

    /// As [`MethodHandle::async_run`], up to the waiting: the call is queued with the others of `group`.
    pub(crate) fn call_in(
        &self,
        group: &mut Group<ModelWorker>,
        inputs: Values,
        options: CallOptions,
        announced: Option<Announced>,
    ) -> Result<Submitted, CallError> {
        self.submit(inputs, |input, rows| Ok(group.call(&self.handle, input, rows, options, announced)))
    }

    /// Calls the method and blocks this thread until its outputs are there. Not for async code.
    ///
    /// # Errors
    /// The call's [`CallError`]; [`CallError::InsideRuntime`] in any thread that belongs to a tokio runtime, those of
    /// `spawn_blocking` included: there, `Handle::current().block_on(method.async_run(..))` does it.
    pub fn run(&self, inputs: Values, options: CallOptions) -> Result<Values, CallError> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(CallError::InsideRuntime);
        }
        match self.submit(inputs, |input, rows| self.handle.call(input, rows, options))? {
            Submitted::Queued(reply) => reply.wait(),
            Submitted::Answered(outputs) => Ok(outputs),
        }
    }

    /// Counts a call that was refused before it got here.
    pub(crate) fn refuse(&self, error: &CallError) {
        self.handle.refuse(error);
    }

    fn submit(
        &self,
        inputs: Values,
        call: impl FnOnce(CallInput, NonZeroUsize) -> Result<Reply<ModelWorker>, CallError>,
    ) -> Result<Submitted, CallError> {
        let rows = self.check(&inputs, false)?;
        let signature = &self.about.signature;
        let Some(rows) = NonZeroUsize::new(rows) else {
            let outputs = signature.empty_outputs().map_err(|problem| self.refused(problem))?;
            return self.handle.call_without_rows().map(|()| Submitted::Answered(outputs));
        };
        call(CallInput::new(inputs, signature.batching), rows).map(Submitted::Queued)
    }

    fn submit_stream(
        &self,
        inputs: Values,
        call: impl FnOnce(CallInput, NonZeroUsize) -> Result<Reply<ModelWorker>, CallError>,
    ) -> Result<ChunkStream, CallError> {
        self.check(&inputs, true)?;
        let (sender, receiver) = chunks::channel(self.about.patience);
        let input = CallInput { chunks: Some(sender), ..CallInput::new(inputs, None) };
        call(input, NonZeroUsize::MIN).map(|reply| ChunkStream::new(reply, receiver))
    }

    /// How many rows a call has that takes its answer as a stream, or as one.
    fn check(&self, inputs: &Values, as_stream: bool) -> Result<usize, CallError> {
        let (name, signature) = (self.name(), self.signature());
        match (signature.streams, as_stream) {
            (true, false) => Err(self.refused(format!("method \"{name}\" answers with a stream: call it with stream"))),
            (false, true) => Err(self.refused(format!("method \"{name}\" does not answer with a stream"))),
            _ => signature.check_inputs(inputs).map_err(|problem| self.refused(problem)),
        }
    }

    /// What a call is told, and counted for, that does not fit.
    fn refused(&self, problem: String) -> CallError {
        let error = CallError::invalid_input(problem);
        self.refuse(&error);
        error
    }
}

/// A call that has been checked: it waits for its answer, or has no rows and is answered already.
pub(crate) enum Submitted {
    Queued(Reply<ModelWorker>),
    Answered(Values),
}

impl Submitted {
    /// Waits for the outputs.
    pub(crate) async fn outputs(self) -> Result<Values, CallError> {
        match self {
            Self::Queued(reply) => reply.await,
            Self::Answered(outputs) => Ok(outputs),
        }
    }
}
