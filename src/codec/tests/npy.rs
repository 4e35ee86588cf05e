use bytes::Bytes;
use proptest::prelude::*;

use super::{any_rank, arrays, describe, of_kind, signature, sole};
use crate::codec::EncodeError;
use crate::codec::npy::{decode, encode};
use crate::value::{Array, DType, Signature, TensorSpec, Value, ValueKind};

/// A file of this version, header text and data.
fn file(major: u8, header: &str, data: &[u8]) -> Bytes {
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    let length = if major == 1 { &length[..2] } else { &length[..] };
    [b"\x93NUMPY", &[major, 0][..], length, header.as_bytes(), data].concat().into()
}

fn header(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn outcome(signature: &Signature, body: &Bytes) -> String {
    match decode(body, signature) {
        Ok(values) => describe(&values),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(dtype: DType, body: &Bytes, expected: &str) {
    let found = outcome(&any_rank(dtype), body);
    assert_eq!(found.strip_prefix("input \"x\": ").unwrap_or(&found), expected, "{body:?}");
}

#[test]
fn dtypes_and_byte_orders() {
    let one = |descr: &str, data: &[u8]| file(1, &header(&format!("'{descr}'"), "False", "(1,)"), data);
    check(DType::Bool, &one("|b1", &[1]), "bool [1]: [true]");
    check(DType::U8, &one("|u1", &[200]), "uint8 [1]: [200]");
    check(DType::I8, &one("|i1", &[200]), "int8 [1]: [-56]");
    check(DType::I8, &one("<i1", &[200]), "int8 [1]: [-56]");
    check(DType::U16, &one("<u2", &[1, 2]), "uint16 [1]: [513]");
    check(DType::U16, &one(">u2", &[1, 2]), "uint16 [1]: [258]");
    check(DType::I32, &one("<i4", &[1, 0, 0, 0]), "int32 [1]: [1]");
    check(DType::I64, &one(">i8", &[0, 0, 0, 0, 0, 0, 0, 7]), "int64 [1]: [7]");
    check(DType::U64, &one("<u8", &[7, 0, 0, 0, 0, 0, 0, 0]), "uint64 [1]: [7]");
    check(DType::F16, &one("<f2", &[0, 0x3c]), "float16 [1]: [1.0]");
    check(DType::F32, &one("<f4", &1.5_f32.to_le_bytes()), "float32 [1]: [1.5]");
    check(DType::F64, &one(">f8", &1.5_f64.to_be_bytes()), "float64 [1]: [1.5]");
}

#[test]
fn versions_and_spellings() {
    let data = [1, 2];
    let expected = "uint8 [2]: [1,2]";
    for version in 1..=3 {
        check(DType::U8, &file(version, &header("'|u1'", "False", "(2,)"), &data), expected);
    }
    for text in [
        "{'shape':(2,),'fortran_order':True,'descr':'|u1'}",
        " { \"descr\" : \"|u1\" , 'fortran_order' : False\n, 'shape' : ( 2 , ) , }  \n",
    ] {
        check(DType::U8, &file(1, text, &data), expected);
    }
    check(DType::U8, &file(1, &header("'|u1'", "False", "()"), &[9]), "uint8 []: 9");
    check(DType::U8, &file(1, &header("'|u1'", "False", "(2, 0, 3)"), &[]), "uint8 [2, 0, 3]: [[],[]]");
}

#[test]
fn column_major_is_transposed() {
    let text = |shape| header("'|u1'", "True", shape);
    check(DType::U8, &file(1, &text("(2, 3)"), &[1, 4, 2, 5, 3, 6]), "uint8 [2, 3]: [[1,2,3],[4,5,6]]");
    check(
        DType::U8,
        &file(1, &text("(2, 3, 2)"), &[0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11]),
        "uint8 [2, 3, 2]: [[[0,1],[2,3],[4,5]],[[6,7],[8,9],[10,11]]]",
    );
    check(DType::U8, &file(1, &text("(2, 0)"), &[]), "uint8 [2, 0]: [[],[]]");
    let big = file(1, &header("'>u2'", "True", "(2, 2)"), &[0, 1, 0, 3, 0, 2, 0, 4]);
    check(DType::U16, &big, "uint16 [2, 2]: [[1,2],[3,4]]");
}

#[test]
fn headers_that_are_wrong() {
    let good = header("'|u1'", "False", "(2,)");
    let cases = [
        (Bytes::from_static(b"PK\x03\x04"), r#"expected a .npy body, which begins with \x93NUMPY, found "PK\x03\x04""#),
        (Bytes::new(), r#"expected a .npy body, which begins with \x93NUMPY, found """#),
        (file(1, &good, &[1, 2]).slice(..7), "the body ends within the header, after 7 bytes"),
        (file(1, &good, &[1, 2]).slice(..9), "the body ends within the header, after 9 bytes"),
        (file(1, &good, &[1, 2]).slice(..40), "the body ends within the header, after 40 bytes"),
        (file(4, &good, &[1, 2]), "expected version 1.0, 2.0 or 3.0, found 4.0"),
        (file(1, "[]", &[]), "in the header, expected `{` at byte 0, found '['"),
        (file(1, "{", &[]), "in the header, expected a plain string, found its end"),
        (file(1, "{}", &[]), "in the header, 'descr' is missing"),
        (file(1, "{'descr': '|u1'}", &[]), "in the header, 'fortran_order' is missing"),
        (file(1, "{'descr': '|u1', 'descr': '|u1'}", &[]), "in the header, 'descr' comes a second time"),
        (file(1, "{'order': 1}", &[]), "in the header, expected 'descr', 'fortran_order' or 'shape', found 'order'"),
        (file(1, "{'descr' '|u1'}", &[]), "in the header, expected `:` at byte 9, found '\\''"),
        (file(1, &format!("{good}x"), &[]), "in the header, expected its end at byte 58, found 'x'"),
        (
            file(1, &header("'|O'", "False", "(2,)"), &[]),
            "in the header, the dtype '|O' is Python objects: expected numbers",
        ),
        (
            file(1, &header("[('a', '<f4')]", "False", "(2,)"), &[]),
            "in the header, the dtype is structured: expected one of plain numbers",
        ),
        (
            file(1, &header("'<U3'", "False", "(2,)"), &[]),
            "in the header, the dtype '<U3' is not supported: expected numbers, such as '<f4'",
        ),
        (
            file(1, &header("'|f4'", "False", "(2,)"), &[]),
            "in the header, the dtype '|f4' is not supported: expected numbers, such as '<f4'",
        ),
        (
            file(1, &header("'<c8'", "False", "(2,)"), &[]),
            "in the header, the dtype '<c8' is not supported: expected numbers, such as '<f4'",
        ),
        (file(1, &header("'|u1'", "0", "(2,)"), &[]), "in the header, expected True or False at byte 34, found '0'"),
        (
            file(1, &header("'|u1'", "False", "(2)"), &[]),
            "in the header, the shape is a number in parentheses: expected a tuple",
        ),
        (file(1, &header("'|u1'", "False", "(-2,)"), &[]), "in the header, expected a size at byte 51, found '-'"),
        (
            file(1, &header("'|u1'", "False", &format!("({})", "1, ".repeat(33))), &[1]),
            "in the header, the shape has more than 32 dimensions",
        ),
        (
            file(1, &header("'|u1'", "False", "(99999999999999999999,)"), &[]),
            "in the header, the size 99999999999999999999 is absurd",
        ),
    ];
    for (body, expected) in cases {
        check(DType::U8, &body, expected);
    }
    let not_utf8 = [b"\x93NUMPY\x01\x00\x02\x00", &[0xff, 0xff][..]].concat().into();
    check(DType::U8, &not_utf8, "the header is not UTF-8");
}

#[test]
fn data_that_does_not_fit() {
    let sized = |shape: &str, data: &[u8]| file(1, &header("'<f4'", "False", shape), data);
    let cases = [
        (sized("(2,)", &[0; 7]), "float32 of shape [2] takes 8 bytes after the header, found 7"),
        (sized("(2,)", &[0; 9]), "float32 of shape [2] takes 8 bytes after the header, found 9"),
        (
            sized("(1000000000000,)", &[]),
            "float32 of shape [1000000000000] takes 4000000000000 bytes after the header, found 0",
        ),
        (
            sized("(4294967296, 4294967296)", &[]),
            "shape [4294967296, 4294967296] has more elements than can be addressed",
        ),
        (sized("(9223372036854775807,)", &[]), "shape [9223372036854775807] has more elements than can be addressed"),
        (sized("(65536, 0)", &[1]), "float32 of shape [65536, 0] takes 0 bytes after the header, found 1"),
        (sized("(65537, 0)", &[]), "shape [65537, 0] has no elements, and more than 65536 empty rows"),
        (
            sized("(0, 9223372036854775807, 9223372036854775807)", &[]),
            "shape [0, 9223372036854775807, 9223372036854775807] has no elements, and more than 65536 empty rows",
        ),
    ];
    for (body, expected) in cases {
        check(DType::F32, &body, expected);
    }
    check(
        DType::Bool,
        &file(1, &header("'|b1'", "False", "(2,)"), &[1, 2]),
        "element 1 is neither 0 nor 1, as a bool must be",
    );
    check(
        DType::F64,
        &sized("(1,)", &[0; 4]),
        "expected dtype float64, found float32: nothing is converted, send x.astype(\"float64\")",
    );
    check(
        DType::BF16,
        &sized("(1,)", &[0; 4]),
        "expected dtype bfloat16, found float32: .npy has no such dtype, send application/json",
    );
}

#[test]
fn only_one_tensor() {
    let body = file(1, &header("'|u1'", "False", "(2,)"), &[1, 2]);
    assert_eq!(
        outcome(&of_kind(ValueKind::Text), &body),
        "a .npy body holds one tensor, and this method's inputs are not just that: \"x\" (text); send application/json"
    );
    assert!(outcome(&signature([]), &body).contains("none"));
    let two = signature([TensorSpec::u8("a", [None]).into(), TensorSpec::u8("b", [None]).into()]);
    assert!(outcome(&two, &body).contains("\"a\" (tensor), \"b\" (tensor)"));

    let tensor = Value::Tensor(Array::new(vec![1.0_f32], [1]).unwrap());
    assert_eq!(encode(&[]), Err(EncodeError::NotOneTensor));
    assert_eq!(encode(&[tensor.clone(), tensor]), Err(EncodeError::NotOneTensor));
    assert_eq!(encode(&[Value::Text(String::new())]), Err(EncodeError::NotOneTensor));
    let bf16 = Array::from_bytes(DType::BF16, [1].into(), vec![0, 0].into()).unwrap();
    assert_eq!(encode(&[Value::Tensor(bf16)]), Err(EncodeError::NoDType(DType::BF16)));
    let deep = Array::new(vec![1_u8], &[1; 30_000][..]).unwrap();
    assert_eq!(encode(&[Value::Tensor(deep)]), Err(EncodeError::Rank(30_000)));
}

#[test]
fn as_numpy_writes_it() {
    // numpy.save of numpy.array([[1, 2], [3, 4]], dtype="<i2")
    let array = Array::new(vec![1_i16, 2, 3, 4], [2, 2]).unwrap();
    let text = format!("{:117}\n", "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 2), }");
    let expected = [b"\x93NUMPY\x01\x00\x76\x00", text.as_bytes(), &[1, 0, 2, 0, 3, 0, 4, 0]].concat();
    assert_eq!(encode(&[Value::Tensor(array)]).unwrap(), expected);
}

#[test]
fn the_payload_is_not_copied() {
    let body = file(1, &header("'<f4'", "False", "(1, 2)"), &[0; 8]);
    let values = decode(&body, &sole(TensorSpec::f32("x", [None, Some(2)]))).unwrap();
    let [Value::Tensor(array)] = values.as_slice() else { panic!("{values:?}") };
    assert_eq!(array.data().as_ptr_range().end, body.as_ptr_range().end);
}

fn numpy_dtypes() -> Vec<DType> {
    DType::ALL.into_iter().filter(|dtype| *dtype != DType::BF16).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(array in arrays(numpy_dtypes())) {
        let signature = any_rank(array.dtype());
        let value = Value::Tensor(array);
        let body = Bytes::from(encode(std::slice::from_ref(&value)).unwrap());
        prop_assert_eq!(body.len() - value_length(&value), (body.len() - value_length(&value)).next_multiple_of(64));
        let decoded = decode(&body, &signature).unwrap();
        prop_assert_eq!(decoded.as_slice(), std::slice::from_ref(&value));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        version in 0_u8..5,
        text in r#"([{}(), :'"L<>|=0-9]|descr|fortran_order|shape|True|é){0,24}"#,
        data in any::<Vec<u8>>(),
        cut in 0_usize..100,
    ) {
        let body = file(version, &text, &data);
        let body = body.slice(..body.len().saturating_sub(cut));
        let _ = decode(&body, &any_rank(DType::F32));
        let _ = decode(&data.into(), &any_rank(DType::F32));
    }

    #[test]
    fn arbitrary_shapes_do_not_panic(
        dtype in prop::sample::select(DType::ALL.to_vec()),
        descr in r"[<>|][buif][1248]",
        fortran in any::<bool>(),
        dims in prop::collection::vec(prop_oneof![0_usize..4, Just(usize::MAX), Just(1 << 32)], 0..5),
        data in prop::collection::vec(0_u8..3, 0..40),
    ) {
        let dims: Vec<String> = dims.iter().map(|size| format!("{size}, ")).collect();
        let fortran = if fortran { "True" } else { "False" };
        let text = header(&format!("'{descr}'"), fortran, &format!("({})", dims.concat()));
        let _ = decode(&file(1, &text, &data), &any_rank(dtype));
    }
}

fn value_length(value: &Value) -> usize {
    match value {
        Value::Tensor(array) => array.data().len(),
        _ => 0,
    }
}
