//! JSON Schemas of what methods take and return.

use utoipa::Number;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, SchemaType,
    Type,
};
use utoipa::openapi::{RefOr, Schema, SchemaFormat};

use crate::value::{DType, ValueSpec};

/// Which way values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// What callers send.
    In,
    /// What they are answered: NaN and infinities are `null` there.
    Out,
}

/// The inputs of a call as JSON: a sole one bare or by its name, several by their names. `None` where JSON cannot carry
/// them.
pub(super) fn inputs(specs: &[ValueSpec]) -> Option<Schema> {
    if specs.iter().any(|spec| matches!(spec, ValueSpec::Bytes(_))) {
        return None;
    }
    Some(match specs {
        // An object could not be told from the value.
        [spec @ ValueSpec::Json(_)] => value(spec, Way::In),
        [spec] => OneOfBuilder::new().item(value(spec, Way::In)).item(by_name(specs, Way::In)).build().into(),
        _ => by_name(specs, Way::In),
    })
}

/// The outputs of a call as JSON: a sole one bare, several by their names. `None` where JSON cannot carry them.
pub(super) fn outputs(specs: &[ValueSpec]) -> Option<Schema> {
    if specs.iter().any(|spec| matches!(spec, ValueSpec::Bytes(_))) {
        return None;
    }
    Some(match specs {
        [spec] => value(spec, Way::Out),
        _ => by_name(specs, Way::Out),
    })
}

/// A body that is a file.
pub(super) fn binary() -> Schema {
    let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build().into()
}

/// A body that is text.
pub(super) fn text() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).build().into()
}

fn by_name(specs: &[ValueSpec], way: Way) -> Schema {
    let object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let object = specs.iter().fold(object, |object, spec| {
        object.property(spec.name(), described(value(spec, way), spec)).required(spec.name())
    });
    object.build().into()
}

/// Says which dtype and shape it is.
fn described(mut schema: Schema, spec: &ValueSpec) -> RefOr<Schema> {
    let about = Some(spec.to_string());
    match &mut schema {
        Schema::Array(array) => array.description = about,
        Schema::Object(object) => object.description = about,
        Schema::AnyOf(any) => any.description = about,
        _ => {}
    }
    schema.into()
}

/// One value as JSON.
fn value(spec: &ValueSpec, way: Way) -> Schema {
    match spec {
        ValueSpec::Tensor(tensor) => {
            let element = element(tensor.dtype(), way);
            match tensor.shape() {
                Some(shape) => shape.iter().rev().fold(element, |inner, &size| array(inner, size)),
                None => AnyOfBuilder::new().item(element).item(array(any(), None)).build().into(),
            }
        }
        ValueSpec::Texts(texts) => {
            let mut single = true;
            texts.shape().iter().enumerate().rev().fold(text(), |inner, (depth, &size)| {
                single &= size.is_none_or(|size| size == 1);
                let list = array(inner, size);
                // What is left of the shape is 1: a text may stand for a list of it.
                if depth > 0 && single && way == Way::In {
                    AnyOfBuilder::new().item(list).item(text()).build().into()
                } else {
                    list
                }
            })
        }
        ValueSpec::List(_) => array(any(), None),
        ValueSpec::Json(_) => any(),
        // Bytes have no JSON, and are not asked for.
        ValueSpec::Text(_) | ValueSpec::Bytes(_) => text(),
    }
}

fn array(items: Schema, size: Option<usize>) -> Schema {
    ArrayBuilder::new().items(RefOr::T(items)).min_items(size).max_items(size).build().into()
}

/// Anything at all.
fn any() -> Schema {
    Object::with_type(SchemaType::AnyValue).into()
}

/// One element of a tensor.
fn element(dtype: DType, way: Way) -> Schema {
    let whole = |least: Number, most: Number| {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most)).build()
    };
    let signed = |least: i64, most: i64| whole(Number::Int(least as isize), Number::Int(most as isize));
    let unsigned = |most: u64| whole(Number::UInt(0), Number::UInt(most as usize));
    // What is not as large is rounded to the largest that there is: halfway to the next, were there one.
    let bound = |exponent: i32, digits: i32| Some(2_f64.powi(exponent) * (1.0 - 2_f64.powi(-digits - 1)));
    let float = |bound: Option<f64>, format: Option<KnownFormat>| {
        let types = match way {
            Way::In => SchemaType::new(Type::Number),
            Way::Out => SchemaType::Array(vec![Type::Number, Type::Null]),
        };
        let float = ObjectBuilder::new().schema_type(types).format(format.map(SchemaFormat::KnownFormat));
        // A bound says nothing of what is answered.
        let bound = bound.filter(|_| way == Way::In);
        let float = float.exclusive_minimum(bound.map(|bound| Number::Float(-bound)));
        float.exclusive_maximum(bound.map(Number::Float)).build()
    };
    let object = match dtype {
        DType::Bool => ObjectBuilder::new().schema_type(Type::Boolean).build(),
        DType::U8 => unsigned(u8::MAX.into()),
        DType::U16 => unsigned(u16::MAX.into()),
        DType::U32 => unsigned(u32::MAX.into()),
        DType::U64 => unsigned(u64::MAX),
        DType::I8 => signed(i8::MIN.into(), i8::MAX.into()),
        DType::I16 => signed(i16::MIN.into(), i16::MAX.into()),
        DType::I32 => signed(i32::MIN.into(), i32::MAX.into()),
        DType::I64 => signed(i64::MIN, i64::MAX),
        DType::F16 => float(bound(16, 11), None),
        DType::BF16 => float(bound(128, 8), None),
        // Its digits are not read as a float64 first: the shortest that stand for the bound are less than it.
        DType::F32 => float(bound(128, 24).map(f64::next_up), Some(KnownFormat::Float)),
        DType::F64 => float(None, Some(KnownFormat::Double)),
    };
    object.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::codec::json;
    use crate::value::{Signature, TensorSpec, TextsSpec};

    fn json_of(schema: Option<Schema>) -> Value {
        serde_json::to_value(schema).expect("is JSON")
    }

    #[test]
    fn a_tensor_is_nested_arrays_of_its_sizes() {
        let spec = [TensorSpec::i8("x", [None, Some(2)]).into()];
        let row = json!({"type": "array", "minItems": 2, "maxItems": 2,
            "items": {"type": "integer", "minimum": -128, "maximum": 127}});
        let bare = json!({"type": "array", "items": row});
        let mut named = bare.clone();
        named["description"] = "int8 [any, 2]".into();
        let object = json!({"type": "object", "additionalProperties": false, "required": ["x"],
            "properties": {"x": named}});
        assert_eq!(json_of(inputs(&spec)), json!({"oneOf": [bare, object]}));
        assert_eq!(json_of(outputs(&spec)), bare);
    }

    #[test]
    fn elements_are_of_their_dtype() {
        let check = |dtype, expected: Value| {
            let found = json_of(outputs(&[TensorSpec::new("x", dtype, []).into()]));
            assert_eq!(found, expected, "{dtype}");
        };
        check(DType::Bool, json!({"type": "boolean"}));
        check(DType::U64, json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}));
        check(DType::I64, json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}));
        check(DType::F32, json!({"type": ["number", "null"], "format": "float"}));
    }

    #[test]
    fn floats_are_bounded_by_what_is_rounded_to_them() {
        let check = |dtype, largest: &str, next: &str| {
            let signature =
                |inputs: Vec<ValueSpec>| Signature { inputs, outputs: Vec::new(), batching: None, streams: false };
            let inputs = signature(vec![TensorSpec::new("x", dtype, []).into()]);
            let schema = json_of(super::inputs(&inputs.inputs));
            let bound = schema["oneOf"][0]["exclusiveMaximum"].as_f64().expect("a bound");
            assert_eq!(schema["oneOf"][0]["exclusiveMinimum"].as_f64(), Some(-bound));
            for (text, fits) in [(largest, true), (next, false)] {
                let value: f64 = text.parse().expect("a number");
                assert_eq!(value < bound, fits, "{dtype} {text} {bound}");
                assert_eq!(json::decode(text.as_bytes(), &inputs).is_ok(), fits, "{dtype} {text}");
            }
        };
        check(DType::F16, "65519.99", "65520");
        check(DType::F32, "3.4028235677973366e38", "3.402823567797337e38");
        check(DType::BF16, "3.3961775292304596e38", "3.39617752923046e38");
    }

    #[test]
    fn other_kinds() {
        let check = |spec: ValueSpec, expected: Value| {
            let sent = json_of(inputs(&[spec]));
            assert_eq!(sent["oneOf"][0], expected);
        };
        check(ValueSpec::List("x".into()), json!({"type": "array", "items": {}}));
        check(ValueSpec::Text("x".into()), json!({"type": "string"}));
        let pair = json!({"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}});
        check(TextsSpec::new("x", [None, Some(2)]).into(), json!({"type": "array", "items": pair}));
        let one = json!({"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "string"}});
        let either = json!({"anyOf": [one, {"type": "string"}]});
        check(TextsSpec::new("x", [None, Some(1)]).into(), json!({"type": "array", "items": either}));
        assert_eq!(json_of(inputs(&[ValueSpec::Json("x".into())])), json!({}));
        assert_eq!(json_of(inputs(&[])), json!({"type": "object", "additionalProperties": false}));
        let bytes = [ValueSpec::Bytes("x".into())];
        assert!(inputs(&bytes).is_none() && outputs(&bytes).is_none());
        let any_rank = [TensorSpec::any_rank("x", DType::Bool).into()];
        let either = json!({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {}}]});
        assert_eq!(json_of(outputs(&any_rank)), either);
    }
}
