//! Bodies of HTTP: JSON, and binary data behind it, in the order of the tensors that have some.
//!
//! Binary data is never copied here: inputs share the body's memory.

use bytes::Bytes;
use ekiden_actors::CallError;
use serde::Serialize;

use super::datatype::Datatype;
use super::json::{self, Decoded};
use super::metadata::sizes;
use super::request::{InferRequest, Output};
use super::tensor::{Data, Tensor, shape};
use super::{elements, join};
use crate::codec::json::excerpt;
use crate::value::{Shape, Signature, ValueSpec};

/// Reads a request whose first `header` bytes are JSON, and the others the binary data of its inputs. Without any JSON, the
/// body is that of a model's only input.
///
/// # Errors
/// [`CallError::InvalidInput`], which says what is wrong, and where.
pub fn decode(body: &Bytes, header: usize, signature: &Signature) -> Result<InferRequest, CallError> {
    if header == 0 {
        return raw(body, signature);
    }
    let Some((json, _)) = body.split_at_checked(header) else {
        return Err(CallError::invalid_input(format!(
            "Inference-Header-Content-Length is {header}, and the body has {} bytes",
            body.len()
        )));
    };
    let Decoded { mut request, binary } = json::read(json)?;
    let mut start = header;
    for (tensor, size) in request.inputs.iter_mut().zip(binary) {
        let Some(size) = size else { continue };
        let left = body.len() - start;
        let size = usize::try_from(size).ok().filter(|size| *size <= left).ok_or_else(|| {
            CallError::invalid_input(format!(
                "input \"{}\": its binary_data_size is {size}, and {left} bytes of the body are left (byte {start})",
                excerpt(tensor.name.as_bytes())
            ))
        })?;
        tensor.data = Data::Raw(body.slice(start..start + size));
        start += size;
    }
    if start < body.len() {
        return Err(CallError::invalid_input(format!(
            "the body has {} bytes more than its inputs' binary_data_size say (byte {start})",
            body.len() - start
        )));
    }
    Ok(request)
}

/// A body that is all binary data, of the only input. Its shape is the model's, of which one size may be any, as it follows from
/// the length. `BYTES` are one element, which has no length before it.
fn raw(body: &Bytes, signature: &Signature) -> Result<InferRequest, CallError> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(CallError::invalid_input(format!(
            "a raw body is one input, and the model takes {}: describe them in JSON, and say by the header \
             Inference-Header-Content-Length how long that is",
            signature.inputs.len()
        )));
    };
    let datatype = Datatype::of_spec(spec);
    let (sizes, data) = match datatype {
        Datatype::Bytes => (one_element(spec)?, Data::Elements(vec![body.clone()])),
        Datatype::Of(dtype) => (raw_sizes(spec, body.len(), dtype.size())?, Data::Raw(body.clone())),
    };
    let shape = shape(spec.name(), &sizes)?;
    let tensor = Tensor { name: spec.name().to_owned(), datatype, shape, data };
    Ok(InferRequest { inputs: vec![tensor], ..InferRequest::default() })
}

fn one_element(spec: &ValueSpec) -> Result<Vec<i64>, CallError> {
    let sizes = sizes(spec);
    if sizes.iter().any(|&size| size > 1) {
        return Err(CallError::invalid_input(format!(
            "a raw body is one element, and input \"{}\" takes more: describe it in JSON",
            spec.name()
        )));
    }
    Ok(sizes.into_iter().map(i64::abs).collect())
}

/// The sizes of an input of `length` bytes.
fn raw_sizes(spec: &ValueSpec, length: usize, element: usize) -> Result<Vec<i64>, CallError> {
    let refused = |problem: String| CallError::invalid_input(format!("input \"{}\": {problem}", spec.name()));
    let mut sizes = sizes(spec);
    let open: Vec<usize> = (0..sizes.len()).filter(|&at| sizes[at] < 0).collect();
    match open.as_slice() {
        [] => {}
        [open] => {
            let inner = sizes.iter().filter(|&&size| size >= 0).map(|&size| usize::try_from(size).unwrap_or(0));
            let inner = inner.product::<usize>().saturating_mul(element);
            if inner == 0 || !length.is_multiple_of(inner) {
                return Err(refused(format!(
                    "expected {spec}, found a raw body of {length} bytes, no multiple of {inner}"
                )));
            }
            sizes[*open] = i64::try_from(length / inner).unwrap_or(i64::MAX);
        }
        several => {
            return Err(refused(format!(
                "its shape does not follow from a raw body, as {} of its sizes are not given: describe it in JSON",
                several.len()
            )));
        }
    }
    Ok(sizes)
}

#[derive(Serialize)]
struct Header<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    model_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
}

/// What an answer says beside its outputs.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The request's.
    pub id: Option<&'a str>,
    /// The model's name.
    pub model_name: &'a str,
    /// Its version, where it has one.
    pub model_version: Option<&'a str>,
}

/// An answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// JSON, and binary data behind it.
    pub body: Vec<u8>,
    /// How many bytes of it are JSON, where there is binary data.
    pub header: Option<usize>,
}

/// Writes an answer.
///
/// # Errors
/// Which output cannot be written as asked.
pub fn encode(answered: Answered<'_>, outputs: &[Output]) -> Result<Encoded, String> {
    let Answered { id, model_name, model_version } = answered;
    let header = Header { id, model_name, model_version };
    let mut body = Vec::with_capacity(256);
    serde_json::to_writer(&mut body, &header).map_err(|error| error.to_string())?;
    // Into the object that is there.
    body.pop();
    body.extend_from_slice(b",\"outputs\":[");
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        self::output(output, &mut body).map_err(|problem| format!("output \"{}\": {problem}", output.tensor.name))?;
    }
    body.extend_from_slice(b"]}");
    let binary = || outputs.iter().filter(|output| output.binary);
    if binary().next().is_none() {
        return Ok(Encoded { body, header: None });
    }
    let header = body.len();
    body.reserve_exact(binary().map(|output| binary_length(&output.tensor)).sum());
    for Output { tensor, .. } in binary() {
        match &tensor.data {
            Data::Raw(data) => body.extend_from_slice(data),
            Data::Elements(elements) => {
                join(elements, &mut body).map_err(|problem| format!("output \"{}\": {problem}", tensor.name))?;
            }
        }
    }
    Ok(Encoded { body, header: Some(header) })
}

fn binary_length(tensor: &Tensor) -> usize {
    match &tensor.data {
        Data::Raw(data) => data.len(),
        Data::Elements(elements) => elements::joined_length(elements),
    }
}

#[derive(Serialize)]
struct About<'a> {
    name: &'a str,
    datatype: Datatype,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
}

#[derive(Serialize)]
struct Parameters {
    binary_data_size: usize,
}

fn output(Output { tensor, binary }: &Output, out: &mut Vec<u8>) -> Result<(), String> {
    let Tensor { name, datatype, shape, .. } = tensor;
    let parameters = binary.then(|| Parameters { binary_data_size: binary_length(tensor) });
    let about = About { name, datatype: *datatype, shape: Shape::dims(shape), parameters };
    serde_json::to_writer(&mut *out, &about).map_err(|error| error.to_string())?;
    if !binary {
        out.pop();
        out.extend_from_slice(b",\"data\":");
        json::write_data(tensor, out)?;
        out.push(b'}');
    }
    Ok(())
}
