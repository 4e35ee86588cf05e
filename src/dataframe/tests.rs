//! Each format in and out, and what is refused.

use super::*;

fn body(format: TableFormat, bytes: impl Into<bytes::Bytes>) -> Body {
    Body { name: "body".to_owned(), ..Body::new(format.media_type(), bytes) }
}

fn read(format: TableFormat, bytes: &[u8]) -> Result<DataFrame, ApiError> {
    DataFrame::read(body(format, bytes.to_vec()), &Limits::default())
}

fn table() -> DataFrame {
    let columns = [("n", integers([1, 2])), ("text", texts(["a", "b\"c"])), ("x", numbers([0.5, -1.0]))];
    DataFrame::of_columns(columns).expect("a table")
}

#[test]
fn every_format_comes_back_as_it_was() {
    for format in TableFormat::ALL {
        let written = write::write(&table(), format).expect("is written");
        let found = read(format, &written).expect("is read");
        assert_eq!(found.rows(), 2, "{format:?}");
        assert_eq!(found.texts("text").expect("texts"), [Some("a"), Some("b\"c")], "{format:?}");
        let array = found.to_array::<f32, 2>(["x", "n"]).expect("numbers");
        assert_eq!((array.dims(), array.elements().as_ref()), ([2, 2].as_slice(), [0.5, 1.0, -1.0, 2.0].as_slice()));
        let again = write::write(&found, TableFormat::Json).expect("is written");
        assert_eq!(String::from_utf8_lossy(&again), r#"[{"n":1,"text":"a","x":0.5},{"n":2,"text":"b\"c","x":-1.0}]"#);
    }
}

#[test]
fn json_by_rows_and_by_columns() {
    let check = |json: &str, expected: Result<&str, &str>| {
        let found = read(TableFormat::Json, json.as_bytes());
        match expected {
            Ok(records) => {
                let written = write::write(&found.expect("is read"), TableFormat::Json).expect("is written");
                assert_eq!(String::from_utf8_lossy(&written), records, "{json}");
            }
            Err(part) => {
                let error = found.expect_err("is refused").to_string();
                assert!(error.contains(part), "{error}");
            }
        }
    };
    check(
        r#"[{"a":1,"b":true},{"b":null,"a":2.5,"c":"x"}]"#,
        Ok(r#"[{"a":1.0,"b":true,"c":null},{"a":2.5,"b":null,"c":"x"}]"#),
    );
    check(r#"{"a":[1,2],"b":["x",null]}"#, Ok(r#"[{"a":1,"b":"x"},{"a":2,"b":null}]"#));
    check("[]", Ok("[]"));
    check("{}", Ok("[]"));
    check("[1]", Err("input \"body\": row 0: expected a record, an object, found a number"));
    check("3", Err("expected a list of records, or an object of columns, found a number"));
    check(r#"{"a":[1],"b":[1,2]}"#, Err("column \"b\": expected 1 rows, as many as others have, found 2"));
    check(r#"{"a":1}"#, Err("column \"a\": expected a list, found a number"));
    check(r#"[{"a":1},{"a":"x"}]"#, Err("column \"a\", row 1: expected Int64, as before, found a text"));
    check(r#"[{"a":[1]}]"#, Err("column \"a\", row 0: expected a number, a boolean, a text or null, found a list"));
    check(
        r#"[{"a":null},{"b":9223372036854775808}]"#,
        Ok(r#"[{"a":null,"b":null},{"a":null,"b":9.223372036854776e18}]"#),
    );
    check(r#"[{"a":1}] x"#, Err("trailing characters"));
    check(r#"[{"a":1}"#, Err("input \"body\": EOF"));
}

#[test]
fn dates_of_csv_are_texts() {
    let csv = b"day,at\n2024-01-02,2024-01-02T03:04:05\n";
    let table = read(TableFormat::Csv, csv).expect("is read");
    assert_eq!(table.texts("day").expect("texts"), [Some("2024-01-02")]);
    assert_eq!(write::write(&table, TableFormat::Csv).expect("is written"), csv);
}

#[test]
fn no_column_is_there_twice() {
    let check = |format, bytes: &[u8]| {
        let error = read(format, bytes).expect_err("is refused");
        assert_eq!(error.code(), "invalid_input");
        assert!(error.to_string().contains("column \"a\" is there twice"), "{error}");
    };
    check(TableFormat::Csv, b"a,b,a\n1,2,3\n");
    check(TableFormat::Json, br#"[{"b":1,"a":1,"a":2}]"#);
    check(TableFormat::Json, br#"{"a":[1],"a":[2]}"#);
}

#[test]
fn numbers_that_are_none() {
    let table = read(TableFormat::Csv, b"a,b,c,d\n1,x,,1\n2,y,3,300\n").expect("is read");
    let check = |found: Result<(), ApiError>, part: &str| {
        let error = found.expect_err("is refused").to_string();
        assert!(error.contains(part), "{error}");
    };
    check(table.to_array::<f32, 1>(["b"]).map(drop), "column \"b\": expected numbers, found Utf8");
    check(table.to_array::<f32, 1>(["c"]).map(drop), "column \"c\", row 0: expected a number, found null");
    check(table.to_array::<u8, 1>(["d"]).map(drop), "column \"d\", row 1: 300 of Int64, which uint8 cannot hold");
    check(table.to_array::<u8, 1>(["aa"]).map(drop), "there is no column \"aa\"; did you mean \"a\"?");
    check(table.texts("a").map(drop), "column \"a\": expected texts, found Int64");
}

#[test]
fn tables_are_bounded_before_they_are_there() {
    let limits = Limits { max_rows: 3, max_decoded_bytes: 1 << 20, ..Limits::default() };
    let check = |format: TableFormat, bytes: Vec<u8>, limits: &Limits, part: &str| {
        let error = DataFrame::read(body(format, bytes), limits).expect_err("is refused");
        assert_eq!(error.code(), "too_large");
        assert!(error.to_string().contains(part), "{error}");
    };
    let long = DataFrame::of_columns([("n", integers(0..4))]).expect("a table");
    for format in TableFormat::ALL {
        check(format, write::write(&long, format).expect("is written"), &limits, "4 rows are more than max_rows = 3");
    }
    // Records are counted as they are read: what follows is not looked at.
    let endless = br#"[{"a":0},{"a":0},{"a":0},{"a":0} and so on"#.to_vec();
    check(TableFormat::Json, endless, &limits, "4 rows are more than max_rows = 3");
    // A header that is nothing but columns, of which each would have memory for all rows.
    check(TableFormat::Csv, vec![b','; 1 << 19], &limits, "524289 columns are more than max_columns = 4096");
    let narrow = Limits { max_columns: 2, ..Limits::default() };
    for format in TableFormat::ALL {
        let wide = write::write(&table(), format).expect("is written");
        check(format, wide, &narrow, "3 columns are more than max_columns = 2");
    }
    // Each record has a column of its own: many cells in few bytes.
    let sparse: Vec<String> = (0..1000).map(|row| format!("{{\"c{row}\":1}}")).collect();
    let sparse = format!("[{}]", sparse.join(","));
    let limits = Limits { max_decoded_bytes: 1 << 20, ..Limits::default() };
    check(TableFormat::Json, sparse.into_bytes(), &limits, "cells take more than max_decoded_bytes = 1048576");
    // One long text in many rows, which Parquet writes once.
    let text = "x".repeat(1 << 16);
    let repeated = DataFrame::of_columns([("text", texts(std::iter::repeat_n(text, 1000)))]).expect("a table");
    let small = write::write(&repeated, TableFormat::Parquet).expect("is written");
    assert!(small.len() < 1 << 18, "{} bytes", small.len());
    let limits = Limits { max_decoded_bytes: 4 << 20, ..Limits::default() };
    let found =
        DataFrame::read(body(TableFormat::Parquet, small), &limits).expect("is read without a copy for each row");
    assert_eq!(found.rows(), 1000);
    // What Arrow has apart for each row is counted as it is.
    let large = write::write(&repeated, TableFormat::ArrowStream).expect("is written");
    check(TableFormat::ArrowStream, large, &limits, "the table takes more than max_decoded_bytes = 4194304");
}

#[test]
fn columns_are_flat() {
    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, FixedSizeBinaryArray, ListArray};

    let check = |column: ArrayRef, found: &str| {
        let table = DataFrame::of_columns([("odd", column)]).expect("a table");
        for format in [TableFormat::Parquet, TableFormat::ArrowFile] {
            let written = write::write(&table, format).expect("is written");
            let error = read(format, &written).expect_err("is refused").to_string();
            let expected = format!("column \"odd\": expected numbers, booleans, texts or times, found {found}");
            assert!(error.contains(&expected), "{error}");
        }
    };
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]);
    check(Arc::new(lists), "List");
    let fixed = FixedSizeBinaryArray::try_from_iter([b"abc"].into_iter()).expect("an array");
    check(Arc::new(fixed), "FixedSizeBinary");
}

#[test]
fn broken_files_are_refused() {
    for format in [TableFormat::Parquet, TableFormat::ArrowStream, TableFormat::ArrowFile] {
        let whole = write::write(&table(), format).expect("is written");
        for length in 0..whole.len() {
            // A stream may end after any of its messages; nothing else may.
            let found = read(format, &whole[..length]);
            assert!(found.is_err() || format != TableFormat::Parquet, "{format:?} of {length} bytes");
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            // It is read, or it is refused: it does not panic, and takes no memory that is not there.
            let _ = read(format, &broken);
        }
    }
    let error = read(TableFormat::ArrowFile, b"PAR1").expect_err("is refused").to_string();
    assert!(error.contains("which begins with ARROW1"), "{error}");
}
