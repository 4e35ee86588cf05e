//! Texts of a shape: rows of texts, or of lists of them.

use std::fmt;

use super::spec::write_shape;

/// The name and shape of an input of texts: a list of them, or of lists where it has more dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextsSpec {
    name: String,
    shape: Vec<Option<usize>>,
}

impl TextsSpec {
    /// What its elements are called.
    pub const DTYPE: &'static str = "string";

    /// Texts of this shape, in which `None` is any size. Without a dimension, it is a list all the same.
    pub fn new(name: impl Into<String>, shape: impl AsRef<[Option<usize>]>) -> Self {
        let shape = shape.as_ref();
        Self { name: name.into(), shape: if shape.is_empty() { vec![Some(1)] } else { shape.to_vec() } }
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sizes, `None` where any is allowed; at least one.
    pub fn shape(&self) -> &[Option<usize>] {
        &self.shape
    }

    /// Rows of nothing but this text; a size that is open otherwise is 1.
    pub fn filled(&self, text: &str, rows: usize) -> Vec<serde_json::Value> {
        let row = self.shape[1..].iter().rev().fold(serde_json::Value::from(text), |inner, size| {
            serde_json::Value::Array(vec![inner; size.unwrap_or(1)])
        });
        vec![row; self.shape[0].unwrap_or(rows)]
    }

    /// Compares a list with the spec. Where all that is left of the shape is 1, a text may stand for a list of it.
    ///
    /// # Errors
    /// What was expected and what came, and where.
    pub(super) fn check(&self, items: &[serde_json::Value]) -> Result<(), String> {
        let mut sizes = self.shape.clone();
        check(items, &mut sizes, &mut Vec::new()).map_err(|problem| format!("expected {self}{problem}"))
    }
}

/// Compares a list with sizes, of which those that are open are settled by the first list.
fn check(items: &[serde_json::Value], sizes: &mut [Option<usize>], place: &mut Vec<usize>) -> Result<(), String> {
    let Some((own, inner)) = sizes.split_first_mut() else { return Ok(()) };
    let at = |place: &[usize]| match place {
        [] => String::new(),
        place => format!(" at {}", place.iter().map(|index| format!("[{index}]")).collect::<String>()),
    };
    let wanted = *own.get_or_insert(items.len());
    if items.len() != wanted {
        return Err(format!(", found {} instead of {wanted}{}", items.len(), at(place)));
    }
    for (index, item) in items.iter().enumerate() {
        place.push(index);
        match item {
            serde_json::Value::Array(items) if !inner.is_empty() => check(items, inner, place)?,
            serde_json::Value::String(_) if inner.iter().all(|size| size.is_none_or(|size| size == 1)) => {
                inner.fill(Some(1));
            }
            other => {
                let wanted = if inner.is_empty() { "a text" } else { "a list" };
                return Err(format!(", found {} instead of {wanted}{}", kind(other), at(place)));
            }
        }
        place.pop();
    }
    Ok(())
}

/// The texts of rows side by side, and the sizes of a row: none where a row is a text.
///
/// # Errors
/// Where rows are of different sizes, or something is no text.
pub(crate) fn flat<'a>(
    mut rows: impl Iterator<Item = &'a serde_json::Value>,
) -> Result<(Vec<String>, Vec<usize>), String> {
    let (mut texts, mut sizes) = (Vec::new(), Vec::new());
    let Some(first) = rows.next() else { return Ok((texts, sizes)) };
    let mut inner = first;
    while let serde_json::Value::Array(items) = inner {
        sizes.push(items.len());
        let Some(item) = items.first() else { break };
        inner = item;
    }
    std::iter::once(first).chain(rows).try_for_each(|row| flatten(row, &sizes, &mut texts))?;
    Ok((texts, sizes))
}

fn flatten(item: &serde_json::Value, sizes: &[usize], texts: &mut Vec<String>) -> Result<(), String> {
    match (item, sizes) {
        (serde_json::Value::String(text), sizes) if sizes.iter().all(|&size| size == 1) => texts.push(text.clone()),
        (serde_json::Value::Array(items), []) if items.len() == 1 => flatten(&items[0], &[], texts)?,
        (serde_json::Value::Array(items), [own, inner @ ..]) if items.len() == *own => {
            items.iter().try_for_each(|item| flatten(item, inner, texts))?;
        }
        (serde_json::Value::String(_) | serde_json::Value::Array(_), _) => {
            return Err("its rows are of different sizes".to_owned());
        }
        (other, _) => return Err(format!("expected texts, found {}", kind(other))),
    }
    Ok(())
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a text",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

impl fmt::Display for TextsSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text ")?;
        write_shape(&self.shape, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_compared_with_their_shape() {
        let check = |shape: &[Option<usize>], value: serde_json::Value, expected: Result<(), &str>| {
            let found = TextsSpec::new("x", shape).check(value.as_array().expect("a list"));
            assert_eq!(found, expected.map_err(str::to_owned), "{shape:?} {value}");
        };
        let (row, pair, one) = (&[None][..], &[None, Some(2)][..], &[None, Some(1)][..]);
        check(row, json!(["a", "b"]), Ok(()));
        check(row, json!([]), Ok(()));
        check(row, json!([["a"]]), Err("expected text [any], found a list instead of a text at [0]"));
        check(row, json!(["a", 1]), Err("expected text [any], found a number instead of a text at [1]"));
        check(&[Some(2)], json!(["a"]), Err("expected text [2], found 1 instead of 2"));
        check(pair, json!([["a", "b"], ["c", "d"]]), Ok(()));
        check(pair, json!([["a", "b"], ["c"]]), Err("expected text [any, 2], found 1 instead of 2 at [1]"));
        check(pair, json!(["a", "b"]), Err("expected text [any, 2], found a text instead of a list at [0]"));
        check(pair, json!([["a", null]]), Err("expected text [any, 2], found null instead of a text at [0][1]"));
        check(one, json!(["a", ["b"]]), Ok(()));
        check(one, json!([["a", "b"]]), Err("expected text [any, 1], found 2 instead of 1 at [0]"));
        let open = &[None, None][..];
        check(open, json!([["a", "b"], ["c", "d"]]), Ok(()));
        check(open, json!([["a", "b"], ["c"]]), Err("expected text [any, any], found 1 instead of 2 at [1]"));
        check(open, json!(["a", ["c", "d"]]), Err("expected text [any, any], found 2 instead of 1 at [1]"));
    }

    #[test]
    fn texts_are_laid_side_by_side() {
        let check = |rows: serde_json::Value, expected: Result<(&[&str], &[usize]), &str>| {
            let found = flat(rows.as_array().expect("a list").iter());
            let owned = |(texts, sizes): (&[&str], &[usize])| {
                (texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), sizes.to_vec())
            };
            assert_eq!(found, expected.map(owned).map_err(str::to_owned), "{rows}");
        };
        check(json!([]), Ok((&[], &[])));
        check(json!(["a", "b"]), Ok((&["a", "b"], &[])));
        check(json!([["a"], "b"]), Ok((&["a", "b"], &[1])));
        check(json!(["a", ["b"], [["c"]]]), Ok((&["a", "b", "c"], &[])));
        check(json!([["a", "b"], ["c", "d"]]), Ok((&["a", "b", "c", "d"], &[2])));
        check(json!([[["a"], ["b"]]]), Ok((&["a", "b"], &[2, 1])));
        check(json!([["a", "b"], ["c"]]), Err("its rows are of different sizes"));
        check(json!(["a", ["b", "c"]]), Err("its rows are of different sizes"));
        check(json!(["a", 1]), Err("expected texts, found a number"));
    }

    #[test]
    fn what_is_filled_fits() {
        for shape in [&[][..], &[None], &[None, Some(2)], &[Some(3), None, Some(2)]] {
            let spec = TextsSpec::new("x", shape);
            assert_eq!(spec.check(&spec.filled("some", 4)), Ok(()), "{shape:?}");
        }
    }
}
