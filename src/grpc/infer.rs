//! `ModelInfer`: a message in, the outputs of a call out.

use bytes::Bytes;
use ekiden_actors::{CallError, MethodError};
use tonic::Code;

use super::door::Bounds;
use super::inference::infer_parameter::ParameterChoice;
use super::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::inference::model_infer_response::InferOutputTensor;
use super::inference::{InferParameter, ModelInferRequest, ModelInferResponse};
use super::{contents, status};
use crate::codec::json::excerpt;
use crate::oip::{
    self, Data, Datatype, Held, InferRequest, Model, Output, Parameter, Prepared, RequestedOutput, Tensor, Wanted,
};
use crate::serving::{ChunkStream, Serving};

/// The longest name or version that is looked for, in bytes; no model has a longer one. Messages have room for more.
const LONGEST_NAME: usize = 256;

/// The model of this name; of this version, unless that is empty.
///
/// # Errors
/// [`CallError::NotFound`].
pub(super) fn model(serving: &Serving, name: &str, version: &str) -> Result<Model, CallError> {
    if let Some(long) = [name, version].into_iter().find(|text| text.len() > LONGEST_NAME) {
        let problem = format!("there is no model or version \"{}\", of {} bytes", excerpt(long.as_bytes()), long.len());
        return Err(CallError::NotFound(problem.into()));
    }
    Model::find(serving, name, Some(version).filter(|version| !version.is_empty()))
}

/// A request that has been understood.
pub(super) struct Asked {
    model: Model,
    id: String,
    prepared: Prepared,
    held: Option<Held>,
}

impl Asked {
    /// Finds the model, and reads what is asked of it, within bounds.
    ///
    /// # Errors
    /// [`CallError::NotFound`], [`CallError::InvalidInput`], or those of [`Bounds::hold`].
    pub(super) fn new(serving: &Serving, mut request: ModelInferRequest, bounds: &Bounds) -> Result<Self, CallError> {
        let model = model(serving, &request.model_name, &request.model_version)?;
        let (method, id) = (model.method(), std::mem::take(&mut request.id));
        let held = bounds.hold(&request).inspect_err(|error| method.refuse(error))?;
        let prepared = read(request).and_then(|request| request.prepare(method.signature()));
        let mut prepared = prepared.inspect_err(|error| method.refuse(error))?;
        prepared.options = bounds.bound(prepared.options);
        Ok(Self { model, id, prepared, held })
    }

    /// Whether there are any number of answers.
    pub(super) fn streams(&self) -> bool {
        self.model.method().signature().streams
    }

    /// Makes the call. Dropping the future cancels it.
    ///
    /// # Errors
    /// The call's [`CallError`].
    pub(super) async fn run(self) -> Result<ModelInferResponse, CallError> {
        // It is held until the answer is there.
        let Self { model, id, prepared, held: _held } = self;
        let method = model.method();
        if method.signature().streams {
            let problem = format!("model \"{}\" answers with a stream: ask it by ModelStreamInfer", model.name());
            let error = CallError::invalid_input(problem);
            method.refuse(&error);
            return Err(error);
        }
        let outputs = method.async_run(prepared.inputs, prepared.options).await?;
        written(&model, id, prepared.wanted.take(method.signature(), outputs)?)
    }

    /// Makes a call that streams.
    ///
    /// # Errors
    /// The call's [`CallError`], where it is refused at once.
    pub(super) fn stream(self) -> Result<Chunks, CallError> {
        let Self { model, id, prepared, held } = self;
        let chunks = model.method().stream(prepared.inputs, prepared.options)?;
        Ok(Chunks { model, id, wanted: prepared.wanted, chunks, _held: held })
    }
}

/// The answers of a call that streams. Dropping it stops the call.
pub(super) struct Chunks {
    model: Model,
    id: String,
    wanted: Wanted,
    chunks: ChunkStream,
    _held: Option<Held>,
}

impl Chunks {
    /// The next answer; `None` after the last.
    ///
    /// # Errors
    /// The call's [`CallError`], after the answers that there were.
    pub(super) async fn next(&mut self) -> Result<Option<ModelInferResponse>, CallError> {
        let Some(outputs) = self.chunks.next().await.transpose()? else { return Ok(None) };
        let outputs = self.wanted.take(self.model.method().signature(), outputs)?;
        written(&self.model, self.id.clone(), outputs).map(Some)
    }

    /// An answer without outputs, which says that there are no more.
    pub(super) fn end(self) -> Result<ModelInferResponse, CallError> {
        written(&self.model, self.id, Vec::new())
    }
}

/// Says in the log what has become of a request.
pub(super) fn log<T>(model: &str, id: &str, outcome: &Result<T, CallError>) {
    // Made where a line is written, and not for each call.
    let (model, id) = (|| excerpt(model.as_bytes()), || excerpt(id.as_bytes()));
    match outcome {
        Ok(_) => tracing::debug!(model = model(), id = id(), "answered"),
        Err(error) => {
            let (code, message) = (error.code(), error.to_string());
            if status::code(error) == Code::Internal {
                tracing::warn!(model = model(), id = id(), code, message, "failed");
            } else {
                tracing::debug!(model = model(), id = id(), code, message, "refused");
            }
        }
    }
}

/// What a message asks for, in the terms of the protocol's core. Raw elements share the message's memory.
///
/// # Errors
/// [`CallError::InvalidInput`], which names the input, the output or the parameter.
pub fn read(message: ModelInferRequest) -> Result<InferRequest, CallError> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents: raw, .. } = message;
    let mut request = InferRequest { id: Some(id).filter(|id| !id.is_empty()), ..InferRequest::default() };
    for (name, value) in parameters {
        request.parameters.set(&name, &parameter(value))?;
    }
    // Before what does not fit because of them: who has put an input elsewhere sends none for it.
    for input in &inputs {
        input.parameters.keys().try_for_each(|parameter| Tensor::check_parameter(&input.name, parameter))?;
    }
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(CallError::invalid_input(format!(
            "raw_input_contents has the elements of {} inputs, and there are {}",
            raw.len(),
            inputs.len()
        )));
    }
    let mut raw = raw.into_iter();
    request.inputs = inputs.into_iter().map(|input| read_input(input, raw.next())).collect::<Result<_, _>>()?;
    request.outputs = outputs.into_iter().map(read_output).collect::<Result<_, _>>()?;
    Ok(request)
}

fn read_input(input: InferInputTensor, raw: Option<Bytes>) -> Result<Tensor, CallError> {
    let InferInputTensor { name, datatype, shape, contents, .. } = input;
    let refused =
        |problem: String| CallError::invalid_input(format!("input \"{}\": {problem}", excerpt(name.as_bytes())));
    let datatype = Datatype::of_name(&datatype).ok_or_else(|| {
        let known: Vec<_> = Datatype::all().map(Datatype::name).collect();
        let found = excerpt(datatype.as_bytes());
        refused(format!("datatype \"{found}\" is not known; expected one of {}", known.join(", ")))
    })?;
    let data = match (raw, contents) {
        (Some(_), Some(_)) => {
            return Err(refused(
                "its elements are in contents and in raw_input_contents; expected one of both".to_owned(),
            ));
        }
        (Some(raw), None) => Data::Raw(raw),
        (None, contents) => contents::data(datatype, contents.unwrap_or_default()).map_err(refused)?,
    };
    Ok(Tensor { shape: oip::shape(&name, &shape)?, name, datatype, data })
}

fn read_output(output: InferRequestedOutputTensor) -> Result<RequestedOutput, CallError> {
    let mut requested = RequestedOutput { name: output.name, ..RequestedOutput::default() };
    for (name, value) in output.parameters {
        requested.set(&name, &parameter(value))?;
    }
    Ok(requested)
}

fn parameter(value: InferParameter) -> Parameter {
    match value.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Parameter::Bool(value),
        Some(ParameterChoice::Int64Param(value)) => Parameter::Whole(value.into()),
        Some(ParameterChoice::Uint64Param(value)) => Parameter::Whole(value.into()),
        Some(ParameterChoice::StringParam(text)) => Parameter::Text(text),
        Some(ParameterChoice::DoubleParam(_)) | None => Parameter::Other,
    }
}

/// The answer: what each output is, and its elements as they lie in memory.
fn written(model: &Model, id: String, outputs: Vec<Output>) -> Result<ModelInferResponse, CallError> {
    let mut response = ModelInferResponse {
        model_name: model.name(),
        model_version: model.version().unwrap_or_default().to_owned(),
        id,
        ..ModelInferResponse::default()
    };
    for Output { tensor: Tensor { name, datatype, shape, data }, .. } in outputs {
        let raw = match data {
            Data::Raw(raw) => raw,
            Data::Elements(elements) => {
                let mut raw = Vec::new();
                let joined = oip::join(&elements, &mut raw);
                joined.map_err(|problem| MethodError::failed(format_args!("output \"{name}\": {problem}")))?;
                raw.into()
            }
        };
        // A size that memory has room for is below 2^63.
        let shape = shape.dims().iter().map(|&size| size as i64).collect();
        response.outputs.push(InferOutputTensor { name, datatype: datatype.name().to_owned(), shape });
        response.raw_output_contents.push(raw);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::inference::InferTensorContents;

    fn request(input: InferInputTensor, raw: &[&'static [u8]]) -> ModelInferRequest {
        let raw_input_contents = raw.iter().map(|raw| Bytes::from_static(raw)).collect();
        ModelInferRequest { inputs: vec![input], raw_input_contents, ..ModelInferRequest::default() }
    }

    fn input(datatype: &str, shape: &[i64]) -> InferInputTensor {
        InferInputTensor { name: "x".into(), datatype: datatype.into(), shape: shape.into(), ..Default::default() }
    }

    fn value(choice: ParameterChoice) -> InferParameter {
        InferParameter { parameter_choice: Some(choice) }
    }

    #[test]
    fn elements_are_shared_with_the_message() {
        let raw = Bytes::from(vec![1, 2, 3, 4]);
        let mut message = request(input("UINT8", &[4]), &[]);
        message.raw_input_contents.push(raw.clone());
        let read = read(message).expect("it is whole");
        let Data::Raw(data) = &read.inputs[0].data else { panic!("they are raw") };
        assert_eq!(data.as_ptr(), raw.as_ptr());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |message: ModelInferRequest, expected: &str| {
            let error = read(message).expect_err(expected);
            assert_eq!((error.code(), error.to_string().as_str()), ("invalid_input", expected));
        };
        let known = Datatype::all().map(Datatype::name).collect::<Vec<_>>().join(", ");
        let unknown = format!("input \"x\": datatype \"FP31\" is not known; expected one of {known}");
        check(request(input("FP31", &[1]), &[]), &unknown);
        let two = "raw_input_contents has the elements of 2 inputs, and there are 1";
        check(request(input("UINT8", &[1]), &[b"a", b"b"]), two);
        let both = InferInputTensor { contents: Some(InferTensorContents::default()), ..input("UINT8", &[1]) };
        let twice = "input \"x\": its elements are in contents and in raw_input_contents; expected one of both";
        check(request(both, &[b"a"]), twice);
        let negative = "input \"x\": dimension 1 of its shape is -1; a size is 0 or more";
        check(request(input("UINT8", &[1, -1]), &[b"a"]), negative);
        let mut shared = input("UINT8", &[1]);
        shared.parameters.insert("shared_memory_region".into(), value(ParameterChoice::StringParam("r".into())));
        let message = "input \"x\": parameter \"shared_memory_region\": shared memory is not supported; send the data, in \
                       JSON or binary";
        check(request(shared, &[b"a"]), message);
        let mut late = request(input("UINT8", &[1]), &[b"a"]);
        late.parameters.insert("timeout".into(), value(ParameterChoice::DoubleParam(0.5)));
        check(late, "parameter \"timeout\": expected a whole number from 0 on, found something else");
    }

    #[test]
    fn parameters_of_either_width_are_taken() {
        let mut message = request(input("UINT8", &[1]), &[b"a"]);
        message.parameters.insert("timeout".into(), value(ParameterChoice::Int64Param(5)));
        message.parameters.insert("priority".into(), value(ParameterChoice::Uint64Param(1)));
        let classes = [("classification".to_owned(), value(ParameterChoice::Int64Param(3)))].into();
        message.outputs.push(InferRequestedOutputTensor { name: "y".into(), parameters: classes });
        let read = read(message).expect("it is whole");
        assert_eq!((read.parameters.timeout, read.parameters.priority), (5, 1));
        assert_eq!((read.outputs[0].name.as_str(), read.outputs[0].classification), ("y", 3));
    }
}
