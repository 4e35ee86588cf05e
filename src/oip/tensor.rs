//! The protocol's tensors to values and back.

use bytes::Bytes;
use ekiden_actors::{CallError, MethodError};
use serde_json::Value as Json;

use super::datatype::Datatype;
use super::elements;
use crate::codec::json::excerpt;
use crate::value::{Array, Shape, Value, ValueKind, ValueSpec, texts};

/// The most dimensions of a tensor.
const MAX_RANK: usize = 32;

/// The most rows without elements: what costs nothing to send must not cost much to run.
const MOST_EMPTY_ROWS: usize = 1 << 16;

/// A named tensor, as it comes and goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// The sizes of its dimensions.
    pub shape: Shape,
    /// Its elements.
    pub data: Data,
}

/// The elements of a tensor, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Little-endian, without gaps; of `BYTES`, each with its length before it.
    Raw(Bytes),
    /// Those of a `BYTES` tensor.
    Elements(Vec<Bytes>),
}

/// A shape from sizes as the protocol has them.
///
/// # Errors
/// [`CallError::InvalidInput`]: a size is negative, there are too many, or rows without elements are.
pub fn shape(name: &str, sizes: &[i64]) -> Result<Shape, CallError> {
    let refused =
        |problem: String| CallError::invalid_input(format!("input \"{}\": {problem}", excerpt(name.as_bytes())));
    if sizes.len() > MAX_RANK {
        return Err(refused(format!("a tensor can have {MAX_RANK} dimensions, found {}", sizes.len())));
    }
    let mut shape = Shape::default();
    for (at, &size) in sizes.iter().enumerate() {
        let size = usize::try_from(size)
            .map_err(|_| refused(format!("dimension {at} of its shape is {size}; a size is 0 or more")))?;
        shape.push(size);
    }
    if shape.dims().contains(&0) {
        let sizes = shape.dims().iter().filter(|&&size| size > 0);
        let rows = sizes.copied().try_fold(1, usize::checked_mul);
        if rows.is_none_or(|rows| rows > MOST_EMPTY_ROWS) {
            return Err(refused(format!("shape {shape} has no elements, and more than {MOST_EMPTY_ROWS} empty rows")));
        }
    }
    Ok(shape)
}

impl Tensor {
    /// A value of this spec. Numbers share the tensor's memory.
    ///
    /// # Errors
    /// [`CallError::InvalidInput`], which names the input, and what was expected of it.
    pub fn into_value(self, spec: &ValueSpec) -> Result<Value, CallError> {
        let name = spec.name();
        let refused = |problem: String| CallError::invalid_input(format!("input \"{name}\": {problem}"));
        let expected = Datatype::of_spec(spec);
        if self.datatype != expected {
            return Err(refused(format!("expected datatype {expected}, found {}", self.datatype)));
        }
        let Self { datatype, shape, data, .. } = self;
        if let Datatype::Of(dtype) = datatype {
            let Data::Raw(data) = data else { return Err(refused(format!("expected {datatype}, found BYTES"))) };
            let data = native(data, dtype.size());
            let array = Array::from_bytes(dtype, shape, data);
            return array.map(Value::Tensor).map_err(|error| refused(error.to_string()));
        }
        let count = shape.elements().ok_or_else(|| refused(format!("shape {shape} has too many elements")))?;
        let elements = match data {
            Data::Raw(data) => elements::split(&data, count),
            Data::Elements(elements) if elements.len() == count => Ok(elements),
            Data::Elements(elements) => Err(format!("it has {} elements, not {count}", elements.len())),
        };
        let elements = elements.map_err(|problem| refused(format!("shape {shape} of BYTES: {problem}")))?;
        of_bytes(spec, &shape, elements).map_err(refused)
    }

    /// A value of this spec as a tensor. What has a buffer shares it.
    ///
    /// # Errors
    /// [`CallError::Method`] where texts are of different sizes, which a checked output is not.
    pub fn of_value(spec: &ValueSpec, value: Value) -> Result<Self, CallError> {
        let name = spec.name();
        let bytes = |shape: Shape, elements: Vec<Bytes>| (Datatype::Bytes, shape, Data::Elements(elements));
        let (datatype, shape, data) = match value {
            Value::Tensor(array) => {
                let (dtype, shape, data) = array.into_parts();
                (Datatype::Of(dtype), shape, Data::Raw(native(data, dtype.size())))
            }
            Value::List(items) if matches!(spec, ValueSpec::Texts(spec) if spec.shape().len() > 1) => {
                let rows = items.len();
                let flat = texts::flat(items.iter());
                let (texts, sizes) =
                    flat.map_err(|problem| MethodError::failed(format_args!("output \"{name}\": {problem}")))?;
                // What no row shows, as there is none or a text stands for a list of it, is as the spec says.
                let own = spec.shape().unwrap_or_default().iter().skip(1 + sizes.len()).map(|size| size.unwrap_or(1));
                let mut shape = Shape::new(&[rows]);
                sizes.into_iter().chain(own).for_each(|size| shape.push(size));
                bytes(shape, texts.into_iter().map(Bytes::from).collect())
            }
            Value::List(items) => {
                let elements: Vec<Bytes> = items.into_iter().map(element).collect();
                bytes(Shape::new(&[elements.len()]), elements)
            }
            Value::Json(json) => bytes(Shape::new(&[1]), vec![json.to_string().into()]),
            Value::Text(text) => bytes(Shape::new(&[1]), vec![text.into()]),
            Value::Bytes(raw) => bytes(Shape::new(&[1]), vec![raw]),
        };
        Ok(Self { name: name.to_owned(), datatype, shape, data })
    }
}

/// One element of a list: a text as it is, anything else as JSON.
fn element(item: Json) -> Bytes {
    match item {
        Json::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// A value of this spec, which is no tensor, of `BYTES` elements.
fn of_bytes(spec: &ValueSpec, shape: &Shape, elements: Vec<Bytes>) -> Result<Value, String> {
    let text = |(at, element): (usize, Bytes)| {
        let text = String::from_utf8(element.into());
        text.map_err(|error| format!("element {at} is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
    };
    let kind = spec.kind();
    match spec {
        ValueSpec::Texts(_) => {
            if shape.rank() == 0 {
                return Err(format!("expected {spec}, found shape {shape}"));
            }
            let texts: Result<Vec<Json>, String> =
                elements.into_iter().enumerate().map(|element| text(element).map(Json::String)).collect();
            return Ok(Value::List(nested(&shape.dims()[1..], texts?, shape.dims()[0])));
        }
        ValueSpec::List(_) => {
            if shape.rank() != 1 {
                return Err(format!("expected shape [any], found {shape}"));
            }
            let item = |element: (usize, Bytes)| {
                // What is not JSON stands for itself, as a text.
                serde_json::from_slice(&element.1).or_else(|_| text(element).map(Json::String))
            };
            return elements.into_iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::List);
        }
        _ => {}
    }
    let count = elements.len();
    let mut elements = elements.into_iter();
    let (Some(element), None) = (elements.next(), elements.next()) else {
        return Err(format!("expected one element, a {kind}, found {count}"));
    };
    match kind {
        ValueKind::Text => text((0, element)).map(Value::Text),
        ValueKind::Json => {
            serde_json::from_slice(&element).map(Value::Json).map_err(|error| format!("expected JSON text: {error}"))
        }
        _ => Ok(Value::Bytes(element)),
    }
}

/// Texts as `rows` rows of these sizes.
fn nested(sizes: &[usize], texts: Vec<Json>, rows: usize) -> Vec<Json> {
    let Some((&size, inner)) = sizes.split_first() else { return texts };
    let each = texts.len().checked_div(rows).unwrap_or(0);
    let mut texts = texts.into_iter();
    (0..rows).map(|_| Json::Array(nested(inner, texts.by_ref().take(each).collect(), size))).collect()
}

/// Little-endian elements of `size` bytes in this machine's order, or the other way round.
fn native(data: Bytes, size: usize) -> Bytes {
    if cfg!(target_endian = "little") || size == 1 {
        return data;
    }
    let mut swapped = data.to_vec();
    swapped.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    swapped.into()
}
