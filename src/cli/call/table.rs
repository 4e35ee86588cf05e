//! An answer as a table: a row for each row, a column for each number of it, as far as they can be taken in at a glance.

use ekiden::value::{Signature, ValueSpec};
use serde_json::{Number, Value};

/// The most rows that are shown.
const ROWS: usize = 20;
/// The most columns of one output that are shown.
const COLUMNS: usize = 8;
/// The most numbers of a nested row that are shown.
const NESTED: usize = 4;
/// The most characters of a text that are shown in a cell.
const WIDTH: usize = 60;

/// One column: its head, and its cells.
struct Column {
    head: String,
    cells: Vec<String>,
}

/// What outputs of this signature look like, given as JSON.
pub(super) fn text(signature: &Signature, answer: &Value) -> String {
    let outputs: Vec<(&ValueSpec, &Value)> = match signature.outputs.as_slice() {
        [sole] => vec![(sole, answer)],
        several => several.iter().map(|spec| (spec, &answer[spec.name()])).collect(),
    };
    let mut text = String::new();
    // Outputs of as many rows stand side by side.
    let mut tables: Vec<(usize, Vec<Column>)> = Vec::new();
    for (spec, value) in outputs {
        match value {
            Value::Array(rows) => {
                text.push_str(&format!("{}: {}\n", spec.name(), kind(spec, value)));
                let columns = columns(spec.name(), rows);
                match tables.iter_mut().find(|(length, _)| *length == rows.len()) {
                    Some((_, table)) => table.extend(columns),
                    None => tables.push((rows.len(), columns)),
                }
            }
            Value::String(value) => text.push_str(&format!("{}: {value}\n", spec.name())),
            Value::Object(_) => text.push_str(&format!("{}: {value:#}\n", spec.name())),
            scalar => text.push_str(&format!("{}: {}\n", spec.name(), cell(scalar))),
        }
    }
    for (length, mut table) in tables {
        if length == 0 {
            continue;
        }
        let rows = (0..length.min(ROWS)).map(|row| row.to_string()).collect();
        table.insert(0, Column { head: "ROW".to_owned(), cells: rows });
        text.push('\n');
        text.push_str(&aligned(&table));
        if length > ROWS {
            text.push_str(&format!("… and {} more rows: --output json shows all\n", length - ROWS));
        }
    }
    text
}

/// `float32 [2, 3]`, `list of 5`.
fn kind(spec: &ValueSpec, value: &Value) -> String {
    let Some(dtype) = spec.dtype_name() else {
        return format!("{} of {}", spec.kind(), value.as_array().map_or(0, Vec::len));
    };
    let mut sizes = Vec::new();
    let mut inner = value;
    while let Value::Array(items) = inner {
        sizes.push(items.len().to_string());
        let Some(first) = items.first() else {
            // What is not there is as the spec says.
            let rest = spec.shape().unwrap_or_default().iter().skip(sizes.len());
            sizes.extend(rest.map(|size| size.map_or_else(|| "any".to_owned(), |size| size.to_string())));
            break;
        };
        inner = first;
    }
    format!("{dtype} [{}]", sizes.join(", "))
}

fn columns(name: &str, rows: &[Value]) -> Vec<Column> {
    let shown = &rows[..rows.len().min(ROWS)];
    let column =
        |head: String, cell: &dyn Fn(&Value) -> String| Column { head, cells: shown.iter().map(cell).collect() };
    if let Some(Value::Object(first)) = rows.first()
        && rows.iter().all(Value::is_object)
    {
        let member = |key: &String| column(format!("{name}.{key}"), &|row| cell(&row[key]));
        let mut columns: Vec<Column> = first.keys().take(COLUMNS).map(member).collect();
        if first.len() > COLUMNS {
            columns.push(column("…".to_owned(), &|_| "…".to_owned()));
        }
        return columns;
    }
    let width = rows.first().and_then(Value::as_array).map_or(0, Vec::len);
    let even = |row: &Value| row.as_array().is_some_and(|row| row.len() == width && !row.iter().any(Value::is_array));
    if width == 0 || !rows.iter().all(even) {
        return vec![column(name.to_owned(), &cell)];
    }
    let at = |at: usize| column(format!("{name}[{at}]"), &move |row| cell(&row[at]));
    if width <= COLUMNS {
        return (0..width).map(at).collect();
    }
    let mut columns: Vec<Column> = (0..COLUMNS - 2).map(at).collect();
    columns.push(column("…".to_owned(), &|_| "…".to_owned()));
    columns.push(at(width - 1));
    columns
}

/// One value in one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Number(value) => number(value),
        Value::String(text) => shortened(text),
        Value::Array(_) => nested(value),
        other => shortened(&other.to_string()),
    }
}

/// The first numbers of nested lists.
fn nested(value: &Value) -> String {
    let mut cells = Vec::new();
    let mut waiting = vec![value];
    while let Some(next) = waiting.pop() {
        match next {
            Value::Array(items) => waiting.extend(items.iter().rev()),
            _ if cells.len() == NESTED => {
                cells.push("…".to_owned());
                break;
            }
            scalar => cells.push(cell(scalar)),
        }
    }
    cells.join(" ")
}

fn shortened(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Six digits that count.
fn number(value: &Number) -> String {
    let Some(float) = value.as_f64().filter(|_| value.is_f64()) else { return value.to_string() };
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e7).contains(&magnitude) {
        return format!("{float:.5e}");
    }
    let before = if magnitude < 1.0 { 1 } else { magnitude.log10() as usize + 1 };
    let text = format!("{float:.*}", 7_usize.saturating_sub(before).max(1));
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
}

/// Columns side by side: numbers to the right, everything else to the left.
fn aligned(columns: &[Column]) -> String {
    let mut lines = vec![String::new(); columns.first().map_or(0, |column| column.cells.len()) + 1];
    for Column { head, cells } in columns {
        let width = cells.iter().chain([head]).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let right = cells.iter().all(|cell| cell == "null" || cell.parse::<f64>().is_ok());
        for (line, cell) in lines.iter_mut().zip(std::iter::once(head).chain(cells)) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&if right { format!("{cell:>width$}") } else { format!("{cell:width$}") });
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use ekiden::value::TensorSpec;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(outputs: Vec<ValueSpec>, answer: &Value, expected: &str) {
        let signature = Signature { inputs: Vec::new(), outputs, batching: None, streams: false };
        assert_eq!(text(&signature, answer), expected);
    }

    #[test]
    fn rows_are_rows() {
        let probabilities = || TensorSpec::f32("p", [None, Some(2)]).into();
        let answer = json!([[0.999_981_4, 1.855_55e-5], [-1.0, 2]]);
        let expected =
            "p: float32 [2, 2]\n\nROW      p[0]        p[1]\n  0  0.999981  1.85555e-5\n  1      -1.0           2\n";
        check(vec![probabilities()], &answer, expected);
        check(vec![probabilities()], &json!([[null, 1]]), "p: float32 [1, 2]\n\nROW  p[0]  p[1]\n  0  null     1\n");
        check(vec![probabilities()], &json!([]), "p: float32 [0, 2]\n");
        let label = ValueSpec::List("label".into());
        let both = json!({"label": ["rose", "tulip"], "p": [[1.0, 0.0], [0.25, 0.75]]});
        let expected = "label: list of 2\np: float32 [2, 2]\n\nROW  label  p[0]  p[1]\n  0  rose    1.0   0.0\n  1  tulip  0.25  0.75\n";
        check(vec![label, probabilities()], &both, expected);
    }

    #[test]
    fn what_is_long_is_cut_short() {
        let row: Vec<f64> = (0..1000).map(f64::from).collect();
        let wide = vec![TensorSpec::f32("x", [None, Some(1000)]).into()];
        let expected = "x: float32 [1, 1000]\n\nROW  x[0]  x[1]  x[2]  x[3]  x[4]  x[5]  …  x[999]\n  0   0.0   1.0   2.0   3.0   4.0   5.0  …   999.0\n";
        check(wide, &json!([row]), expected);
        let signature = Signature {
            inputs: Vec::new(),
            outputs: vec![TensorSpec::i64("x", [None]).into()],
            batching: None,
            streams: false,
        };
        let long = text(&signature, &json!((0..100).collect::<Vec<i64>>()));
        assert!(
            long.ends_with("… and 80 more rows: --output json shows all\n") && long.lines().count() == 24,
            "{long}"
        );
        let image = vec![TensorSpec::u8("x", [None, Some(2), Some(3)]).into()];
        let expected = "x: uint8 [1, 2, 3]\n\nROW  x\n  0  1 2 3 4 …\n";
        check(image, &json!([[[1, 2, 3], [4, 5, 6]]]), expected);
    }

    #[test]
    fn other_kinds() {
        check(vec![ValueSpec::Text("t".into())], &json!("hi"), "t: hi\n");
        check(vec![TensorSpec::f32("y", []).into()], &json!(2.5), "y: 2.5\n");
        let expected = "s: list of 1\n\nROW  s.a  s.b\n  0    1  x\n";
        check(vec![ValueSpec::List("s".into())], &json!([{"a": 1, "b": "x"}]), expected);
        check(vec![ValueSpec::Json("j".into())], &json!({"a": 1}), "j: {\n  \"a\": 1\n}\n");
    }

    #[test]
    fn numbers_have_six_digits() {
        let check = |value: f64, expected: &str| {
            assert_eq!(number(&Number::from_f64(value).expect("is finite")), expected);
        };
        check(0.0, "0.0");
        check(0.123_456_789, "0.123457");
        check(123.456_789, "123.4568");
        check(9_999_999.4, "9999999.4");
        check(1.0e7, "1.00000e7");
        check(1.311_807_9e-12, "1.31181e-12");
        assert_eq!(number(&5.into()), "5");
    }
}
