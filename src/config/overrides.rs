//! The command line: `--set runners.iris_clf.max_batch_size=5`, and flags such as `--bind` for one option each.

use toml::de::{DeTable, DeValue};

use super::env::Names;
use super::error::{ConfigError, Problem};
use super::keys;
use super::literal;
use super::origin::Origin;
use super::tree::Tree;

/// One option set on the command line.
#[derive(Clone, Debug)]
pub(super) enum Override {
    /// The argument of `--set`.
    Set(String),
    /// A flag with its own name.
    Flag { flag: String, key: String, value: String },
}

impl Override {
    /// Reads one override into a layer of its own: a later one hides an earlier one.
    pub(super) fn read(&self, names: &Names, errors: &mut Vec<ConfigError>) -> Tree {
        let (flag, key, value) = match self {
            Self::Flag { flag, key, value } => (flag.clone(), key.as_str(), value.as_str()),
            Self::Set(text) => match split(text) {
                Some((key, value)) => (format!("--set {key}"), key, value),
                None => {
                    let origin = Origin::CommandLine { flag: "--set".into() };
                    let problem = Problem::Assignment { found: text.clone() };
                    errors.push(ConfigError { origin, path: String::new(), problem });
                    return Tree::default();
                }
            },
        };
        let origin = Origin::CommandLine { flag: flag.into() };
        let mut tree = Tree::default();
        match parse_key(key).and_then(|path| resolve(path, names)) {
            Ok(path) => {
                if let Some(value) = literal::value(&path, value, &origin, &mut tree.origins, errors) {
                    // Nothing stands in an empty tree.
                    let _ = tree.insert(&path, value);
                }
            }
            Err(problem) => errors.push(ConfigError { origin, path: String::new(), problem }),
        }
        tree
    }
}

/// Parts a key, in which `=` may stand inside quotes, from its value.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '=') => {
                let (key, value) = (text.get(..at)?.trim(), text.get(at + 1..)?);
                return (!key.is_empty()).then_some((key, value));
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// The parts of a dotted TOML key.
fn parse_key(key: &str) -> Result<Vec<String>, Problem> {
    let broken = || Problem::Value {
        expected: "a dotted key, such as runners.iris_clf.cpu".to_owned(),
        found: format!("{key:?}"),
        nearest: None,
    };
    let text = format!("{key} = 0");
    let document = DeTable::parse(&text).map_err(|_| broken())?;
    let mut path = Vec::new();
    let mut table = document.get_ref();
    loop {
        let mut entries = table.iter();
        let (Some((part, value)), None) = (entries.next(), entries.next()) else { return Err(broken()) };
        path.push(part.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Integer(_) => return Ok(path),
            _ => return Err(broken()),
        }
    }
}

/// The path in the tree that a key names.
fn resolve(mut path: Vec<String>, names: &Names) -> Result<Vec<String>, Problem> {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["server", rest @ ..] => check_key(rest, &keys::SERVER)?,
        ["runners", rest @ ..] => {
            // A runner's name may have dots: the longest known one wins.
            let known = (1..=rest.len()).rev().find(|count| names.contains_key(&joined(rest, *count)));
            let Some(count) = known else {
                return Err(match rest.first() {
                    None => Problem::Incomplete { allowed: names.keys().cloned().collect() },
                    Some(name) => Problem::unknown("runner", name, names.keys()),
                });
            };
            let (name, rest) = (joined(rest, count), rest.get(count..).unwrap_or_default());
            let rest: Vec<String> = match rest {
                [keys::METHODS_SHORT | keys::METHODS, inner @ ..] => {
                    if let [_, rest @ ..] = inner {
                        check_key(rest, &keys::LIMITS)?;
                    } else {
                        let methods = names.get(&name).into_iter().flatten().cloned();
                        return Err(Problem::Incomplete { allowed: methods.collect() });
                    }
                    std::iter::once(&keys::METHODS).chain(inner).map(|&part| part.to_owned()).collect()
                }
                [keys::PARAMS, ..] | [keys::CUSTOM_RESOURCES] | [keys::CUSTOM_RESOURCES, _] => {
                    rest.iter().map(|&part| part.to_owned()).collect()
                }
                _ => {
                    check_key(rest, &keys::runner_elsewhere())?;
                    rest.iter().map(|&part| part.to_owned()).collect()
                }
            };
            path = ["runners".to_owned(), name].into_iter().chain(rest).collect();
        }
        [other, ..] => return Err(Problem::unknown("key", other, ["server", "runners"])),
        [] => return Err(Problem::Incomplete { allowed: vec!["server".to_owned(), "runners".to_owned()] }),
    }
    Ok(path)
}

fn joined(parts: &[&str], count: usize) -> String {
    parts.get(..count).unwrap_or_default().join(".")
}

/// Exactly one key, and a known one.
fn check_key(rest: &[&str], allowed: &[&str]) -> Result<(), Problem> {
    match rest {
        [] => Err(Problem::Incomplete { allowed: allowed.iter().map(|&key| key.to_owned()).collect() }),
        [key] if allowed.contains(key) => Ok(()),
        _ => Err(Problem::unknown("key", &rest.join("."), allowed.iter().copied())),
    }
}
