//! Tensors to values and back, whatever brought them.

use bytes::Bytes;
use ekiden_actors::Priority;
use serde_json::json;

use crate::oip::{Data, Datatype, InferRequest, Parameter, Parameters, RequestedOutput, Tensor, join, shape, split};
use crate::value::{
    Array, Batching, DType, Shape, Signature, TensorSpec, TextsSpec, Value, ValueKind, ValueSpec, Values,
};

pub(super) fn raw(name: &str, datatype: Datatype, sizes: &[usize], data: &[u8]) -> Tensor {
    let data = Data::Raw(Bytes::copy_from_slice(data));
    Tensor { name: name.to_owned(), datatype, shape: Shape::new(sizes), data }
}

fn texts(name: &str, sizes: &[usize], elements: &[&str]) -> Tensor {
    let data = Data::Elements(elements.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect());
    Tensor { name: name.to_owned(), datatype: Datatype::Bytes, shape: Shape::new(sizes), data }
}

#[test]
fn datatypes_have_the_protocols_names() {
    let names: Vec<&str> = Datatype::all().map(Datatype::name).collect();
    let expected = "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 BF16 FP32 FP64 BYTES";
    assert_eq!(names.join(" "), expected);
    assert!(Datatype::all().all(|datatype| Datatype::of_name(datatype.name()) == Some(datatype)));
    assert_eq!(Datatype::of_name("fp32"), None);
}

#[test]
fn shapes_are_checked() {
    let check = |sizes: &[i64], expected: Result<&[usize], &str>| {
        let found = shape("x", sizes).map(|shape| shape.dims().to_vec()).map_err(|error| error.to_string());
        match expected {
            Ok(dims) => assert_eq!(found.as_deref(), Ok(dims), "{sizes:?}"),
            Err(part) => assert!(found.as_ref().is_err_and(|problem| problem.contains(part)), "{sizes:?}: {found:?}"),
        }
    };
    check(&[], Ok(&[]));
    check(&[2, 0, 3], Ok(&[2, 0, 3]));
    check(&[-1, 4], Err("input \"x\": dimension 0 of its shape is -1"));
    check(&[1; 33], Err("can have 32 dimensions, found 33"));
    check(&[1_000_000_000, 0], Err("empty rows"));
    check(&[i64::MAX, i64::MAX, 0], Err("empty rows"));
}

#[test]
fn numbers_share_the_memory_that_they_came_in() {
    let body = Bytes::from((0..24).collect::<Vec<u8>>());
    let spec = ValueSpec::from(TensorSpec::f32("x", [None, Some(2)]));
    // Not aligned for its elements.
    let data = Data::Raw(body.slice(3..19));
    let tensor = Tensor { name: "x".into(), datatype: Datatype::Of(DType::F32), shape: Shape::new(&[2, 2]), data };
    let Ok(Value::Tensor(array)) = tensor.into_value(&spec) else { panic!("a tensor") };
    assert_eq!(array.data().as_ptr(), body[3..].as_ptr());
    let value = Tensor::of_value(&spec, Value::Tensor(array)).expect("a tensor");
    let Data::Raw(data) = value.data else { panic!("raw data") };
    assert_eq!(data.as_ptr(), body[3..].as_ptr());
}

#[test]
fn every_kind_of_value_comes_and_goes() {
    let check = |spec: ValueSpec, tensor: Tensor, value: Value| {
        assert_eq!(tensor.clone().into_value(&spec).as_ref(), Ok(&value), "{spec}");
        assert_eq!(Tensor::of_value(&spec, value), Ok(tensor), "{spec}");
    };
    for dtype in DType::ALL {
        let array = Array::from_bytes(dtype, Shape::new(&[2, 1]), vec![1; 2 * dtype.size()].into()).expect("fits");
        let tensor = raw("x", Datatype::Of(dtype), &[2, 1], array.data());
        check(TensorSpec::new("x", dtype, [None, Some(1)]).into(), tensor, array.into());
    }
    let list = ValueSpec::of_kind(ValueKind::List, "x");
    let elements = texts("x", &[4], &["a", "1.5", "{\"b\":[2]}", ""]);
    check(list, elements, Value::List(vec![json!("a"), json!(1.5), json!({"b": [2]}), json!("")]));
    let words = ValueSpec::from(TextsSpec::new("x", [None]));
    check(words, texts("x", &[2], &["a", "1.5"]), Value::List(vec![json!("a"), json!("1.5")]));
    let pairs = ValueSpec::from(TextsSpec::new("x", [None, Some(2)]));
    let rows = vec![json!(["a", "b"]), json!(["c", "d"])];
    check(pairs, texts("x", &[2, 2], &["a", "b", "c", "d"]), Value::List(rows));
    check(ValueSpec::of_kind(ValueKind::Json, "x"), texts("x", &[1], &["{\"b\":2}"]), Value::Json(json!({"b": 2})));
    check(ValueSpec::of_kind(ValueKind::Text, "x"), texts("x", &[1], &["hi"]), Value::Text("hi".into()));
    let bytes = Bytes::from_static(b"\xff\x00");
    let tensor = Tensor { data: Data::Elements(vec![bytes.clone()]), ..texts("x", &[1], &[]) };
    check(ValueSpec::of_kind(ValueKind::Bytes, "x"), tensor, Value::Bytes(bytes));
}

#[test]
fn texts_are_answered_in_the_rank_of_their_spec() {
    let check = |shape: &[Option<usize>], rows: Vec<serde_json::Value>, expected: Tensor| {
        let spec = ValueSpec::from(TextsSpec::new("x", shape));
        assert_eq!(Tensor::of_value(&spec, Value::List(rows)), Ok(expected), "{spec}");
    };
    check(&[None, Some(2)], Vec::new(), texts("x", &[0, 2], &[]));
    check(&[None, None, Some(3)], Vec::new(), texts("x", &[0, 1, 3], &[]));
    check(&[None, None, Some(3)], vec![json!([]), json!([])], texts("x", &[2, 0, 3], &[]));
    // A text may stand for a list of it.
    check(&[None, Some(1)], vec![json!("a"), json!(["b"])], texts("x", &[2, 1], &["a", "b"]));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let check = |spec: ValueSpec, tensor: Tensor, part: &str| {
        let problem = tensor.into_value(&spec).expect_err("is refused").to_string();
        assert!(problem.starts_with("input \"x\": ") && problem.contains(part), "`{part}` is not in `{problem}`");
    };
    let f32s = || ValueSpec::from(TensorSpec::f32("x", [None]));
    let of_kind = |kind| ValueSpec::of_kind(kind, "x");
    let f32 = Datatype::Of(DType::F32);
    check(f32s(), raw("x", Datatype::Of(DType::F64), &[1], &[0; 8]), "expected datatype FP32, found FP64");
    check(f32s(), texts("x", &[1], &["a"]), "expected datatype FP32, found BYTES");
    check(f32s(), raw("x", f32, &[2], &[0; 7]), "shape [2] of float32 takes 8 bytes, found 7");
    check(f32s(), raw("x", f32, &[usize::MAX, 2], &[]), "more elements than can be addressed");
    check(
        TensorSpec::bool("x", [None]).into(),
        raw("x", Datatype::Of(DType::Bool), &[2], &[1, 2]),
        "element 1 is neither",
    );
    check(of_kind(ValueKind::Text), raw("x", f32, &[1], &[0; 4]), "expected datatype BYTES, found FP32");
    check(of_kind(ValueKind::Text), texts("x", &[2], &["a", "b"]), "expected one element, a text, found 2");
    check(of_kind(ValueKind::Json), texts("x", &[1], &["{"]), "expected JSON text");
    check(of_kind(ValueKind::List), texts("x", &[1, 1], &["a"]), "expected shape [any], found [1, 1]");
    check(of_kind(ValueKind::List), texts("x", &[3], &["a"]), "it has 1 elements, not 3");
    let not_text = || Tensor { data: Data::Elements(vec![Bytes::from_static(b"a\xff")]), ..texts("x", &[1], &[]) };
    check(of_kind(ValueKind::Text), not_text(), "element 0 is not UTF-8 at byte 1");
    check(TextsSpec::new("x", [None]).into(), not_text(), "element 0 is not UTF-8 at byte 1");
    check(TextsSpec::new("x", [None]).into(), texts("x", &[], &["a"]), "expected text [any], found shape []");
    check(of_kind(ValueKind::Text), raw("x", Datatype::Bytes, &[1], &[5, 0, 0, 0, b'a']), "takes 5 bytes, 1 are left");
    check(of_kind(ValueKind::Text), raw("x", Datatype::Bytes, &[1], &[2, 0, 0, 0, b'a']), "takes 2 bytes, 1 are left");
    check(of_kind(ValueKind::Text), raw("x", Datatype::Bytes, &[1], &[5, 0]), "its length takes 4 bytes, 2 are left");
    check(of_kind(ValueKind::Text), raw("x", Datatype::Bytes, &[1], &[]), "it has 0 elements, not 1");
    check(of_kind(ValueKind::Text), raw("x", Datatype::Bytes, &[1], &[0; 8]), "go on after 1 elements, at byte 4");
}

#[test]
fn elements_are_joined_and_split() {
    let elements = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"\xff")];
    let mut joined = Vec::new();
    join(&elements, &mut joined).expect("they are short");
    assert_eq!(joined, b"\x03\0\0\0one\0\0\0\0\x01\0\0\0\xff");
    let joined = Bytes::from(joined);
    let split = split(&joined, 3).expect("three");
    assert_eq!(split, elements);
    assert_eq!(split[0].as_ptr(), joined[4..].as_ptr(), "it is shared");
    // What is said to come takes no memory before it comes.
    assert!(super::super::split(&Bytes::new(), usize::MAX).is_err());
}

#[test]
fn parameters_ask_of_calls() {
    let whole = Parameter::Whole;
    let ask = |set: &[(&str, Parameter)]| {
        let mut parameters = Parameters::default();
        set.iter().try_for_each(|(name, value)| parameters.set(name, value)).map(|()| parameters.options())
    };
    let priority = |number| ask(&[("priority", whole(number))]).expect("a priority").priority;
    assert_eq!([0, 1, 2, 3, 9].map(priority), {
        use Priority::{High, Low, Normal};
        [Normal, High, Normal, Low, Low]
    });
    let timeout = |micros| ask(&[("timeout", whole(micros))]).expect("a timeout").timeout.map(|time| time.as_micros());
    assert_eq!([0, 1500].map(timeout), [None, Some(1500)]);
    assert!(timeout(u64::MAX.into()).is_some_and(|micros| micros < 1 << 60));
    let refused = |name: &str, value| {
        let error = ask(&[(name, value)]).expect_err("is refused").to_string();
        assert!(error.contains(name), "{error}");
    };
    refused("priority", whole(-1));
    refused("timeout", Parameter::Text("soon".into()));
    refused("timeout", Parameter::Other);
    refused("binary_data_output", whole(1));
    refused("sequence_id", whole(7));
    refused("sequence_id", Parameter::Text("a".into()));
    assert!(
        ask(&[("sequence_id", whole(0)), ("sequence_start", Parameter::Bool(false)), ("any", Parameter::Other)])
            .is_ok()
    );
}

fn signature() -> Signature {
    Signature {
        inputs: vec![TensorSpec::i32("a", [None]).into(), TextsSpec::new("b", [None]).into()],
        outputs: vec![TensorSpec::f32("scores", [None, None]).into(), TextsSpec::new("names", [None]).into()],
        batching: Some(Batching { input_dim: 0, output_dim: 0 }),
        streams: false,
    }
}

fn asked(outputs: &[(&str, u64)]) -> InferRequest {
    let output = |&(name, classification): &(&str, u64)| RequestedOutput {
        name: name.to_owned(),
        classification,
        binary_data: None,
    };
    InferRequest {
        inputs: vec![texts("b", &[1], &["x"]), raw("a", Datatype::Of(DType::I32), &[1], &[7, 0, 0, 0])],
        outputs: outputs.iter().map(output).collect(),
        ..InferRequest::default()
    }
}

#[test]
fn inputs_are_found_by_their_names() {
    let prepared = asked(&[]).prepare(&signature()).expect("is understood");
    let values =
        Values::from_iter([Value::Tensor(Array::new(vec![7_i32], [1]).expect("fits")), Value::List(vec!["x".into()])]);
    assert_eq!(prepared.inputs, values);
    let refused = |change: fn(&mut InferRequest), part: &str| {
        let mut request = asked(&[]);
        change(&mut request);
        let error = request.prepare(&signature()).expect_err("is refused").to_string();
        assert!(error.contains(part), "`{part}` is not in `{error}`");
    };
    refused(|request| drop(request.inputs.pop()), "input \"a\" is missing");
    refused(|request| request.inputs.clear(), "inputs \"a\", \"b\" are missing");
    refused(|request| request.inputs.push(request.inputs[0].clone()), "input \"b\" comes a second time");
    let many = |request: &mut InferRequest| request.inputs[0] = raw("b", Datatype::Bytes, &[(1 << 20) + 1], &[0; 4]);
    refused(many, "a request can have 1048576 elements of BYTES, found 1048577");
    refused(|request| request.inputs[0].name = "c".repeat(1000), "ccc…\"; there are: a, b");
    refused(
        |request| request.outputs = asked(&[("nam", 0)]).outputs,
        "there is no output \"nam\"; did you mean \"names\"?",
    );
    let twice = |request: &mut InferRequest| request.outputs = asked(&[("names", 0), ("names", 0)]).outputs;
    refused(twice, "output \"names\" is asked for a second time");
    refused(
        |request| request.outputs = asked(&[("names", 2)]).outputs,
        "output \"names\": classification takes numbers",
    );
}

#[test]
fn outputs_come_as_they_are_asked_for() {
    let take = |outputs: &[(&str, u64)]| {
        let prepared = asked(outputs).prepare(&signature()).expect("is understood");
        let scores = Array::new(vec![0.25_f32, 0.5, 0.125, 1.0, f32::NAN, 1.0], [2, 3]).expect("fits");
        let values = Values::from_iter([Value::Tensor(scores), Value::List(vec!["x".into(), "y".into()])]);
        let taken = prepared.wanted.take(&signature(), values).expect("are taken");
        taken.into_iter().map(|output| output.tensor).collect::<Vec<_>>()
    };
    let names: Vec<String> = take(&[]).into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["scores", "names"]);
    assert_eq!(take(&[("names", 0)]), [texts("names", &[2], &["x", "y"])]);
    let best = ["0.500000:1", "0.250000:0", "1.000000:0", "1.000000:2"];
    assert_eq!(take(&[("names", 0), ("scores", 2)])[1], texts("scores", &[2, 2], &best));
    let all = &take(&[("scores", u64::MAX)])[0];
    assert_eq!(all.shape, Shape::new(&[2, 3]));
    let Data::Elements(elements) = &all.data else { panic!("elements") };
    assert_eq!(elements[5], "NaN:1");
}
