//! Functions that can be methods: what they take and return, and how they run on a batch.

use std::marker::PhantomData;

use burn::tensor::Device;
use ekiden_actors::{CallError, Fault, MethodError, Part};

use super::data::{Data, InputBatch};
use super::read_back::ReadBack;
use super::tensor;
use crate::serving::CallInput;
use crate::value::{Signature, ValueSpec, Values};

/// Runs one method on a batch, up to where its outputs are to be read back.
pub(super) trait Run<R> {
    fn run(&self, runnable: &R, parts: &[Part<'_, CallInput>], at: &Place<'_>) -> Result<ReadBack, MethodError>;
}

/// Where a batch runs, and what its values look like.
pub(super) struct Place<'a> {
    pub(super) device: &'a Device,
    pub(super) signature: &'a Signature,
}

/// A function that can be a method: it takes `&self` and up to six [`Data`] parameters, and returns
/// one [`Data`], a tuple of them, or [`Rows`](super::Rows) of either.
pub trait MethodFn<R, A>: Send + Sync + 'static {
    /// What it returns.
    type Output: Outputs;
    /// What it takes.
    type Inputs: Inputs;

    /// Calls it.
    ///
    /// # Errors
    /// The method's own.
    fn call(&self, runnable: &R, inputs: Self::Inputs) -> Result<Self::Output, MethodError>;
}

type Check = fn(&ValueSpec) -> Result<(), String>;

/// One parameter or result: how to name it, and how to check its spec.
#[derive(Debug)]
pub struct Slot {
    pub(super) default: fn(String) -> ValueSpec,
    pub(super) check: Check,
}

impl Slot {
    pub(super) fn of<T: Data>() -> Self {
        Self { default: T::default_spec, check: T::check_spec }
    }
}

/// A method's parameters: one [`Data`] in a tuple of its own, or several.
pub trait Inputs: Sized + Send + 'static {
    /// Its slots, in order.
    fn slots() -> Vec<Slot>;
    /// Makes the parameters from a batch.
    ///
    /// # Errors
    /// As [`Data::gather`].
    fn gather(parts: &InputParts<'_>) -> Result<Self, MethodError>;
    /// What a caller gives.
    ///
    /// # Errors
    /// As [`Data::into_value`].
    fn into_values(self) -> Result<Values, String>;
}

/// All inputs of a batch.
pub struct InputParts<'a> {
    pub(super) parts: &'a [Part<'a, CallInput>],
    pub(super) at: &'a Place<'a>,
}

impl InputParts<'_> {
    fn input<T: Data>(&self, index: usize) -> Result<T, MethodError> {
        let Place { device, signature } = *self.at;
        T::gather(&InputBatch { parts: self.parts, index, batching: signature.batching, device }).map_err(|error| {
            let name = signature.inputs.get(index).map_or("", ValueSpec::name);
            let problem = format!("input \"{name}\": {error}");
            match error.fault() {
                Fault::Input => MethodError::invalid_input(problem).before_run(),
                Fault::Method => MethodError::failed(problem).before_run(),
            }
        })
    }
}

/// What a method returns: one [`Data`], or a tuple of several.
pub trait Outputs: Sized + Send + 'static {
    /// Its slots, in order.
    fn slots() -> Vec<Slot>;
    /// Leaves it to be read back.
    ///
    /// # Errors
    /// As [`Data::stage`].
    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError>;
    /// What a caller gets.
    ///
    /// # Errors
    /// As [`Data::from_value`].
    fn from_values(values: Values) -> Result<Self, String>;
}

impl<T: Data> Outputs for T {
    fn slots() -> Vec<Slot> {
        vec![Slot::of::<T>()]
    }

    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
        T::stage(self, back)
    }

    fn from_values(values: Values) -> Result<Self, String> {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => T::from_value(value),
            _ => Err("expected one output".to_owned()),
        }
    }
}

macro_rules! tuples {
    ($($type:ident $at:tt),+) => {
        impl<$($type: Data),+> Inputs for ($($type,)+) {
            fn slots() -> Vec<Slot> {
                vec![$(Slot::of::<$type>()),+]
            }

            fn gather(parts: &InputParts<'_>) -> Result<Self, MethodError> {
                Ok(($(parts.input::<$type>($at)?,)+))
            }

            fn into_values(self) -> Result<Values, String> {
                let mut values = Values::new();
                $(values.push(self.$at.into_value()?);)+
                Ok(values)
            }
        }

        impl<R, F, O, $($type: Data),+> MethodFn<R, ($($type,)+)> for F
        where
            F: Fn(&R, $($type),+) -> Result<O, MethodError> + Send + Sync + 'static,
            O: Outputs,
        {
            type Output = O;
            type Inputs = ($($type,)+);

            fn call(&self, runnable: &R, inputs: Self::Inputs) -> Result<O, MethodError> {
                self(runnable, $(inputs.$at),+)
            }
        }
    };
}

impl Inputs for () {
    fn slots() -> Vec<Slot> {
        Vec::new()
    }

    fn gather(_: &InputParts<'_>) -> Result<Self, MethodError> {
        Ok(())
    }

    fn into_values(self) -> Result<Values, String> {
        Ok(Values::new())
    }
}

impl<R, F, O> MethodFn<R, ()> for F
where
    F: Fn(&R) -> Result<O, MethodError> + Send + Sync + 'static,
    O: Outputs,
{
    type Output = O;
    type Inputs = ();

    fn call(&self, runnable: &R, (): ()) -> Result<O, MethodError> {
        self(runnable)
    }
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, G 5);

macro_rules! output_tuples {
    ($($type:ident $at:tt),+) => {
        impl<$($type: Data),+> Outputs for ($($type,)+) {
            fn slots() -> Vec<Slot> {
                vec![$(Slot::of::<$type>()),+]
            }

            fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
                $(self.$at.stage(back)?;)+
                Ok(())
            }

            fn from_values(values: Values) -> Result<Self, String> {
                let mut values = values.into_iter();
                let mut next = || values.next().ok_or_else(|| "there are fewer outputs than expected".to_owned());
                Ok(($($type::from_value(next()?)?,)+))
            }
        }
    };
}

output_tuples!(A 0, B 1);
output_tuples!(A 0, B 1, C 2);
output_tuples!(A 0, B 1, C 2, D 3);
output_tuples!(A 0, B 1, C 2, D 3, E 4);
output_tuples!(A 0, B 1, C 2, D 3, E 4, G 5);

/// A function whose Rust types say what it takes and returns.
pub(super) struct Function<F, A> {
    function: F,
    args: PhantomData<fn(A)>,
}

impl<F, A> Function<F, A> {
    pub(super) fn new(function: F) -> Self {
        Self { function, args: PhantomData }
    }
}

impl<R, A, F: MethodFn<R, A>> Run<R> for Function<F, A> {
    fn run(&self, runnable: &R, parts: &[Part<'_, CallInput>], at: &Place<'_>) -> Result<ReadBack, MethodError> {
        let inputs = F::Inputs::gather(&InputParts { parts, at })?;
        let mut back = ReadBack::default();
        self.function.call(runnable, inputs)?.stage(&mut back)?;
        Ok(back)
    }
}

/// Whether values of `signature` are of these Rust types.
pub(crate) fn check_types<I: Inputs, O: Outputs>(signature: &Signature) -> Result<(), String> {
    let check = |what: &str, specs: &[ValueSpec], slots: &[Slot]| {
        if specs.len() != slots.len() {
            return Err(format!("it has {} {what}s, not {}", specs.len(), slots.len()));
        }
        specs.iter().zip(slots).try_for_each(|(spec, slot)| {
            (slot.check)(spec).map_err(|actual| format!("its {what} \"{}\" is a {spec}, not {actual}", spec.name()))
        })
    };
    check("input", &signature.inputs, &I::slots())?;
    check("output", &signature.outputs, &O::slots())
}

/// What a caller gives, as `signature` has it.
pub(super) fn values<I: Inputs>(inputs: I, signature: &Signature) -> Result<Values, CallError> {
    let mut values = inputs.into_values().map_err(CallError::invalid_input)?;
    tensor::restore_scalars(&mut values, &signature.inputs);
    Ok(values)
}
