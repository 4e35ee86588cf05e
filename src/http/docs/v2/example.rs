//! A request that can be sent, as it is or for another model.

use serde_json::{Value, json};

use super::super::example::shortest;
use crate::oip::{Datatype, Model};
use crate::value::ValueSpec;

/// The inputs of the model's example; `None` where there is none.
pub(super) fn request(model: &Model) -> Option<Value> {
    let method = model.method();
    let inputs = method.example().cloned().or_else(|| shortest(method.signature()))?;
    let tensors: Option<Vec<Value>> = match method.signature().inputs.as_slice() {
        // A sole input comes by its name, too.
        [spec] => {
            let named = inputs.get(spec.name()).filter(|_| !matches!(spec, ValueSpec::Json(_)));
            Some(vec![tensor(spec, named.unwrap_or(&inputs))])
        }
        several => several.iter().map(|spec| Some(tensor(spec, inputs.get(spec.name())?))).collect(),
    };
    Some(json!({ "inputs": tensors? }))
}

fn tensor(spec: &ValueSpec, value: &Value) -> Value {
    let (shape, data) = match spec {
        ValueSpec::Tensor(_) | ValueSpec::Texts(_) => (sizes(value), value.clone()),
        ValueSpec::List(_) => (sizes_of_list(value), value.clone()),
        ValueSpec::Json(_) => (vec![1], json!([value.to_string()])),
        ValueSpec::Text(_) | ValueSpec::Bytes(_) => (vec![1], json!([value])),
    };
    // A scalar's data is a list all the same.
    let data = if data.is_array() { data } else { json!([data]) };
    json!({ "name": spec.name(), "datatype": Datatype::of_spec(spec), "shape": shape, "data": data })
}

fn sizes(value: &Value) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut inner = value;
    while let Value::Array(items) = inner {
        sizes.push(items.len());
        let Some(first) = items.first() else { break };
        inner = first;
    }
    sizes
}

fn sizes_of_list(value: &Value) -> Vec<usize> {
    vec![value.as_array().map_or(0, Vec::len)]
}
