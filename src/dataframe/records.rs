//! JSON to tables: records, or columns.
//!
//! Cells go into columns as they are read, and are counted there: as values of JSON they would take a hundred times their text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::DataFrame;
use super::read::bounded;
use crate::service::{ApiError, Body, Limits};

/// Reads a table, which is written by rows or by columns.
pub(super) fn read(body: &Body, limits: &Limits) -> Result<DataFrame, ApiError> {
    let mut table = Table { body, limits, rows: 0, columns: BTreeMap::new(), problem: None };
    let mut json = serde_json::Deserializer::from_slice(&body.bytes);
    let read = Whole(&mut table).deserialize(&mut json).and_then(|()| json.end());
    if let Some(problem) = table.problem {
        return Err(problem);
    }
    read.map_err(|error| body.invalid(error))?;
    let rows = table.rows;
    let mut fields = Vec::with_capacity(table.columns.len());
    let mut arrays = Vec::with_capacity(table.columns.len());
    for (name, mut column) in table.columns {
        column.fill(rows);
        let array = column.finish();
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
    batch.map(DataFrame::new).map_err(|error| body.invalid(error))
}

/// What has been read, and why no more is.
struct Table<'a> {
    body: &'a Body,
    limits: &'a Limits,
    rows: usize,
    columns: BTreeMap<String, Column>,
    problem: Option<ApiError>,
}

impl Table<'_> {
    /// Ends the reading. What serde says of it is not told.
    fn fail<T, E: Error>(&mut self, problem: ApiError) -> Result<T, E> {
        self.problem = Some(problem);
        Err(E::custom("the table is refused"))
    }

    fn invalid<T, E: Error>(&mut self, problem: &str) -> Result<T, E> {
        let problem = self.body.invalid(problem);
        self.fail(problem)
    }

    fn bounded<E: Error>(&mut self, rows: usize, columns: usize) -> Result<(), E> {
        bounded(self.body, rows, columns, self.limits).or_else(|problem| self.fail(problem))
    }
}

/// The cells of one column, as the narrowest type that holds them.
enum Column {
    Nulls(usize),
    Booleans(BooleanBuilder),
    Integers(Int64Builder),
    Floats(Float64Builder),
    Texts(StringBuilder),
}

/// One cell.
enum Cell<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
    Other(&'static str),
}

impl Cell<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Other(kind) => kind,
        }
    }
}

/// A builder in which there are as many nulls.
macro_rules! begun {
    ($builder:expr, $nulls:expr) => {{
        let mut builder = $builder;
        (0..$nulls).for_each(|_| builder.append_null());
        builder
    }};
}

impl Column {
    fn len(&self) -> usize {
        use arrow_array::builder::ArrayBuilder;
        match self {
            Self::Nulls(count) => *count,
            Self::Booleans(cells) => cells.len(),
            Self::Integers(cells) => cells.len(),
            Self::Floats(cells) => cells.len(),
            Self::Texts(cells) => cells.len(),
        }
    }

    /// Adds nulls until there are as many cells.
    fn fill(&mut self, rows: usize) {
        if let Self::Nulls(count) = self {
            *count = rows;
        }
        for _ in self.len()..rows {
            self.null();
        }
    }

    fn null(&mut self) {
        match self {
            Self::Nulls(count) => *count += 1,
            Self::Booleans(cells) => cells.append_null(),
            Self::Integers(cells) => cells.append_null(),
            Self::Floats(cells) => cells.append_null(),
            Self::Texts(cells) => cells.append_null(),
        }
    }

    fn push(&mut self, cell: &Cell<'_>) -> Result<(), String> {
        if let Self::Nulls(count) = *self {
            *self = match cell {
                Cell::Null | Cell::Other(_) => Self::Nulls(count),
                Cell::Boolean(_) => Self::Booleans(begun!(BooleanBuilder::new(), count)),
                Cell::Integer(_) => Self::Integers(begun!(Int64Builder::new(), count)),
                Cell::Float(_) => Self::Floats(begun!(Float64Builder::new(), count)),
                Cell::Text(_) => Self::Texts(begun!(StringBuilder::new(), count)),
            };
        }
        if let (Self::Integers(cells), Cell::Float(_)) = (&mut *self, cell) {
            let mut floats = Float64Builder::new();
            floats.extend(cells.finish().iter().map(|cell| cell.map(|cell| cell as f64)));
            *self = Self::Floats(floats);
        }
        match (&mut *self, cell) {
            (_, Cell::Null) => self.null(),
            (Self::Booleans(cells), Cell::Boolean(cell)) => cells.append_value(*cell),
            (Self::Integers(cells), Cell::Integer(cell)) => cells.append_value(*cell),
            (Self::Floats(cells), Cell::Integer(cell)) => cells.append_value(*cell as f64),
            (Self::Floats(cells), Cell::Float(cell)) => cells.append_value(*cell),
            (Self::Texts(cells), Cell::Text(cell)) => cells.append_value(cell),
            (_, Cell::Other(kind)) => {
                return Err(format!("expected a number, a boolean, a text or null, found {kind}"));
            }
            (column, cell) => return Err(format!("expected {}, as before, found {}", column.kind(), cell.kind())),
        }
        Ok(())
    }

    fn kind(&self) -> DataType {
        match self {
            Self::Nulls(_) => DataType::Null,
            Self::Booleans(_) => DataType::Boolean,
            Self::Integers(_) => DataType::Int64,
            Self::Floats(_) => DataType::Float64,
            Self::Texts(_) => DataType::Utf8,
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Nulls(count) => Arc::new(NullArray::new(count)),
            Self::Booleans(mut cells) => Arc::new(cells.finish()),
            Self::Integers(mut cells) => Arc::new(cells.finish()),
            Self::Floats(mut cells) => Arc::new(cells.finish()),
            Self::Texts(mut cells) => Arc::new(cells.finish()),
        }
    }
}

/// Has a visitor take what is neither a list nor an object as a [`Cell`].
macro_rules! visits {
    ($type:ident) => {
        impl<'de> DeserializeSeed<'de> for $type<'_, '_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
                json.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for $type<'_, '_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_unit<E: Error>(self) -> Result<(), E> {
                self.cell(&Cell::Null)
            }

            fn visit_bool<E: Error>(self, cell: bool) -> Result<(), E> {
                self.cell(&Cell::Boolean(cell))
            }

            fn visit_i64<E: Error>(self, cell: i64) -> Result<(), E> {
                self.cell(&Cell::Integer(cell))
            }

            fn visit_u64<E: Error>(self, cell: u64) -> Result<(), E> {
                self.cell(&i64::try_from(cell).map_or(Cell::Float(cell as f64), Cell::Integer))
            }

            fn visit_f64<E: Error>(self, cell: f64) -> Result<(), E> {
                self.cell(&Cell::Float(cell))
            }

            fn visit_str<E: Error>(self, cell: &str) -> Result<(), E> {
                self.cell(&Cell::Text(cell))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
                self.list(items)
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<(), A::Error> {
                self.object(entries)
            }
        }
    };
}

/// All of it.
struct Whole<'t, 'a>(&'t mut Table<'a>);

impl Whole<'_, '_> {
    fn cell<E: Error>(self, cell: &Cell<'_>) -> Result<(), E> {
        let kind = cell.kind();
        self.0.invalid(&format!("expected a list of records, or an object of columns, found {kind}"))
    }

    /// Rows.
    fn list<'de, A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Row(self.0))?.is_some() {}
        Ok(())
    }

    /// Columns.
    fn object<'de, A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let table = self.0;
        while let Some(name) = entries.next_key::<String>()? {
            if table.columns.contains_key(&name) {
                return table.invalid(&format!("column \"{name}\" is there twice"));
            }
            let mut column = Column::Nulls(0);
            entries.next_value_seed(Cells { table, name: &name, column: &mut column })?;
            let (rows, found) = (table.rows, column.len());
            if table.columns.is_empty() {
                table.rows = found;
            } else if found != rows {
                let problem = format!("column \"{name}\": expected {rows} rows, as many as others have, found {found}");
                return table.invalid(&problem);
            }
            table.columns.insert(name, column);
        }
        Ok(())
    }
}

visits!(Whole);

/// One record.
struct Row<'t, 'a>(&'t mut Table<'a>);

impl Row<'_, '_> {
    fn cell<E: Error>(self, cell: &Cell<'_>) -> Result<(), E> {
        self.other(cell.kind())
    }

    fn list<'de, A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.other("a list")
    }

    fn other<E: Error>(self, kind: &str) -> Result<(), E> {
        let row = self.0.rows;
        self.0.invalid(&format!("row {row}: expected a record, an object, found {kind}"))
    }

    fn object<'de, A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let table = self.0;
        let row = table.rows;
        table.bounded(row + 1, table.columns.len())?;
        while let Some(name) = entries.next_key::<String>()? {
            // Taken out, so that the table can be told what is wrong with it.
            let mut column = match table.columns.get_mut(&name) {
                Some(column) => std::mem::replace(column, Column::Nulls(0)),
                None => {
                    // Before it is filled: records of which each has a name of its own are large tables.
                    table.bounded(row + 1, table.columns.len() + 1)?;
                    Column::Nulls(0)
                }
            };
            if column.len() > row {
                return table.invalid(&format!("row {row}: column \"{name}\" is there twice"));
            }
            column.fill(row);
            entries.next_value_seed(One { table, name: &name, column: &mut column })?;
            match table.columns.get_mut(&name) {
                Some(place) => *place = column,
                None => drop(table.columns.insert(name, column)),
            }
        }
        table.rows = row + 1;
        Ok(())
    }
}

visits!(Row);

/// One column.
struct Cells<'t, 'a> {
    table: &'t mut Table<'a>,
    name: &'t str,
    column: &'t mut Column,
}

impl Cells<'_, '_> {
    fn cell<E: Error>(self, cell: &Cell<'_>) -> Result<(), E> {
        self.other(cell.kind())
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { table, name, column } = self;
        while items.next_element_seed(One { table, name, column })?.is_some() {
            table.bounded(column.len(), table.columns.len() + 1)?;
        }
        table.bounded(column.len(), table.columns.len() + 1)
    }

    fn object<'de, A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.other("an object")
    }

    fn other<E: Error>(self, kind: &str) -> Result<(), E> {
        self.table.invalid(&format!("column \"{}\": expected a list, found {kind}", self.name))
    }
}

visits!(Cells);

/// One cell.
struct One<'t, 'a> {
    table: &'t mut Table<'a>,
    name: &'t str,
    column: &'t mut Column,
}

impl One<'_, '_> {
    fn cell<E: Error>(self, cell: &Cell<'_>) -> Result<(), E> {
        let row = self.column.len();
        self.column
            .push(cell)
            .or_else(|problem| self.table.invalid(&format!("column \"{}\", row {row}: {problem}", self.name)))
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.cell(&Cell::Other("a list"))
    }

    fn object<'de, A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.cell(&Cell::Other("an object"))
    }
}

visits!(One);
