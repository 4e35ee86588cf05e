//! Methods that answer with a stream.

use std::marker::PhantomData;

use ekiden_actors::{MethodError, Part};

use super::data::Data;
use super::function::{InputParts, Inputs, Outputs, Place};
use super::read_back::ReadBack;
use super::tensor;
use crate::serving::{CallInput, Emit};

/// What a method that streams returns: chunks, each of them an output of the method, until there are no more or one is an
/// error.
///
/// It is an iterator, since an executor's thread runs one thing at a time. Each chunk is on its way to the caller before the
/// next one is asked for; where the caller has gone or its time has passed, the iterator is dropped.
///
/// ```
/// use ekiden::prelude::*;
///
/// struct Speller;
///
/// impl Runnable for Speller {
///     type Params = ();
///     fn open(_: &OpenContext<()>) -> Result<Self, OpenError> { Ok(Self) }
///     fn methods(methods: &mut Methods<Self>) { methods.add_stream("spell", Self::spell); }
/// }
/// impl Speller {
///     fn spell(&self, word: String) -> Result<Chunks<'_, String>, MethodError> {
///         let letters: Vec<char> = word.chars().collect();
///         Ok(Box::new(letters.into_iter().map(|letter| Ok(letter.to_string()))))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let app = App::builder().runner(Runner::<Speller>::new(()).cpu(1.0)).start().await?;
/// let spell: Method<String, String> = app.runner("speller")?.method("spell")?;
/// let mut letters = spell.stream("relay".to_owned())?;
/// let mut spelled = Vec::new();
/// while let Some(letter) = letters.next().await {
///     spelled.push(letter?); // as soon as it is there
/// }
/// assert_eq!(spelled, ["r", "e", "l", "a", "y"]);
/// # Ok(())
/// # })
/// # }
/// ```
pub type Chunks<'a, T> = Box<dyn Iterator<Item = Result<T, MethodError>> + 'a>;

/// A function that can be a method that streams: it takes `&self` and up to six [`Data`] parameters, and returns [`Chunks`] of
/// one [`Data`] or of a tuple of them.
pub trait StreamFn<R, A>: Send + Sync + 'static {
    /// One chunk.
    type Output: Outputs;
    /// What it takes.
    type Inputs: Inputs;

    /// Calls it.
    ///
    /// # Errors
    /// The method's own, before the first chunk.
    fn call<'a>(&self, runnable: &'a R, inputs: Self::Inputs) -> Result<Chunks<'a, Self::Output>, MethodError>;
}

macro_rules! stream_functions {
    ($($type:ident $at:tt),*) => {
        impl<R, F, O, $($type: Data),*> StreamFn<R, ($($type,)*)> for F
        where
            F: for<'a> Fn(&'a R, $($type),*) -> Result<Chunks<'a, O>, MethodError> + Send + Sync + 'static,
            O: Outputs,
        {
            type Output = O;
            type Inputs = ($($type,)*);

            fn call<'a>(&self, runnable: &'a R, _inputs: Self::Inputs) -> Result<Chunks<'a, O>, MethodError> {
                self(runnable, $(_inputs.$at),*)
            }
        }
    };
}

stream_functions!();
stream_functions!(A 0);
stream_functions!(A 0, B 1);
stream_functions!(A 0, B 1, C 2);
stream_functions!(A 0, B 1, C 2, D 3);
stream_functions!(A 0, B 1, C 2, D 3, E 4);
stream_functions!(A 0, B 1, C 2, D 3, E 4, G 5);

/// Runs one method that streams on one call.
pub(super) trait Streams<R> {
    fn stream(
        &self,
        runnable: &R,
        call: &Part<'_, CallInput>,
        at: &Place<'_>,
        emit: &mut Emit<'_>,
    ) -> Result<(), MethodError>;
}

/// A function whose Rust types say what it takes, and what its chunks are.
pub(super) struct StreamFunction<F, A> {
    function: F,
    args: PhantomData<fn(A)>,
}

impl<F, A> StreamFunction<F, A> {
    pub(super) fn new(function: F) -> Self {
        Self { function, args: PhantomData }
    }
}

impl<R, A, F: StreamFn<R, A>> Streams<R> for StreamFunction<F, A> {
    fn stream(
        &self,
        runnable: &R,
        call: &Part<'_, CallInput>,
        at: &Place<'_>,
        emit: &mut Emit<'_>,
    ) -> Result<(), MethodError> {
        let inputs = F::Inputs::gather(&InputParts { parts: std::slice::from_ref(call), at })?;
        for chunk in self.function.call(runnable, inputs)? {
            let mut back = ReadBack::default();
            chunk?.stage(&mut back)?;
            let mut answer = back.finish()?;
            if let Some((_, error)) = answer.failed.into_iter().next() {
                return Err(error);
            }
            tensor::restore_scalars(&mut answer.outputs, &at.signature.outputs);
            if emit(answer.outputs).is_break() {
                break;
            }
        }
        Ok(())
    }
}
