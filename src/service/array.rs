//! Arrays of one dtype and shape.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use actix_web::http::StatusCode;
use ekiden_actors::MethodError;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType};
use utoipa::openapi::{RefOr, Type};

use super::body::{binary, extractor, responder};
use super::cast::cast;
use super::{ApiError, Body, Describe, Endpoint, Input, Limits, Output, Param, Reply, Scalar, Schemas, Wanted};
use crate::codec::{DecodeError, Format, json, npy};
use crate::runner::{Data, InputBatch, ReadBack};
use crate::value::{Array, DType, Element, Shape, Signature, TensorSpec, Value, ValueSpec};

/// Which shapes an array may have.
pub trait Shaped: Send + Sync + 'static {
    /// The sizes, `None` where any is allowed; `None` altogether for any rank.
    const SHAPE: Option<&'static [Option<usize>]>;
}

/// Any shape.
#[derive(Clone, Copy, Debug)]
pub struct AnyShape;

/// Any shape of `N` dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Rank<const N: usize>;

/// Any number of rows, each of `N` columns.
#[derive(Clone, Copy, Debug)]
pub struct Columns<const N: usize>;

impl Shaped for AnyShape {
    const SHAPE: Option<&'static [Option<usize>]> = None;
}

impl<const N: usize> Shaped for Rank<N> {
    const SHAPE: Option<&'static [Option<usize>]> = Some(&[None; N]);
}

impl<const N: usize> Shaped for Columns<N> {
    const SHAPE: Option<&'static [Option<usize>]> = Some(&[None, Some(N)]);
}

/// Whether an array has to come in its own dtype.
pub trait Strictness: Send + Sync + 'static {
    /// Whether others are cast.
    const CASTS: bool;
}

/// Of its own dtype: JSON numbers are read as it, and `.npy` bodies must have it.
#[derive(Clone, Copy, Debug)]
pub struct Exact;

/// Of any dtype whose numbers it can hold. Integers have to stay what they are, and a float that becomes one has to be whole;
/// floats are rounded to the nearest, and have to stay finite.
#[derive(Clone, Copy, Debug)]
pub struct Cast;

impl Strictness for Exact {
    const CASTS: bool = false;
}

impl Strictness for Cast {
    const CASTS: bool = true;
}

/// What an array is declared as; none of it is ever there.
type Types<T, S, C> = fn() -> (T, S, C);

/// An array of `T`, of the shape `S`: nested JSON lists, or `.npy`, as `content-type` says; an answer comes as `accept` says,
/// else as the request came. `NdArray<f32, Columns<4>>` takes rows of four `float32`, and `NdArray<f32, Columns<4>, Cast>`
/// takes them of any dtype that fits. A type of one's own that is [`Shaped`] says any other shape.
///
/// It can be what a runner's [`Method`](crate::runner::Method) takes and returns, without a copy.
pub struct NdArray<T, S = AnyShape, C = Exact> {
    array: Array,
    types: PhantomData<Types<T, S, C>>,
}

impl<T: Scalar, S: Shaped, C: Strictness> NdArray<T, S, C> {
    /// An array of these elements, row-major.
    ///
    /// # Errors
    /// 500: as many do not fit the shape, or it is none that is allowed. The handler is at fault.
    pub fn new(elements: Vec<T>, shape: impl Into<Shape>) -> Result<Self, ApiError> {
        let array = T::array(elements, shape.into()).map_err(|error| error.to_string());
        array.and_then(Self::of).map_err(at_fault)
    }

    /// An array that is there already.
    ///
    /// # Errors
    /// 500: it has another dtype or shape. The handler is at fault.
    pub fn from_array(array: Array) -> Result<Self, ApiError> {
        Self::of(array).map_err(at_fault)
    }

    /// The array.
    pub fn array(&self) -> &Array {
        &self.array
    }

    /// The array, to be kept.
    pub fn into_array(self) -> Array {
        self.array
    }

    /// The same array, now that it is of its own dtype: what methods are declared with.
    pub fn exact(self) -> NdArray<T, S> {
        NdArray { array: self.array, types: PhantomData }
    }

    /// The sizes of its dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        self.array.shape().dims()
    }

    fn spec(name: &str, dtype: DType) -> TensorSpec {
        match S::SHAPE {
            Some(shape) => TensorSpec::new(name, dtype, shape),
            None => TensorSpec::any_rank(name, dtype),
        }
    }

    /// Takes an array whose dtype and shape fit.
    fn of(array: Array) -> Result<Self, String> {
        let value = Value::Tensor(array);
        ValueSpec::Tensor(Self::spec("", T::DTYPE)).check(&value)?;
        match value {
            Value::Tensor(array) => Ok(Self { array, types: PhantomData }),
            _ => Err("it is not an array".to_owned()),
        }
    }

    /// Casts an array whose shape fits, and which is not too large then: small elements may become large ones.
    fn cast(body: &Body, array: Array, limits: &Limits) -> Result<Array, ApiError> {
        let spec = Self::spec("", array.dtype());
        ValueSpec::Tensor(spec).check(&Value::Tensor(array.clone())).map_err(|problem| body.invalid(problem))?;
        let bytes = array.shape().elements().unwrap_or(usize::MAX).saturating_mul(size_of::<T>());
        if array.dtype() != T::DTYPE && bytes > limits.max_decoded_bytes {
            let (shape, limit) = (array.shape(), limits.max_decoded_bytes);
            let problem = format!("{} of shape {shape} takes more than max_decoded_bytes = {limit}", T::DTYPE);
            return Err(body.too_large(problem));
        }
        cast::<T>(array).map_err(|problem| body.invalid(problem))
    }

    /// What the codecs need to know.
    fn signature(name: &str, dtype: DType) -> Signature {
        let spec = Self::spec(name, dtype);
        Signature { inputs: vec![spec.clone().into()], outputs: vec![spec.into()], batching: None, streams: false }
    }

    /// The format that is said; JSON where none is, and `.npy` where bytes of no type say so themselves, as forms send files.
    fn format(body: &Body) -> Option<Format> {
        match body.media_type.as_deref().map_or(Some(Format::Json), Format::of_media_type) {
            Some(Format::Bytes) if body.bytes.starts_with(npy::MAGIC) => Some(Format::Npy),
            said => said,
        }
    }

    fn decode(body: &Body) -> Result<Array, ApiError> {
        let from_json = |dtype| json::decode(&body.bytes, &Self::signature(&body.name, dtype)).map(sole);
        let unlike = |error: DecodeError| ApiError::invalid_input(error.to_string());
        match Self::format(body) {
            Some(Format::Json) if C::CASTS => {
                let as_it_is = from_json(T::DTYPE).map_err(unlike);
                // `1.0` may be meant for an integer. But beside it may be one that is no float, which would become another.
                as_it_is.or_else(|first| {
                    let floats = from_json(DType::F64).ok();
                    let fits = |array: &Option<Array>| T::DTYPE.is_float() || array.as_ref().is_none_or(are_exact);
                    floats.filter(fits).ok_or(first)
                })?
            }
            Some(Format::Json) => from_json(T::DTYPE).map_err(unlike)?,
            Some(Format::Npy) if C::CASTS => Some(npy::read(&body.bytes).map_err(|error| body.invalid(error))?),
            Some(Format::Npy) => {
                npy::decode(&body.bytes, &Self::signature(&body.name, T::DTYPE)).map(sole).map_err(unlike)?
            }
            _ => return Err(body.unsupported(&[Format::Json.media_type(), Format::Npy.media_type()])),
        }
        .ok_or_else(|| body.invalid("expected an array"))
    }
}

/// Whether each of these floats is one integer at most: from 2⁵³ on, one may have been read from several.
fn are_exact(floats: &Array) -> bool {
    const FROM: f64 = 9_007_199_254_740_992.0;
    floats.elements::<f64>().is_some_and(|floats| floats.iter().all(|float| float.abs() < FROM))
}

/// The one array that was decoded.
fn sole(values: crate::value::Values) -> Option<Array> {
    match values.into_iter().next() {
        Some(Value::Tensor(array)) => Some(array),
        _ => None,
    }
}

fn at_fault(problem: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "handler_failed", format!("an array of the handler's: {problem}"))
}

impl<T: Scalar + Element, S: Shaped, C: Strictness> NdArray<T, S, C> {
    /// Its elements, row-major; not copied where they lie aligned.
    pub fn elements(&self) -> Cow<'_, [T]> {
        // Of no other dtype is one made.
        self.array.elements().unwrap_or_default()
    }
}

impl<T: Scalar, const N: usize, C: Strictness> NdArray<T, Columns<N>, C> {
    /// An array of these rows.
    ///
    /// # Errors
    /// None but 500 for more elements than can be addressed.
    pub fn from_rows(rows: Vec<[T; N]>) -> Result<Self, ApiError> {
        let count = rows.len();
        Self::new(rows.into_iter().flatten().collect(), [count, N])
    }
}

impl<T, S, C> Clone for NdArray<T, S, C> {
    fn clone(&self) -> Self {
        Self { array: self.array.clone(), types: PhantomData }
    }
}

impl<T, S, C> fmt::Debug for NdArray<T, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NdArray").field(&self.array).finish()
    }
}

impl<T, S, C> PartialEq for NdArray<T, S, C> {
    fn eq(&self, other: &Self) -> bool {
        self.array == other.array
    }
}

impl<T: Scalar, S: Shaped, C: Strictness> Input for NdArray<T, S, C> {
    fn read(body: Body, limits: &Limits) -> Result<Self, ApiError> {
        let array = Self::decode(&body)?;
        let array = if C::CASTS { Self::cast(&body, array, limits)? } else { array };
        Self::of(array).map_err(|problem| body.invalid(problem))
    }
}

impl<T: Scalar, S: Shaped, C: Strictness> Output for NdArray<T, S, C> {
    fn write(self, wanted: Wanted<'_>) -> Result<Body, ApiError> {
        let chosen = wanted.choose(&[Format::Json.media_type(), Format::Npy.media_type()]);
        let format = Format::of_media_type(chosen).unwrap_or(Format::Json);
        let written = format.encode(&Self::signature("body", T::DTYPE), &[Value::Tensor(self.array)]);
        let (format, bytes) =
            written.map_err(|error| ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", error.to_string()))?;
        Ok(Body::new(format.media_type(), bytes))
    }
}

impl<T: Scalar, S: Shaped, C: Strictness> Describe for NdArray<T, S, C> {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        contents(T::DTYPE, S::SHAPE, false)
    }
}

impl<T: Scalar, S: Shaped, C: Strictness> Param for NdArray<T, S, C> {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.takes::<Self>();
    }
}

/// JSON has neither NaN nor infinities: they are written as null, which is not taken.
impl<T: Scalar, S: Shaped, C: Strictness> Reply for NdArray<T, S, C> {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.gives.extend(contents(T::DTYPE, S::SHAPE, T::DTYPE.is_float()));
    }
}

fn contents(dtype: DType, shape: Option<&[Option<usize>]>, nulls: bool) -> Vec<(String, Content)> {
    let json = ContentBuilder::new().schema(Some(schema(dtype, shape, nulls))).example(example(dtype, shape));
    let (json_type, npy_type) = (Format::Json.media_type(), Format::Npy.media_type());
    vec![(json_type.to_owned(), json.build()), (npy_type.to_owned(), binary())]
}

/// Lists in lists, as deep as the shape, around numbers of the dtype.
fn schema(dtype: DType, shape: Option<&[Option<usize>]>, nulls: bool) -> RefOr<Schema> {
    let Some(shape) = shape else {
        let described = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        return described.description(Some(format!("lists of {dtype}, nested to any depth"))).into();
    };
    let kind = match dtype {
        DType::Bool => Type::Boolean,
        dtype if dtype.is_float() => Type::Number,
        _ => Type::Integer,
    };
    let kind = if nulls { SchemaType::from_iter([kind, Type::Null]) } else { kind.into() };
    let element: RefOr<Schema> = ObjectBuilder::new().schema_type(kind).description(Some(dtype.name())).into();
    shape
        .iter()
        .rev()
        .fold(element, |inner, size| ArrayBuilder::new().items(inner).min_items(*size).max_items(*size).into())
}

/// An array that would be taken; none where any shape is.
fn example(dtype: DType, shape: Option<&[Option<usize>]>) -> Option<serde_json::Value> {
    let element = match dtype {
        DType::Bool => serde_json::Value::Bool(true),
        dtype if dtype.is_float() => serde_json::json!(0.5),
        _ => serde_json::json!(1),
    };
    let nested =
        |inner: serde_json::Value, size: &Option<usize>| serde_json::Value::Array(vec![inner; size.unwrap_or(1)]);
    shape.map(|shape| shape.iter().rev().fold(element, nested))
}

extractor!([T: Scalar, S: Shaped, C: Strictness] NdArray<T, S, C>);
responder!([T: Scalar, S: Shaped, C: Strictness] NdArray<T, S, C>);

/// What methods take and return: an [`Array`] whose dtype and shape are compared with the method's when it is looked up.
impl<T: Scalar, S: Shaped, C: Strictness> Data for NdArray<T, S, C> {
    fn default_spec(name: String) -> ValueSpec {
        Self::spec(&name, T::DTYPE).into()
    }

    fn check_spec(spec: &ValueSpec) -> Result<(), String> {
        let own = || format!("an NdArray of {}", Self::spec("", T::DTYPE));
        let ValueSpec::Tensor(spec) = spec else { return Err(own()) };
        let fits = match (spec.shape(), S::SHAPE) {
            (Some(theirs), Some(ours)) => {
                let same = |(theirs, ours): (&Option<usize>, &Option<usize>)| match (theirs, ours) {
                    (Some(theirs), Some(ours)) => theirs == ours,
                    _ => true,
                };
                theirs.len() == ours.len() && theirs.iter().zip(ours).all(same)
            }
            _ => true,
        };
        if spec.dtype() == T::DTYPE && fits { Ok(()) } else { Err(own()) }
    }

    fn gather(batch: &InputBatch<'_>) -> Result<Self, MethodError> {
        Self::of(Array::gather(batch)?).map_err(MethodError::invalid_input)
    }

    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
        self.array.stage(back)
    }

    fn into_value(self) -> Result<Value, String> {
        Ok(Value::Tensor(self.array))
    }

    fn from_value(value: Value) -> Result<Self, String> {
        Array::from_value(value).and_then(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_json_stay_what_they_are() {
        let read = |json: &'static str| {
            let body = Body { name: "body".to_owned(), ..Body::new("application/json", json) };
            let array = NdArray::<i64, AnyShape, Cast>::read(body, &Limits::default());
            array.ok().map(|array| array.elements().into_owned())
        };
        assert_eq!(read("[9007199254740993, 1]"), Some(vec![9_007_199_254_740_993, 1]));
        assert_eq!(read("[9007199254740991, 1.0]"), Some(vec![9_007_199_254_740_991, 1]));
        assert_eq!(read("[9007199254740993, 1.0]"), None, "as a float, it is another");
    }
}
