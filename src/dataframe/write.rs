//! Tables to bodies.

use std::sync::Arc;

use actix_web::http::StatusCode;
use arrow_csv::WriterBuilder as CsvWriter;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_json::WriterBuilder as JsonWriter;
use arrow_json::writer::JsonArray;
use arrow_schema::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use super::{DataFrame, TableFormat};
use crate::service::ApiError;

/// Writes a table: JSON as records, in which nulls are written too.
pub(super) fn write(table: &DataFrame, format: TableFormat) -> Result<Vec<u8>, ApiError> {
    let written = match format {
        TableFormat::Json => json(table),
        TableFormat::Csv => csv(table),
        TableFormat::Parquet => parquet(table).map_err(ArrowError::from),
        TableFormat::ArrowStream => stream(table),
        TableFormat::ArrowFile => file(table),
    };
    written.map_err(|error| {
        let message = format!("the table cannot be written as {}: {error}", format.media_type());
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message)
    })
}

fn json(table: &DataFrame) -> Result<Vec<u8>, ArrowError> {
    let mut writer = JsonWriter::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    table.batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn csv(table: &DataFrame) -> Result<Vec<u8>, ArrowError> {
    let mut writer = CsvWriter::new().with_header(true).build(Vec::new());
    table.batches.iter().try_for_each(|batch| writer.write(batch))?;
    Ok(writer.into_inner())
}

fn parquet(table: &DataFrame) -> Result<Vec<u8>, ParquetError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&table.schema), None)?;
    table.batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.into_inner()
}

fn stream(table: &DataFrame) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &table.schema)?;
    table.batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.into_inner()
}

fn file(table: &DataFrame) -> Result<Vec<u8>, ArrowError> {
    let mut writer = FileWriter::try_new(Vec::new(), &table.schema)?;
    table.batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.into_inner()
}
