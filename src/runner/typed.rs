//! Typed handles: Rust types in, Rust types out.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ekiden_actors::{CallError, CallOptions, MethodError, Priority};
use futures_core::Stream;

use super::data::Data;
use super::function::{self, Inputs, Outputs};
use crate::serving::{Blocking, ChunkStream, MethodHandle};

/// What a caller gives a method: one [`Data`], a tuple of several, or `()` for none.
pub trait IntoInputs: Send + 'static {
    /// The tuple of all inputs.
    type Inputs: Inputs;
    /// Makes it.
    fn into_inputs(self) -> Self::Inputs;
}

impl<T: Data> IntoInputs for T {
    type Inputs = (T,);

    fn into_inputs(self) -> (T,) {
        (self,)
    }
}

macro_rules! input_tuples {
    ($($type:ident),+) => {
        impl<$($type: Data),+> IntoInputs for ($($type,)+) {
            type Inputs = Self;

            fn into_inputs(self) -> Self {
                self
            }
        }
    };
}

impl IntoInputs for () {
    type Inputs = ();

    fn into_inputs(self) {}
}

input_tuples!(A);
input_tuples!(A, B);
input_tuples!(A, B, C);
input_tuples!(A, B, C, D);
input_tuples!(A, B, C, D, E);
input_tuples!(A, B, C, D, E, F);

/// A handle to one method that takes `I` and returns `O`. Clones are cheap, and may be used from any thread.
pub struct Method<I, O> {
    handle: MethodHandle,
    options: CallOptions,
    types: PhantomData<fn(I) -> O>,
}

impl<I: IntoInputs, O: Outputs> Method<I, O> {
    pub(crate) fn new(handle: MethodHandle, runner: &str) -> Result<Self, TypeMismatch> {
        function::check_types::<I::Inputs, O>(handle.signature()).map_err(|problem| TypeMismatch {
            runner: runner.to_owned(),
            method: handle.name().to_owned(),
            problem,
        })?;
        Ok(Self { handle, options: CallOptions::default(), types: PhantomData })
    }

    /// The same method, with this much time for each call.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The same method, with calls that go before or after others.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Calls the method. Dropping the future cancels the call.
    ///
    /// # Errors
    /// The call's [`CallError`].
    pub async fn async_run(&self, inputs: I) -> Result<O, CallError> {
        let inputs = function::values(inputs.into_inputs(), self.handle.signature())?;
        from_values(self.handle.async_run(inputs, self.options).await?)
    }

    /// Calls the method and blocks this thread until it is answered.
    ///
    /// # Errors
    /// The call's [`CallError`]; [`CallError::InsideRuntime`] in any thread that belongs to a tokio runtime, which it
    /// might hold up: await [`Method::async_run`] there, or, in a thread of `spawn_blocking`, give that future to
    /// `Handle::current().block_on`. The methods of a runnable are inside a runtime too.
    pub fn run(&self, inputs: I) -> Result<O, CallError> {
        let inputs = function::values(inputs.into_inputs(), self.handle.signature())?;
        from_values(self.handle.run(inputs, self.options)?)
    }

    /// Calls a method that streams: each chunk is an `O`. Dropping the stream cancels the call.
    ///
    /// # Errors
    /// The call's [`CallError`], where it is refused at once. Of what happens later, the stream tells.
    pub fn stream(&self, inputs: I) -> Result<Streamed<O>, CallError> {
        let inputs = function::values(inputs.into_inputs(), self.handle.signature())?;
        Ok(Streamed { chunks: self.handle.stream(inputs, self.options)?, types: PhantomData })
    }
}

/// The answer to a call of a method that streams: chunks as they come, and then, if the call failed, one error. See
/// [`ChunkStream`].
#[derive(Debug)]
#[must_use = "dropping a stream cancels its call"]
pub struct Streamed<O> {
    chunks: ChunkStream,
    types: PhantomData<fn() -> O>,
}

impl<O: Outputs> Streamed<O> {
    /// The next chunk; `None` after the last one.
    ///
    /// # Errors
    /// The call's [`CallError`], once, after the chunks that there were.
    pub async fn next(&mut self) -> Option<Result<O, CallError>> {
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

impl<O: Outputs> Stream for Streamed<O> {
    type Item = Result<O, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = Pin::new(&mut self.get_mut().chunks).poll_next(cx);
        chunk.map(|chunk| chunk.map(|chunk| from_values(chunk?)))
    }
}

fn from_values<O: Outputs>(values: crate::value::Values) -> Result<O, CallError> {
    O::from_values(values).map_err(|problem| MethodError::failed(problem).into())
}

impl<I, O> Clone for Method<I, O> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), options: self.options, types: PhantomData }
    }
}

impl<I, O> fmt::Debug for Method<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.handle).finish()
    }
}

/// The types of a handle are not those of its method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("method \"{method}\" of runner \"{runner}\": {problem}")]
pub struct TypeMismatch {
    runner: String,
    method: String,
    problem: String,
}
