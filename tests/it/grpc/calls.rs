//! Tensors in and out.

use ekiden::grpc::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use ekiden::grpc::inference::*;
use tonic::Code;

use super::{Grpc, bytes, refused, request, text, whole};
use crate::kit;
use crate::support::Gate;

fn kit() -> Grpc {
    Grpc::start(&kit::app(&Gate::default(), |runner| runner))
}

/// The raw elements and the shape of the sole output.
#[track_caller]
fn sole(answer: ModelInferResponse) -> (String, Vec<i64>, Vec<u8>) {
    let ([output], [raw]) = (answer.outputs.as_slice(), answer.raw_output_contents.as_slice()) else {
        panic!("one output: {answer:?}")
    };
    (output.datatype.clone(), output.shape.clone(), raw.to_vec())
}

#[test]
fn raw_elements_keep_their_type() {
    let server = kit();
    let check = |method: &str, datatype: &str, raw: &[u8], expected: &[u8]| {
        let size = raw.len() as i64 / if datatype == "FP64" || datatype == "INT64" { 8 } else { 2 };
        let size = match datatype {
            "UINT8" => raw.len() as i64,
            "INT32" | "FP32" => raw.len() as i64 / 4,
            _ => size,
        };
        let answer = server.infer(request(&format!("kit.{method}"), "x", datatype, &[size], raw.to_vec()));
        let found = sole(answer.expect(method));
        assert_eq!(found, (datatype.to_owned(), vec![size], expected.to_vec()), "{method}");
    };
    check("u8", "UINT8", &[1, 254], &[2, 255]);
    check("i32", "INT32", &(-5_i32).to_le_bytes(), &(-10_i32).to_le_bytes());
    check("i64", "INT64", &(1_i64 << 40).to_le_bytes(), &((1_i64 << 40) + 1).to_le_bytes());
    check("f64", "FP64", &1.5_f64.to_le_bytes(), &3.0_f64.to_le_bytes());
    check("f16", "FP16", &[0, 60], &[0, 64]);
    let bools = server.infer(request("kit.bool", "input", "BOOL", &[1, 2], vec![1, 0]));
    assert_eq!(sole(bools.expect("an answer")), ("BOOL".to_owned(), vec![1, 2], vec![0, 1]));
}

#[test]
fn typed_elements_are_answered_raw() {
    let server = kit();
    let input = InferInputTensor {
        name: "x".to_owned(),
        datatype: "INT64".to_owned(),
        shape: vec![2],
        contents: Some(InferTensorContents { int64_contents: vec![1, -1], ..Default::default() }),
        ..InferInputTensor::default()
    };
    let request = ModelInferRequest { model_name: "kit.i64".to_owned(), inputs: vec![input], ..Default::default() };
    let raw = [2_i64.to_le_bytes(), 0_i64.to_le_bytes()].concat();
    assert_eq!(sole(server.infer(request).expect("an answer")), ("INT64".to_owned(), vec![2], raw));
}

#[test]
fn texts_lists_and_json_are_bytes() {
    let server = kit();
    let answer = server.infer(text("loud")).expect("an answer");
    assert_eq!((answer.model_name.as_str(), answer.id.as_str()), ("kit.text", "loud"));
    assert_eq!(sole(answer), ("BYTES".to_owned(), vec![1], bytes(&["LOUD"])));
    let words = request("kit.list", "words", "BYTES", &[2], bytes(&["a", "four"]));
    assert_eq!(sole(server.infer(words).expect("an answer")), ("BYTES".to_owned(), vec![2], bytes(&["1", "4"])));
    let question = bytes(&[r#"{"text":"?","choices":[3,4]}"#]);
    let question = request("kit.json", "input", "BYTES", &[1], question);
    assert_eq!(sole(server.infer(question).expect("an answer")), ("BYTES".to_owned(), vec![1], bytes(&["[3,4]"])));
}

/// A call of several inputs, in an order that is not the method's.
fn mixed() -> ModelInferRequest {
    let tensor = |name: &str, datatype: &str, shape: &[i64]| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: "kit.mixed".to_owned(),
        inputs: vec![tensor("words", "BYTES", &[1]), tensor("n", "INT32", &[1]), tensor("x", "FP32", &[1, 2])],
        raw_input_contents: vec![bytes(&["four"]).into(), vec![2; 4].into(), vec![0; 8].into()],
        ..ModelInferRequest::default()
    }
}

fn asked(name: &str) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor { name: name.to_owned(), ..InferRequestedOutputTensor::default() }
}

#[test]
fn inputs_come_by_name_and_outputs_as_asked() {
    let server = kit();
    let names =
        |answer: &ModelInferResponse| answer.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
    let all = server.infer(mixed()).expect("an answer");
    assert_eq!(names(&all), ["lengths", "scaled", "words"]);
    let two = ModelInferRequest { outputs: vec![asked("words"), asked("lengths")], ..mixed() };
    let two = server.infer(two).expect("an answer");
    assert_eq!(names(&two), ["words", "lengths"]);
    assert_eq!(two.raw_output_contents[0], all.raw_output_contents[2]);
}

#[test]
fn the_best_classes_are_told() {
    let server = Grpc::start(&crate::http::iris());
    let flower: Vec<u8> = [5.1_f32, 3.5, 1.4, 0.2].iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut request = request("iris_clf", "features", "FP32", &[1, 4], flower);
    request.outputs = vec![asked("probabilities")];
    request.outputs[0].parameters.insert("classification".to_owned(), whole(2));
    let (datatype, shape, raw) = sole(server.infer(request).expect("an answer"));
    assert_eq!((datatype.as_str(), shape.as_slice()), ("BYTES", &[1, 2][..]));
    let first = String::from_utf8_lossy(&raw[4..4 + usize::from(raw[0])]).into_owned();
    assert!(first.starts_with("0.") && first.ends_with(":0"), "{first}");
}

#[test]
fn wrong_requests_are_refused() {
    let server = kit();
    let check = |request: ModelInferRequest, parts: &[&str]| {
        refused(server.infer(request), Code::InvalidArgument, parts);
    };
    check(request("kit.i64", "y", "INT64", &[1], vec![0; 8]), &["there is no input \"y\""]);
    check(request("kit.i64", "x", "INT32", &[1], vec![0; 4]), &["input \"x\": expected datatype INT64, found INT32"]);
    check(request("kit.i64", "x", "INT64", &[2], vec![0; 8]), &["input \"x\"", "16 bytes", "found 8"]);
    check(request("kit.rank2", "x", "FP32", &[1, 3], vec![0; 12]), &["input \"x\"", "[any, 2]", "[1, 3]"]);
    check(ModelInferRequest { raw_input_contents: vec![], ..text("a") }, &["0 elements, not 1"]);
    check(ModelInferRequest { outputs: vec![asked("z")], ..mixed() }, &["there is no output \"z\""]);
    let picky = request("kit.picky", "input", "BYTES", &[1], bytes(&["no!"]));
    check(picky, &["\"no!\" is too loud"]);
    let ill = request("kit.lost_row", "input", "FP32", &[2, 2], vec![0; 16]);
    refused(server.infer(ill), Code::Internal, &[]);
    refused(server.infer(request("kit", "x", "FP32", &[1], vec![0; 4])), Code::NotFound, &["\"kit.text\""]);
}
