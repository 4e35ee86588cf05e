//! One request: what it asks for, as a call of a method, and the outputs that it is answered with.

use ekiden_actors::{CallError, CallOptions};
use smallvec::SmallVec;

use super::datatype::Datatype;
use super::parameters::{Parameter, Parameters, refuse_shared_memory};
use super::tensor::Tensor;
use super::{MOST_TEXTS, classification, tensor};
use crate::codec::json::excerpt;
use crate::serving::suggest;
use crate::value::{Signature, Value, ValueSpec, Values};

/// A request for an inference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// Repeated in the answer.
    pub id: Option<String>,
    /// What is asked of the call.
    pub parameters: Parameters,
    /// The inputs, in any order.
    pub inputs: Vec<Tensor>,
    /// The outputs to return, in this order; none stands for all.
    pub outputs: Vec<RequestedOutput>,
}

/// An output that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// How many of its highest scores to return instead of it; 0 asks for the output itself.
    pub classification: u64,
    /// Whether to return it as binary data, where it says.
    pub binary_data: Option<bool>,
}

impl RequestedOutput {
    /// Takes a parameter over, as [`Parameters::set`] does.
    ///
    /// # Errors
    /// [`CallError::InvalidInput`].
    pub fn set(&mut self, name: &str, value: &Parameter) -> Result<(), CallError> {
        match name {
            "classification" => self.classification = value.count(name)?,
            "binary_data" => self.binary_data = Some(value.flag(name)?),
            _ => refuse_shared_memory("output", &self.name, name)?,
        }
        Ok(())
    }
}

impl Tensor {
    /// Refuses parameters of an input that would change its meaning.
    ///
    /// # Errors
    /// [`CallError::InvalidInput`].
    pub fn check_parameter(tensor: &str, name: &str) -> Result<(), CallError> {
        refuse_shared_memory("input", tensor, name)
    }
}

/// A request that has been understood.
#[derive(Debug)]
pub struct Prepared {
    /// The method's inputs, in the order of its signature; their shapes are for the call to check.
    pub inputs: Values,
    /// What is asked of the call.
    pub options: CallOptions,
    /// What to make of its outputs.
    pub wanted: Wanted,
}

/// The outputs that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(Vec<WantedOutput>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WantedOutput {
    /// In the signature.
    index: usize,
    /// 0 for the output itself.
    classes: usize,
    binary: bool,
}

/// An output to answer with.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The output.
    pub tensor: Tensor,
    /// Whether it was asked for as binary data.
    pub binary: bool,
}

impl InferRequest {
    /// The request as a call of a method of this signature.
    ///
    /// # Errors
    /// [`CallError::InvalidInput`], which names the input, the output or the parameter.
    pub fn prepare(self, signature: &Signature) -> Result<Prepared, CallError> {
        let Self { id: _, parameters, inputs, outputs } = self;
        let wanted = wanted(&outputs, parameters.binary_data_output, signature)?;
        Ok(Prepared { inputs: inputs_of(inputs, signature)?, options: parameters.options(), wanted })
    }
}

/// The inputs by their names, in the signature's order.
fn inputs_of(tensors: Vec<Tensor>, signature: &Signature) -> Result<Values, CallError> {
    let specs = &signature.inputs;
    let mut slots: SmallVec<[Option<Value>; 1]> = specs.iter().map(|_| None).collect();
    let texts = tensors.iter().filter(|tensor| tensor.datatype == Datatype::Bytes);
    let texts = texts.filter_map(|tensor| tensor.shape.elements()).fold(0_usize, usize::saturating_add);
    if texts > MOST_TEXTS {
        let problem = format!("a request can have {MOST_TEXTS} elements of BYTES, found {texts}");
        return Err(CallError::invalid_input(problem));
    }
    for tensor in tensors {
        let index = position(&tensor.name, specs).ok_or_else(|| unknown("input", &tensor.name, specs))?;
        if slots[index].is_some() {
            return Err(CallError::invalid_input(format!("input \"{}\" comes a second time", tensor.name)));
        }
        slots[index] = Some(tensor.into_value(&specs[index])?);
    }
    let missing = specs.iter().zip(&slots).filter(|(_, slot)| slot.is_none()).map(|(spec, _)| spec.name());
    let missing: Vec<String> = missing.map(|name| format!("\"{name}\"")).collect();
    if !missing.is_empty() {
        let (noun, verb) = if missing.len() == 1 { ("input", "is") } else { ("inputs", "are") };
        return Err(CallError::invalid_input(format!("{noun} {} {verb} missing", missing.join(", "))));
    }
    Ok(slots.into_iter().flatten().collect())
}

fn wanted(outputs: &[RequestedOutput], binary: bool, signature: &Signature) -> Result<Wanted, CallError> {
    let specs = &signature.outputs;
    if outputs.is_empty() {
        let all = 0..specs.len();
        return Ok(Wanted(all.map(|index| WantedOutput { index, classes: 0, binary }).collect()));
    }
    let mut wanted: Vec<WantedOutput> = Vec::with_capacity(outputs.len().min(specs.len()));
    for output in outputs {
        let index = position(&output.name, specs).ok_or_else(|| unknown("output", &output.name, specs))?;
        if wanted.iter().any(|other| other.index == index) {
            return Err(CallError::invalid_input(format!("output \"{}\" is asked for a second time", output.name)));
        }
        let classes = usize::try_from(output.classification).unwrap_or(usize::MAX);
        if classes > 0 {
            classification::check(signature, &specs[index]).map_err(CallError::invalid_input)?;
        }
        wanted.push(WantedOutput { index, classes, binary: output.binary_data.unwrap_or(binary) });
    }
    Ok(Wanted(wanted))
}

/// The name may be as long as a body.
#[cold]
fn unknown(what: &str, name: &str, specs: &[ValueSpec]) -> CallError {
    let name = excerpt(name.as_bytes());
    let hint = suggest(&name, specs.iter().map(ValueSpec::name));
    CallError::invalid_input(format!("there is no {what} \"{name}\"{hint}"))
}

fn position(name: &str, specs: &[ValueSpec]) -> Option<usize> {
    specs.iter().position(|spec| spec.name() == name)
}

impl Wanted {
    /// What is asked for, of the outputs of a call.
    ///
    /// # Errors
    /// As of [`Tensor::of_value`](tensor::Tensor::of_value).
    pub fn take(&self, signature: &Signature, outputs: Values) -> Result<Vec<Output>, CallError> {
        let mut outputs: SmallVec<[Option<Value>; 1]> = outputs.into_iter().map(Some).collect();
        let mut taken = Vec::with_capacity(self.0.len());
        for &WantedOutput { index, classes, binary } in &self.0 {
            let value = outputs.get_mut(index).and_then(Option::take);
            let (Some(spec), Some(value)) = (signature.outputs.get(index), value) else { continue };
            let tensor = match (spec, &value) {
                (ValueSpec::Tensor(spec), Value::Tensor(array)) if classes > 0 => {
                    classification::classify(spec, array, classes, signature.batching.is_some())
                }
                _ => tensor::Tensor::of_value(spec, value)?,
            };
            taken.push(Output { tensor, binary });
        }
        Ok(taken)
    }
}
