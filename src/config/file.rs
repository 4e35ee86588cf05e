//! `runners.toml`: from text to a tree whose values know their lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Value, ValueKind};
use toml::de::DeTable;

use super::error::{ConfigError, Problem};
use super::keys;
use super::name::RunnerName;
use super::origin::Origin;
use super::read::Labels;
use super::tree::{Convert, Table, Tree};

/// The file as a layer.
#[derive(Debug, Default)]
pub(super) struct FileLayer {
    pub(super) tree: Tree,
    pub(super) labels: Labels,
    /// The runners' keys in the tree, in the order of the file.
    pub(super) order: Vec<String>,
}

/// Where lines begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Counted from 1.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// In characters, counted from 1.
    fn column(&self, at: usize) -> usize {
        let start = self.line(at).checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        self.text.get(start..at).map_or(1, |before| before.chars().count() + 1)
    }
}

/// Reads the text of a file. `None`: it is not TOML, as reported.
pub(super) fn read(name: &str, text: &str, errors: &mut Vec<ConfigError>) -> Option<FileLayer> {
    let name: Arc<str> = name.into();
    let lines = Lines::new(text);
    let origin = |at: usize| Origin::File { name: name.clone(), line: lines.line(at) };
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    if !syntax_errors.is_empty() {
        // After its first error in a line the parser is guessing: one error a line.
        let mut first = BTreeMap::new();
        for error in syntax_errors {
            let at = error.span().map_or(0, |span| span.start);
            let kept = first.entry(lines.line(at)).or_insert_with(|| (at, error.clone()));
            if at < kept.0 {
                *kept = (at, error);
            }
        }
        errors.extend(first.into_values().map(|(at, error)| ConfigError {
            origin: origin(at),
            path: String::new(),
            problem: Problem::Syntax { column: lines.column(at), message: error.message().to_owned() },
        }));
        return None;
    }

    let mut layer = FileLayer::default();
    let mut convert = Convert { origin: &origin, origins: &mut layer.tree.origins, errors };
    for (key, value) in document.get_ref() {
        if let Some(value) = convert.value(key.get_ref(), key.span().start, value.get_ref()) {
            layer.tree.root.insert(key.get_ref().to_string(), value);
        }
    }
    layer.key_by_name(errors);
    Some(layer)
}

impl FileLayer {
    /// Turns the lists of runners and of their methods into tables keyed by name.
    fn key_by_name(&mut self, errors: &mut Vec<ConfigError>) {
        let Some(list) = self.tree.root.remove("runners") else { return };
        let mut runners = Table::new();
        let runner_list = List {
            name: "runners",
            header: "[[runners]]",
            needs: "a name, such as name = \"iris_clf\"",
            valid: |name| name.parse::<RunnerName>().is_ok(),
        };
        for item in self.items(&runner_list, "", list, errors) {
            let Item { key, label, mut table, origin } = item;
            if let Some(list) = table.remove(keys::METHODS) {
                let methods = self.methods(&key, &label, list, errors);
                table.insert(keys::METHODS.to_owned(), methods);
            }
            self.labels.insert((key.clone(), None), label);
            self.order.push(key.clone());
            runners.insert(key, self.tree.origins.value(&origin, ValueKind::Table(table)));
        }
        self.tree.root.insert("runners".to_owned(), Value::new(None, runners));
    }

    fn methods(&mut self, runner: &str, label: &str, list: Value, errors: &mut Vec<ConfigError>) -> Value {
        let mut methods = Table::new();
        let method_list = List {
            name: keys::METHODS,
            header: "[[runners.runnable_method_configs]]",
            needs: "a name, such as name = \"predict\"",
            valid: |name| !name.trim().is_empty(),
        };
        for Item { key, label, table, origin } in self.items(&method_list, label, list, errors) {
            self.labels.insert((runner.to_owned(), Some(key.clone())), label);
            methods.insert(key, self.tree.origins.value(&origin, ValueKind::Table(table)));
        }
        Value::new(None, methods)
    }

    /// The tables of a list with a key for each: its name where that is valid and new, else one that no name can be,
    /// so that its other options are still checked.
    fn items(&self, list: &List, parent: &str, value: Value, errors: &mut Vec<ConfigError>) -> Vec<Item> {
        let origin = |value: &Value| self.tree.origins.of(value).cloned().unwrap_or(Origin::Default);
        let prefix = if parent.is_empty() { String::new() } else { format!("{parent}: ") };
        let place = origin(&value);
        let mut fail = |origin, path, problem| errors.push(ConfigError { origin, path, problem });
        let values = match value.kind {
            ValueKind::Array(values) => values,
            _ => {
                let expected = format!("{} tables", list.header);
                let found = super::values::describe(&value);
                fail(place, format!("{prefix}{}", list.name), Problem::Value { expected, found, nearest: None });
                return Vec::new();
            }
        };
        let mut items = Vec::new();
        let mut taken = BTreeMap::new();
        for (index, value) in values.into_iter().enumerate() {
            let origin_of_item = origin(&value);
            let mut label = format!("{prefix}{}[{index}]", list.name);
            let found = super::values::describe(&value);
            let ValueKind::Table(table) = value.kind else {
                let problem = Problem::Value { expected: "a table".to_owned(), found, nearest: None };
                fail(origin_of_item, label, problem);
                continue;
            };
            let mut key = format!("#{index}");
            match table.get(keys::NAME) {
                None => fail(origin_of_item.clone(), label.clone(), Problem::Missing { what: list.needs }),
                Some(value) => {
                    if let ValueKind::String(name) = &value.kind {
                        let place = format!("{}[{index}] in {}", list.name, origin(value));
                        label = format!("{label} {name:?}");
                        match taken.get(name) {
                            Some(first) => {
                                let (name, first) = (name.clone(), String::clone(first));
                                let path = format!("{label}: name");
                                fail(origin(value), path, Problem::Duplicate { name, first });
                            }
                            None if (list.valid)(name) => key = name.clone(),
                            None => {}
                        }
                        taken.entry(name.clone()).or_insert(place);
                    }
                }
            }
            items.push(Item { key, label, table, origin: origin_of_item });
        }
        items
    }
}

/// A list of named tables, for messages.
struct List {
    name: &'static str,
    header: &'static str,
    needs: &'static str,
    valid: fn(&str) -> bool,
}

/// One table of such a list.
struct Item {
    key: String,
    label: String,
    table: Table,
    origin: Origin,
}
