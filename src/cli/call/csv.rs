//! Rows of numbers, separated by commas, as JSON.

use ekiden::value::{Signature, ValueSpec};
use serde_json::{Number, Value};

/// The rows of a file as the JSON of a sole tensor: a list of lists, or a list where the tensor has one dimension. A first
/// row without any number is a heading.
///
/// # Errors
/// Why not: where something is no number, or what the method takes instead.
pub(super) fn json(bytes: &[u8], signature: &Signature) -> Result<String, String> {
    let [ValueSpec::Tensor(tensor)] = signature.inputs.as_slice() else {
        let inputs: Vec<String> = signature.inputs.iter().map(ToString::to_string).collect();
        return Err(format!("rows of numbers are one tensor, and the method takes {}", inputs.join(", ")));
    };
    let flat = match tensor.shape().map(<[_]>::len) {
        Some(1) => true,
        Some(2) | None => false,
        Some(rank) => return Err(format!("rows of numbers have two dimensions, and the method's tensor {rank}")),
    };
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 at byte {}", error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    let heading = lines.next_if(|(_, line)| line.split(',').all(|cell| bare(cell).parse::<f64>().is_err()));
    let mut rows = Vec::new();
    for (at, line) in lines {
        let cells: Result<Vec<Value>, String> = line
            .split(',')
            .enumerate()
            .map(|(column, cell)| {
                let what = || format!("line {}, column {}: expected a number, found {cell:?}", at + 1, column + 1);
                number(cell).map(Value::Number).ok_or_else(what)
            })
            .collect();
        let mut cells = cells?;
        match (flat, cells.len()) {
            (true, 1) => rows.append(&mut cells),
            (true, found) => return Err(format!("line {}: expected one number, found {found}", at + 1)),
            (false, _) => rows.push(cells.into()),
        }
    }
    if rows.is_empty() {
        return Err(heading.map_or_else(
            || "it has no rows".to_owned(),
            |(at, line)| {
                let line: String = line.chars().take(80).collect();
                format!(
                    "it has no rows: line {}, {line:?}, has no number, and is taken for a heading; numbers are separated by commas",
                    at + 1
                )
            },
        ));
    }
    Ok(Value::from(rows).to_string())
}

fn bare(cell: &str) -> &str {
    cell.trim().trim_matches('"')
}

fn number(cell: &str) -> Option<Number> {
    let cell = bare(cell);
    let whole = cell.parse::<i64>().map(Number::from).or_else(|_| cell.parse::<u64>().map(Number::from));
    whole.ok().or_else(|| Number::from_f64(cell.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use ekiden::value::TensorSpec;

    use super::*;

    fn check(input: ValueSpec, text: &str, expected: Result<&str, &str>) {
        let signature = Signature { inputs: vec![input], outputs: Vec::new(), batching: None, streams: false };
        match (json(text.as_bytes(), &signature), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn rows_of_numbers_are_a_tensor() {
        let matrix = || TensorSpec::f32("x", [None, Some(2)]).into();
        check(matrix(), "width,height\n5.1, 3\n\n+1.,-2e3\r\n", Ok("[[5.1,3],[1.0,-2000.0]]"));
        check(matrix(), "1,2", Ok("[[1,2]]"));
        check(matrix(), "\u{feff}\"1\",2", Ok("[[1,2]]"));
        check(matrix(), "", Err("it has no rows"));
        check(matrix(), "a,b\n", Err("line 1, \"a,b\", has no number, and is taken for a heading"));
        check(matrix(), "nan,inf\n1,2", Err("line 1, column 1: expected a number, found \"nan\""));
        check(matrix(), "5.1,3,x\n1,2,3", Err("line 1, column 3: expected a number, found \"x\""));
        check(matrix(), "a,b\n1,2\n3,four", Err("line 3, column 2: expected a number, found \"four\""));
        check(matrix(), "a,b\n1,nan", Err("line 2, column 2"));
        check(TensorSpec::i64("x", [None]).into(), "n\n1\n2\n", Ok("[1,2]"));
        check(TensorSpec::i64("x", [None]).into(), "1,2", Err("line 1: expected one number, found 2"));
        check(TensorSpec::f32("x", [None, None, None]).into(), "1", Err("two dimensions"));
        check(ValueSpec::Text("x".into()), "1", Err("the method takes text"));
    }
}
