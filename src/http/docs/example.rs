//! Bodies to begin with: values that fit what a method says of its inputs.

use serde_json::{Map, Value};

use crate::value::{Batching, DType, Signature, TensorSpec, ValueSpec};

/// The most elements that an example of one tensor has: an image would fill pages.
const MOST: usize = 1024;

/// Made-up inputs of a call as JSON, of `rows` rows: a sole one bare, several by their names. `None` where they would
/// fill pages, or where JSON cannot carry them.
pub fn example(signature: &Signature, rows: usize) -> Option<Value> {
    whole(&signature.inputs, signature.batching.map(|Batching { input_dim, .. }| input_dim), rows)
}

/// The shortest call: of one row, or of none where one would fill pages.
pub(super) fn shortest(signature: &Signature) -> Option<Value> {
    example(signature, rows(signature))
}

/// What the outputs of the shortest call look like.
pub(super) fn answer(signature: &Signature) -> Option<Value> {
    whole(&signature.outputs, signature.batching.map(|Batching { output_dim, .. }| output_dim), rows(signature))
}

fn rows(signature: &Signature) -> usize {
    usize::from(signature.batching.is_none() || example(signature, 1).is_some())
}

fn whole(specs: &[ValueSpec], dim: Option<usize>, rows: usize) -> Option<Value> {
    match specs {
        [spec] => value(spec, dim, rows),
        _ => {
            let member = |spec: &ValueSpec| Some((spec.name().to_owned(), value(spec, dim, rows)?));
            specs.iter().map(member).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}

fn value(spec: &ValueSpec, dim: Option<usize>, rows: usize) -> Option<Value> {
    match spec {
        ValueSpec::Tensor(tensor) => nested(tensor, dim, rows),
        ValueSpec::List(_) => Some(vec!["example"; rows].into()),
        ValueSpec::Texts(texts) => Some(texts.filled("example", rows).into()),
        // What it is to hold, only its author knows.
        ValueSpec::Json(_) => None,
        ValueSpec::Text(_) => Some("example".into()),
        ValueSpec::Bytes(_) => None,
    }
}

/// Ones of the tensor's shape: `rows` along the batch dimension, 1 along any other that is open.
fn nested(spec: &TensorSpec, dim: Option<usize>, rows: usize) -> Option<Value> {
    let element = match spec.dtype() {
        DType::Bool => Value::Bool(true),
        dtype if dtype.is_float() => 1.0.into(),
        _ => 1.into(),
    };
    let any_rank = vec![None; dim.map_or(1, |dim| dim + 1)];
    let shape = spec.shape().unwrap_or(&any_rank).iter().enumerate();
    let size = |(at, size): (usize, &Option<usize>)| size.unwrap_or(if Some(at) == dim { rows } else { 1 });
    let sizes: Vec<usize> = shape.map(size).collect();
    // Nothing is written inside a dimension of size 0.
    let written = sizes.iter().take_while(|&&size| size > 0).try_fold(1_usize, |all, &size| all.checked_mul(size))?;
    (written <= MOST).then(|| sizes.iter().rev().fold(element, |inner, &size| vec![inner; size].into()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::codec::Format;
    use crate::value::TextsSpec;

    fn signature(inputs: Vec<ValueSpec>, dim: Option<usize>) -> Signature {
        let batching = dim.map(|dim| Batching { input_dim: dim, output_dim: dim });
        Signature { outputs: inputs.clone(), inputs, batching, streams: false }
    }

    #[track_caller]
    fn check(inputs: Vec<ValueSpec>, dim: Option<usize>, expected: Value) {
        let signature = signature(inputs, dim);
        let example = shortest(&signature).expect("there is one");
        assert_eq!(example, expected);
        // It can be sent.
        let values = Format::Json.decode(&Bytes::from(example.to_string()), &signature).expect("decodes");
        signature.check_inputs(&values).expect("fits");
        assert_eq!(answer(&signature), Some(expected));
    }

    #[test]
    fn examples_can_be_sent() {
        check(vec![TensorSpec::f32("x", [None, Some(2)]).into()], Some(0), json!([[1.0, 1.0]]));
        check(vec![TensorSpec::i64("x", [Some(2), None]).into()], Some(1), json!([[1], [1]]));
        check(vec![TensorSpec::bool("x", []).into()], None, json!(true));
        check(vec![TensorSpec::any_rank("x", DType::U8).into()], Some(1), json!([[1]]));
        check(vec![TextsSpec::new("x", [None, Some(2)]).into()], Some(0), json!([["example", "example"]]));
        let two = vec![TensorSpec::u8("n", [None]).into(), ValueSpec::List("words".into())];
        check(two, Some(0), json!({"n": [1], "words": ["example"]}));
        check(vec![], None, json!({}));
        check(vec![ValueSpec::Text("x".into())], None, json!("example"));
    }

    #[test]
    fn what_would_fill_pages_has_no_rows() {
        let image = |batch| vec![TensorSpec::f32("image", [batch, Some(3), Some(224), Some(224)]).into()];
        check(image(None), Some(0), json!([]));
        assert_eq!(shortest(&signature(image(Some(1)), None)), None);
        // The batch lies inside: what is written is the brackets before it.
        let inside = vec![TensorSpec::f32("x", [Some(3), None, Some(5000)]).into()];
        check(inside, Some(1), json!([[], [], []]));
        assert_eq!(shortest(&signature(vec![ValueSpec::Bytes("x".into())], None)), None);
        assert_eq!(shortest(&signature(vec![ValueSpec::Json("x".into())], None)), None);
    }
}
