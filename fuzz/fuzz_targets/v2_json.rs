//! Reads anything as a JSON request of the Open Inference Protocol: `cargo fuzz run v2_json`.
//!
//! Whatever it is, it is refused with a message of bounded length, or read. What is read has as many elements as its shape
//! says, once it is a value, and a tensor that is answered with is read back as it was.

#![no_main]

use ekiden::oip::binary::{Answered, encode};
use ekiden::oip::{Datatype, Output, Tensor, json};
use ekiden::value::{TensorSpec, TextsSpec, Value, ValueKind, ValueSpec};
use libfuzzer_sys::fuzz_target;

/// The longest that a message may be, whatever the request is.
const LONGEST: usize = 2000;

fuzz_target!(|body: &[u8]| {
    let request = match json::decode(body) {
        Ok(request) => request,
        Err(error) => return assert!(error.to_string().len() < LONGEST, "{error}"),
    };
    for tensor in request.inputs {
        let open = vec![None; tensor.shape.rank()];
        let specs = match tensor.datatype {
            Datatype::Of(dtype) => vec![ValueSpec::from(TensorSpec::new(tensor.name.as_str(), dtype, &open))],
            Datatype::Bytes => {
                let kinds = [ValueKind::List, ValueKind::Text, ValueKind::Json, ValueKind::Bytes];
                let texts = ValueSpec::from(TextsSpec::new("x", &open));
                kinds.into_iter().map(|kind| ValueSpec::of_kind(kind, "x")).chain([texts]).collect()
            }
        };
        for spec in specs {
            let value = tensor.clone().into_value(&spec);
            if let (Datatype::Of(_), Ok(Value::Tensor(array))) = (tensor.datatype, &value) {
                assert_eq!(array.shape(), &tensor.shape);
            }
            if let Ok(value) = value
                && spec.check(&value).is_ok()
            {
                written_is_read(Tensor::of_value(&spec, value).expect("a value that fits its spec"));
            }
        }
    }
});

/// What is answered in JSON is read back as the same, but for numbers that JSON has no words for.
fn written_is_read(tensor: Tensor) {
    let answered = Answered { id: None, model_name: "m", model_version: None };
    let output = Output { tensor, binary: false };
    let Ok(encoded) = encode(answered, std::slice::from_ref(&output)) else { return };
    let text = String::from_utf8(encoded.body).expect("JSON is UTF-8");
    let request = text.replacen("\"outputs\":[", "\"inputs\":[", 1);
    let read = json::decode(request.as_bytes()).unwrap_or_else(|error| panic!("{error}: {request}"));
    assert_eq!(read.inputs.first(), Some(&output.tensor), "{request}");
}
