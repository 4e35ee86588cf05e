use bytes::Bytes;
use half::{bf16, f16};
use proptest::prelude::*;

use super::{of_kind, signature};
use crate::codec::EncodeError;
use crate::codec::json::encode;
use crate::value::{Array, Element, TensorSpec, Value, ValueKind, ValueSpec};

#[track_caller]
fn check(value: Value, expected: &str) {
    let mut out = b"> ".to_vec();
    encode(&of_kind(value.kind()), &[value], &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), format!("> {expected}"));
}

fn tensor<T: Element, const N: usize>(elements: Vec<T>, shape: [usize; N]) -> Value {
    Value::Tensor(Array::new(elements, shape).unwrap())
}

#[test]
fn a_sole_output_is_bare() {
    check(tensor(vec![0.1_f32, 1.0, -0.0, 1e16, 1e-7], [5]), "[0.1,1.0,-0.0,1e+16,1e-7]");
    check(tensor(vec![0.1_f64, f64::from(0.1_f32)], [2]), "[0.1,0.10000000149011612]");
    check(
        tensor(vec![f16::from_f32(0.5), bf16::from_f32(1.0).to_f32().to_string().parse().unwrap()], [2]),
        "[0.5,1.0]",
    );
    check(tensor(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY], [3]), "[null,null,null]");
    check(tensor(vec![f64::NAN], []), "null");
    check(tensor(vec![f16::INFINITY], []), "null");
    check(tensor(vec![u64::MAX], []), "18446744073709551615");
    check(tensor(vec![i64::MIN, 7], [2, 1]), "[[-9223372036854775808],[7]]");
    check(Value::Tensor(Array::from_bools(vec![true, false], [1, 2]).unwrap()), "[[true,false]]");
    check(tensor((0_u8..12).collect(), [2, 3, 2]), "[[[0,1],[2,3],[4,5]],[[6,7],[8,9],[10,11]]]");
    check(tensor(Vec::<f32>::new(), [2, 0, 3]), "[[],[]]");
    check(tensor(Vec::<f32>::new(), [0, 3]), "[]");
    check(Value::Text("a\"\n\u{1}é".to_owned()), r#""a\"\n\u0001é""#);
    check(Value::List(vec![1.into(), "a".into(), serde_json::Value::Null]), r#"[1,"a",null]"#);
    check(Value::Json(serde_json::json!({"a": [1.5]})), r#"{"a":[1.5]}"#);
}

#[test]
fn a_slice_of_rows_may_be_unaligned() {
    let bytes = [&[0_u8][..], &1.5_f32.to_ne_bytes(), &2.5_f32.to_ne_bytes()].concat();
    let array = Array::from_bytes(crate::value::DType::F32, [2].into(), Bytes::from(bytes).slice(1..)).unwrap();
    check(Value::Tensor(array), "[1.5,2.5]");
}

#[test]
fn several_outputs_are_an_object() {
    let outputs =
        signature([TensorSpec::f32("label \"x\"", [None]).into(), ValueSpec::of_kind(ValueKind::Text, "why")]);
    let mut out = Vec::new();
    encode(&outputs, &[tensor(vec![1.0_f32], [1]), Value::Text("because".to_owned())], &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"label \"x\"":[1.0],"why":"because"}"#);
    let mut out = Vec::new();
    encode(&signature([]), &[], &mut out).unwrap();
    assert_eq!(out, b"{}");
}

#[test]
fn what_cannot_be_encoded() {
    let bytes = of_kind(ValueKind::Bytes);
    let error = encode(&bytes, &[Value::Bytes(Bytes::new())], &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "output \"x\" is bytes, which JSON cannot carry: ask for application/octet-stream");
    assert_eq!(encode(&bytes, &[], &mut Vec::new()), Err(EncodeError::Count { expected: 1, found: 0 }));
}

proptest! {
    #[test]
    fn text_agrees_with_serde_json(rows in prop::collection::vec([any::<f32>(), any::<f32>()], 1..5)) {
        let mut out = Vec::new();
        let value = tensor(rows.iter().flatten().copied().collect::<Vec<f32>>(), [rows.len(), 2]);
        encode(&of_kind(ValueKind::Tensor), &[value], &mut out).unwrap();
        prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&rows).unwrap());
    }
}
