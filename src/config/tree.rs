//! One layer as the `config` crate merges it: nested tables whose leaves know their origin.
//!
//! Runners and methods are keyed by name in every layer, because `config` merges tables and replaces lists.

use std::collections::BTreeMap;

use config::{ConfigError as MergeError, Map, Source, Value, ValueKind};
use toml::de::DeValue;

use super::error::{ConfigError, Problem};
use super::origin::Origin;

/// A table of the `config` crate.
pub(super) type Table = Map<String, Value>;

/// The origins behind the texts that `config` keeps with each value.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Makes a value that remembers its origin.
    pub(super) fn value(&mut self, origin: &Origin, kind: impl Into<ValueKind>) -> Value {
        let text = origin.to_string();
        let value = Value::new(Some(&text), kind);
        self.0.entry(text).or_insert_with(|| origin.clone());
        value
    }

    /// The origin of a value; `config` drops it from tables when it merges them.
    pub(super) fn of(&self, value: &Value) -> Option<&Origin> {
        self.0.get(value.origin()?)
    }

    /// The strongest origin among the leaves of a value.
    pub(super) fn strongest(&self, value: &Value) -> Option<&Origin> {
        match &value.kind {
            ValueKind::Table(table) if !table.is_empty() => {
                table.values().filter_map(|value| self.strongest(value)).max_by_key(|origin| (origin.layer(), *origin))
            }
            _ => self.of(value),
        }
    }

    /// Takes over the origins of another layer.
    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(text, origin)| (text.clone(), origin.clone())));
    }
}

/// One layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) root: Table,
    pub(super) origins: Origins,
}

impl Tree {
    /// Puts a value at a path of at least one key, where nothing stands yet.
    ///
    /// # Errors
    /// The value that stands there, or in the way.
    pub(super) fn insert(&mut self, path: &[String], value: Value) -> Result<(), Option<Origin>> {
        let Some((last, parents)) = path.split_last() else { return Ok(()) };
        let mut table = &mut self.root;
        for key in parents {
            let child = table.entry(key.clone()).or_insert_with(|| Value::new(None, Table::new()));
            let origin = self.origins.of(child).cloned();
            let ValueKind::Table(inner) = &mut child.kind else { return Err(origin) };
            table = inner;
        }
        match table.get(last) {
            Some(first) => Err(self.origins.strongest(first).cloned()),
            None => {
                table.insert(last.clone(), value);
                Ok(())
            }
        }
    }

    /// Takes out what stands at a path, or in its way.
    pub(super) fn remove(&mut self, path: &[String]) {
        let mut table = &mut self.root;
        let mut path = path.iter().peekable();
        while let Some(key) = path.next() {
            if path.peek().is_none() || !matches!(table.get(key).map(|value| &value.kind), Some(ValueKind::Table(_))) {
                table.remove(key);
                return;
            }
            match table.get_mut(key).map(|value| &mut value.kind) {
                Some(ValueKind::Table(inner)) => table = inner,
                _ => return,
            }
        }
    }

    /// The table at a path.
    pub(super) fn table(&self, path: &[&str]) -> Option<&Table> {
        path.iter().try_fold(&self.root, |table, key| match &table.get(*key)?.kind {
            ValueKind::Table(inner) => Some(inner),
            _ => None,
        })
    }
}

impl Source for Tree {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    /// Only `server` and `runners` stand at the root: `config` reads root keys as paths, but takes all others as they
    /// are, dots and case included.
    fn collect(&self) -> Result<Table, MergeError> {
        Ok(self.root.clone())
    }
}

/// Turns TOML into values that know their origin.
pub(super) struct Convert<'a> {
    /// The origin of what begins at a byte of the text.
    pub(super) origin: &'a dyn Fn(usize) -> Origin,
    pub(super) origins: &'a mut Origins,
    pub(super) errors: &'a mut Vec<ConfigError>,
}

impl Convert<'_> {
    /// Converts the value of `key`; `at` is the byte where the key begins. `None`: reported.
    pub(super) fn value(&mut self, key: &str, at: usize, value: &DeValue<'_>) -> Option<Value> {
        let kind = match value {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Boolean(flag) => ValueKind::Boolean(*flag),
            // A date has no type of its own in JSON: it stays as written.
            DeValue::Datetime(date) => ValueKind::String(date.to_string()),
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(float) => ValueKind::Float(float),
                Err(_) => return self.too_large(key, at, value, float),
            },
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => i64::try_from(integer).map_or(ValueKind::I128(integer), ValueKind::I64),
                Err(_) => return self.too_large(key, at, value, integer),
            },
            DeValue::Array(items) => {
                let items = items.iter().map(|item| self.value(key, item.span().start, item.get_ref()));
                // Collected before it is judged, so that every wrong element is reported.
                let items: Vec<Option<Value>> = items.collect();
                ValueKind::Array(items.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(entries) => {
                let mut table = Table::new();
                for (key, value) in entries {
                    if let Some(value) = self.value(key.get_ref(), key.span().start, value.get_ref()) {
                        table.insert(key.get_ref().to_string(), value);
                    }
                }
                ValueKind::Table(table)
            }
        };
        Some(self.origins.value(&(self.origin)(at), kind))
    }

    fn too_large(&mut self, key: &str, at: usize, value: &DeValue<'_>, found: &dyn ToString) -> Option<Value> {
        self.errors.push(ConfigError {
            origin: (self.origin)(at),
            path: key.to_owned(),
            problem: Problem::Value {
                expected: format!("a smaller {}", value.type_str()),
                found: found.to_string(),
                nearest: None,
            },
        });
        None
    }
}
