//! JSON to tables: records, or columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow_schema::{DataType, Field, Schema};
use serde_json::Value;

use super::DataFrame;
use super::read::bounded;
use crate::service::{ApiError, Body, Limits};

type Cells = Vec<Value>;

/// Reads a table, which is written by rows or by columns.
pub(super) fn read(body: &Body, limits: &Limits) -> Result<DataFrame, ApiError> {
    let (rows, columns) = match serde_json::from_slice(&body.bytes).map_err(|error| body.invalid(error))? {
        Value::Array(records) => (records.len(), by_records(body, records, limits)?),
        Value::Object(columns) => by_columns(body, columns, limits)?,
        other => {
            let problem = format!("expected a list of records, or an object of columns, found {}", kind(&other));
            return Err(body.invalid(problem));
        }
    };
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays = Vec::with_capacity(columns.len());
    for (name, cells) in columns {
        let array = array(cells).map_err(|problem| body.invalid(format!("column \"{name}\"{problem}")))?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
    batch.map(DataFrame::new).map_err(|error| body.invalid(error))
}

fn by_records(body: &Body, records: Vec<Value>, limits: &Limits) -> Result<BTreeMap<String, Cells>, ApiError> {
    let rows = records.len();
    let mut columns: BTreeMap<String, Cells> = BTreeMap::new();
    for (row, record) in records.into_iter().enumerate() {
        let Value::Object(record) = record else {
            return Err(body.invalid(format!("row {row}: expected a record, an object, found {}", kind(&record))));
        };
        for (name, value) in record {
            if !columns.contains_key(&name) {
                // Before it is filled: records of which each has a name of its own are large tables.
                bounded(body, rows, columns.len() + 1, limits)?;
            }
            let cells = columns.entry(name).or_default();
            cells.resize(row, Value::Null);
            cells.push(value);
        }
    }
    columns.values_mut().for_each(|cells| cells.resize(rows, Value::Null));
    Ok(columns)
}

fn by_columns(
    body: &Body,
    columns: serde_json::Map<String, Value>,
    limits: &Limits,
) -> Result<(usize, BTreeMap<String, Cells>), ApiError> {
    let mut taken = BTreeMap::new();
    let mut agreed: Option<usize> = None;
    for (name, cells) in columns {
        let Value::Array(cells) = cells else {
            return Err(body.invalid(format!("column \"{name}\": expected a list, found {}", kind(&cells))));
        };
        let rows = *agreed.get_or_insert(cells.len());
        if cells.len() != rows {
            let found = cells.len();
            return Err(
                body.invalid(format!("column \"{name}\": expected {rows} rows, as many as others have, found {found}"))
            );
        }
        taken.insert(name, cells);
    }
    let rows = agreed.unwrap_or(0);
    bounded(body, rows, taken.len(), limits)?;
    Ok((rows, taken))
}

/// The narrowest type that holds all of a column.
fn array(cells: Cells) -> Result<ArrayRef, String> {
    let mut found = DataType::Null;
    for (row, cell) in cells.iter().enumerate() {
        let next = match cell {
            Value::Null => continue,
            Value::Bool(_) => DataType::Boolean,
            Value::Number(number) if number.is_i64() => DataType::Int64,
            Value::Number(_) => DataType::Float64,
            Value::String(_) => DataType::Utf8,
            other => {
                return Err(format!(
                    ", row {row}: expected a number, a boolean, a text or null, found {}",
                    kind(other)
                ));
            }
        };
        found = match (found, next) {
            (DataType::Null, next) => next,
            (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
            (found, next) if found == next => next,
            (found, _) => return Err(format!(", row {row}: expected {found}, as before, found {}", kind(cell))),
        };
    }
    Ok(match found {
        DataType::Null => Arc::new(NullArray::new(cells.len())),
        DataType::Boolean => Arc::new(cells.iter().map(Value::as_bool).collect::<BooleanArray>()),
        DataType::Int64 => Arc::new(cells.iter().map(Value::as_i64).collect::<Int64Array>()),
        DataType::Float64 => Arc::new(cells.iter().map(Value::as_f64).collect::<Float64Array>()),
        _ => Arc::new(cells.iter().map(Value::as_str).collect::<StringArray>()),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
