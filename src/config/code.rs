//! The layer between the built-in defaults and `runners.toml`: what the developer's code says of a runner.

use config::{Value, ValueKind};

use super::error::{ConfigError, ConfigErrors};
use super::keys;
use super::origin::{Origin, Sourced};
use super::read::{Labels, Reader};
use super::runner::RunnerOptions;
use super::tree::{Table, Tree};
use super::values;

/// Collects options given in code, under the keys of `runners.toml`, and checks them by the same rules.
#[derive(Clone, Debug)]
pub struct CodeOptions {
    name: String,
    tree: Tree,
    params: Option<serde_json::Value>,
}

/// A value for [`CodeOptions`].
#[derive(Clone, Debug)]
pub struct Setting(ValueKind);

macro_rules! settings {
    ($($type:ty => $convert:expr),+ $(,)?) => {
        $(impl From<$type> for Setting {
            fn from(value: $type) -> Self {
                Self(ValueKind::from(($convert)(value)))
            }
        })+
    };
}

settings! {
    bool => |value: bool| value,
    f64 => |value: f64| value,
    i32 => |value: i32| i64::from(value),
    i64 => |value: i64| value,
    u32 => |value: u32| value,
    u64 => |value: u64| value,
    usize => |value: usize| value as u64,
    &str => |value: &str| value.to_owned(),
    String => |value: String| value,
    Vec<String> => |value: Vec<String>| value,
    Vec<i64> => |value: Vec<i64>| value.into_iter().map(Value::from).collect::<Vec<_>>(),
}

impl CodeOptions {
    /// Options of the runner with this name; it is checked by [`read`](Self::read).
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), tree: Tree::default(), params: None }
    }

    /// Sets one option of the runner, or the default of its methods: `set("cpu", 4.0)`.
    pub fn set(self, key: &str, value: impl Into<Setting>) -> Self {
        self.put(&[key], value.into())
    }

    /// Sets the amount of a resource other than CPUs and GPUs.
    pub fn custom_resource(self, name: &str, amount: f64) -> Self {
        self.put(&[keys::CUSTOM_RESOURCES, name], amount.into())
    }

    /// Sets one option of a method: `method("predict", "max_batch_size", 10_usize)`.
    pub fn method(self, method: &str, key: &str, value: impl Into<Setting>) -> Self {
        self.put(&[keys::METHODS, method, key], value.into())
    }

    /// Gives the runnable's parameters.
    pub fn params(mut self, params: serde_json::Value) -> Self {
        self.params = Some(params);
        self
    }

    /// The options with origin `code`.
    ///
    /// # Errors
    /// Everything that is wrong with them, under the path `Runner "x" in code`.
    pub fn read(self) -> Result<RunnerOptions, ConfigErrors> {
        let Self { name, tree, params } = self;
        let label = format!("Runner {name:?} in code");
        let mut labels = Labels::new();
        for method in tree.table(&[keys::METHODS]).into_iter().flat_map(Table::keys) {
            labels.insert((name.clone(), Some(method.clone())), format!("{label}: method {method:?}"));
        }
        labels.insert((name.clone(), None), label.clone());
        let mut errors = Vec::new();
        if let Err(problem) = values::runner_name(&Value::new(None, name.as_str())) {
            errors.push(ConfigError { origin: Origin::Code, path: format!("{label}: name"), problem });
        }
        let mut options =
            Reader::new(&tree.origins, Some(&labels), &mut errors).runner(&name, Value::new(None, tree.root));
        ConfigErrors::check(errors)?;
        options.origin = Origin::Code;
        options.methods.values_mut().for_each(|method| method.origin = Some(Origin::Code));
        options.params = params.map(Sourced::code);
        Ok(options)
    }

    fn put(mut self, path: &[&str], Setting(kind): Setting) -> Self {
        let value = self.tree.origins.value(&Origin::Code, kind);
        let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        // Builders let the last call win.
        if self.tree.insert(&path, value.clone()).is_err() {
            self.tree.remove(&path);
            let _ = self.tree.insert(&path, value);
        }
        self
    }
}
