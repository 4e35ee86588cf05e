//! Tables: what a body of rows and columns is read into, and written from, on Arrow's arrays.
//!
//! `read` and `write` are the formats, `records` is JSON among them, and `numbers` makes arrays of columns.

mod numbers;
mod read;
mod records;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use utoipa::openapi::content::Content;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder};
use utoipa::openapi::{Object, Type};

use crate::service::body::{described, extractor, responder};
use crate::service::{ApiError, Body, Describe, Input, Limits, Output, Schemas, Wanted};

pub use numbers::{integers, numbers, texts};

pub use arrow_array;
pub use arrow_schema;

/// The formats of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// JSON: a list of records, `[{"a": 1, "b": "x"}]`, or an object of columns, `{"a": [1], "b": ["x"]}`.
    Json,
    /// CSV with a line of names.
    Csv,
    /// Parquet, plain or with Snappy.
    Parquet,
    /// Arrow's IPC stream, not compressed.
    ArrowStream,
    /// Arrow's IPC file (Feather), not compressed.
    ArrowFile,
}

impl TableFormat {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Parquet, Self::ArrowStream, Self::ArrowFile];

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
            Self::ArrowFile => "application/vnd.apache.arrow.file",
        }
    }

    /// What the first bytes of a file say, where they do.
    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let magic = [(read::PARQUET_FILE, Self::Parquet), (read::ARROW_FILE, Self::ArrowFile)];
        magic.into_iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, format)| format)
    }

    fn of(essence: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.media_type() == essence)
    }
}

/// A table: named columns of numbers, booleans, texts or times, each with nulls or without. It comes in, and goes out, in any
/// of the [`TableFormat`]s; JSON and CSV have their columns' types guessed: `int64`, `float64`, booleans, texts. Records of JSON
/// need not have all columns; its columns are in the order of their names.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFrame {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl DataFrame {
    /// A table of these columns.
    pub fn new(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: vec![batch] }
    }

    /// Its columns' names and types.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Its rows, in order, in as many pieces as they came.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The texts of a column.
    ///
    /// # Errors
    /// 400: there is no such column, or it is none of texts.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<&str>>, ApiError> {
        let at = self.column(name)?;
        let mut texts = Vec::with_capacity(self.rows());
        for batch in &self.batches {
            let column = batch.column(at);
            match column.data_type() {
                DataType::Utf8 => texts.extend(column.as_string::<i32>()),
                DataType::LargeUtf8 => texts.extend(column.as_string::<i64>()),
                DataType::Utf8View => texts.extend(column.as_string_view()),
                // A column in which there is nothing may be one of anything.
                DataType::Null => texts.resize(texts.len() + column.len(), None),
                other => {
                    return Err(ApiError::invalid_input(format!("column \"{name}\": expected texts, found {other}")));
                }
            }
        }
        Ok(texts)
    }

    /// Where the column of this name is.
    fn column(&self, name: &str) -> Result<usize, ApiError> {
        self.schema.index_of(name).map_err(|_| {
            let known = self.schema.fields().iter().map(|field| field.name().as_str());
            ApiError::invalid_input(format!("there is no column \"{name}\"{}", crate::suggest::suggest(name, known)))
        })
    }

    fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }
}

impl From<RecordBatch> for DataFrame {
    fn from(batch: RecordBatch) -> Self {
        Self::new(batch)
    }
}

impl Default for DataFrame {
    fn default() -> Self {
        Self { schema: Arc::new(Schema::empty()), batches: Vec::new() }
    }
}

impl Describe for DataFrame {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        let text = || Content::new(Some(Object::with_type(Type::String)));
        let content = |format| match format {
            TableFormat::Json => {
                let record = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true)));
                let records = ArrayBuilder::new().items(record);
                Content::new(Some(records.description(Some("records; or an object of columns, each a list"))))
            }
            TableFormat::Csv => text(),
            _ => Content::new(None::<Object>),
        };
        TableFormat::ALL.map(|format| (format.media_type().to_owned(), content(format))).into()
    }
}

impl Input for DataFrame {
    fn read(body: Body, limits: &Limits) -> Result<Self, ApiError> {
        let essence = body.essence();
        let format = match essence.as_deref() {
            // `curl -d` says that it sends a form, and nobody sends a table as one.
            None | Some("application/x-www-form-urlencoded") => Some(TableFormat::Json),
            Some("application/octet-stream") => TableFormat::of_bytes(&body.bytes),
            Some(essence) => TableFormat::of(essence),
        };
        let format = format.ok_or_else(|| body.unsupported(&TableFormat::ALL.map(TableFormat::media_type)))?;
        read::read(format, &body, limits)
    }
}

impl Output for DataFrame {
    fn write(self, wanted: Wanted<'_>) -> Result<Body, ApiError> {
        let chosen = wanted.choose(&TableFormat::ALL.map(TableFormat::media_type));
        let format = TableFormat::of(chosen).unwrap_or(TableFormat::Json);
        write::write(&self, format).map(|bytes| Body::new(format.media_type(), bytes))
    }
}

extractor!([] DataFrame);
responder!([] DataFrame);
described!([] DataFrame);
