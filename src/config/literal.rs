//! Values given as bare text, in variables and in `--set`: TOML where it is TOML, else the text itself.
//!
//! What is text by its key stays text: `EKIDEN__RUNNERS__A__RUNNABLE=7` is the name `7`. A list may also be written
//! with commas: `a:1,b:2`.

use config::{Value, ValueKind};
use toml::de::DeValue;

use super::error::ConfigError;
use super::keys;
use super::origin::Origin;
use super::tree::{Convert, Origins};

/// Reads the text given for a path of a tree. `None`: reported.
pub(super) fn value(
    path: &[String],
    text: &str,
    origin: &Origin,
    origins: &mut Origins,
    errors: &mut Vec<ConfigError>,
) -> Option<Value> {
    let text = text.trim();
    let parsed = DeValue::parse(text).ok();
    let toml = parsed.as_ref().map(|value| value.get_ref());
    let free_form = path.get(2).is_some_and(|key| [keys::PARAMS, keys::CUSTOM_RESOURCES].contains(&key.as_str()));
    let key = path.last().map_or("", String::as_str);
    let literal = match (key, toml) {
        (
            "bind" | "admin_bind" | "grpc_bind" | "log_format" | "runnable" | "model" | "batching" | "isolation"
            | "device" | "strategy",
            toml,
        ) if !free_form => toml.filter(|toml| toml.is_str()),
        ("models", toml) if !free_form => match toml.filter(|toml| toml.is_array()) {
            Some(list) => Some(list),
            None => return Some(origins.value(origin, comma_list(text, origin))),
        },
        (_, toml) => toml,
    };
    match literal {
        Some(literal) => Convert { origin: &|_| origin.clone(), origins, errors }.value("", 0, literal),
        None => Some(origins.value(origin, text)),
    }
}

fn comma_list(text: &str, origin: &Origin) -> ValueKind {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let origin = origin.to_string();
    ValueKind::Array(items.map(|item| Value::new(Some(&origin), item)).collect())
}
