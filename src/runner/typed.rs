//! Typed handles: Rust types in, Rust types out.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ekiden_actors::{CallError, CallOptions, MethodError, Priority};

use super::data::Data;
use super::function::{self, Inputs, Outputs};
use crate::serving::MethodHandle;

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
