//! Which value wins, and what becomes of it on the way.

use std::num::NonZeroUsize;
use std::time::Duration;

use ekiden_actors::{Batching, MethodLimits, RestartLimits};
use serde_json::json;

use super::super::{
    Adapters, Amount, CodeOptions, Config, DeviceChoice, Layer, LogFormat, NvidiaGpus, RunnerName, RunnerOptions,
    Sources, keys,
};
use super::{Case, file};
use crate::device::DeviceName;

const FULL: &str = r#"
[server]
bind = "[::1]:80"
grpc_bind = "127.0.0.1:8001"
grpc_orders = true
workers = 3
max_body_bytes = 1024
grace_s = 0.5
log_format = "json"

[[runners]]
name = "zebra"
runnable = "animal"
cpu = 2.5
nvidia_gpu = -1
custom_resources = { tpu = 2, "Odd.Name" = 0.5 }
models = ["zebra:latest", "horse:3"]
batching = "window"
max_batch_size = 20
max_latency_ms = 0.25
max_queue_size = 7
timeout_ms = 0
batch_timeout_ms = 9
retry = false
max_restarts = 0
restart_window_s = 1.5
restart_backoff_ms = 1
max_restart_backoff_ms = 2
max_abandoned = 3
  [runners.params]
  Weights = "x"
  "dotted.Key" = [1, 2.5, { deepKey = true }]
  [[runners.runnable_method_configs]]
  name = "Stripes"
  batching = "off"
  timeout_ms = 3

[[runners]]
name = "ant"
"#;

fn rows(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

#[test]
fn every_key_of_the_file() {
    let config = file(FULL).load();
    assert_eq!(config.server.bind.value.to_string(), "[::1]:80");
    assert_eq!(config.server.grpc_bind.value.map(|bind| bind.to_string()).as_deref(), Some("127.0.0.1:8001"));
    assert!(config.server.grpc_orders.value);
    assert_eq!(config.server.workers.value, rows(3));
    assert_eq!(config.server.max_body_bytes.value, 1024);
    assert_eq!(config.server.grace.value, Duration::from_millis(500));
    assert_eq!(config.server.log_format.value, LogFormat::Json);
    assert_eq!(config.runners.iter().map(|runner| runner.name.as_str()).collect::<Vec<_>>(), ["zebra", "ant"]);

    let zebra = &config.runners[0];
    assert_eq!(zebra.origin.to_string(), "runners.toml:12");
    assert_eq!(zebra.runnable(), "animal");
    assert_eq!(
        zebra.resources.cpu.as_ref().map(|cpu| (cpu.value, cpu.origin.to_string())),
        Some((2.5, "runners.toml:14".into()))
    );
    assert_eq!(zebra.resources.nvidia_gpu.as_ref().map(|gpus| gpus.value.clone()), Some(NvidiaGpus::None));
    let resources: Vec<_> =
        zebra.resources.custom.iter().map(|(name, amount)| (name.as_str(), amount.value.clone())).collect();
    assert_eq!(resources, [("Odd.Name", Amount::Number(0.5)), ("tpu", Amount::Number(2.0))]);
    assert_eq!(zebra.models.as_ref().map(|models| models.value.join(" ")), Some("zebra:latest horse:3".to_owned()));
    let limits = MethodLimits {
        batching: Batching::Window,
        max_batch_size: rows(20),
        max_latency: Duration::from_micros(250),
        max_queue_size: rows(7),
        timeout: None,
        batch_timeout: Some(Duration::from_millis(9)),
        retry: false,
    };
    assert_eq!(zebra.method_limits("other"), limits);
    let stripes = MethodLimits { batching: Batching::Off, timeout: Some(Duration::from_millis(3)), ..limits };
    assert_eq!(zebra.method_limits("Stripes"), stripes);
    let restarts = RestartLimits {
        max_restarts: 0,
        window: Duration::from_millis(1500),
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        max_abandoned: 3,
    };
    assert_eq!(zebra.restart_limits(), restarts);

    let ant = &config.runners[1];
    assert_eq!(ant.runnable(), "ant");
    assert_eq!(ant.method_limits("any"), MethodLimits::default());
    assert_eq!(ant.restart_limits(), RestartLimits::default());
}

#[test]
fn nothing_at_all_is_the_default() {
    assert_eq!(Config::load(Sources::new()).map_err(|errors| errors.to_string()), Ok(Config::default()));
    assert_eq!(Config::default().server.bind.value.to_string(), "127.0.0.1:3000");
}

#[test]
fn every_listed_key_is_read() {
    let sample = |key: &str| match key {
        "name" | "runnable" | "model" | "strategy" => "'a'",
        "device" => "'auto'",
        "models" | "batch_buckets" | keys::METHODS => "[]",
        "params" | "custom_resources" => "{}",
        "batching" => "'off'",
        "isolation" => "'process'",
        "required" | "retry" | "pin" | "golden_check" => "true",
        _ => "1",
    };
    for key in keys::runner_in_file() {
        let name = if key == "name" { "" } else { "name = 'a'\n" };
        file(&format!("[[runners]]\n{name}{key} = {}\n", sample(key))).load();
    }
}

#[test]
fn params_keep_their_case_in_every_layer() {
    let case = Case {
        file: FULL,
        env: &[
            ("EKIDEN__RUNNERS__ZEBRA__PARAMS__WEIGHTS", "y"),
            ("EKIDEN__RUNNERS__ZEBRA__PARAMS__NEW__DEEP", "[1]"),
            ("EKIDEN__RUNNERS__ZEBRA__CUSTOM_RESOURCES__ODD_NAME", "4"),
        ],
        set: &["runners.zebra.params.New.\"Other=Key\"=1.5", "runners.zebra.params.date=1979-05-27"],
    };
    let runner = case.runner();
    let params = runner.params.as_ref().map(|params| params.value.clone());
    let expected = json!({
        "Weights": "y",
        "dotted.Key": [1, 2.5, { "deepKey": true }],
        "new": { "deep": [1] },
        "New": { "Other=Key": 1.5 },
        "date": "1979-05-27",
    });
    assert_eq!(params, Some(expected));
    assert_eq!(runner.params.map(|params| params.layer()), Some(Layer::CommandLine));
    assert_eq!(runner.resources.custom.get("Odd.Name").map(|amount| amount.value.clone()), Some(Amount::Number(4.0)));
}

/// The file says 1; who says what besides, and which value with which origin comes out.
#[test]
fn stronger_layers_win() {
    let check = |env: &[(&str, &str)], set: &[&str], value: usize, origin: &str| {
        let text = "[[runners]]\nname = 'iris-clf'\nmax_batch_size = 1\n";
        let limit = Case { file: text, env, set }.runner().effective_method("predict").max_batch_size;
        assert_eq!((limit.value.get(), limit.origin.to_string().as_str()), (value, origin));
    };
    let variable = ("EKIDEN__RUNNERS__IRIS_CLF__MAX_BATCH_SIZE", "2");
    check(&[], &[], 1, "runners.toml:3");
    check(&[variable], &[], 2, variable.0);
    check(&[("ekiden__runners__Iris_clf__max_batch_size", "2")], &[], 2, "ekiden__runners__Iris_clf__max_batch_size");
    check(&[("EKIDENX__RUNNERS__IRIS_CLF__MAX_BATCH_SIZE", "2")], &[], 1, "runners.toml:3");
    let set = "runners.iris-clf.max_batch_size=3";
    check(&[variable], &[set], 3, "--set runners.iris-clf.max_batch_size");
    check(&[variable], &[set, "runners.'iris-clf'.max_batch_size = 4"], 4, "--set runners.'iris-clf'.max_batch_size");
}

/// Where the runner's and the method's value stand, weakest layer first; the runner's is 10, the method's 20.
#[test]
fn the_layer_decides_first_and_the_method_second() {
    const RUNNER: &str = "runners.a.max_batch_size=10";
    const METHOD: &str = "runners.a.methods.predict.max_batch_size=20";
    const RUNNER_VARIABLE: (&str, &str) = ("EKIDEN__RUNNERS__A__MAX_BATCH_SIZE", "10");
    const METHOD_VARIABLE: (&str, &str) = ("EKIDEN__RUNNERS__A__METHODS__PREDICT__MAX_BATCH_SIZE", "20");
    const METHOD_LINES: &str = "[[runners.runnable_method_configs]]\nname = 'predict'\nmax_batch_size = 20\n";
    let check = |runner_line: bool, method_lines: bool, env: &[(&str, &str)], set: &[&str], expected: usize| {
        let runner = if runner_line { "max_batch_size = 10\n" } else { "" };
        let text = format!("[[runners]]\nname = 'a'\n{runner}{}", if method_lines { METHOD_LINES } else { "" });
        let options = Case { file: &text, env, set }.runner();
        assert_eq!(options.method_limits("predict").max_batch_size.get(), expected);
        assert_ne!(options.method_limits("other").max_batch_size.get(), 20);
    };
    check(true, true, &[], &[], 20);
    check(true, false, &[METHOD_VARIABLE], &[], 20);
    check(false, true, &[RUNNER_VARIABLE], &[], 10);
    check(true, false, &[RUNNER_VARIABLE, METHOD_VARIABLE], &[], 20);
    check(true, true, &[], &[RUNNER], 10);
    check(true, true, &[RUNNER_VARIABLE], &[METHOD], 20);
    check(false, false, &[METHOD_VARIABLE], &[RUNNER], 10);
    check(false, false, &[], &[RUNNER, METHOD], 20);
    check(false, false, &[], &[METHOD, RUNNER], 20);
}

#[test]
fn server_flags_and_variables() {
    let sources = Sources::new()
        .text("x.toml", "[server]\nbind = 'a:1'\ngrpc_bind = 'a:2'\nworkers = 1\ngrace_s = 1\n")
        .variables([("EKIDEN__SERVER__BIND", "0.0.0.0:80"), ("EKIDEN__SERVER__WORKERS", "2")])
        .flag("--bind", "server.bind", "[::]:81")
        .flag("--grpc-bind", "server.grpc_bind", "")
        .set("server.log_format=json");
    let server = Config::load(sources).unwrap_or_default().server;
    let (bind, workers) = (server.bind, server.workers);
    assert_eq!((bind.value.to_string(), bind.origin.to_string()), ("[::]:81".to_owned(), "--bind".to_owned()));
    let grpc = server.grpc_bind;
    assert_eq!((grpc.value, grpc.origin.to_string()), (None, "--grpc-bind".to_owned()));
    assert_eq!((workers.value, workers.layer()), (rows(2), Layer::Environment));
    assert_eq!((server.grace.layer(), server.max_body_bytes.layer()), (Layer::File, Layer::Default));
    assert_eq!(server.log_format.value, LogFormat::Json);
}

#[test]
fn the_longest_runner_name_that_fits_is_meant() {
    let text = "[[runners]]\nname = 'a'\n[[runners]]\nname = 'a__b'\n[[runners]]\nname = 'a.b'\n";
    let env = &[("EKIDEN__RUNNERS__A__B__CPU", "1"), ("EKIDEN__RUNNERS__A__CPU", "2")];
    let runners = Case { file: text, env, set: &["runners.a.b.cpu=3"] }.load().runners;
    let cpus: Vec<_> = runners.iter().filter_map(|runner| runner.resources.cpu.as_ref()).map(|cpu| cpu.value).collect();
    assert_eq!(cpus, [2.0, 1.0, 3.0]);
}

#[test]
fn bare_text_is_read_by_its_key() {
    let case = Case {
        file: "[[runners]]\nname = 'iris.v2'\n",
        env: &[
            ("EKIDEN__RUNNERS__IRIS_V2__RUNNABLE", "7"),
            ("EKIDEN__RUNNERS__IRIS_V2__MODELS", "a:1, b:2,"),
            ("EKIDEN__RUNNERS__IRIS_V2__PARAMS", "{ A = 1, cpu = '7' }"),
            ("EKIDEN__RUNNERS__IRIS_V2__PARAMS__BATCHING", "7"),
        ],
        set: &["runners.iris.v2.batching='off'", "runners.iris.v2.cpu= 1_000 ", "runners.\"iris.v2\".models=['c']"],
    };
    let runner = case.runner();
    assert_eq!(runner.runnable(), "7");
    assert_eq!(runner.models.as_ref().map(|models| models.value.join(" ")), Some("c".to_owned()));
    assert_eq!(runner.params.map(|params| params.value), Some(json!({ "A": 1, "cpu": "7", "batching": 7 })));
    assert_eq!(runner.resources.cpu.map(|cpu| cpu.value), Some(1000.0));
    assert_eq!(runner.method_defaults.batching.map(|batching| batching.value), Some(Batching::Off));
    let models = Case { set: &[], ..case }.runner().models;
    assert_eq!(models.map(|models| models.value.join(" ")), Some("a:1 b:2".to_owned()));
}

#[test]
fn a_tiny_timeout_is_not_none() {
    let runner = file("[[runners]]\nname = 'a'\ntimeout_ms = 1e-12\n").runner();
    assert_eq!(runner.method_limits("predict").timeout, Some(Duration::from_nanos(1)));
}

fn code() -> RunnerOptions {
    let options = CodeOptions::new("a")
        .set("cpu", 4.0)
        .set("cpu", 2.0)
        .set("max_batch_size", 100_usize)
        .set("models", vec!["a:1".to_owned()])
        .custom_resource("tpu", 2.0)
        .custom_resource("npu", 1.0)
        .method("predict", "max_batch_size", 10_usize)
        .method("predict", "retry", false)
        .method("score-all", "max_queue_size", 3_usize)
        .params(json!({ "Deep": { "a": 1, "b": [1] }, "flat": null }));
    options.read().unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn code_lies_below_the_file() {
    let text = "[[runners]]\nname = 'a'\nmax_batch_size = 20\ncustom_resources = { tpu = 3 }\n\
        params = { Deep = { b = [2] } }\n";
    let merged = code().overlay(file(text).runner());
    assert_eq!(merged.resources.cpu.as_ref().map(|cpu| (cpu.value, cpu.layer())), Some((2.0, Layer::Code)));
    // The operator's word for the runner also covers the method that the code limits to 10.
    assert_eq!(merged.method_limits("predict").max_batch_size, rows(20));
    assert!(!merged.method_limits("predict").retry);
    assert_eq!(code().method_limits("predict").max_batch_size, rows(10));
    let resources: Vec<_> =
        merged.resources.custom.iter().map(|(name, amount)| (name.as_str(), amount.value.clone())).collect();
    assert_eq!(resources, [("npu", Amount::Number(1.0)), ("tpu", Amount::Number(3.0))]);
    let params = merged.params.map(|params| (params.value, params.origin.to_string()));
    assert_eq!(params, Some((json!({ "Deep": { "a": 1, "b": [2] }, "flat": null }), "runners.toml:5".to_owned())));
}

#[test]
fn two_spellings_of_a_method_are_one_and_the_stronger_layer_wins() {
    let env = &[("EKIDEN__RUNNERS__A__METHODS__SCORE_ALL__MAX_QUEUE_SIZE", "5")];
    let set = &["runners.a.methods.score-all.max_queue_size=6"];
    let runner = Case { file: "[[runners]]\nname = 'a'\n", env, set }.runner();
    let runner = runner.match_methods(&["score-all"]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(runner.method_limits("score-all").max_queue_size, rows(6));
    assert_eq!(runner.methods.len(), 1);
}

#[test]
fn variables_reach_runners_and_methods_that_only_code_knows() {
    let name: RunnerName = "a".parse().unwrap_or_else(|error| panic!("{error}"));
    let variables = [("EKIDEN__RUNNERS__A__METHODS__SCORE_ALL__MAX_QUEUE_SIZE", "5")];
    // With the methods told beforehand, and with methods that are only matched later.
    for methods in [&["score-all"][..], &[]] {
        let sources = Sources::new().known_runner(&name, methods.iter().copied()).variables(variables);
        let config = Config::load(sources).unwrap_or_default();
        let merged = config.runners.into_iter().fold(code(), RunnerOptions::overlay);
        let merged = merged.match_methods(&["predict", "score-all"]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(merged.method_limits("score-all").max_queue_size, rows(5));
        assert_eq!(merged.methods.len(), 2);
    }
}

#[test]
fn resources_may_be_written_in_each_way() {
    let one = |line: &str| file(&format!("[[runners]]\nname = 'a'\n{line}\n")).load().runners.remove(0).resources;
    for (written, cpus) in [("4", 4.0), ("0.5", 0.5), ("'500m'", 0.5), ("'2'", 2.0), ("'1500m'", 1.5)] {
        assert_eq!(one(&format!("cpu = {written}")).cpu.map(|cpu| cpu.value), Some(cpus), "{written}");
    }
    for (written, gpus) in [
        ("2", NvidiaGpus::Count(2)),
        ("[2, 7]", NvidiaGpus::Indices(vec![2, 7])),
        ("0", NvidiaGpus::None),
        ("-1", NvidiaGpus::None),
        ("'system'", NvidiaGpus::System),
    ] {
        let found = one(&format!("nvidia_gpu = {written}")).nvidia_gpu.map(|gpus| gpus.value);
        assert_eq!(found, Some(gpus), "{written}");
    }
    for (written, gpus) in [
        ("1", Adapters::Count(1)),
        ("[1]", Adapters::Indices(vec![1])),
        ("-1", Adapters::None),
        ("'Radeon'", Adapters::Named("Radeon".to_owned())),
    ] {
        assert_eq!(one(&format!("gpu = {written}")).gpu.map(|gpus| gpus.value), Some(gpus), "{written}");
    }
    for (written, device) in [
        ("auto", DeviceChoice::Auto),
        ("flex", DeviceChoice::Named(DeviceName::Flex)),
        ("wgpu", DeviceChoice::Named(DeviceName::Wgpu(0))),
        ("vulkan:1", DeviceChoice::Named(DeviceName::Vulkan(1))),
    ] {
        assert_eq!(one(&format!("device = '{written}'")).device.map(|device| device.value), Some(device), "{written}");
    }
    let env = &[("EKIDEN__RUNNERS__A__NVIDIA_GPU", "[1]"), ("EKIDEN__RUNNERS__A__DEVICE", "cuda:1")];
    let runner = Case { file: "[[runners]]\nname = 'a'\n", env, set: &["runners.a.cpu=250m"] }.load().runners.remove(0);
    assert_eq!(runner.resources.nvidia_gpu.map(|gpus| gpus.value), Some(NvidiaGpus::Indices(vec![1])));
    assert_eq!(runner.resources.device.map(|device| device.value.to_string()).as_deref(), Some("cuda:1"));
    assert_eq!(runner.resources.cpu.map(|cpu| cpu.value), Some(0.25));
}
