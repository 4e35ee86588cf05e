//! A runnable's methods: how they are declared, and what has been checked of that.

use std::fmt;
use std::time::Duration;

use burn::tensor::Device;
use ekiden_actors::{MethodError, Part};

use super::dynamic::Dynamic;
use super::function::{Function, Inputs, MethodFn, Outputs, Place, Run, Slot};
use super::read_back::{Later, ReadBack};
use super::stream::{StreamFn, StreamFunction, Streams};
use super::tensor;
use crate::codec::json;
use crate::onnx::Given;
use crate::serving::{Answer, CallInput, Emit, STREAM_PATIENCE};
use crate::value::{Batching, Signature, TensorSpec, ValueSpec};

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

/// The methods of a runnable, as [`Runnable::methods`](crate::Runnable::methods) declares them.
pub struct Methods<R> {
    declared: Vec<Declared<R>>,
}

/// What a method does.
enum Body<R> {
    Run(Box<dyn Run<R> + Send + Sync>),
    Stream(Box<dyn Streams<R> + Send + Sync>),
}

struct Declared<R> {
    name: String,
    /// Of a method whose Rust types say nothing of its inputs and outputs.
    signature: Option<Signature>,
    body: Body<R>,
    input_slots: Vec<Slot>,
    output_slots: Vec<Slot>,
    inputs: Vec<NamedSpec>,
    outputs: Vec<NamedSpec>,
    batching: Option<Batching>,
    warm_up: bool,
    patience: Duration,
    example: Option<serde_json::Value>,
}

impl<R: 'static> Methods<R> {
    pub(super) fn new() -> Self {
        Self { declared: Vec::new() }
    }

    /// Adds a method. By itself it is not batchable, and its inputs and outputs are named after their kind and position.
    pub fn add<A: 'static, F: MethodFn<R, A>>(&mut self, name: impl Into<String>, function: F) -> MethodBuilder<'_> {
        let body = Body::Run(Box::new(Function::new(function)));
        let declared = self.declare(name.into(), body, F::Inputs::slots(), F::Output::slots());
        let Declared { inputs, outputs, batching, warm_up, example, .. } = declared;
        MethodBuilder { inputs, outputs, batching, warm_up, example }
    }

    /// Adds a method that answers with a stream: its function returns [`Chunks`](super::Chunks), and each chunk reaches the
    /// caller as it comes. (Of a closure, Rust does not infer that what it returns borrows from the runnable: take a method.)
    ///
    /// It runs one call at a time, which holds its executor until the stream has ended, and is never run again where it
    /// fails: chunks may have been read by then. `timeout_ms` is for the stream as a whole, `batch_timeout_ms` is not for
    /// streams.
    pub fn add_stream<A: 'static, F: StreamFn<R, A>>(
        &mut self,
        name: impl Into<String>,
        function: F,
    ) -> StreamBuilder<'_> {
        let body = Body::Stream(Box::new(StreamFunction::new(function)));
        let declared = self.declare(name.into(), body, F::Inputs::slots(), F::Output::slots());
        let Declared { inputs, outputs, patience, example, .. } = declared;
        StreamBuilder { inputs, outputs, patience, example }
    }

    fn declare(
        &mut self,
        name: String,
        body: Body<R>,
        input_slots: Vec<Slot>,
        output_slots: Vec<Slot>,
    ) -> &mut Declared<R> {
        self.declared.push(Declared {
            name,
            signature: None,
            body,
            input_slots,
            output_slots,
            inputs: Vec::new(),
            outputs: Vec::new(),
            batching: None,
            warm_up: false,
            patience: STREAM_PATIENCE,
            example: None,
        });
        let last = self.declared.len() - 1;
        &mut self.declared[last]
    }

    /// Adds a method that takes and returns values of this signature, which nothing checks against Rust types.
    pub(super) fn add_values<F>(&mut self, name: &str, signature: Signature, warm_up: bool, function: F)
    where
        F: Fn(&R, Vec<Given>, usize) -> Result<Later, MethodError> + Send + Sync + 'static,
    {
        let body = Body::Run(Box::new(Dynamic(function)));
        let declared = self.declare(name.to_owned(), body, Vec::new(), Vec::new());
        declared.signature = Some(signature);
        declared.warm_up = warm_up;
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
        let Self { name, body, warm_up, patience, example, .. } = self;
        if let Some(signature) = self.signature {
            return Ok(Method { name, signature, warm_up, patience, example, body });
        }
        if self.batching.is_some() && self.input_slots.is_empty() {
            return Err("a method without inputs has no rows, and cannot be batchable".to_owned());
        }
        let inputs = specs("input", self.inputs, &self.input_slots, self.batching.map(|b| b.input_dim))?;
        let outputs = specs("output", self.outputs, &self.output_slots, self.batching.map(|b| b.output_dim))?;
        let outputs = outputs.into_iter().map(rows_may_fail).collect();
        let streams = matches!(body, Body::Stream(_));
        let signature = Signature { inputs, outputs, batching: self.batching, streams };
        if warm_up {
            signature.zeros(1).map_err(|problem| format!("it cannot be warmed up: {problem}"))?;
        }
        if let Some(example) = &example {
            let inputs = json::decode(example.to_string().as_bytes(), &signature).map_err(|error| error.to_string());
            let fits = inputs.and_then(|inputs| signature.check_inputs(&inputs));
            fits.map_err(|problem| format!("its example does not fit: {problem}"))?;
        }
        Ok(Method { name, signature, warm_up, patience, example, body })
    }
}

/// An output of texts is a list all the same: a row that failed by itself has no text.
fn rows_may_fail(output: ValueSpec) -> ValueSpec {
    match output {
        ValueSpec::Texts(texts) => ValueSpec::List(texts.name().to_owned()),
        other => other,
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
    example: &'a mut Option<serde_json::Value>,
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

    /// Inputs to show what a call looks like, as JSON: a sole one bare, several as an object by their names. It is what
    /// `/docs.json` and the page in front of it send, so it should be a call that works; without it, one of ones is made up.
    pub fn example(self, inputs: impl Into<serde_json::Value>) -> Self {
        *self.example = Some(inputs.into());
        self
    }

    /// Describes the next output: a [`TensorSpec`], or a name.
    pub fn output(self, spec: impl Into<NamedSpec>) -> Self {
        self.outputs.push(spec.into());
        self
    }
}

/// Describes a method that streams further.
#[derive(Debug)]
pub struct StreamBuilder<'a> {
    inputs: &'a mut Vec<NamedSpec>,
    outputs: &'a mut Vec<NamedSpec>,
    patience: &'a mut Duration,
    example: &'a mut Option<serde_json::Value>,
}

impl StreamBuilder<'_> {
    /// Describes the next input, in the order of the function's parameters: a [`TensorSpec`], or a name.
    pub fn input(self, spec: impl Into<NamedSpec>) -> Self {
        self.inputs.push(spec.into());
        self
    }

    /// Inputs to show what a call looks like, as [`MethodBuilder::example`] has it.
    pub fn example(self, inputs: impl Into<serde_json::Value>) -> Self {
        *self.example = Some(inputs.into());
        self
    }

    /// Describes the next output of each chunk: a [`TensorSpec`], or a name.
    pub fn output(self, spec: impl Into<NamedSpec>) -> Self {
        self.outputs.push(spec.into());
        self
    }

    /// How long an executor waits for a reader who takes nothing while 16 chunks wait, before it ends the stream with an
    /// error and does other work. 10 s unless this says otherwise.
    pub fn patience(self, patience: Duration) -> Self {
        *self.patience = patience;
        self
    }
}

/// A method whose declaration has been checked.
pub(crate) struct Method<R> {
    pub(crate) name: String,
    pub(crate) signature: Signature,
    pub(crate) warm_up: bool,
    /// How long a stream waits for its reader.
    pub(crate) patience: Duration,
    pub(crate) example: Option<serde_json::Value>,
    body: Body<R>,
}

impl<R> Method<R> {
    /// Hands one run to the device. What comes of it is read by [`finish`](Self::finish).
    pub(super) fn launch(
        &self,
        runnable: &R,
        parts: &[Part<'_, CallInput>],
        device: &Device,
    ) -> Result<ReadBack, MethodError> {
        let Body::Run(run) = &self.body else {
            return Err(MethodError::failed("the method answers with a stream").before_run());
        };
        run.run(runnable, parts, &Place { device, signature: &self.signature })
    }

    /// Waits for a run that was launched.
    pub(super) fn finish(&self, launched: ReadBack) -> Result<Answer, MethodError> {
        let mut answer = launched.finish()?;
        tensor::restore_scalars(&mut answer.outputs, &self.signature.outputs);
        Ok(answer)
    }

    /// Has `emit` take each chunk of a stream.
    pub(super) fn stream(
        &self,
        runnable: &R,
        call: &Part<'_, CallInput>,
        device: &Device,
        emit: &mut Emit<'_>,
    ) -> Result<(), MethodError> {
        let Body::Stream(stream) = &self.body else {
            return Err(MethodError::failed("the method does not answer with a stream").before_run());
        };
        stream.stream(runnable, call, &Place { device, signature: &self.signature }, emit)
    }
}
