//! From one dtype to another, where nothing is lost but the last digits of a float.

use half::{bf16, f16};

use crate::value::{Array, ArrayError, DType, Element, Shape};

/// A number of any dtype. Each is one of these without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of 64 bits at most, signed or not.
    Int(i128),
    /// A float of any width.
    Float(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
        }
    }
}

/// What the elements of an array can be in Rust: numbers and `bool`.
pub trait Scalar: Copy + Send + Sync + 'static {
    /// The dtype of such an array.
    const DTYPE: DType;

    /// The number as this type; `None` where it would be another. Floats are rounded to the nearest, and stay finite.
    #[doc(hidden)]
    fn of_number(number: Number) -> Option<Self>;

    /// An array of these elements.
    #[doc(hidden)]
    fn array(elements: Vec<Self>, shape: Shape) -> Result<Array, ArrayError>;
}

impl Scalar for bool {
    const DTYPE: DType = DType::Bool;

    fn of_number(number: Number) -> Option<Self> {
        match u8::of_number(number)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn array(elements: Vec<Self>, shape: Shape) -> Result<Array, ArrayError> {
        Array::from_bools(elements, shape)
    }
}

macro_rules! scalars {
    ($($type:ty: $convert:expr;)+) => {
        $(impl Scalar for $type {
            const DTYPE: DType = <$type as Element>::DTYPE;

            fn of_number(number: Number) -> Option<Self> {
                let convert: fn(Number) -> Option<$type> = $convert;
                convert(number)
            }

            fn array(elements: Vec<Self>, shape: Shape) -> Result<Array, ArrayError> {
                Array::new(elements, shape)
            }
        })+
    };
}

scalars! {
    u8: integer;
    u16: integer;
    u32: integer;
    u64: integer;
    i8: integer;
    i16: integer;
    i32: integer;
    i64: integer;
    f16: |number| float(number, f16::from_f64, f16::to_f64);
    bf16: |number| float(number, bf16::from_f64, bf16::to_f64);
    f32: |number| float(number, |number| number as f32, f64::from);
    f64: |number| float(number, |number| number, |number| number);
}

fn integer<T: TryFrom<i128>>(number: Number) -> Option<T> {
    match number {
        Number::Int(number) => T::try_from(number).ok(),
        // A whole number beyond what this holds is beyond what `T` holds; as it saturates, `T` has none for it.
        Number::Float(number) if number.fract() == 0.0 => T::try_from(number as i128).ok(),
        Number::Float(_) => None,
    }
}

/// A float of either is rounded; an integer has to be exact.
fn float<T: Copy>(number: Number, narrow: fn(f64) -> T, widen: fn(T) -> f64) -> Option<T> {
    match number {
        Number::Float(number) => {
            let narrowed = narrow(number);
            (widen(narrowed).is_finite() || !number.is_finite()).then_some(narrowed)
        }
        Number::Int(number) => {
            let narrowed = narrow(number as f64);
            (widen(narrowed) as i128 == number).then_some(narrowed)
        }
    }
}

/// The array with elements of `T`.
///
/// # Errors
/// The first element that `T` cannot hold, and where it is.
pub(super) fn cast<T: Scalar>(array: Array) -> Result<Array, String> {
    if array.dtype() == T::DTYPE {
        return Ok(array);
    }
    let elements: Vec<T> = match array.dtype() {
        DType::Bool | DType::U8 => converted::<u8, T>(&array, |number| Number::Int(number.into())),
        DType::U16 => converted::<u16, T>(&array, |number| Number::Int(number.into())),
        DType::U32 => converted::<u32, T>(&array, |number| Number::Int(number.into())),
        DType::U64 => converted::<u64, T>(&array, |number| Number::Int(number.into())),
        DType::I8 => converted::<i8, T>(&array, |number| Number::Int(number.into())),
        DType::I16 => converted::<i16, T>(&array, |number| Number::Int(number.into())),
        DType::I32 => converted::<i32, T>(&array, |number| Number::Int(number.into())),
        DType::I64 => converted::<i64, T>(&array, |number| Number::Int(number.into())),
        DType::F16 => converted::<f16, T>(&array, |number| Number::Float(number.to_f64())),
        DType::BF16 => converted::<bf16, T>(&array, |number| Number::Float(number.to_f64())),
        DType::F32 => converted::<f32, T>(&array, |number| Number::Float(number.into())),
        DType::F64 => converted::<f64, T>(&array, Number::Float),
    }?;
    T::array(elements, array.shape().clone()).map_err(|error| error.to_string())
}

/// The elements of an array of `E`, one by one: all of them as [`Number`]s would take many times the body.
fn converted<E: Element, T: Scalar>(array: &Array, number: fn(E) -> Number) -> Result<Vec<T>, String> {
    let elements = array.elements::<E>().unwrap_or_default();
    let mut taken = Vec::with_capacity(elements.len());
    for (at, &element) in elements.iter().enumerate() {
        let number = number(element);
        taken.push(
            T::of_number(number).ok_or_else(|| {
                format!("element {at} is {number} of {}, which {} cannot hold", array.dtype(), T::DTYPE)
            })?,
        );
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_digits_is_lost() {
        fn check<T: Scalar + PartialEq + std::fmt::Debug>(number: Number, expected: Option<T>) {
            assert_eq!(T::of_number(number), expected, "{number}");
        }
        let (int, float) = (Number::Int, Number::Float);
        check(int(255), Some(255_u8));
        check::<u8>(int(256), None);
        check::<u8>(int(-1), None);
        check(float(7.0), Some(7_i64));
        check::<i64>(float(7.5), None);
        check::<i64>(float(9.3e18), None);
        check::<u64>(float(1e300), None);
        check::<i64>(float(f64::NAN), None);
        check(float(5.1), Some(5.1_f32));
        check::<f32>(float(1e39), None);
        check(float(f64::INFINITY), Some(f32::INFINITY));
        check(int(1 << 24), Some(16_777_216.0_f32));
        check::<f32>(int((1 << 24) + 1), None);
        check::<f64>(int(u64::MAX.into()), None);
        check::<f16>(int(65_536), None);
        check(int(3), Some(f16::from_f32(3.0)));
        check(int(1), Some(true));
        check::<bool>(int(2), None);
        assert!(f32::of_number(float(f64::NAN)).is_some_and(f32::is_nan));
    }

    #[test]
    fn arrays_are_cast() {
        let doubles = Array::new(vec![1.0_f64, 2.0, 3.0, 4.5], [2, 2]).expect("an array");
        let floats = cast::<f32>(doubles.clone()).expect("all fit");
        assert_eq!((floats.to_vec(), floats.shape()), (Some(vec![1.0_f32, 2.0, 3.0, 4.5]), doubles.shape()));
        let error = cast::<i32>(doubles).expect_err("one is not whole");
        assert_eq!(error, "element 3 is 4.5 of float64, which int32 cannot hold");
        let bools = Array::from_bools(vec![true, false], [2]).expect("an array");
        assert_eq!(cast::<u8>(bools).expect("all fit").to_vec(), Some(vec![1_u8, 0]));
    }
}
