//! Columns of numbers to arrays, and arrays to columns.

use std::sync::Arc;

use actix_web::http::StatusCode;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType};

use super::DataFrame;
use crate::service::cast::Number;
use crate::service::{ApiError, Columns, NdArray, Scalar};

impl DataFrame {
    /// The columns of these names, as rows of `T`: what a model takes. They are cast as by [`Cast`](crate::service::Cast).
    ///
    /// # Errors
    /// 400: there is no such column, it is none of numbers, or one of its values is null or none that `T` can hold.
    pub fn to_array<T: Scalar, const N: usize>(&self, names: [&str; N]) -> Result<NdArray<T, Columns<N>>, ApiError> {
        let mut columns = Vec::with_capacity(N);
        for name in names {
            columns.push(self.numbers::<T>(name)?);
        }
        let rows = self.rows();
        let mut elements = Vec::with_capacity(rows * N);
        for row in 0..rows {
            elements.extend(columns.iter().filter_map(|column| column.get(row)).copied());
        }
        NdArray::new(elements, [rows, N])
    }

    /// A table of columns, each with its name; made by [`numbers`], [`integers`] and [`texts`], or any of Arrow's arrays.
    ///
    /// # Errors
    /// 500: they are not of the same length. The handler is at fault.
    pub fn of_columns<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> Result<Self, ApiError> {
        let batch = RecordBatch::try_from_iter(columns.into_iter().map(|(name, column)| (name.to_owned(), column)));
        batch.map(Self::new).map_err(|error: ArrowError| {
            let message = format!("a table of the handler's: {error}");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "handler_failed", message)
        })
    }

    fn numbers<T: Scalar>(&self, name: &str) -> Result<Vec<T>, ApiError> {
        let at = self.column(name)?;
        let invalid = |problem: String| ApiError::invalid_input(format!("column \"{name}\"{problem}"));
        let mut taken = Vec::with_capacity(self.rows());
        for batch in &self.batches {
            let column = batch.column(at);
            let numbers = numbers_of(column)
                .ok_or_else(|| invalid(format!(": expected numbers, found {}", column.data_type())))?;
            for number in numbers {
                let row = taken.len();
                let number = number.ok_or_else(|| invalid(format!(", row {row}: expected a number, found null")))?;
                taken.push(T::of_number(number).ok_or_else(|| {
                    invalid(format!(", row {row}: {number} of {}, which {} cannot hold", column.data_type(), T::DTYPE))
                })?);
            }
        }
        Ok(taken)
    }
}

/// A column's numbers; `None` if it has none.
fn numbers_of(column: &ArrayRef) -> Option<Box<dyn Iterator<Item = Option<Number>> + '_>> {
    macro_rules! of {
        ($type:ty, $number:expr) => {
            Box::new(column.as_primitive::<$type>().iter().map(|value| value.map($number)))
        };
    }
    let numbers: Box<dyn Iterator<Item = Option<Number>> + '_> = match column.data_type() {
        DataType::Boolean => {
            Box::new(column.as_boolean().iter().map(|value| value.map(|value| Number::Int(value.into()))))
        }
        DataType::Int8 => of!(Int8Type, |value| Number::Int(value.into())),
        DataType::Int16 => of!(Int16Type, |value| Number::Int(value.into())),
        DataType::Int32 => of!(Int32Type, |value| Number::Int(value.into())),
        DataType::Int64 => of!(Int64Type, |value| Number::Int(value.into())),
        DataType::UInt8 => of!(UInt8Type, |value| Number::Int(value.into())),
        DataType::UInt16 => of!(UInt16Type, |value| Number::Int(value.into())),
        DataType::UInt32 => of!(UInt32Type, |value| Number::Int(value.into())),
        DataType::UInt64 => of!(UInt64Type, |value| Number::Int(value.into())),
        DataType::Float16 => of!(Float16Type, |value| Number::Float(value.to_f64())),
        DataType::Float32 => of!(Float32Type, |value| Number::Float(value.into())),
        DataType::Float64 => of!(Float64Type, Number::Float),
        DataType::Null => Box::new(std::iter::repeat_n(None::<Number>, column.len())),
        _ => return None,
    };
    Some(numbers)
}

/// A column of floats.
pub fn numbers(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

/// A column of integers.
pub fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

/// A column of texts.
pub fn texts<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}
