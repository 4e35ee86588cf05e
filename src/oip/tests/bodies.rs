//! The bodies of HTTP requests and answers.

use bytes::Bytes;
use proptest::prelude::*;

use crate::oip::binary::{self, Answered, Encoded};
use crate::oip::{Data, Datatype, InferRequest, Output, Parameters, RequestedOutput, Tensor, json};
use crate::value::{Array, DType, Shape, Signature, TensorSpec, TextsSpec, ValueKind, ValueSpec};

use super::tensors::raw;

fn signature(inputs: Vec<ValueSpec>) -> Signature {
    Signature { inputs, outputs: Vec::new(), batching: None, streams: false }
}

/// Reads a request of one input, and returns it.
#[track_caller]
fn sole(body: &str) -> Tensor {
    let mut request = json::decode(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    assert_eq!(request.inputs.len(), 1);
    request.inputs.remove(0)
}

fn array<T: crate::value::Element>(elements: Vec<T>, sizes: &[usize]) -> Data {
    Data::Raw(Array::new(elements, sizes).expect("fits").into_parts().2)
}

#[test]
fn all_of_a_request_is_read() {
    let body = r#" {"id": "7", "model_name": "ignored", "parameters": {"priority": 1, "timeout": 2500, "own": [1]},
        "inputs": [{"name": "a", "shape": [2], "datatype": "INT32", "parameters": {"own": 1}, "data": [1, -2]}],
        "outputs": [{"name": "b"}, {"name": "c", "parameters": {"classification": 3, "binary_data": true}}]} "#;
    let request = json::decode(body.as_bytes()).expect("is read");
    let b = RequestedOutput { name: "b".into(), ..RequestedOutput::default() };
    let c = RequestedOutput { name: "c".into(), classification: 3, binary_data: Some(true) };
    assert_eq!(
        request,
        InferRequest {
            id: Some("7".into()),
            parameters: Parameters { priority: 1, timeout: 2500, binary_data_output: false },
            inputs: vec![Tensor {
                data: array(vec![1_i32, -2], &[2]),
                ..raw("a", Datatype::Of(DType::I32), &[2], &[])
            }],
            outputs: vec![b, c],
        }
    );
}

#[test]
fn data_is_nested_or_flat_and_may_come_first() {
    let check = |shape: &str, data: &str, expected: &[f32]| {
        let first = format!(r#"{{"inputs":[{{"data":{data},"name":"x","datatype":"FP32","shape":{shape}}}]}}"#);
        let last = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"data":{data}}}]}}"#);
        assert_eq!(sole(&first), sole(&last));
        assert_eq!(sole(&last).data, array(expected.to_vec(), &[expected.len()]), "{shape} {data}");
    };
    check("[2,2]", "[[1,2],[3,4]]", &[1.0, 2.0, 3.0, 4.0]);
    check("[2,2]", "[1,2,3,4.5]", &[1.0, 2.0, 3.0, 4.5]);
    check("[]", "[7]", &[7.0]);
    check("[]", "7", &[7.0]);
    check("[0]", "[]", &[]);
    check("[2,0]", "[[],[]]", &[]);
    check("[2,0]", "[]", &[]);
    check("[1,1,1]", "[[[1e3]]]", &[1000.0]);
    let words = |shape: &str, data: &str| {
        sole(&format!(r#"{{"inputs":[{{"name":"x","datatype":"BYTES","shape":{shape},"data":{data}}}]}}"#)).data
    };
    let expected = |words: &[&'static str]| Data::Elements(words.iter().map(|&word| Bytes::from(word)).collect());
    assert_eq!(words("[2]", r#"["a","\u00e4\n"]"#), expected(&["a", "ä\n"]));
    assert_eq!(words("[2,1]", r#"[["a"],["b"]]"#), expected(&["a", "b"]));
    assert_eq!(words("[2,1]", r#"["a","b"]"#), expected(&["a", "b"]));
    assert_eq!(words("[0]", "[]"), expected(&[]));
}

#[test]
fn every_datatype_has_numbers() {
    for (datatype, data, bytes) in [
        ("BOOL", "[true,false]", vec![1, 0]),
        ("UINT8", "[255,0]", vec![255, 0]),
        ("INT16", "[-2,1]", vec![254, 255, 1, 0]),
        ("UINT64", "[18446744073709551615]", vec![255; 8]),
        ("FP16", "[1,-2]", vec![0, 0x3c, 0, 0xc0]),
        ("BF16", "[1]", vec![0x80, 0x3f]),
        ("FP64", "[0.5]", vec![0, 0, 0, 0, 0, 0, 0xe0, 0x3f]),
    ] {
        let count = data.split(',').count();
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":[{count}],"data":{data}}}]}}"#);
        assert_eq!(sole(&body).data, Data::Raw(bytes.into()), "{datatype}");
    }
}

#[test]
fn what_is_wrong_with_json_is_said() {
    let check = |body: &str, part: &str| {
        let problem = json::decode(body.as_bytes()).expect_err(body).to_string();
        assert!(problem.contains(part), "`{part}` is not in `{problem}`");
    };
    let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"x",{rest}}}]}}"#);
    check("", "expected the request, an object, found the end of the body");
    check("[]", "expected the request, an object, found an array");
    check("{}", "no \"inputs\"");
    check(r#"{"inputs":[]} x"#, "expected the end of the JSON at byte 14, found `x`");
    check(r#"{"inputs":[] "#, "expected `,` or `}` of the request, an object at byte 13");
    check(r#"{"inputs":7}"#, "expected \"inputs\", an array, found 7 (byte 10)");
    check(r#"{"inputs":[7]}"#, "expected an input, an object, found 7");
    check(r#"{"id":7,"inputs":[]}"#, "\"id\": invalid type: integer `7`, expected a string (byte 6)");
    check(
        r#"{"parameters":{"timeout":-1},"inputs":[]}"#,
        "\"timeout\": expected a whole number from 0 on, found -1 (byte 15)",
    );
    check(r#"{"parameters":{"sequence_id":5},"inputs":[]}"#, "sequences are not supported");
    check(r#"{"inputs":[{"shape":[1]}]}"#, "an input has no \"name\" (byte 11)");
    check(&input(r#""shape":[1]"#), "input \"x\" has no \"datatype\"");
    check(&input(r#""datatype":"FP32""#), "input \"x\" has no \"shape\"");
    check(&input(r#""datatype":"FP32","shape":[1]"#), "input \"x\" has no \"data\"");
    check(&input(r#""datatype":"FP8","shape":[1]"#), "there is no datatype \"FP8\" (byte 34); there are: BOOL, UINT8");
    check(&input(r#""datatype":"FP32","shape":[-1],"data":[1]"#), "dimension 0 of its shape is -1");
    check(&input(r#""datatype":"FP32","shape":"1","data":[1]"#), "input \"x\": \"shape\": invalid type");
    check(&input(r#""datatype":"FP32","shape":[3],"data":[1,2]"#), "has 2 elements, its shape [3] takes 3 (byte");
    check(
        &input(r#""datatype":"FP32","shape":[4,1],"data":[[1,2],[3,4]]"#),
        "is nested as [2, 2], its shape is [4, 1]",
    );
    check(
        &input(r#""datatype":"FP32","shape":[2],"data":[1,"a"]"#),
        "input \"x\" at [1]: expected float32, found a string",
    );
    check(&input(r#""datatype":"INT8","shape":[1],"data":[128]"#), "found 128, which is out of its range");
    check(&input(r#""datatype":"BYTES","shape":[2],"data":["a",1]"#), "input \"x\": invalid type: integer `1`");
    check(&input(r#""datatype":"BYTES","shape":[2],"data":[["a"],["b","c"]]"#), "of different sizes");
    check(&input(r#""data":[1],"data":[1]"#), "\"data\" a second time");
    check(&input(r#""parameters":{"shared_memory_region":"r"}"#), "shared memory is not supported");
    let size = r#""datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}"#;
    check(&input(size), "no header Inference-Header-Content-Length");
    check(&input(&format!("{size},\"data\":[1]")), "has both \"data\" and binary_data_size");
    let one = r#"{"name":"x","datatype":"INT8","shape":[1],"data":[1]}"#;
    check(&format!(r#"{{"inputs":[{one},{one}]}}"#), "input \"x\" comes a second time");
    check(r#"{"inputs":[],"outputs":[{}]}"#, "an output has no \"name\"");
    let long = "x".repeat(100_000);
    for body in [
        format!(r#"{{"id":["{long}"],"inputs":[]}}"#),
        input(&format!(r#""shape":"{long}""#)),
        input(&format!(r#""datatype":"{long}""#)),
        input(&format!(r#""parameters":{{"shared_memory_{long}":1}}"#)),
        format!(r#"{{"inputs":[],"outputs":[{{"name":"{long}","parameters":{{"shared_memory_region":1}}}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"{long}"}}]}}"#),
    ] {
        let problem = json::decode(body.as_bytes()).expect_err("is refused").to_string();
        assert!(problem.len() < 500, "{}: {problem}", problem.len());
    }
    let many: Vec<String> = (0..5000).map(|at| one.replace("\"x\"", &format!("\"x{at}\""))).collect();
    check(&format!(r#"{{"inputs":[{}]}}"#, many.join(",")), "a request can have 4096 inputs, found more");
    let shared = r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_offset":0}}]}"#;
    check(shared, "output \"y\": parameter \"shared_memory_offset\": shared memory is not supported");
}

#[test]
fn requests_have_bounds_and_each_member_once() {
    let check = |body: String, expected: &str| {
        let problem = json::decode(body.as_bytes()).expect_err(expected).to_string();
        assert!(problem.contains(expected), "{problem}");
    };
    let long = "x".repeat(1025);
    check(format!(r#"{{"id":"{long}","inputs":[]}}"#), "\"id\" can have 1024 bytes, found 1025");
    check(format!(r#"{{"inputs":[{{"name":"{long}"}}]}}"#), "the name of an input can have 256 bytes, found 1025");
    check(r#"{"inputs":[],"inputs":[]}"#.into(), "the request, an object, has \"inputs\" a second time (byte 13)");
    let twice = r#"{"inputs":[],"parameters":{"priority":1,"priority":2}}"#;
    check(twice.into(), "\"parameters\" have \"priority\" a second time (byte 40)");
    let many: Vec<String> = (0..257).map(|at| format!("\"p{at}\":[[]]")).collect();
    check(format!(r#"{{"inputs":[],"parameters":{{{}}}}}"#, many.join(",")), "\"parameters\" can have 256");
    let texts = vec!["\"\""; (1 << 20) + 1].join(",");
    let input = |data: &str| format!(r#"{{"name":"x","datatype":"BYTES","shape":[0],"data":[{data}]}}"#);
    check(format!(r#"{{"inputs":[{}]}}"#, input(&texts)), "1048576 elements of BYTES, found 1048577");
}

/// A body of JSON and what follows.
fn body(json: &str, data: &[u8]) -> (Bytes, usize) {
    (Bytes::from([json.as_bytes(), data].concat()), json.len())
}

#[test]
fn binary_data_follows_in_the_inputs_order() {
    let json = r#"{"inputs":[
        {"name":"a","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}},
        {"name":"b","datatype":"UINT8","shape":[1],"data":[9]},
        {"name":"c","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}]}"#;
    let (body, header) = body(json, b"123\x02\0\0\0hi");
    let inputs = binary::decode(&body, header, &signature(Vec::new())).expect("is read").inputs;
    let data: Vec<&Data> = inputs.iter().map(|input| &input.data).collect();
    assert_eq!(data, [&Data::Raw("123".into()), &Data::Raw(vec![9].into()), &Data::Raw("\x02\0\0\0hi".into())]);
    let Data::Raw(first) = data[0] else { panic!("raw data") };
    assert_eq!(first.as_ptr(), body[header..].as_ptr(), "it shares the body's memory");
}

#[test]
fn binary_data_that_does_not_fit_is_refused() {
    let json = r#"{"inputs":[{"name":"a","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}}]}"#;
    let check = |data: &[u8], header: Option<usize>, part: &str| {
        let (body, length) = body(json, data);
        let decoded = binary::decode(&body, header.unwrap_or(length), &signature(Vec::new()));
        let problem = decoded.expect_err("is refused").to_string();
        assert!(problem.contains(part), "`{part}` is not in `{problem}`");
    };
    check(b"12", None, "input \"a\": its binary_data_size is 3, and 2 bytes of the body are left");
    check(b"1234", None, "the body has 1 bytes more than its inputs' binary_data_size say");
    check(b"123", Some(1000), "Inference-Header-Content-Length is 1000, and the body has ");
    check(b"123", Some(20), "EOF while parsing");
    let huge = json.replace("_size\":3", "_size\":18446744073709551615");
    let problem = binary::decode(&body(&huge, b"123").0, huge.len(), &signature(Vec::new())).expect_err("is refused");
    assert!(problem.to_string().contains("18446744073709551615"), "{problem}");
}

#[test]
fn a_body_may_be_nothing_but_an_input() {
    let decode = |spec: ValueSpec, body: &'static [u8]| {
        let request = binary::decode(&Bytes::from_static(body), 0, &signature(vec![spec]));
        request.map(|mut request| request.inputs.remove(0)).map_err(|error| error.to_string())
    };
    let shape = |spec: TensorSpec, body| decode(spec.into(), body).map(|tensor| tensor.shape.dims().to_vec());
    assert_eq!(shape(TensorSpec::f32("x", [None, Some(2)]), &[0; 24]), Ok(vec![3, 2]));
    assert_eq!(shape(TensorSpec::u8("x", [Some(5)]), b"abcde"), Ok(vec![5]));
    assert_eq!(shape(TensorSpec::any_rank("x", DType::I16), &[0; 6]), Ok(vec![3]));
    let refused = |spec: TensorSpec, body, part: &str| {
        let problem = shape(spec, body).expect_err("is refused");
        assert!(problem.contains(part), "`{part}` is not in `{problem}`");
    };
    refused(TensorSpec::f32("x", [None, Some(2)]), &[0; 20], "a raw body of 20 bytes, no multiple of 8");
    refused(TensorSpec::f32("x", [None, None]), &[0; 8], "2 of its sizes are not given");
    let text = decode(ValueSpec::of_kind(ValueKind::Text, "x"), b"hello").expect("is read");
    assert_eq!((text.data, text.shape), (Data::Elements(vec!["hello".into()]), Shape::new(&[1])));
    let words = decode(TextsSpec::new("x", [None, Some(1)]).into(), b"hello").expect("is read");
    assert_eq!(words.shape, Shape::new(&[1, 1]));
    assert!(decode(TextsSpec::new("x", [None, Some(2)]).into(), b"hello").is_err());
    let two = vec![ValueSpec::of_kind(ValueKind::Text, "x"), ValueSpec::of_kind(ValueKind::Text, "y")];
    let problem = binary::decode(&Bytes::new(), 0, &signature(two)).expect_err("is refused").to_string();
    assert!(problem.contains("a raw body is one input, and the model takes 2"), "{problem}");
}

#[test]
fn answers_are_json_with_binary_data_behind() {
    let output = |tensor: Tensor, binary| Output { tensor, binary };
    let numbers = || raw("n", Datatype::Of(DType::I16), &[2, 1], &[1, 0, 255, 255]);
    let words = || Tensor { data: Data::Elements(vec!["hi\"".into()]), ..raw("w", Datatype::Bytes, &[1], &[]) };
    let answered = Answered { id: Some("7"), model_name: "m", model_version: None };
    let plain = binary::encode(answered, &[output(numbers(), false), output(words(), false)]).expect("is written");
    assert_eq!(plain.header, None);
    assert_eq!(
        std::str::from_utf8(&plain.body).expect("text"),
        r#"{"id":"7","model_name":"m","outputs":[{"name":"n","datatype":"INT16","shape":[2,1],"data":[1,-1]},{"name":"w","datatype":"BYTES","shape":[1],"data":["hi\""]}]}"#
    );
    let answered = Answered { id: None, model_name: "m", model_version: Some("v1") };
    let mixed = [output(words(), true), output(numbers(), true), output(words(), false)];
    let Encoded { body, header } = binary::encode(answered, &mixed).expect("is written");
    let (json, data) = body.split_at(header.expect("binary data"));
    assert_eq!(
        std::str::from_utf8(json).expect("text"),
        r#"{"model_name":"m","model_version":"v1","outputs":[{"name":"w","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":7}},{"name":"n","datatype":"INT16","shape":[2,1],"parameters":{"binary_data_size":4}},{"name":"w","datatype":"BYTES","shape":[1],"data":["hi\""]}]}"#
    );
    assert_eq!(data, b"\x03\0\0\0hi\"\x01\0\xff\xff");
    let bytes = Tensor { data: Data::Elements(vec![Bytes::from_static(b"\xff")]), ..words() };
    let problem = binary::encode(answered, &[output(bytes, false)]).expect_err("is refused");
    assert!(problem.contains("output \"w\": element 0 is not UTF-8"), "{problem}");
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in 0_usize..250) {
        let _ = json::decode(&bytes);
        let _ = binary::decode(&bytes.into(), header, &signature(vec![TensorSpec::f32("x", [None]).into()]));
    }

    #[test]
    fn any_change_of_a_request_is_read_or_refused(at in 0_usize..150, byte in any::<u8>()) {
        let json = r#"{"id":"1","inputs":[{"name":"x","datatype":"BYTES","shape":[2,1],"data":[["a"],["b"]],"parameters":{"p":[1]}}],"outputs":[{"name":"y"}]}"#;
        let mut bytes = json.as_bytes().to_vec();
        if let Some(slot) = bytes.get_mut(at) {
            *slot = byte;
        }
        if let Ok(request) = json::decode(&bytes) {
            let _ = request.prepare(&signature(vec![TextsSpec::new("x", [None, Some(1)]).into()]));
        }
    }
}
