//! Reads anything as a gRPC request for an inference: `cargo fuzz run grpc_raw`.
//!
//! An input's first byte says whether the rest is the message itself, or the elements and sizes of a tensor of one of the
//! datatypes, in a message that is whole otherwise: raw, or cut into typed elements. Whatever it is, it is refused as
//! an input that does not fit, or it becomes inputs of a method of that signature; and what comes back of them is what was
//! sent.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use ekiden::grpc::inference::model_infer_request::InferInputTensor;
use ekiden::grpc::inference::{InferTensorContents, ModelInferRequest};
use ekiden::grpc::read;
use ekiden::oip::{Data, Datatype, Tensor};
use ekiden::value::{Signature, TensorSpec, TextsSpec, ValueKind, ValueSpec};
use libfuzzer_sys::fuzz_target;
use prost::Message;

/// One for each datatype, of any rank, and for each kind that is no tensor.
static SPECS: LazyLock<Vec<ValueSpec>> = LazyLock::new(|| {
    let tensors = Datatype::all().filter_map(|datatype| match datatype {
        Datatype::Of(dtype) => Some(ValueSpec::Tensor(TensorSpec::any_rank("x", dtype))),
        Datatype::Bytes => None,
    });
    let kinds = [ValueKind::List, ValueKind::Json, ValueKind::Text, ValueKind::Bytes];
    let others = kinds.into_iter().map(|kind| ValueSpec::of_kind(kind, "x"));
    let texts = [ValueSpec::Texts(TextsSpec::new("x", [None])), ValueSpec::Texts(TextsSpec::new("x", [None, Some(2)]))];
    tensors.chain(others).chain(texts).collect()
});

fuzz_target!(|input: &[u8]| {
    let Some((&[first, second], rest)) = input.split_first_chunk::<2>() else { return };
    let spec = &SPECS[usize::from(second) % SPECS.len()];
    let message = match first % 3 {
        0 => ModelInferRequest::decode(Bytes::copy_from_slice(rest)).ok(),
        1 => tensor(spec, rest).map(|(mut message, elements)| {
            message.raw_input_contents.push(elements);
            message
        }),
        _ => tensor(spec, rest).map(|(mut message, elements)| {
            message.inputs[0].contents = Some(typed(&elements));
            message
        }),
    };
    let Some(message) = message else { return };
    let signature = Signature { inputs: vec![spec.clone()], outputs: Vec::new(), batching: None, streams: false };
    let sent = message.raw_input_contents.first().cloned();
    match read(message).and_then(|request| request.prepare(&signature)) {
        Err(error) => assert_eq!(error.code(), "invalid_input", "{error}"),
        Ok(prepared) => {
            if signature.check_inputs(&prepared.inputs).is_err() {
                return;
            }
            for value in prepared.inputs {
                let tensor = Tensor::of_value(spec, value).expect("it has just been read");
                if let (Data::Raw(raw), Some(sent)) = (tensor.data, &sent) {
                    assert_eq!(raw, sent);
                }
            }
        }
    }
});

/// A message with one input and no elements; and the elements. Up to three sizes come first, each of a byte.
fn tensor(spec: &ValueSpec, input: &[u8]) -> Option<(ModelInferRequest, Bytes)> {
    let (&rank, rest) = input.split_first()?;
    let (sizes, elements) = rest.split_at_checked(usize::from(rank % 4))?;
    let input = InferInputTensor {
        name: "x".to_owned(),
        datatype: Datatype::of_spec(spec).name().to_owned(),
        // Some are negative, and those of two bytes large.
        shape: sizes.iter().map(|&size| i64::from(size.cast_signed()) << (8 * (rank / 128))).collect(),
        ..InferInputTensor::default()
    };
    let message = ModelInferRequest { inputs: vec![input], ..ModelInferRequest::default() };
    Some((message, Bytes::copy_from_slice(elements)))
}

/// Elements in the list that the first byte says, or in two.
fn typed(elements: &Bytes) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    let Some((&list, bytes)) = elements.split_first() else { return contents };
    for list in [list % 8, (list >> 3) % 16] {
        match list {
            0 => contents.bool_contents = bytes.iter().map(|byte| byte % 2 == 1).collect(),
            1 => contents.int_contents = bytes.iter().map(|&byte| i32::from(byte.cast_signed()) * 3).collect(),
            2 => contents.int64_contents = bytes.iter().map(|&byte| byte.into()).collect(),
            3 => contents.uint_contents = bytes.iter().map(|&byte| u32::from(byte) * 300).collect(),
            4 => contents.uint64_contents = bytes.iter().map(|&byte| byte.into()).collect(),
            5 => contents.fp32_contents = bytes.iter().map(|&byte| byte.into()).collect(),
            6 => contents.fp64_contents = bytes.iter().map(|&byte| byte.into()).collect(),
            7 => contents.bytes_contents = bytes.chunks(3).map(Bytes::copy_from_slice).collect(),
            _ => {}
        }
    }
    contents
}
