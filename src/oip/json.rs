//! Requests in JSON: what each member says, and numbers straight into flat arrays.
//!
//! Of a tensor, `data` is an array of its elements in row-major order, or arrays of arrays as its shape has them. It may come
//! before the datatype; then it is skipped, and read when that is known.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use ekiden_actors::CallError;
use serde::de::IgnoredAny;

use super::datatype::Datatype;
use super::parameters::Parameter;
use super::request::{InferRequest, RequestedOutput};
use super::tensor::{Data, Tensor, shape};
use super::{LONGEST_ID, LONGEST_NAME, MOST_PARAMETERS, MOST_TENSORS, MOST_TEXTS};
use crate::codec::DecodeError;
use crate::codec::json::{self, Scanner, excerpt, found};
use crate::value::{Array, Shape, TensorSpec};

/// A request as its JSON has it.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) request: InferRequest,
    /// How many bytes of binary data each input has; `None` where its data was in the JSON.
    pub(super) binary: Vec<Option<u64>>,
}

/// Reads a request without binary data.
///
/// # Errors
/// [`CallError::InvalidInput`], which says what is wrong, and where.
pub fn decode(body: &[u8]) -> Result<InferRequest, CallError> {
    let decoded = read(body)?;
    let binary = decoded.request.inputs.iter().zip(&decoded.binary).find(|(_, binary)| binary.is_some());
    match binary {
        Some((tensor, _)) => Err(CallError::invalid_input(format!(
            "input \"{}\" has binary_data_size, and no header Inference-Header-Content-Length says where binary data begins",
            excerpt(tensor.name.as_bytes())
        ))),
        None => Ok(decoded.request),
    }
}

/// Reads all but binary data, which the inputs lack then.
pub(super) fn read(body: &[u8]) -> Result<Decoded, CallError> {
    let mut scanner = Scanner::new(body);
    request(&mut scanner).map_err(|error| CallError::invalid_input(error.to_string()))
}

/// A problem that is found by what knows nothing of the body.
fn at(problem: CallError, at: usize) -> DecodeError {
    DecodeError::new(format!("{problem} (byte {at})"))
}

fn request(scanner: &mut Scanner<'_>) -> Result<Decoded, DecodeError> {
    let mut request = InferRequest::default();
    let mut binary = Vec::new();
    let mut has_inputs = false;
    let (mut names, mut texts) = (HashSet::new(), 0);
    scanner.skip_space();
    members(scanner, "the request, an object", |scanner, name, _| match name {
        b"id" => {
            request.id = Some(text(scanner, "\"id\"", LONGEST_ID)?);
            Ok(())
        }
        b"parameters" => {
            for (name, value, place) in parameters(scanner, "\"parameters\"")? {
                request.parameters.set(&name, &value).map_err(|problem| at(problem, place))?;
            }
            Ok(())
        }
        b"inputs" => {
            has_inputs = true;
            json::array(scanner, "\"inputs\", an array", |scanner| {
                let (tensor, size) = input(scanner)?;
                if !names.insert(tensor.name.clone()) {
                    let name = excerpt(tensor.name.as_bytes());
                    return Err(DecodeError::new(format!(
                        "input \"{name}\" comes a second time (byte {})",
                        scanner.at
                    )));
                }
                has_room(request.inputs.len(), "inputs", scanner)?;
                texts += if let Data::Elements(elements) = &tensor.data { elements.len() } else { 0 };
                if texts > MOST_TEXTS {
                    let problem = format!("a request can have {MOST_TEXTS} elements of BYTES, found more");
                    return Err(DecodeError::new(format!("{problem} (byte {})", scanner.at)));
                }
                request.inputs.push(tensor);
                binary.push(size);
                Ok(())
            })
        }
        b"outputs" => json::array(scanner, "\"outputs\", an array", |scanner| {
            has_room(request.outputs.len(), "outputs", scanner)?;
            request.outputs.push(output(scanner)?);
            Ok(())
        }),
        _ => skip(scanner, name),
    })?;
    scanner.skip_space();
    if !scanner.rest().is_empty() {
        let found = found(scanner.body, scanner.at);
        return Err(DecodeError::new(format!("expected the end of the JSON at byte {}, found {found}", scanner.at)));
    }
    if !has_inputs {
        return Err(DecodeError::new("the request has no \"inputs\", an array of tensors"));
    }
    Ok(Decoded { request, binary })
}

fn has_room(count: usize, what: &str, scanner: &Scanner<'_>) -> Result<(), DecodeError> {
    if count < MOST_TENSORS {
        return Ok(());
    }
    Err(DecodeError::new(format!("a request can have {MOST_TENSORS} {what}, found more (byte {})", scanner.at)))
}

/// Reads an object. A member that comes twice would mean one thing or the other.
fn members<'a>(
    scanner: &mut Scanner<'a>,
    what: &str,
    mut member: impl FnMut(&mut Scanner<'a>, &[u8], usize) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    const KNOWN: [&[u8]; 8] = [b"id", b"inputs", b"outputs", b"parameters", b"name", b"shape", b"datatype", b"data"];
    let mut seen = [false; KNOWN.len()];
    json::object(scanner, what, |scanner, name, place| {
        if let Some(known) = KNOWN.iter().position(|known| *known == name)
            && std::mem::replace(&mut seen[known], true)
        {
            let name = excerpt(name);
            return Err(DecodeError::new(format!("{what}, has \"{name}\" a second time (byte {place})")));
        }
        member(scanner, name, place)
    })
}

/// A text of at most so many bytes.
fn text(scanner: &mut Scanner<'_>, what: &str, most: usize) -> Result<String, DecodeError> {
    let place = scanner.at;
    let text: String = scanner.serde(|| what.to_owned())?;
    if text.len() > most {
        let length = text.len();
        return Err(DecodeError::new(format!("{what} can have {most} bytes, found {length} (byte {place})")));
    }
    Ok(text)
}

/// Members that are not known here belong to extensions that are not advertised, and are skipped.
fn skip(scanner: &mut Scanner<'_>, name: &[u8]) -> Result<(), DecodeError> {
    scanner.serde::<IgnoredAny>(|| format!("\"{}\"", excerpt(name))).map(drop)
}

/// Parameters, each with where its name stands.
fn parameters(scanner: &mut Scanner<'_>, what: &str) -> Result<Vec<(String, Parameter, usize)>, DecodeError> {
    let mut parameters = BTreeMap::new();
    json::object(scanner, &format!("{what}, an object"), |scanner, name, at| {
        if parameters.len() == MOST_PARAMETERS {
            return Err(DecodeError::new(format!("{what} can have {MOST_PARAMETERS}, found more (byte {at})")));
        }
        let value = scanner.serde::<Parameter>(|| format!("parameter \"{}\"", excerpt(name)))?;
        if parameters.insert(String::from_utf8_lossy(name).into_owned(), (value, at)).is_some() {
            let name = excerpt(name);
            return Err(DecodeError::new(format!("{what} have \"{name}\" a second time (byte {at})")));
        }
        Ok(())
    })?;
    Ok(parameters.into_iter().map(|(name, (value, at))| (name, value, at)).collect())
}

fn output(scanner: &mut Scanner<'_>) -> Result<RequestedOutput, DecodeError> {
    let mut output = RequestedOutput::default();
    let (mut set, start) = (Vec::new(), scanner.at);
    members(scanner, "an output, an object", |scanner, name, _| match name {
        b"name" => {
            output.name = text(scanner, "the name of an output", LONGEST_NAME)?;
            Ok(())
        }
        b"parameters" => {
            set = parameters(scanner, "\"parameters\" of an output")?;
            Ok(())
        }
        _ => skip(scanner, name),
    })?;
    if output.name.is_empty() {
        return Err(DecodeError::new(format!("an output has no \"name\" (byte {start})")));
    }
    for (name, value, place) in set {
        output.set(&name, &value).map_err(|problem| at(problem, place))?;
    }
    Ok(output)
}

/// What is known of an input so far.
#[derive(Default)]
struct Input {
    name: Option<String>,
    datatype: Option<Datatype>,
    shape: Option<Vec<i64>>,
    binary: Option<u64>,
    /// What was read of `data`, or where it stands.
    data: Option<(usize, Option<Read>)>,
}

/// Elements that were read, and the sizes of the arrays that they were in.
struct Read {
    data: Data,
    sizes: Shape,
}

impl Input {
    fn name(&self) -> String {
        self.name.as_deref().map_or_else(|| "without a name yet".to_owned(), |name| excerpt(name.as_bytes()))
    }
}

fn input(scanner: &mut Scanner<'_>) -> Result<(Tensor, Option<u64>), DecodeError> {
    let (mut input, start) = (Input::default(), scanner.at);
    members(scanner, "an input, an object", |scanner, member, _| {
        match member {
            b"name" => input.name = Some(text(scanner, "the name of an input", LONGEST_NAME)?),
            b"datatype" => input.datatype = Some(datatype(scanner, &input)?),
            b"shape" => input.shape = Some(scanner.serde(|| format!("input \"{}\": \"shape\"", input.name()))?),
            b"parameters" => {
                for (name, value, place) in parameters(scanner, "\"parameters\" of an input")? {
                    Tensor::check_parameter(&input.name(), &name).map_err(|problem| at(problem, place))?;
                    if name == "binary_data_size" {
                        input.binary = Some(value.count(&name).map_err(|problem| at(problem, place))?);
                    }
                }
            }
            b"data" => {
                let start = scanner.at;
                let data = match input.datatype {
                    Some(datatype) => Some(elements(scanner, &input.name(), datatype)?),
                    None => {
                        skip(scanner, member)?;
                        None
                    }
                };
                input.data = Some((start, data));
            }
            _ => skip(scanner, member)?,
        }
        Ok(())
    })?;
    finish(scanner, input, start)
}

fn datatype(scanner: &mut Scanner<'_>, input: &Input) -> Result<Datatype, DecodeError> {
    let place = scanner.at;
    let name: String = scanner.serde(|| format!("input \"{}\": \"datatype\"", input.name()))?;
    Datatype::of_name(&name).ok_or_else(|| {
        let known: Vec<&str> = Datatype::all().map(Datatype::name).collect();
        DecodeError::new(format!(
            "input \"{}\": there is no datatype \"{}\" (byte {place}); there are: {}",
            input.name(),
            excerpt(name.as_bytes()),
            known.join(", ")
        ))
    })
}

/// An input of which all has been read, or skipped.
fn finish(scanner: &Scanner<'_>, input: Input, start: usize) -> Result<(Tensor, Option<u64>), DecodeError> {
    let shown = input.name();
    let Input { name, datatype, shape: sizes, binary, data } = input;
    let name = name.ok_or_else(|| DecodeError::new(format!("an input has no \"name\" (byte {start})")))?;
    let lacks = |member: &str| DecodeError::new(format!("input \"{shown}\" has no \"{member}\" (byte {start})"));
    let datatype = datatype.ok_or_else(|| lacks("datatype"))?;
    let shape = shape(&shown, &sizes.ok_or_else(|| lacks("shape"))?).map_err(|problem| at(problem, start))?;
    let data = match (data, binary) {
        (Some(_), Some(_)) => {
            let problem =
                format!("input \"{shown}\" has both \"data\" and binary_data_size (byte {start}): send one of them");
            return Err(DecodeError::new(problem));
        }
        (None, None) => return Err(lacks("data")),
        // It is filled in from behind the JSON.
        (None, Some(_)) => Data::Raw(Bytes::new()),
        (Some((place, read)), None) => {
            let read = match read {
                Some(read) => read,
                None => elements(&mut Scanner { at: place, ..*scanner }, &shown, datatype)?,
            };
            check_sizes(&shown, &read.sizes, &shape, place)?;
            read.data
        }
    };
    Ok((Tensor { name, datatype, shape, data }, binary))
}

fn elements(scanner: &mut Scanner<'_>, name: &str, datatype: Datatype) -> Result<Read, DecodeError> {
    let Datatype::Of(dtype) = datatype else {
        has_few_texts(scanner, name)?;
        let (elements, sizes) = json::texts(scanner, name)?;
        return Ok(Read { data: Data::Elements(elements), sizes });
    };
    let (_, sizes, data) = json::tensor(scanner, &TensorSpec::any_rank(name, dtype))?.into_parts();
    Ok(Read { data: Data::Raw(data), sizes })
}

/// Looks how many texts follow, before any of them is made: a text of three bytes takes ten times as many.
fn has_few_texts(scanner: &Scanner<'_>, name: &str) -> Result<(), DecodeError> {
    let mut ahead = Scanner { ..*scanner };
    skip(&mut ahead, b"data")?;
    let data = scanner.body.get(scanner.at..ahead.at).unwrap_or_default();
    let (mut quotes, mut escaped) = (0_usize, false);
    for &byte in data {
        quotes += usize::from(byte == b'"' && !escaped);
        escaped = byte == b'\\' && !escaped;
    }
    let texts = quotes / 2;
    if texts <= MOST_TEXTS {
        return Ok(());
    }
    let problem = format!("a request can have {MOST_TEXTS} elements of BYTES, found {texts}");
    Err(DecodeError::new(format!("input \"{name}\": {problem} (byte {})", scanner.at)))
}

/// Elements may be nested as the shape says, or not at all.
fn check_sizes(name: &str, found: &Shape, shape: &Shape, place: usize) -> Result<(), DecodeError> {
    let (has, takes) = (found.elements(), shape.elements());
    if found == shape || (found.rank() <= 1 && has == takes) || (has == Some(0) && takes == Some(0)) {
        return Ok(());
    }
    let count = |elements: Option<usize>| elements.map_or_else(|| "too many".to_owned(), |count| count.to_string());
    let problem = if has == takes {
        format!("its data is nested as {found}, its shape is {shape}")
    } else {
        format!("its data has {} elements, its shape {shape} takes {}", count(has), count(takes))
    };
    Err(DecodeError::new(format!("input \"{name}\": {problem} (byte {place})")))
}

/// Writes an output's elements as one flat array.
///
/// # Errors
/// A `BYTES` element is not UTF-8, which JSON's strings are.
pub(super) fn write_data(tensor: &Tensor, out: &mut Vec<u8>) -> Result<(), String> {
    match (&tensor.datatype, &tensor.data) {
        (Datatype::Of(dtype), Data::Raw(data)) => {
            let array = Array::from_bytes(*dtype, tensor.shape.clone(), data.clone());
            json::flat(&array.map_err(|error| error.to_string())?, out);
        }
        (_, Data::Elements(elements)) => {
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let text = std::str::from_utf8(element).map_err(|_| {
                    format!("element {index} is not UTF-8, as JSON must be: ask for it with binary_data")
                })?;
                serde_json::to_writer(&mut *out, text).map_err(|error| error.to_string())?;
            }
            out.push(b']');
        }
        (Datatype::Bytes, Data::Raw(_)) => return Err("its elements were not taken apart".to_owned()),
    }
    Ok(())
}
