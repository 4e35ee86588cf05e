use proptest::prelude::*;

use super::{any_rank, arrays, describe, of_kind, signature, sole};
use crate::codec::json::{decode, encode};
use crate::value::{DType, Signature, TensorSpec, Value, ValueKind, ValueSpec};

fn outcome(signature: &Signature, body: &str) -> String {
    match decode(body.as_bytes(), signature) {
        Ok(values) => describe(&values),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(signature: &Signature, cases: &[(&str, &str)]) {
    for (body, expected) in cases {
        assert_eq!(outcome(signature, body), *expected, "body: {body}");
    }
}

fn features() -> Signature {
    sole(TensorSpec::f32("features", [None, Some(4)]))
}

fn pair() -> Signature {
    signature([TensorSpec::f32("features", [None, Some(2)]).into(), TensorSpec::bool("mask", [None]).into()])
}

#[test]
fn shapes() {
    check(
        &any_rank(DType::F32),
        &[
            ("1", "float32 []: 1.0"),
            (" \t\r\n-0.5 ", "float32 []: -0.5"),
            ("[1]", "float32 [1]: [1.0]"),
            ("[[1,2,3],[4,5,6]]", "float32 [2, 3]: [[1.0,2.0,3.0],[4.0,5.0,6.0]]"),
            (" [ [ 1 , 2 ] ,\n[ 3 , 4 ] ] ", "float32 [2, 2]: [[1.0,2.0],[3.0,4.0]]"),
            ("[[[1],[2]],[[3],[4]]]", "float32 [2, 2, 1]: [[[1.0],[2.0]],[[3.0],[4.0]]]"),
            ("[]", "float32 [0]: []"),
            ("[[],[]]", "float32 [2, 0]: [[],[]]"),
            ("[[[ ]]]", "float32 [1, 1, 0]: [[[]]]"),
            (r#"{"x": [1]}"#, "float32 [1]: [1.0]"),
        ],
    );
    check(
        &features(),
        &[
            ("[[5.1, 3.5, 1.4, 0.2]]", "float32 [1, 4]: [[5.1,3.5,1.4,0.2]]"),
            (r#"{"features": [[5.1, 3.5, 1.4, 0.2]]}"#, "float32 [1, 4]: [[5.1,3.5,1.4,0.2]]"),
            (r#"{"fe\u0061tures":[[5.1,3.5,1.4,0.2]]}"#, "float32 [1, 4]: [[5.1,3.5,1.4,0.2]]"),
            // No rows: the spec knows the size of the other dimension.
            ("[]", "float32 [0, 4]: []"),
            ("[[]]", "float32 [1, 0]: [[]]"),
        ],
    );
    check(&sole(TensorSpec::f32("x", [None, None])), &[("[]", "float32 [0]: []")]);
    check(&sole(TensorSpec::f32("x", [None, Some(2), Some(3)])), &[("[]", "float32 [0, 2, 3]: []")]);
}

#[test]
fn uneven_arrays() {
    check(
        &any_rank(DType::F32),
        &[
            ("[[1,2,3,4],[1,2,3]]", r#"input "x" at [1] has 3 elements, expected 4, as in [0] (byte 17)"#),
            ("[[[1],[2]],[[3],[4,5]]]", r#"input "x" at [1][1] has 2 elements, expected 1, as in [0][0] (byte 20)"#),
            ("[[[1],[2]],[[3]]]", r#"input "x" at [1] has 1 elements, expected 2, as in [0] (byte 15)"#),
            ("[[1],[]]", r#"input "x" at [1] has 0 elements, expected 1, as in [0] (byte 6)"#),
            ("[[],[1]]", r#"input "x" at [1] has 1 elements, expected 0, as in [0] (byte 6)"#),
            ("[1,[2]]", r#"input "x" at [1]: expected float32, found an array (byte 3)"#),
            ("[[1],[[2]]]", r#"input "x" at [1][0]: expected float32, as at [0][0], found an array (byte 6)"#),
            ("[[],[[]]]", r#"input "x" at [1][0]: expected float32, as at [0][0], found an array (byte 5)"#),
            ("[[1],2]", r#"input "x" at [1]: expected an array, as at [0], found 2 (byte 5)"#),
        ],
    );
}

#[test]
fn nesting_is_bounded() {
    let found = outcome(&features(), &"[".repeat(1_000_000));
    assert_eq!(
        found,
        r#"input "features" at [0][0]: expected float32 [any, 4] (rank 2), found another dimension (byte 2)"#
    );
    let found = outcome(&any_rank(DType::F32), &"[".repeat(1_000_000));
    let zeros = "[0]".repeat(32);
    assert_eq!(found, format!(r#"input "x" at {zeros}: a tensor can have 32 dimensions, found another (byte 32)"#));
    let deepest = format!("{}1{}", "[".repeat(32), "]".repeat(32));
    assert!(decode(deepest.as_bytes(), &any_rank(DType::F32)).is_ok());
    check(
        &sole(TensorSpec::f32("x", [])),
        &[("[1]", r#"input "x": expected float32 [] (rank 0), found another dimension (byte 0)"#)],
    );
    let deep = "[".repeat(1_000_000);
    let found = outcome(&of_kind(ValueKind::Json), &deep);
    assert_eq!(found, r#"input "x": recursion limit exceeded (byte 127)"#);
}

#[test]
fn not_the_elements_expected() {
    check(
        &any_rank(DType::F32),
        &[
            ("", r#"input "x": expected float32, found the end of the body (byte 0)"#),
            ("[1,", r#"input "x" at [1]: expected float32, found the end of the body (byte 3)"#),
            ("[1", r#"input "x": expected `,` or `]`, found the end of the body (byte 2)"#),
            ("[[1,2]", r#"input "x": expected `,` or `]`, found the end of the body (byte 6)"#),
            ("[[1,2],[1 2]]", r#"input "x" at [1]: expected `,` or `]`, found 2 (byte 10)"#),
            ("[1,]", r#"input "x" at [1]: expected float32, found `]` (byte 3)"#),
            ("[,1]", r#"input "x" at [0]: expected float32, found `,` (byte 1)"#),
            ("[[1],]", r#"input "x" at [1]: expected an array, as at [0], found `]` (byte 5)"#),
            ("[[1,null]]", r#"input "x" at [0][1]: expected float32, found null (byte 4)"#),
            ("[true]", r#"input "x" at [0]: expected float32, found true (byte 1)"#),
            (r#"["1"]"#, r#"input "x" at [0]: expected float32, found a string (byte 1)"#),
            ("[{}]", r#"input "x" at [0]: expected float32, found an object (byte 1)"#),
            ("[NaN]", r#"input "x" at [0]: expected float32, found NaN, which is not JSON (byte 1)"#),
            ("[-Infinity]", r#"input "x" at [0]: expected float32, found -Infinity, which is not JSON (byte 1)"#),
            ("[+1]", r#"input "x" at [0]: expected float32, found `+` (byte 1)"#),
            ("[.5]", r#"input "x" at [0]: expected float32, found `.` (byte 1)"#),
            ("[1.]", r#"input "x" at [0]: expected a digit, found `]` (byte 3)"#),
            ("[1e]", r#"input "x" at [0]: expected a digit, found `]` (byte 3)"#),
            ("[1e+]", r#"input "x" at [0]: expected a digit, found `]` (byte 4)"#),
            ("[-]", r#"input "x" at [0]: expected float32, found - (byte 1)"#),
            ("[01]", r#"input "x" at [0]: a number of several digits cannot start with 0 in JSON (byte 2)"#),
            ("[0x1]", r#"input "x": expected `,` or `]`, found `x` (byte 2)"#),
            ("[0.12:456789012]", r#"input "x": expected `,` or `]`, found `:` (byte 5)"#),
            ("[0.12/456789012]", r#"input "x": expected `,` or `]`, found `/` (byte 5)"#),
            ("[\u{1}]", r#"input "x" at [0]: expected float32, found control character 0x01 (byte 1)"#),
            ("[é]", r#"input "x" at [0]: expected float32, found `é` (byte 1)"#),
            ("[1e400]", r#"input "x" at [0]: expected float32, found 1e400, which is out of its range (byte 1)"#),
            ("[1e39]", r#"input "x" at [0]: expected float32, found 1e39, which is out of its range (byte 1)"#),
            ("[1] 2", "expected the end of the body at byte 4, found 2"),
            ("1 \0", "expected the end of the body at byte 2, found control character 0x00"),
            ("\u{feff}[1]", "the body starts with a byte order mark, which JSON does not allow"),
        ],
    );
    let found = decode(b"[\xff]", &any_rank(DType::F32)).unwrap_err().to_string();
    assert_eq!(found, r#"input "x" at [0]: expected float32, found byte 0xff (byte 1)"#);
    let long = format!("[{}]", "1".repeat(1_000_000));
    assert!(outcome(&any_rank(DType::F32), &long).len() < 200);
}

#[test]
fn dtypes_keep_their_range() {
    const RANGES: [(DType, &str, &str, &str, &str); 8] = [
        (DType::U8, "-1", "0", "255", "256"),
        (DType::U16, "-1", "0", "65535", "65536"),
        (DType::U32, "-1", "0", "4294967295", "4294967296"),
        (DType::U64, "-1", "0", "18446744073709551615", "18446744073709551616"),
        (DType::I8, "-129", "-128", "127", "128"),
        (DType::I16, "-32769", "-32768", "32767", "32768"),
        (DType::I32, "-2147483649", "-2147483648", "2147483647", "2147483648"),
        (DType::I64, "-9223372036854775809", "-9223372036854775808", "9223372036854775807", "9223372036854775808"),
    ];
    for (dtype, below, lowest, highest, above) in RANGES {
        let outside =
            |text| format!(r#"input "x": expected {dtype}, found {text}, which is out of its range (byte 0)"#);
        let signature = any_rank(dtype);
        assert_eq!(outcome(&signature, below), outside(below));
        assert_eq!(outcome(&signature, lowest), format!("{dtype} []: {lowest}"));
        assert_eq!(outcome(&signature, "-0"), format!("{dtype} []: 0"));
        assert_eq!(outcome(&signature, highest), format!("{dtype} []: {highest}"));
        assert_eq!(outcome(&signature, above), outside(above));
        for text in ["5.0", "5e0", "99999999999999999999"] {
            let found = outcome(&signature, text);
            assert!(found.contains(text) && found.contains(dtype.name()), "{found}");
        }
    }
    check(
        &any_rank(DType::I64),
        &[
            ("[5.0]", r#"input "x" at [0]: expected int64, without fraction or exponent, found 5.0 (byte 1)"#),
            ("[[7,007]]", r#"input "x" at [0][1]: a number of several digits cannot start with 0 in JSON (byte 5)"#),
            (
                "[99999999999999999999]",
                "input \"x\" at [0]: expected int64, found 99999999999999999999, which is out of its range (byte 1)",
            ),
        ],
    );
    check(
        &any_rank(DType::F16),
        &[
            ("65504", "float16 []: 65504.0"),
            ("65519.999999", "float16 []: 65504.0"),
            ("65520", r#"input "x": expected float16, found 65520, which is out of its range (byte 0)"#),
        ],
    );
    check(
        &any_rank(DType::Bool),
        &[
            ("[true,false]", "bool [2]: [true,false]"),
            ("[1]", r#"input "x" at [0]: expected bool, found 1 (byte 1)"#),
            ("[truely]", r#"input "x": expected `,` or `]`, found `l` (byte 5)"#),
            ("[tru]", r#"input "x" at [0]: expected bool, found `t` (byte 1)"#),
        ],
    );
}

#[test]
fn several_inputs() {
    check(
        &pair(),
        &[
            (r#"{"features": [[1, 2]], "mask": [true]}"#, "float32 [1, 2]: [[1.0,2.0]]; bool [1]: [true]"),
            (
                r#" { "mask" : [ true ] , "features" : [ [ 1 , 2 ] ] } "#,
                "float32 [1, 2]: [[1.0,2.0]]; bool [1]: [true]",
            ),
            ("[[1, 2]]", r#"expected an object with "features", "mask", found an array (byte 0)"#),
            ("{}", r#"missing from the object of inputs: "features", "mask"; expected "features", "mask""#),
            (r#"{"mask": []}"#, r#"missing from the object of inputs: "features"; expected "features", "mask""#),
            (
                r#"{"featurs": [[1, 2]]}"#,
                r#"no input is named "featurs" (byte 1): expected "features", "mask"; did you mean "features"?"#,
            ),
            (r#"{"zoo": 1}"#, r#"no input is named "zoo" (byte 1): expected "features", "mask""#),
            (r#"{"mask": [], "mask": []}"#, r#"input "mask" comes a second time (byte 13)"#),
            (
                r#"{"mask" []}"#,
                "expected `:` after the name of a member of the object of inputs at byte 8, found an array",
            ),
            (r#"{"mask": [] "#, "expected `,` or `}` of the object of inputs at byte 12, found the end of the body"),
            (r#"{"mask": [],}"#, "expected the name of a member of the object of inputs at byte 12, found `}`"),
            ("{mask: []}", "expected the name of a member of the object of inputs at byte 1, found `m`"),
            (r#"{"mask": [1]}"#, r#"input "mask" at [0]: expected bool, found 1 (byte 10)"#),
            (r#"{"mask"#, "the name of a member: EOF while parsing a string (byte 6)"),
        ],
    );
    check(
        &signature([]),
        &[("", ""), (" ", ""), ("{}", ""), (r#"{"x":1}"#, r#"no input is named "x" (byte 1): expected no members"#)],
    );
    let long = format!(r#"{{"{}": 1}}"#, "é".repeat(1_000_000));
    assert!(outcome(&pair(), &long).len() < 200);
}

#[test]
fn other_kinds() {
    check(
        &of_kind(ValueKind::List),
        &[
            (r#"[1, "a", null]"#, r#"list: [1,"a",null]"#),
            (r#"{"x": [{}]}"#, "list: [{}]"),
            ("5", r#"input "x": expected list, an array, found 5 (byte 0)"#),
            ("[1,\n 2,\n !]", r#"input "x": expected value (byte 9)"#),
            ("[1] x", "expected the end of the body at byte 4, found `x`"),
        ],
    );
    check(
        &of_kind(ValueKind::Text),
        &[
            (r#""a\n\u00e9""#, r#"text: "a\né""#),
            (r#"{"x": "a"}"#, r#"text: "a""#),
            ("null", r#"input "x": expected text, a string, found null (byte 0)"#),
            (r#""a"#, r#"input "x": EOF while parsing a string (byte 2)"#),
            ("\"\u{1}\"", r#"input "x": control character (\u0000-\u001F) found while parsing a string (byte 1)"#),
        ],
    );
    // Not by name: an object is a value like any other.
    check(
        &of_kind(ValueKind::Json),
        &[
            (r#"{"x": [1]}"#, r#"json: {"x":[1]}"#),
            ("null", "json: null"),
            ("8888888888888889.0", "json: 8888888888888889.0"),
            ("", r#"input "x": the body ends (byte 0) where it is expected"#),
            ("[1}", r#"input "x": expected `,` or `]` (byte 2)"#),
        ],
    );
    check(
        &signature([ValueSpec::of_kind(ValueKind::Json, "options"), ValueSpec::of_kind(ValueKind::Text, "prompt")]),
        &[(r#"{"prompt": "hi", "options": {"prompt": 1}}"#, r#"json: {"prompt":1}; text: "hi""#)],
    );
    check(
        &of_kind(ValueKind::Bytes),
        &[("[1]", r#"input "x": expected bytes, which JSON cannot carry: send application/octet-stream"#)],
    );
}

proptest! {
    #[test]
    fn arrays_agree_with_serde_json(text in r"(\[\[|\[)?[\[\]12, ]{0,12}(\]|\]\])?") {
        let rank_2 = sole(TensorSpec::i64("x", [None, None]));
        let rows = serde_json::from_str::<Vec<Vec<i64>>>(&text);
        let even = rows.is_ok_and(|rows| rows.windows(2).all(|pair| pair[0].len() == pair[1].len()));
        let ours = decode(text.as_bytes(), &rank_2).is_ok_and(|values| match values.as_slice() {
            [Value::Tensor(array)] => array.shape().rank() == 2 || array.shape().dims() == [0],
            _ => false,
        });
        prop_assert_eq!(ours, even, "{}", text);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(array in arrays(DType::ALL.to_vec()), named in any::<bool>()) {
        let signature = any_rank(array.dtype());
        let value = Value::Tensor(array.clone());
        let mut body = Vec::new();
        encode(&signature, std::slice::from_ref(&value), &mut body).unwrap();
        if named {
            body = [br#"{"x":"#, body.as_slice(), b"}"].concat();
        }
        let decoded = decode(&body, &signature).unwrap();
        let [Value::Tensor(decoded)] = decoded.as_slice() else { panic!("{decoded:?}") };
        // The text of an array without elements does not show the dimensions inside the first empty one.
        let dims = array.shape().dims();
        let shown = dims.iter().position(|&size| size == 0).map_or(dims.len(), |empty| empty + 1);
        prop_assert_eq!(decoded.shape().dims(), &dims[..shown]);
        prop_assert_eq!(decoded.data(), array.data());
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        no_panic(&body);
    }

    #[test]
    fn near_json_does_not_panic(body in r#"([\[\]{}:,"\\ ]|features|mask|true|null|-?[0-9]{1,9}|[.eE+-]|é){0,24}"#) {
        no_panic(body.as_bytes());
    }
}

fn no_panic(body: &[u8]) {
    for dtype in DType::ALL {
        let _ = decode(body, &any_rank(dtype));
    }
    for kind in [ValueKind::List, ValueKind::Json, ValueKind::Text, ValueKind::Bytes] {
        let _ = decode(body, &of_kind(kind));
    }
    let _ = decode(body, &pair());
    let _ = decode(body, &signature([]));
}
