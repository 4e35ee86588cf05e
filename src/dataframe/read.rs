//! Bodies to tables.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_csv::ReaderBuilder;
use arrow_csv::reader::Format;
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::{DataFrame, TableFormat, records};
use crate::service::{ApiError, Body, Limits};

/// Rows that are decoded at once.
const ROWS_AT_ONCE: usize = 4096;

/// What a cell is taken to need, in bytes, before it is decoded.
const CELL: usize = 16;

/// What an Arrow IPC file begins with; zeros follow, as many as alignment takes, and then a stream.
/// The format: <https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format>.
pub(super) const ARROW_FILE: &[u8] = b"ARROW1";

/// What a Parquet file begins with.
pub(super) const PARQUET_FILE: &[u8] = b"PAR1";

/// Reads a table.
///
/// Readers of these binary formats are made for files of one's own, and some that are broken in a clever way make them panic.
/// That is the file's fault and not the endpoint's, so it is caught here, where nothing but the file's pieces is lost.
pub(super) fn read(format: TableFormat, body: &Body, limits: &Limits) -> Result<DataFrame, ApiError> {
    let read = || match format {
        TableFormat::Json => records::read(body, limits),
        TableFormat::Csv => csv(body, limits),
        TableFormat::Parquet => parquet(body, limits),
        TableFormat::ArrowStream => arrow(body, &body.bytes, limits),
        TableFormat::ArrowFile => match body.bytes.strip_prefix(ARROW_FILE) {
            Some(rest) => {
                let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
                arrow(body, rest.get(zeros..).unwrap_or_default(), limits)
            }
            None => Err(body.invalid("expected an Arrow IPC file, which begins with ARROW1")),
        },
    };
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(body.invalid(format!("the {} is broken", format.media_type()))))
}

/// Why a reader could not go on. Compression that is not built in is told as such, since it is what others write unasked.
fn unreadable(body: &Body, error: &dyn Display) -> ApiError {
    let error = error.to_string();
    if ["Disabled feature", "decompression requires"].iter().any(|part| error.contains(part)) {
        return body.invalid("its compression is not taken: Arrow may have none, and Parquet none or Snappy");
    }
    body.invalid(error)
}

/// Refuses a table that is too large, by what is known of it before it is decoded.
pub(super) fn bounded(body: &Body, rows: usize, columns: usize, limits: &Limits) -> Result<(), ApiError> {
    if columns > limits.max_columns {
        let limit = limits.max_columns;
        return Err(body.too_large(format!("{columns} columns are more than max_columns = {limit}")));
    }
    if rows > limits.max_rows {
        return Err(body.too_large(format!("{rows} rows are more than max_rows = {}", limits.max_rows)));
    }
    let cells = rows.saturating_mul(columns);
    if cells.saturating_mul(CELL) > limits.max_decoded_bytes {
        let limit = limits.max_decoded_bytes;
        return Err(body.too_large(format!("{rows} × {columns} cells take more than max_decoded_bytes = {limit}")));
    }
    Ok(())
}

/// Refuses too many columns, two of one name, columns that are tables in themselves, and bytes of one length, which a file may
/// say is any.
fn fits(body: &Body, schema: &Schema, limits: &Limits) -> Result<(), ApiError> {
    bounded(body, 0, schema.fields().len(), limits)?;
    let mut names = HashSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        return Err(body.invalid(format!("column \"{}\" is there twice", twice.name())));
    }
    let is_flat = |kind: &DataType| !kind.is_nested() && !matches!(kind, DataType::FixedSizeBinary(_));
    let other = schema.fields().iter().find(|field| match field.data_type() {
        DataType::Dictionary(_, value) => !is_flat(value),
        kind => !is_flat(kind),
    });
    other.map_or(Ok(()), |field| {
        let (name, found) = (field.name(), field.data_type());
        Err(body.invalid(format!("column \"{name}\": expected numbers, booleans, texts or times, found {found}")))
    })
}

/// Takes batches until they are too large.
fn collected(
    body: &Body,
    schema: Arc<Schema>,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    limits: &Limits,
) -> Result<DataFrame, ApiError> {
    let (mut taken, mut rows, mut memory) = (Vec::new(), 0_usize, Memory::default());
    for batch in batches {
        let batch = batch.map_err(|error| unreadable(body, &error))?;
        rows = rows.saturating_add(batch.num_rows());
        bounded(body, rows, schema.fields().len(), limits)?;
        if memory.with(&batch) > limits.max_decoded_bytes {
            let limit = limits.max_decoded_bytes;
            return Err(body.too_large(format!("the table takes more than max_decoded_bytes = {limit}")));
        }
        taken.push(batch);
    }
    Ok(DataFrame::of(schema, taken))
}

/// What batches take together: buffers that they share count once. They are all kept meanwhile, so that no two have one address.
#[derive(Default)]
struct Memory {
    seen: HashSet<NonNull<u8>>,
    bytes: usize,
}

impl Memory {
    fn with(&mut self, batch: &RecordBatch) -> usize {
        for column in batch.columns() {
            let data = column.to_data();
            // A dictionary's values are its child.
            for buffer in std::iter::once(&data).chain(data.child_data()).flat_map(|data| data.buffers()) {
                if self.seen.insert(buffer.data_ptr()) {
                    self.bytes = self.bytes.saturating_add(buffer.capacity());
                }
            }
        }
        self.bytes
    }
}

fn csv(body: &Body, limits: &Limits) -> Result<DataFrame, ApiError> {
    bounded(body, 0, widest(&body.bytes), limits)?;
    let format = Format::default().with_header(true);
    // Of all rows: one that comes late may say that a column of integers is one of floats.
    let guessed = format.infer_schema(Cursor::new(&body.bytes), None);
    let (schema, rows) = guessed.map_err(|error| unreadable(body, &error))?;
    fits(body, &schema, limits)?;
    let columns = schema.fields().len();
    bounded(body, rows, columns, limits)?;
    let schema = Arc::new(undated(&schema));
    // As many cells as these have are reserved before one is read.
    let at_once = (limits.max_decoded_bytes / columns.saturating_mul(64).max(1)).clamp(1, ROWS_AT_ONCE).min(rows + 1);
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_format(format).with_batch_size(at_once);
    let reader = reader.build(Cursor::new(&body.bytes)).map_err(|error| unreadable(body, &error))?;
    collected(body, schema, reader, limits)
}

/// The most fields that a line of CSV has, counted as readers do, in no memory.
fn widest(csv: &[u8]) -> usize {
    let csv = csv.strip_prefix(b"\xef\xbb\xbf").unwrap_or(csv);
    let (mut widest, mut fields) = (0, 1);
    // Quotes count where a field begins; a doubled one is within it.
    let (mut begins, mut quoted, mut closed) = (true, false, false);
    for &byte in csv {
        if quoted {
            (quoted, closed) = (byte != b'"', byte == b'"');
            continue;
        }
        match byte {
            b'"' => quoted = begins || closed,
            b',' => fields += 1,
            b'\r' | b'\n' => fields = 1,
            _ => {}
        }
        begins = matches!(byte, b',' | b'\r' | b'\n');
        closed = false;
        widest = widest.max(fields);
    }
    widest
}

/// The same columns, with dates and times as the texts that they are: they would come back written in another way.
fn undated(schema: &Schema) -> Schema {
    let undated = |field: &Field| match field.data_type() {
        DataType::Null | DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::Utf8 => field.clone(),
        _ => field.clone().with_data_type(DataType::Utf8),
    };
    Schema::new(schema.fields().iter().map(|field| undated(field)).collect::<Vec<_>>())
}

fn parquet(body: &Body, limits: &Limits) -> Result<DataFrame, ApiError> {
    let bytes: Bytes = body.bytes.clone();
    // What the file says of Arrow's types beside Parquet's own is not needed, and would have to be believed.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load(&bytes, options).map_err(|error| unreadable(body, &error))?;
    fits(body, found.schema(), limits)?;
    let rows = usize::try_from(found.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    bounded(body, rows, found.schema().fields().len(), limits)?;
    let options = ArrowReaderOptions::new().with_schema(Arc::new(viewing(found.schema())));
    let found = ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)
        .map_err(|error| unreadable(body, &error))?;
    let at_once = rows_at_once(found.schema(), bytes.len(), limits);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, found).with_batch_size(at_once);
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().map_err(|error| unreadable(body, &error))?;
    collected(body, schema, reader, limits)
}

/// How many rows are decoded before their memory is looked at. A text may be written as the one before it and a little more, so that
/// each may be as long as the file, unpacked.
fn rows_at_once(schema: &Schema, file: usize, limits: &Limits) -> usize {
    let views =
        schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView));
    let longest = file.saturating_mul(32).max(1);
    if views { (limits.max_decoded_bytes / longest).clamp(16, ROWS_AT_ONCE) } else { ROWS_AT_ONCE }
}

/// The same columns, with texts and bytes as views: a page of a few long texts may say that they are in a million rows, which
/// are then not a million copies.
fn viewing(schema: &Schema) -> Schema {
    let viewed = |field: &Field| {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            other => other.clone(),
        };
        field.clone().with_data_type(kind)
    };
    Schema::new(schema.fields().iter().map(|field| viewed(field)).collect::<Vec<_>>())
}

fn arrow(body: &Body, stream: &[u8], limits: &Limits) -> Result<DataFrame, ApiError> {
    let reader = StreamReader::try_new(Cursor::new(stream), None).map_err(|error| unreadable(body, &error))?;
    let schema = reader.schema();
    fits(body, &schema, limits)?;
    collected(body, schema, reader, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_as_they_are_read() {
        let check = |csv: &str, expected| assert_eq!(widest(csv.as_bytes()), expected, "{csv:?}");
        check("", 0);
        check("a", 1);
        check("a,b\n1,2,3\r\n", 3);
        check("\"a,\"\"b\n,c,d\",e\n", 2);
        check("a\"b,c\nd,e,\"\n", 3);
        check("\u{feff}\"a,b\",c", 2);
    }

    #[test]
    fn compression_is_told_as_such() {
        let check = |error: &str, part: &str| {
            let found = unreadable(&Body::default(), &error).to_string();
            assert!(found.contains(part), "{found}");
        };
        check("lz4 IPC decompression requires the lz4 feature", "its compression is not taken");
        check("Parquet error: Disabled feature at compile time: zstd", "its compression is not taken");
        check("EOF", "EOF");
    }
}
