//! Reads anything as a JSON body of a method's inputs: `cargo fuzz run json`.
//!
//! Whatever it is, it is refused with a message of bounded length, or read as what the signature says; and what is read and
//! written is read again as the same.

#![no_main]

use ekiden::codec::json;
use ekiden::value::{DType, Signature, TensorSpec, TextsSpec, ValueKind, ValueSpec};
use libfuzzer_sys::fuzz_target;

/// The longest that a message may be, whatever the body is.
const LONGEST: usize = 2000;

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let dtype = DType::ALL[usize::from(*first) % DType::ALL.len()];
    let inputs: Vec<ValueSpec> = match first >> 4 {
        0..=3 => vec![TensorSpec::any_rank("x", dtype).into()],
        4..=6 => vec![TensorSpec::new("x", dtype, [None, Some(2)]).into()],
        7 => vec![ValueSpec::of_kind(ValueKind::List, "x")],
        8 => vec![ValueSpec::of_kind(ValueKind::Json, "x")],
        9 => vec![ValueSpec::of_kind(ValueKind::Text, "x")],
        10 => vec![TextsSpec::new("x", [None, Some(2)]).into()],
        11 => Vec::new(),
        _ => vec![TensorSpec::new("x", dtype, [None]).into(), ValueSpec::of_kind(ValueKind::Text, "y")],
    };
    let signature = Signature { outputs: inputs.clone(), inputs, batching: None };
    match json::decode(body, &signature) {
        Err(error) => assert!(error.to_string().len() < LONGEST, "{error}"),
        Ok(values) => {
            let mut written = Vec::new();
            json::encode(&signature, &values, &mut written).expect("what was JSON can be");
            let text = String::from_utf8_lossy(&written);
            if signature.inputs.is_empty() {
                return;
            }
            let again = json::decode(&written, &signature).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(again, values, "{text}");
        }
    }
});
