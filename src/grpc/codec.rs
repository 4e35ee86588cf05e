//! Messages on their way in. An entry of two bytes can become a struct of hundreds: how many there are is looked at before any
//! is made.

use std::any::TypeId;
use std::marker::PhantomData;

use ekiden_actors::CallError;
use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::inference::{ModelInferRequest, RepositoryModelLoadRequest};
use super::status::refusal;
use crate::oip::{LONGEST_ID, LONGEST_NAME, MOST_PARAMETERS, MOST_TENSORS, MOST_TEXTS};

/// The most bytes or numbers that a shape is written in: many more than the sizes of a tensor take.
const LONGEST_SHAPE: usize = 1024;

/// The codec of all procedures: prost's, but for requests that have more of something than any method takes.
#[derive(Debug)]
pub(super) struct Bounded<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Bounded<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for Bounded<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstDecoder::new(BufferSettings::default()))
    }
}

/// Reads messages.
#[derive(Debug)]
pub(super) struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default + 'static> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The message lies there in one piece.
        let checked = match TypeId::of::<U>() {
            request if request == TypeId::of::<ModelInferRequest>() => check(buf.chunk()),
            request if request == TypeId::of::<RepositoryModelLoadRequest>() => check_load(buf.chunk()),
            _ => Ok(()),
        };
        checked.map_err(|problem| refusal(&CallError::invalid_input(problem)))?;
        if TypeId::of::<U>() == TypeId::of::<ModelInferRequest>() && !is_mostly_raw(buf.chunk()) {
            let decoded = U::decode(buf.chunk()).map_err(|error| Status::internal(error.to_string()))?;
            buf.advance(buf.remaining());
            return Ok(Some(decoded));
        }
        self.0.decode(buf)
    }
}

/// Whether a `ModelInferRequest` is worth keeping for its raw elements, which share its memory. Those of one that has much
/// besides, as fields that nobody knows, are copied, so that it goes when it has been read.
fn is_mostly_raw(message: &[u8]) -> bool {
    let raw = Fields(message).filter(|(number, _)| *number == 7).map(|(_, bytes)| bytes.map_or(0, <[u8]>::len));
    raw.sum::<usize>() >= message.len() - message.len() / 8
}

/// A field: its number, and its bytes where it is counted in bytes.
type Field<'a> = (u32, Option<&'a [u8]>);

/// The fields of a message, up to what cannot be read, which is prost's to refuse.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (number, wire) = decode_key(&mut self.0).ok()?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, number, &mut self.0, DecodeContext::default()).ok()?;
            return Some((number, None));
        }
        let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((number, Some(bytes)))
    }
}

/// How many there are of something.
struct Count {
    what: &'static str,
    most: usize,
    found: usize,
}

impl Count {
    fn of(what: &'static str, most: usize) -> Self {
        Self { what, most, found: 0 }
    }

    fn add(&mut self, more: usize) -> Result<(), String> {
        self.found = self.found.saturating_add(more);
        if self.found <= self.most {
            return Ok(());
        }
        Err(format!("a request can have {} {}, found more", self.most, self.what))
    }
}

/// Looks at a `ModelInferRequest` without taking any memory.
///
/// # Errors
/// What it has too much of.
fn check(message: &[u8]) -> Result<(), String> {
    let mut inputs = Count::of("inputs", MOST_TENSORS);
    let mut outputs = Count::of("outputs", MOST_TENSORS);
    let mut raw = Count::of("raw_input_contents", MOST_TENSORS);
    let mut parameters = Count::of("parameters", MOST_PARAMETERS);
    let mut texts = Count::of("elements of BYTES", MOST_TEXTS);
    for (number, bytes) in Fields(message) {
        let bytes = bytes.unwrap_or_default();
        match number {
            3 => within("the request's id", bytes, LONGEST_ID)?,
            4 => parameters.add(1)?,
            5 => {
                inputs.add(1)?;
                check_input(bytes, &mut texts)?;
            }
            6 => {
                outputs.add(1)?;
                check_output(bytes)?;
            }
            7 => raw.add(1)?,
            _ => {}
        }
    }
    Ok(())
}

/// The same of an order.
fn check_load(message: &[u8]) -> Result<(), String> {
    let mut parameters = Count::of("parameters", MOST_PARAMETERS);
    Fields(message).filter(|(number, _)| *number == 3).try_for_each(|_| parameters.add(1))
}

fn check_input(input: &[u8], texts: &mut Count) -> Result<(), String> {
    let mut parameters = Count::of("parameters of an input", MOST_PARAMETERS);
    let mut shape = Count::of("numbers or bytes in the shape of an input", LONGEST_SHAPE);
    for (number, bytes) in Fields(input) {
        match (number, bytes.unwrap_or_default()) {
            (1, name) => within("the name of an input", name, LONGEST_NAME)?,
            (2, datatype) => within("the datatype of an input", datatype, LONGEST_NAME)?,
            (3, packed) => shape.add(packed.len().max(1))?,
            (4, _) => parameters.add(1)?,
            (5, contents) => texts.add(Fields(contents).filter(|(number, _)| *number == 8).count())?,
            _ => {}
        }
    }
    Ok(())
}

fn check_output(output: &[u8]) -> Result<(), String> {
    let mut parameters = Count::of("parameters of an output", MOST_PARAMETERS);
    for (number, bytes) in Fields(output) {
        match number {
            1 => within("the name of an output", bytes.unwrap_or_default(), LONGEST_NAME)?,
            2 => parameters.add(1)?,
            _ => {}
        }
    }
    Ok(())
}

fn within(what: &str, bytes: &[u8], most: usize) -> Result<(), String> {
    if bytes.len() <= most {
        return Ok(());
    }
    Err(format!("{what} can have {most} bytes, found {}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::inference::InferTensorContents;
    use crate::grpc::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
    use bytes::Bytes;
    use tonic::Streaming;
    use tonic::codec::EncodeBody;

    fn checked(request: &ModelInferRequest) -> Result<(), String> {
        check(&request.encode_to_vec())
    }

    #[test]
    fn more_than_any_method_takes_is_refused_before_it_is_made() {
        let refused = |request: ModelInferRequest, expected: &str| {
            assert_eq!(checked(&request).expect_err(expected), expected);
        };
        let none = ModelInferRequest::default;
        let inputs = |count| ModelInferRequest { inputs: vec![InferInputTensor::default(); count], ..none() };
        assert_eq!(checked(&inputs(MOST_TENSORS)), Ok(()));
        refused(inputs(MOST_TENSORS + 1), "a request can have 4096 inputs, found more");
        let outputs = vec![InferRequestedOutputTensor::default(); MOST_TENSORS + 1];
        refused(ModelInferRequest { outputs, ..none() }, "a request can have 4096 outputs, found more");
        let raw_input_contents = vec![Bytes::new(); MOST_TENSORS + 1];
        refused(
            ModelInferRequest { raw_input_contents, ..none() },
            "a request can have 4096 raw_input_contents, found more",
        );
        let parameters = (0..=MOST_PARAMETERS).map(|at| (at.to_string(), Default::default())).collect();
        refused(ModelInferRequest { parameters, ..none() }, "a request can have 256 parameters, found more");
        let id = "7".repeat(LONGEST_ID + 1);
        refused(ModelInferRequest { id, ..none() }, "the request's id can have 1024 bytes, found 1025");
        let input = |input| ModelInferRequest { inputs: vec![input], ..none() };
        let name = "x".repeat(LONGEST_NAME + 1);
        refused(
            input(InferInputTensor { name, ..Default::default() }),
            "the name of an input can have 256 bytes, found 257",
        );
        let bytes_contents = vec![Bytes::new(); MOST_TEXTS + 1];
        let contents = Some(InferTensorContents { bytes_contents, ..Default::default() });
        refused(
            input(InferInputTensor { contents, ..Default::default() }),
            "a request can have 1048576 elements of BYTES, found more",
        );
        // What is no message is for prost to refuse.
        assert_eq!(check(&[0x2a, 0xff]), Ok(()));
    }

    /// A request with a field that nobody knows.
    #[derive(Clone, PartialEq, Message)]
    struct Padded {
        #[prost(bytes = "vec", repeated, tag = "7")]
        raw_input_contents: Vec<Vec<u8>>,
        #[prost(bytes = "vec", tag = "99")]
        padding: Vec<u8>,
    }

    #[test]
    fn a_message_is_kept_for_its_raw_elements_alone() {
        let room = |padding: usize| {
            let padded = Padded { raw_input_contents: vec![vec![7; 1000]], padding: vec![0; padding] };
            let encoder = ProstEncoder::new(BufferSettings::default());
            let body = EncodeBody::new_client(encoder, tokio_stream::once(Ok(padded)), None, None);
            let decoder = BoundedDecoder(ProstDecoder::<ModelInferRequest>::new(BufferSettings::default()));
            let mut messages = Streaming::new_request(decoder, body, None, None);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let mut message = runtime.block_on(messages.message()).expect("it is read").expect("it is there");
            drop(messages);
            let raw = message.raw_input_contents.remove(0);
            assert_eq!(raw, [7; 1000][..]);
            raw.try_into_mut().expect("nobody else has it").capacity()
        };
        assert!((1000..2000).contains(&room(500_000)), "{}", room(500_000));
        assert!(room(10) > 2000, "it is not copied where the message has nothing else: {}", room(10));
    }
}
