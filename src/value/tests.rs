use bytes::Bytes;
use proptest::prelude::*;

use super::gather::{self, Rows};
use super::{Array, ArrayError, Batching, DType, Shape, Signature, TensorSpec, Value, ValueKind, ValueSpec};

/// 0, 1, 2, … in this shape.
fn counted(shape: &[usize]) -> Array {
    let count: usize = shape.iter().product();
    Array::new((0..count).map(|at| at as i32).collect(), shape).unwrap()
}

fn numbers(array: &Array) -> Vec<i32> {
    array.to_vec().unwrap()
}

#[test]
fn slices_are_the_rows_that_were_asked_for() {
    let array = counted(&[2, 3, 2]);
    let check = |dim, rows: std::ops::Range<usize>, shape: &[usize], expected: &[i32]| {
        let slice = array.slice(dim, rows).unwrap();
        assert_eq!((slice.shape().dims(), numbers(&slice).as_slice()), (shape, expected), "dimension {dim}");
    };
    check(0, 1..2, &[1, 3, 2], &[6, 7, 8, 9, 10, 11]);
    check(1, 1..3, &[2, 2, 2], &[2, 3, 4, 5, 8, 9, 10, 11]);
    check(2, 0..1, &[2, 3, 1], &[0, 2, 4, 6, 8, 10]);
    check(1, 2..2, &[2, 0, 2], &[]);
    check(0, 0..2, &[2, 3, 2], &(0..12).collect::<Vec<_>>());
    for (dim, rows) in [(3, 0..1), (0, 0..3), (1, 3..4), (0, 3..3)] {
        assert_eq!(array.slice(dim, rows.clone()), None, "dimension {dim}, rows {rows:?}");
    }
    assert_eq!(array.slice(0, std::ops::Range { start: 2, end: 1 }), None);
    assert_eq!(counted(&[]).slice(0, 0..1), None, "a scalar has no rows");
    assert_eq!(counted(&[2, 4, 0]).slice(1, 1..3).unwrap().shape().dims(), [2, 2, 0]);
}

#[test]
fn slices_along_the_first_dimension_share_memory() {
    let array = counted(&[4, 3]);
    let slice = array.slice(0, 1..3).unwrap();
    assert_eq!(slice.data().as_ptr(), array.data()[12..].as_ptr());
    let within = array.slice(1, 0..3).unwrap();
    assert_eq!(within.data().as_ptr(), array.data().as_ptr(), "all rows are no copy either");
}

#[test]
fn around_a_dimension() {
    let check = |shape: &[usize], dim, expected| assert_eq!(counted(shape).around(dim), expected, "{shape:?} {dim}");
    check(&[2, 3, 5], 0, (1, 60));
    check(&[2, 3, 5], 1, (2, 20));
    check(&[2, 3, 5], 2, (6, 4));
    check(&[2, 0], 0, (1, 0));
}

#[test]
fn bytes_that_are_no_array() {
    let check = |dtype, shape: &[usize], bytes: &'static [u8], expected: &str| {
        let error = Array::from_bytes(dtype, Shape::new(shape), Bytes::from_static(bytes)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(DType::F32, &[2], &[0; 7], "shape [2] of float32 takes 8 bytes, found 7");
    check(DType::U8, &[], &[], "shape [] of uint8 takes 1 bytes, found 0");
    check(DType::Bool, &[3], &[0, 1, 2], "element 2 is neither 0 nor 1, as a bool must be");
    let huge = [usize::MAX, 2];
    check(DType::U8, &huge, &[], &format!("shape {} has more elements than can be addressed", Shape::new(&huge)));
    let error = Array::from_bytes(DType::F64, Shape::from([usize::MAX / 2]), Bytes::new()).unwrap_err();
    assert!(matches!(error, ArrayError::Overflow(_)), "{error:?}");
    let none = Array::from_bytes(DType::F64, Shape::from([usize::MAX, 0, 2]), Bytes::new()).unwrap();
    assert_eq!(none.shape().elements(), Some(0));
}

#[test]
fn elements_are_read_at_any_alignment_and_as_their_own_type_only() {
    let bytes = Bytes::from_owner([&[0][..], &[1.5_f32.to_ne_bytes(), 2.5_f32.to_ne_bytes()].concat()].concat());
    let odd = Array::from_bytes(DType::F32, Shape::from([2]), bytes.slice(1..)).unwrap();
    assert_eq!(odd.to_vec::<f32>(), Some(vec![1.5, 2.5]));
    assert_eq!(odd.to_vec::<i32>(), None);
    let bools = Array::from_bools(vec![true, false], [2]).unwrap();
    assert_eq!(bools.to_vec::<u8>(), Some(vec![1, 0]));
}

#[test]
fn only_what_fits_is_joined() {
    let floats = |shape: &[usize]| Array::new(vec![0.0_f32; shape.iter().product()], shape).unwrap();
    let check = |parts: &[Rows<'_>], dim, fits| assert_eq!(gather::concat(parts, dim).is_ok(), fits, "{parts:?} {dim}");
    check(&[(&counted(&[2, 3]), 0..2), (&counted(&[1, 3]), 0..1)], 0, true);
    check(&[(&counted(&[2, 3]), 0..3), (&counted(&[2, 1]), 0..1)], 1, true);
    check(&[(&counted(&[2, 3]), 0..2), (&counted(&[1, 4]), 0..1)], 0, false);
    check(&[(&counted(&[2]), 0..2), (&counted(&[2, 1]), 0..2)], 0, false);
    check(&[(&counted(&[2]), 0..2), (&floats(&[2]), 0..2)], 0, false);
    check(&[(&counted(&[2]), 0..3)], 0, false);
    check(&[(&counted(&[]), 0..0)], 0, false);
    check(&[], 0, false);
    let list = |items: &[i32]| Value::List(items.iter().map(|&item| item.into()).collect());
    assert_eq!(gather::join(vec![list(&[1]), list(&[2, 3])], 0), Ok(list(&[1, 2, 3])));
    assert!(gather::join(vec![list(&[1]), Value::Tensor(counted(&[1]))], 0).is_err());
    assert!(gather::join(vec![Value::Text("a".into()), Value::Text("b".into())], 0).is_err());
}

#[test]
fn specs_say_what_was_expected_and_what_came() {
    let check = |spec: ValueSpec, value: Value, expected: Result<(), &str>| {
        assert_eq!(spec.check(&value), expected.map_err(str::to_owned), "{spec}");
    };
    let ints = |shape: &[usize]| Value::Tensor(counted(shape));
    check(TensorSpec::i32("x", [None, Some(3)]).into(), ints(&[7, 3]), Ok(()));
    check(TensorSpec::any_rank("x", DType::I32).into(), ints(&[]), Ok(()));
    check(
        TensorSpec::i32("x", [None, Some(3)]).into(),
        ints(&[3, 7]),
        Err("expected int32 [any, 3], found int32 [3, 7]"),
    );
    check(
        TensorSpec::f32("x", [None]).into(),
        ints(&[1, 3]),
        Err("expected float32 [any] (rank 1, found rank 2), found int32 [1, 3]"),
    );
    check(
        TensorSpec::i32("x", []).into(),
        ints(&[1]),
        Err("expected int32 [] (rank 0, found rank 1), found int32 [1]"),
    );
    check(
        TensorSpec::any_rank("x", DType::F32).into(),
        ints(&[1]),
        Err("expected float32 tensor of any shape, found int32 [1]"),
    );
    check(ValueSpec::of_kind(ValueKind::List, "x"), Value::List(vec![1.into()]), Ok(()));
    check(ValueSpec::of_kind(ValueKind::List, "x"), Value::Json(1.into()), Err("expected list, found json"));
    check(TensorSpec::i32("x", []).into(), Value::Text("1".into()), Err("expected int32 [], found text"));
}

#[test]
fn signatures_count_rows_and_name_what_does_not_fit() {
    let signature = |batching| Signature {
        inputs: vec![TensorSpec::i32("x", [None, None]).into(), ValueSpec::List("words".into())],
        outputs: vec![TensorSpec::i32("y", [None]).into()],
        batching,
        streams: false,
    };
    let along = |input_dim, output_dim| signature(Some(Batching { input_dim, output_dim }));
    let words = |count| Value::List(vec!["a".into(); count]);
    let check = |signature: &Signature, values: &[Value], expected: Result<usize, &str>| {
        assert_eq!(signature.check_inputs(values), expected.map_err(str::to_owned));
    };
    let matrix = Value::Tensor(counted(&[2, 3]));
    check(&along(0, 0), &[matrix.clone(), words(2)], Ok(2));
    check(&signature(None), &[matrix.clone(), words(5)], Ok(1));
    check(&along(0, 0), std::slice::from_ref(&matrix), Err("expected 2 inputs, found 1"));
    check(
        &along(0, 0),
        &[matrix.clone(), words(3)],
        Err("input \"words\": expected 2 rows, as many as \"x\" has, found 3"),
    );
    check(&along(1, 0), &[matrix.clone(), words(3)], Err("input \"words\": expected a batch dimension 1, found list"));
    check(&along(0, 0), &[words(2), words(2)], Err("input \"x\": expected int32 [any, any], found list"));

    let outputs = |values: &[Value], rows| along(0, 0).check_outputs(values, rows);
    assert_eq!(outputs(&[counted(&[2]).into()], 2), Ok(()));
    let problem = "output \"y\": expected 3 rows along dimension 0, found 2";
    assert_eq!(outputs(&[counted(&[2]).into()], 3), Err(problem.to_owned()));
    assert_eq!(outputs(&[], 3), Err("expected 1 outputs, found 0".to_owned()));
}

/// Arrays that can be laid side by side along a dimension of theirs.
fn batches() -> impl Strategy<Value = (usize, Vec<Array>)> {
    let shape = prop::collection::vec(0_usize..5, 1..5);
    (shape, any::<prop::sample::Index>(), prop::collection::vec(0_usize..4, 1..5)).prop_map(|(shape, dim, rows)| {
        let dim = dim.index(shape.len());
        let mut next = 0;
        let part = |&rows: &usize| {
            let shape = Shape::new(&shape).with(dim, rows);
            let count = shape.elements().unwrap();
            next += count as i64;
            Array::new((next - count as i64..next).collect(), shape).unwrap()
        };
        (dim, rows.iter().map(part).collect())
    })
}

proptest! {
    #[test]
    fn what_is_gathered_is_split_into_what_it_was((dim, arrays) in batches()) {
        let size = |array: &Array| array.shape().dims()[dim];
        let parts: Vec<Rows<'_>> = arrays.iter().map(|array| (array, 0..size(array))).collect();
        let gathered = gather::concat(&parts, dim).unwrap();
        prop_assert_eq!(size(&gathered), arrays.iter().map(size).sum::<usize>());
        let mut start = 0;
        for array in &arrays {
            let split = gathered.slice(dim, start..start + size(array)).unwrap();
            prop_assert_eq!(&split, array);
            start += size(array);
        }
    }

    #[test]
    fn rows_that_were_cut_join_into_the_whole((dim, arrays) in batches(), cuts in prop::collection::vec(0_usize..4, 0..3)) {
        let array = &arrays[0];
        let size = array.shape().dims()[dim];
        let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.min(size)).chain([0, size]).collect();
        at.sort_unstable();
        let pieces: Vec<Value> = at.windows(2).map(|cut| array.slice(dim, cut[0]..cut[1]).unwrap().into()).collect();
        prop_assert_eq!(gather::join(pieces, dim), Ok(Value::Tensor(array.clone())));
        // As a batch takes them: straight from the whole.
        let parts: Vec<Rows<'_>> = at.windows(2).map(|cut| (array, cut[0]..cut[1])).collect();
        prop_assert_eq!(gather::concat(&parts, dim), Ok(array.clone()));
    }
}
