//! Reads anything as a request of the Open Inference Protocol with binary data: `cargo fuzz run v2_binary`.
//!
//! An input's first two bytes say how much of the rest is JSON; none of it, and the rest is a raw input. Whatever it is, it
//! is refused with a message of bounded length, or read and made a call's inputs, which share the body's memory.

#![no_main]

use bytes::Bytes;
use ekiden::oip::{Data, binary};
use ekiden::value::{Batching, Signature, TensorSpec, TextsSpec, ValueKind, ValueSpec};
use libfuzzer_sys::fuzz_target;

/// The longest that a message may be, whatever the request is.
const LONGEST: usize = 2000;

fn signatures() -> [Signature; 4] {
    let of = |inputs: Vec<ValueSpec>, batching| Signature { outputs: inputs.clone(), inputs, batching };
    let rows = Some(Batching { input_dim: 0, output_dim: 0 });
    [
        of(vec![TensorSpec::f32("a", [None, Some(2)]).into()], rows),
        of(vec![TensorSpec::bool("a", [None]).into(), TextsSpec::new("b", [None, Some(2)]).into()], rows),
        of(vec![ValueSpec::of_kind(ValueKind::Bytes, "a")], None),
        of(vec![ValueSpec::of_kind(ValueKind::List, "a"), ValueSpec::of_kind(ValueKind::Json, "b")], None),
    ]
}

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let (header, body) = (usize::from(u16::from_le_bytes(*length)), Bytes::copy_from_slice(rest));
    for signature in &signatures() {
        let request = match binary::decode(&body, header, signature) {
            Ok(request) => request,
            Err(error) => {
                assert!(error.to_string().len() < LONGEST, "{error}");
                continue;
            }
        };
        for tensor in &request.inputs {
            if let Data::Raw(data) = &tensor.data {
                assert!(data.len() <= body.len());
            }
        }
        match request.prepare(signature) {
            Ok(prepared) => {
                // What cannot be run is for the signature to say; what can is answered.
                if signature.check_inputs(&prepared.inputs).is_ok() {
                    let outputs = prepared.wanted.take(signature, prepared.inputs).expect("they fit");
                    assert!(outputs.len() <= signature.outputs.len());
                }
            }
            Err(error) => assert!(error.to_string().len() < LONGEST, "{error}"),
        }
    }
});
