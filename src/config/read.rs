//! From a tree to options that cannot be wrong. One function reads a single layer, to find its errors, and the merge
//! of all layers, to take its values.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

use super::error::{ConfigError, Problem};
use super::isolation::IsolationOptions;
use super::keys;
use super::name::RunnerName;
use super::origin::{Origin, Sourced};
use super::resources::{Amount, ResourceOptions};
use super::runner::{MethodOptions, RestartOptions, RunnerOptions};
use super::server::ServerConfig;
use super::tree::{Origins, Table};
use super::values;

/// What messages call the runners and methods of a layer, by their keys in its tree; the runner itself has no method.
pub(super) type Labels = BTreeMap<(String, Option<String>), String>;

/// Reads trees and collects what is wrong with them.
pub(super) struct Reader<'a> {
    origins: &'a Origins,
    /// `None` in layers whose origins, such as a variable's name, already spell the whole path.
    labels: Option<&'a Labels>,
    errors: &'a mut Vec<ConfigError>,
}

/// A table while its keys are taken out.
struct Section {
    table: Table,
    path: Option<String>,
    /// Stands in for values whose own origin was lost.
    origin: Origin,
}

impl Section {
    fn path_of(&self, key: &str) -> String {
        match self.path.as_deref() {
            None => String::new(),
            Some("") => key.to_owned(),
            Some(path) => format!("{path}: {key}"),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(origins: &'a Origins, labels: Option<&'a Labels>, errors: &'a mut Vec<ConfigError>) -> Self {
        Self { origins, labels, errors }
    }

    /// Reads a whole tree. The runners are keyed as in the tree.
    pub(super) fn root(&mut self, root: Table) -> (ServerConfig, BTreeMap<String, RunnerOptions>) {
        let path = self.labels.map(|_| String::new());
        let mut section = Section { table: root, path, origin: Origin::Default };
        let server = section.table.remove("server").map(|value| self.server(&section, value));
        let runners = section.table.remove("runners").map(|value| self.section(&section, "runners", value));
        self.finish(section, &["server", "runners"]);
        let runners = runners.into_iter().flat_map(|runners| runners.table);
        let runners = runners.map(|(key, value)| {
            let options = self.runner(&key, value);
            (key, options)
        });
        let runners = runners.collect();
        (server.unwrap_or_default(), runners)
    }

    fn server(&mut self, root: &Section, value: Value) -> ServerConfig {
        let mut section = self.section(root, "server", value);
        let default = ServerConfig::default();
        let server = ServerConfig {
            bind: self.take(&mut section, "bind", values::bind).unwrap_or(default.bind),
            admin_bind: self.take(&mut section, "admin_bind", values::optional_bind).unwrap_or(default.admin_bind),
            grpc_bind: self.take(&mut section, "grpc_bind", values::optional_bind).unwrap_or(default.grpc_bind),
            grpc_orders: self.take(&mut section, "grpc_orders", values::flag).unwrap_or(default.grpc_orders),
            workers: self.take(&mut section, "workers", values::workers).unwrap_or(default.workers),
            max_body_bytes: self.take(&mut section, "max_body_bytes", values::bytes).unwrap_or(default.max_body_bytes),
            grace: self.take(&mut section, "grace_s", values::seconds).unwrap_or(default.grace),
            log_format: self.take(&mut section, "log_format", values::log_format).unwrap_or(default.log_format),
            access_log: self.take(&mut section, "access_log", values::flag).unwrap_or(default.access_log),
        };
        self.finish(section, &keys::SERVER);
        server
    }

    /// Reads the runner with this key in the tree.
    pub(super) fn runner(&mut self, key: &str, value: Value) -> RunnerOptions {
        let path = self.label(key, None);
        let mut section = self.table(path, Origin::Default, value);
        let named = self.take(&mut section, keys::NAME, values::runner_name);
        let named =
            named.map(|name| (name.value, name.origin)).or_else(|| Some((key.parse().ok()?, section.origin.clone())));
        let (name, origin) = named.unwrap_or_else(|| (RunnerName::stand_in(), section.origin.clone()));
        let mut options = RunnerOptions::new(name, origin);
        options.runnable = self.take(&mut section, "runnable", values::text);
        options.required = self.take(&mut section, "required", values::flag);
        options.resources = self.resources(&mut section);
        options.model = self.take(&mut section, "model", values::text);
        options.models = self.take(&mut section, "models", values::models);
        options.isolation = self.isolation(&mut section);
        options.method_defaults = self.limits(&mut section);
        options.restarts = self.restarts(&mut section);
        options.params = self.params(&mut section);
        options.methods = self.methods(key, &mut section);
        self.finish(section, &keys::runner_in_file());
        options
    }

    fn isolation(&mut self, section: &mut Section) -> IsolationOptions {
        IsolationOptions {
            isolation: self.take(section, "isolation", values::isolation),
            memory_limit: self.take(section, "memory_limit", values::memory),
            nice: self.take(section, "nice", values::nice),
        }
    }

    fn resources(&mut self, section: &mut Section) -> ResourceOptions {
        ResourceOptions {
            cpu: self.take(section, "cpu", values::cpu),
            nvidia_gpu: self.take(section, "nvidia_gpu", values::nvidia_gpu),
            gpu: self.take(section, "gpu", values::gpu),
            device: self.take(section, "device", values::device),
            strategy: self.take(section, "strategy", values::text),
            workers_per_resource: self.take(section, "workers_per_resource", values::workers_per_resource),
            pin: self.take(section, "pin", values::flag),
            pipeline_depth: self.take(section, "pipeline_depth", values::pipeline_depth),
            golden_check: self.take(section, "golden_check", values::flag),
            weight: self.take(section, "weight", values::weight),
            custom: self.custom_resources(section),
        }
    }

    fn custom_resources(&mut self, runner: &mut Section) -> BTreeMap<String, Sourced<Amount>> {
        let Some(value) = runner.table.remove(keys::CUSTOM_RESOURCES) else { return BTreeMap::new() };
        let mut section = self.section(runner, keys::CUSTOM_RESOURCES, value);
        let names: Vec<String> = section.table.keys().cloned().collect();
        let read = |name: String| Some((name.clone(), self.take(&mut section, &name, values::custom_resource)?));
        names.into_iter().filter_map(read).collect()
    }

    fn limits(&mut self, section: &mut Section) -> MethodOptions {
        MethodOptions {
            origin: None,
            batching: self.take(section, "batching", values::batching),
            max_batch_size: self.take(section, "max_batch_size", values::rows),
            batch_buckets: self.take(section, "batch_buckets", values::batch_buckets),
            max_latency: self.take(section, "max_latency_ms", values::milliseconds),
            max_queue_size: self.take(section, "max_queue_size", values::rows),
            timeout: self.take(section, "timeout_ms", values::timeout),
            batch_timeout: self.take(section, "batch_timeout_ms", values::timeout),
            retry: self.take(section, "retry", values::flag),
        }
    }

    fn restarts(&mut self, section: &mut Section) -> RestartOptions {
        RestartOptions {
            max_restarts: self.take(section, "max_restarts", values::restarts),
            window: self.take(section, "restart_window_s", values::window),
            backoff: self.take(section, "restart_backoff_ms", values::milliseconds),
            max_backoff: self.take(section, "max_restart_backoff_ms", values::milliseconds),
            max_abandoned: self.take(section, "max_abandoned", values::restarts),
        }
    }

    fn params(&mut self, runner: &mut Section) -> Option<Sourced<serde_json::Value>> {
        let value = runner.table.remove(keys::PARAMS)?;
        let before = self.errors.len();
        self.check_json(runner, keys::PARAMS, &value);
        if self.errors.len() > before {
            return None;
        }
        let origin = self.origins.strongest(&value).unwrap_or(&runner.origin).clone();
        match values::params(&value) {
            Ok(params) => Some(Sourced::new(params, origin)),
            Err(problem) => self.fail(origin, runner.path_of(keys::PARAMS), problem),
        }
    }

    /// Reports every leaf that JSON cannot hold at its own line.
    fn check_json(&mut self, section: &Section, path: &str, value: &Value) {
        match &value.kind {
            ValueKind::Table(table) => {
                table.iter().for_each(|(key, value)| self.check_json(section, &format!("{path}.{key}"), value));
            }
            ValueKind::Array(items) => items.iter().for_each(|value| self.check_json(section, path, value)),
            _ => {
                if let Err(problem) = values::json(value) {
                    let origin = self.origins.of(value).unwrap_or(&section.origin).clone();
                    self.fail::<()>(origin, section.path_of(path), problem);
                }
            }
        }
    }

    fn methods(&mut self, runner_key: &str, runner: &mut Section) -> BTreeMap<String, MethodOptions> {
        let Some(value) = runner.table.remove(keys::METHODS) else { return BTreeMap::new() };
        let methods = self.section(runner, keys::METHODS, value);
        let read = |(key, value): (String, Value)| {
            let path = self.label(runner_key, Some(&key));
            let mut section = self.table(path, methods.origin.clone(), value);
            let named = self.take(&mut section, keys::NAME, values::text);
            let options = self.limits(&mut section);
            let origin = named.map_or_else(|| section.origin.clone(), |name| name.origin);
            self.finish(section, &keys::method_in_file());
            (key, MethodOptions { origin: Some(origin), ..options })
        };
        methods.table.into_iter().map(read).collect()
    }

    fn label(&self, runner: &str, method: Option<&str>) -> Option<String> {
        let key = (runner.to_owned(), method.map(str::to_owned));
        self.labels.map(|labels| labels.get(&key).cloned().unwrap_or_default())
    }

    /// Opens the table that is the value of a key.
    fn section(&mut self, parent: &Section, key: &str, value: Value) -> Section {
        self.table(parent.path.as_ref().map(|_| parent.path_of(key)), parent.origin.clone(), value)
    }

    fn table(&mut self, path: Option<String>, fallback: Origin, value: Value) -> Section {
        let origin = self.origins.of(&value).or_else(|| self.origins.strongest(&value)).cloned().unwrap_or(fallback);
        let table = match value.kind {
            ValueKind::Table(table) => table,
            _ => {
                let found = values::describe(&value);
                let problem = Problem::Value { expected: "a table".to_owned(), found, nearest: None };
                self.fail::<()>(origin.clone(), path.clone().unwrap_or_default(), problem);
                Table::new()
            }
        };
        Section { table, path, origin }
    }

    /// Takes the value of a key out of a section, if it is there and valid.
    fn take<T>(
        &mut self,
        section: &mut Section,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, Problem>,
    ) -> Option<Sourced<T>> {
        let value = section.table.remove(key)?;
        let origin = self.origins.of(&value).unwrap_or(&section.origin).clone();
        match parse(&value) {
            Ok(value) => Some(Sourced::new(value, origin)),
            Err(problem) => self.fail(origin, section.path_of(key), problem),
        }
    }

    /// What nobody took is unknown.
    fn finish(&mut self, section: Section, allowed: &[&str]) {
        for (key, value) in section.table {
            let origin = self.origins.of(&value).unwrap_or(&section.origin).clone();
            let problem = Problem::unknown("key", &key, allowed.iter().copied());
            self.fail::<()>(origin, section.path.clone().unwrap_or_default(), problem);
        }
    }

    fn fail<T>(&mut self, origin: Origin, path: String, problem: Problem) -> Option<T> {
        self.errors.push(ConfigError { origin, path, problem });
        None
    }
}
