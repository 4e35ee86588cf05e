//! `EKIDEN__…` variables: `EKIDEN__SERVER__BIND`, `EKIDEN__RUNNERS__IRIS_CLF__METHODS__PREDICT__MAX_BATCH_SIZE`.
//!
//! Names are matched in their [form](env_form). Where a name contains `__`, the longest known runner wins.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::error::{ConfigError, Problem};
use super::keys;
use super::literal;
use super::origin::Origin;
use super::tree::{Table, Tree};

const PREFIX: &str = "EKIDEN__";
/// Far deeper than any parameters; reading recurses once per level.
const DEEPEST: usize = 32;

/// The runners that may be named, each with the methods known so far.
pub(super) type Names = BTreeMap<String, BTreeSet<String>>;

/// How a name is written in a variable, but for case: everything but letters and digits becomes `_`.
pub fn env_form(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(letter).collect()
}

/// Reads the variables that begin with `EKIDEN__`. `file` gives the case of keys in free-form tables.
pub(super) fn read(
    variables: &[(OsString, OsString)],
    names: &Names,
    file: &Tree,
    errors: &mut Vec<ConfigError>,
) -> Tree {
    let mut ours: Vec<_> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value)))
        .filter(|(name, _)| name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)))
        .collect();
    // The environment has no order; messages should.
    ours.sort();
    let mut tree = Tree::default();
    for (variable, value) in ours {
        let origin = Origin::Environment { variable: variable.into() };
        let put = resolve(variable, names, file)
            .and_then(|path| Ok((path, value.to_str().ok_or(Problem::NotUnicode)?)))
            .and_then(|(path, text)| match literal::value(&path, text, &origin, &mut tree.origins, errors) {
                Some(value) => tree.insert(&path, value).map_err(set_twice),
                None => Ok(()),
            });
        if let Err(problem) = put {
            errors.push(ConfigError { origin, path: String::new(), problem });
        }
    }
    tree
}

fn set_twice(first: Option<Origin>) -> Problem {
    // Tables have no origin of their own.
    let first = first.map_or_else(|| "another variable".to_owned(), |first| first.to_string());
    Problem::SetTwice { first }
}

/// The path in the tree that a variable names.
fn resolve(variable: &str, names: &Names, file: &Tree) -> Result<Vec<String>, Problem> {
    let lower = variable.to_ascii_lowercase();
    let rest = lower.get(PREFIX.len()..).unwrap_or_default();
    let (section, rest) = cut(rest);
    match section {
        "server" => {
            let key = known_key(rest, &keys::SERVER, "EKIDEN__SERVER__")?;
            Ok(vec!["server".to_owned(), key])
        }
        "runners" => runner(rest, names, file),
        _ => Err(unknown("key", section, ["server", "runners"]).suggest(|nearest| full(PREFIX, nearest, rest))),
    }
}

fn runner(rest: &str, names: &Names, file: &Tree) -> Result<Vec<String>, Problem> {
    let runners = "EKIDEN__RUNNERS__";
    if rest.is_empty() {
        return Err(Problem::Incomplete { allowed: names.keys().map(|name| env_form(name).to_uppercase()).collect() });
    }
    let begins = |form: &str| rest.strip_prefix(form).is_some_and(|rest| rest.is_empty() || rest.starts_with("__"));
    let form = names.keys().map(|name| env_form(name)).filter(|form| begins(form)).max_by_key(String::len);
    let Some(form) = form else {
        let (name, rest) = cut(rest);
        let forms: BTreeSet<String> = names.keys().map(|name| env_form(name)).collect();
        return Err(
            unknown("runner", name, forms.iter().map(String::as_str)).suggest(|nearest| full(runners, nearest, rest))
        );
    };
    let same: Vec<&String> = names.keys().filter(|name| env_form(name) == form).collect();
    let name = match same.as_slice() {
        [name] => (*name).clone(),
        _ => return Err(Problem::Ambiguous { names: same.into_iter().cloned().collect() }),
    };
    let rest = rest.get(form.len()..).and_then(|rest| rest.strip_prefix("__")).unwrap_or_default();
    let before = format!("{runners}{}__", form.to_uppercase());
    let mut path = vec!["runners".to_owned(), name.clone()];
    let (key, inner) = cut(rest);
    match key {
        keys::METHODS_SHORT => {
            path.push(keys::METHODS.to_owned());
            path.extend(method(inner, &before, names.get(&name))?);
        }
        keys::PARAMS | keys::CUSTOM_RESOURCES => {
            path.push(key.to_owned());
            let table = file.table(&["runners", &name, key]);
            path.extend(free_form(inner, table)?);
        }
        _ => path.push(known_key(rest, &keys::runner_elsewhere(), &before)?),
    }
    Ok(path)
}

/// `PREDICT__MAX_BATCH_SIZE`: the key has no `__`, so the last one parts it from the name.
fn method(rest: &str, before: &str, known: Option<&BTreeSet<String>>) -> Result<[String; 2], Problem> {
    let (form, key) = rest.rsplit_once("__").unwrap_or((rest, ""));
    if form.is_empty() {
        let methods = known.into_iter().flatten().map(|name| env_form(name).to_uppercase());
        return Err(Problem::Incomplete { allowed: methods.collect() });
    }
    let before = format!("{before}METHODS__{}__", form.to_uppercase());
    let key = known_key(key, &keys::LIMITS, &before)?;
    let same: Vec<&String> = known.into_iter().flatten().filter(|name| env_form(name) == form).collect();
    match same.as_slice() {
        // Methods that only the runnable knows are matched when it is: see `RunnerOptions::match_methods`.
        [] => Ok([form.to_owned(), key]),
        [name] => Ok([(*name).clone(), key]),
        _ => Err(Problem::Ambiguous { names: same.into_iter().cloned().collect() }),
    }
}

/// The keys below a free-form table, spelt as the file spells them; in lower case where it does not have them.
fn free_form(rest: &str, mut table: Option<&Table>) -> Result<Vec<String>, Problem> {
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = rest.split("__").collect();
    if parts.len() > DEEPEST || parts.contains(&"") {
        return Err(Problem::Value {
            expected: format!("1 to {DEEPEST} names with \"__\" between them"),
            found: if parts.len() > DEEPEST { parts.len().to_string() } else { format!("{:?}", rest.to_uppercase()) },
            nearest: None,
        });
    }
    let mut path = Vec::new();
    for part in parts {
        let same: Vec<_> = table.into_iter().flatten().filter(|(key, _)| env_form(key) == part).collect();
        table = None;
        match same.as_slice() {
            [] => path.push(part.to_owned()),
            [(key, value)] => {
                path.push((*key).clone());
                if let config::ValueKind::Table(inner) = &value.kind {
                    table = Some(inner);
                }
            }
            _ => {
                let mut names: Vec<String> = same.into_iter().map(|(key, _)| key.clone()).collect();
                names.sort();
                return Err(Problem::Ambiguous { names });
            }
        }
    }
    Ok(path)
}

fn known_key(key: &str, allowed: &[&str], before: &str) -> Result<String, Problem> {
    match key {
        "" => Err(Problem::Incomplete { allowed: allowed.iter().map(|key| key.to_uppercase()).collect() }),
        _ if allowed.contains(&key) => Ok(key.to_owned()),
        _ => Err(unknown("key", key, allowed.iter().copied()).suggest(|nearest| format!("{before}{nearest}"))),
    }
}

fn unknown<'a>(what: &'static str, name: &str, allowed: impl IntoIterator<Item = &'a str>) -> Problem {
    Problem::unknown(what, &name.to_uppercase(), allowed.into_iter().map(str::to_uppercase))
}

fn cut(rest: &str) -> (&str, &str) {
    rest.split_once("__").unwrap_or((rest, ""))
}

fn full(before: &str, nearest: &str, rest: &str) -> String {
    format!("{before}{nearest}{}{}", if rest.is_empty() { "" } else { "__" }, rest.to_uppercase())
}
