//! A runnable's methods: how they are declared, and how they run on a batch.

use std::fmt;
use std::marker::PhantomData;

use burn::tensor::Device;
use ekiden_actors::{CallError, Fault, MethodError, Part};

use super::data::{Data, InputBatch, ReadBack};
use super::dynamic::Dynamic;
use super::tensor;
use crate::onnx::Given;
use crate::serving::{Answer, CallInput};
use crate::value::{Batching, Signature, TensorSpec, Value, ValueSpec, Values};

/// The spec of an input or output as a developer writes it: a [`TensorSpec`], or for other kinds just a name.
#[derive(Clone, Debug)]
pub enum NamedSpec {
    /// A full spec.
    Full(ValueSpec),
    /// The name; the rest follows from the Rust type.
    Name(String),
}

impl From<TensorSpec> for NamedSpec {
    fn from(spec: TensorSpec) -> Self {
        Self::Full(spec.into())
    }
}

impl From<&str> for NamedSpec {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for NamedSpec {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

/// Runs one method on a batch.
pub(super) trait Run<R> {
    fn run(&self, runnable: &R, parts: &[Part<'_, CallInput>], at: &Place<'_>) -> Result<Answer, MethodError>;
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
    default: fn(String) -> ValueSpec,
    check: Check,
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
    parts: &'a [Part<'a, CallInput>],
    at: &'a Place<'a>,
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

struct Function<F, A> {
    function: F,
    args: PhantomData<fn(A)>,
}

impl<R, A, F: MethodFn<R, A>> Run<R> for Function<F, A> {
    fn run(&self, runnable: &R, parts: &[Part<'_, CallInput>], at: &Place<'_>) -> Result<Answer, MethodError> {
        let inputs = F::Inputs::gather(&InputParts { parts, at })?;
        let mut back = ReadBack::default();
        self.function.call(runnable, inputs)?.stage(&mut back)?;
        back.finish()
    }
}

/// The methods of a runnable, as [`Runnable::methods`](crate::Runnable::methods) declares them.
pub struct Methods<R> {
    declared: Vec<Declared<R>>,
}

struct Declared<R> {
    name: String,
    /// Of a method whose Rust types say nothing of its inputs and outputs.
    signature: Option<Signature>,
    run: Box<dyn Run<R> + Send + Sync>,
    input_slots: Vec<Slot>,
    output_slots: Vec<Slot>,
    inputs: Vec<NamedSpec>,
    outputs: Vec<NamedSpec>,
    batching: Option<Batching>,
    warm_up: bool,
}

impl<R: 'static> Methods<R> {
    pub(super) fn new() -> Self {
        Self { declared: Vec::new() }
    }

    /// Adds a method. By itself it is not batchable, and its inputs and outputs are named after their kind and position.
    pub fn add<A: 'static, F: MethodFn<R, A>>(&mut self, name: impl Into<String>, function: F) -> MethodBuilder<'_> {
        self.declared.push(Declared {
            name: name.into(),
            signature: None,
            run: Box::new(Function { function, args: PhantomData }),
            input_slots: F::Inputs::slots(),
            output_slots: F::Output::slots(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            batching: None,
            warm_up: false,
        });
        let last = self.declared.len() - 1;
        let Declared { inputs, outputs, batching, warm_up, .. } = &mut self.declared[last];
        MethodBuilder { inputs, outputs, batching, warm_up }
    }

    /// Adds a method that takes and returns values of this signature, which nothing checks against Rust types.
    pub(super) fn add_values<F>(&mut self, name: &str, signature: Signature, warm_up: bool, function: F)
    where
        F: Fn(&R, Vec<Given>, usize) -> Result<Vec<Value>, MethodError> + Send + Sync + 'static,
    {
        self.declared.push(Declared {
            name: name.to_owned(),
            signature: Some(signature),
            run: Box::new(Dynamic(function)),
            input_slots: Vec::new(),
            output_slots: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            batching: None,
            warm_up,
        });
    }

    /// Checks the declarations.
    pub(super) fn build(self) -> Result<Vec<Method<R>>, String> {
        if self.declared.is_empty() {
            return Err("it declares no methods".to_owned());
        }
        let mut methods: Vec<Method<R>> = Vec::with_capacity(self.declared.len());
        for declared in self.declared {
            if methods.iter().any(|method| method.name == declared.name) {
                return Err(format!("it declares the method \"{}\" twice", declared.name));
            }
            let name = declared.name.clone();
            methods.push(declared.build().map_err(|problem| format!("method \"{name}\": {problem}"))?);
        }
        Ok(methods)
    }
}

impl<R> fmt::Debug for Methods<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.declared.iter().map(|declared| &declared.name)).finish()
    }
}

impl<R> Declared<R> {
    fn build(self) -> Result<Method<R>, String> {
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.name.is_empty() || !self.name.chars().all(valid) {
            return Err("a method's name consists of ASCII letters, digits, '_', '-' and '.'".to_owned());
        }
        if let Some(signature) = self.signature {
            return Ok(Method { name: self.name, signature, warm_up: self.warm_up, run: self.run });
        }
        if self.batching.is_some() && self.input_slots.is_empty() {
            return Err("a method without inputs has no rows, and cannot be batchable".to_owned());
        }
        let inputs = specs("input", self.inputs, &self.input_slots, self.batching.map(|b| b.input_dim))?;
        let outputs = specs("output", self.outputs, &self.output_slots, self.batching.map(|b| b.output_dim))?;
        let signature = Signature { inputs, outputs, batching: self.batching };
        if self.warm_up {
            signature.zeros(1).map_err(|problem| format!("it cannot be warmed up: {problem}"))?;
        }
        Ok(Method { name: self.name, signature, warm_up: self.warm_up, run: self.run })
    }
}

fn specs(
    what: &str,
    given: Vec<NamedSpec>,
    slots: &[Slot],
    batch_dim: Option<usize>,
) -> Result<Vec<ValueSpec>, String> {
    if given.len() > slots.len() {
        return Err(format!("{} {what}s are described, but the function has {}", given.len(), slots.len()));
    }
    let mut given = given.into_iter();
    let mut specs: Vec<ValueSpec> = Vec::with_capacity(slots.len());
    for (at, slot) in slots.iter().enumerate() {
        let default_name = || if slots.len() == 1 { what.to_owned() } else { format!("{what}_{at}") };
        let spec = match given.next() {
            Some(NamedSpec::Full(spec)) => spec,
            Some(NamedSpec::Name(name)) => (slot.default)(name),
            None => (slot.default)(default_name()),
        };
        (slot.check)(&spec).map_err(|actual| {
            format!("{what} \"{}\" is described as {spec}, but the function has {actual}", spec.name())
        })?;
        if let Some(dim) = batch_dim {
            check_batch_dim(what, &spec, dim)?;
        }
        if specs.iter().any(|other| other.name() == spec.name()) {
            return Err(format!("two {what}s are named \"{}\"", spec.name()));
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn check_batch_dim(what: &str, spec: &ValueSpec, dim: usize) -> Result<(), String> {
    let problem = match spec {
        ValueSpec::Tensor(tensor) => match tensor.shape().map(|shape| shape.get(dim)) {
            None | Some(Some(None)) => return Ok(()),
            Some(Some(Some(size))) => format!("its batch dimension {dim} must be of any size, but is {size}"),
            Some(None) => format!("it has no batch dimension {dim}"),
        },
        ValueSpec::List(_) | ValueSpec::Texts(_) if dim == 0 => return Ok(()),
        ValueSpec::List(_) | ValueSpec::Texts(_) => "a list can be batched along dimension 0 only".to_owned(),
        other => format!("{} cannot be batched", other.kind()),
    };
    Err(format!("{what} \"{}\": {problem}", spec.name()))
}

/// Describes a method further.
#[derive(Debug)]
pub struct MethodBuilder<'a> {
    inputs: &'a mut Vec<NamedSpec>,
    outputs: &'a mut Vec<NamedSpec>,
    batching: &'a mut Option<Batching>,
    warm_up: &'a mut bool,
}

impl MethodBuilder<'_> {
    /// Calls may share a batch, along dimension 0 of every input and output.
    pub fn batchable(self) -> Self {
        self.batch_dim(0)
    }

    /// Calls may share a batch, along this dimension of every input and output.
    pub fn batch_dim(self, dim: usize) -> Self {
        self.batch_dims(dim, dim)
    }

    /// Calls may share a batch, along these dimensions of every input and of every output.
    pub fn batch_dims(self, input: usize, output: usize) -> Self {
        *self.batching = Some(Batching { input_dim: input, output_dim: output });
        self
    }

    /// Before the runner is ready, each executor runs the method on zeros: batches of 1, 8, 64 … rows, up to
    /// `max_batch_size`. The first call then finds caches and kernels warm, and what batches cost is known from the start.
    ///
    /// Every input must be a tensor whose spec gives all sizes but that of the batch dimension. Zeros that the method
    /// refuses keep the runner from starting.
    pub fn warm_up(self) -> Self {
        *self.warm_up = true;
        self
    }

    /// Describes the next input, in the order of the function's parameters: a [`TensorSpec`], or a name.
    pub fn input(self, spec: impl Into<NamedSpec>) -> Self {
        self.inputs.push(spec.into());
        self
    }

    /// Describes the next output: a [`TensorSpec`], or a name.
    pub fn output(self, spec: impl Into<NamedSpec>) -> Self {
        self.outputs.push(spec.into());
        self
    }
}

/// A method whose declaration has been checked.
pub(crate) struct Method<R> {
    pub(crate) name: String,
    pub(crate) signature: Signature,
    pub(crate) warm_up: bool,
    run: Box<dyn Run<R> + Send + Sync>,
}

impl<R> Method<R> {
    pub(super) fn run(
        &self,
        runnable: &R,
        parts: &[Part<'_, CallInput>],
        device: &Device,
    ) -> Result<Answer, MethodError> {
        let mut answer = self.run.run(runnable, parts, &Place { device, signature: &self.signature })?;
        tensor::restore_scalars(&mut answer.outputs, &self.signature.outputs);
        Ok(answer)
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
