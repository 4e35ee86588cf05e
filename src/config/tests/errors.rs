//! Every message as users read it.

use std::ffi::OsString;

use proptest::prelude::*;

use super::super::{CodeOptions, Config, Sources};
use super::{Case, file};

const IRIS: &str = "[[runners]]\nname = \"iris_clf\"\n";

/// A line below a valid runner, and what is said of it after `runners.toml:3: runners[0] "iris_clf": `.
#[track_caller]
fn check(line: &str, message: &str) {
    file(&format!("{IRIS}{line}\n")).fails(&format!("runners.toml:3: runners[0] \"iris_clf\": {message}"));
}

#[test]
fn wrong_values_of_a_runner() {
    check("max_batch_size = 'many'", r#"max_batch_size: expected a whole number of at least 1, found "many""#);
    check("max_batch_size = 0", "max_batch_size: expected a whole number of at least 1, found 0");
    check("max_batch_size = 2.5", "max_batch_size: expected a whole number of at least 1, found 2.5");
    check("max_batch_size = [1]", "max_batch_size: expected a whole number of at least 1, found a list");
    check(
        "max_queue_size = 4294967296",
        "max_queue_size: expected a whole number of at most 4294967295, found 4294967296",
    );
    check("max_queue_size = -1", "max_queue_size: expected a whole number of at least 1, found -1");
    let cpu = "a number above 0, or thousandths, as in \"500m\"";
    for wrong in ["0", "-0.5", "nan", "inf", "true", "\"500k\"", "\"0m\"", "\"-1\"", "\"inf\"", "\"1e300m\"", "\"\""] {
        check(&format!("cpu = {wrong}"), &format!("cpu: expected {cpu}, found {wrong}"));
    }
    check("cpu = 1e300", "cpu: expected a number of at most 1024, found 1e300");
    let gpus = "a count from 0 to 1024, a list of different indices, \"system\" for all, or -1 for none";
    check("nvidia_gpu = -2", &format!("nvidia_gpu: expected {gpus}, found -2"));
    check("nvidia_gpu = 0.5", &format!("nvidia_gpu: expected {gpus}, found 0.5"));
    check("nvidia_gpu = 'all'", &format!("nvidia_gpu: expected {gpus}, found \"all\""));
    for list in ["[]", "[0, 0]", "[-1]", "['0']"] {
        check(&format!("nvidia_gpu = {list}"), &format!("nvidia_gpu: expected {gpus}, found a list"));
    }
    let adapters = "a count from 0 to 1024, a list of different indices, a part of a name, or -1 for none";
    check("gpu = ' '", &format!("gpu: expected {adapters}, found \" \""));
    check("gpu = [1, 1]", &format!("gpu: expected {adapters}, found a list"));
    let devices = "\"auto\", \"flex\" for the CPU, or one of cuda, rocm, metal, vulkan and wgpu with an index from 0, such \
        as \"cuda:1\"";
    check("device = 'cudo:0'", &format!("device: expected {devices}, found \"cudo:0\"; did you mean \"cuda\"?"));
    check("device = 'atuo'", &format!("device: expected {devices}, found \"atuo\"; did you mean \"auto\"?"));
    check("device = 'cuda:'", &format!("device: expected {devices}, found \"cuda:\""));
    check("device = 0", &format!("device: expected {devices}, found 0"));
    check("workers_per_resource = 0", "workers_per_resource: expected a number above 0, at most 1024, found 0");
    check("pin = 1", "pin: expected true or false, found 1");
    for wrong in ["0", "-1", "1001", "nan", "true"] {
        check(&format!("weight = {wrong}"), &format!("weight: expected a number from 0.001 to 1000, found {wrong}"));
    }
    check("pipeline_depth = 0", "pipeline_depth: expected a whole number of at least 1, found 0");
    check("pipeline_depth = 9", "pipeline_depth: expected a whole number of at most 8, found 9");
    for wrong in ["[8, 1]", "[0, 1]", "[1, 1]", "['1']"] {
        let expected = "a list of rows in rising order, such as [1, 8, 32], or [] for batches as they are";
        check(&format!("batch_buckets = {wrong}"), &format!("batch_buckets: expected {expected}, found a list"));
    }
    check("max_latency_ms = -1", "max_latency_ms: expected a number of milliseconds from 0 to 31536000000, found -1");
    check("timeout_ms = nan", "timeout_ms: expected a number of milliseconds from 0 to 31536000000, found nan");
    check("timeout_ms = 1e18", "timeout_ms: expected a number of milliseconds from 0 to 31536000000, found 1e18");
    check("restart_window_s = 0", "restart_window_s: expected a number of seconds above 0 and up to 31536000, found 0");
    check("max_restarts = -1", "max_restarts: expected a whole number of at least 0, found -1");
    check("retry = 1", "retry: expected true or false, found 1");
    check(
        "batching = 'adaptve'",
        r#"batching: expected "adaptive" or "window" or "off", found "adaptve"; did you mean "adaptive"?"#,
    );
    check("batching = false", r#"batching: expected "adaptive" or "window" or "off", found false"#);
    check("models = 'a'", r#"models: expected a list of model tags, such as ["iris:latest"], found "a""#);
    check(
        "models = ['a', 1]",
        r#"models: expected a list of model tags, such as ["iris:latest"], found a list with 1"#,
    );
    check("runnable = ' '", r#"runnable: expected text that is not empty, found " ""#);
    check("custom_resources = 1", "custom_resources: expected a table, found 1");
    check(
        "custom_resources = { tpu = -1 }",
        "custom_resources: tpu: expected a number of at least 0, or a text, found -1",
    );
    check("params = 1", "params: expected a table, found 1");
    check("params = { a = { b = [nan] } }", "params.a.b: expected a finite number, found nan");
    check(
        "runnable_method_configs = 1",
        "runnable_method_configs: expected [[runners.runnable_method_configs]] tables, found 1",
    );
    check(
        "params = { seed = 18446744073709551616 }",
        "params.seed: expected a whole number of at most 18446744073709551615, found 18446744073709551616",
    );
}

#[test]
fn unknown_keys() {
    const RUNNER: &str = "name, runnable, required, cpu, nvidia_gpu, gpu, device, strategy, workers_per_resource, pin, pipeline_depth, golden_check, weight, \
        model, models, isolation, memory_limit, nice, \
        max_restarts, restart_window_s, restart_backoff_ms, max_restart_backoff_ms, max_abandoned, batching, max_batch_size, batch_buckets, \
        max_latency_ms, max_queue_size, timeout_ms, batch_timeout_ms, retry, custom_resources, params, \
        runnable_method_configs";
    check(
        "max_bach_size = 1",
        &format!(r#"unknown key "max_bach_size"; did you mean "max_batch_size"? allowed: {RUNNER}"#),
    );
    check("gpus = 1", &format!(r#"unknown key "gpus"; did you mean "gpu"? allowed: {RUNNER}"#));
    check("colour = 'red'", &format!(r#"unknown key "colour"; allowed: {RUNNER}"#));
    check("methods = 1", &format!(r#"unknown key "methods"; allowed: {RUNNER}"#));
    file("[server]\n\nbnid = 1").fails(
        "runners.toml:3: server: unknown key \"bnid\"; did you mean \"bind\"? \
         allowed: bind, admin_bind, grpc_bind, grpc_orders, workers, max_body_bytes, grace_s, log_format, access_log",
    );
    file("\n[runner]\n")
        .fails("runners.toml:2: unknown key \"runner\"; did you mean \"runners\"? allowed: server, runners");
    file("[[runners]]\nname = 'a'\n[[runners.runnable_method_configs]]\nname = 'predict'\ntimeout = 3\n").fails(
        "runners.toml:5: runners[0] \"a\": runnable_method_configs[0] \"predict\": unknown key \"timeout\"; did \
         you mean \"timeout_ms\"? allowed: \
         name, batching, max_batch_size, batch_buckets, max_latency_ms, max_queue_size, timeout_ms, batch_timeout_ms, retry",
    );
}

#[test]
fn wrong_values_of_the_server() {
    let check = |line: &str, message: &str| {
        file(&format!("[server]\n{line}")).fails(&format!("runners.toml:2: server: {message}"));
    };
    let address = r#"expected an address and a port, such as "127.0.0.1:3000" or "[::1]:3000""#;
    check("bind = 'here'", &format!(r#"bind: {address}, found "here""#));
    check("bind = 80", &format!("bind: {address}, found 80"));
    check("grpc_bind = 'here'", &format!(r#"grpc_bind: {address}, found "here""#));
    check("grpc_orders = 1", "grpc_orders: expected true or false, found 1");
    check("workers = 0", "workers: expected a whole number of at least 1, found 0");
    check("workers = 5000", "workers: expected a whole number of at most 1024, found 5000");
    check("max_body_bytes = '1M'", r#"max_body_bytes: expected a whole number of at least 1, found "1M""#);
    check("grace_s = -0.1", "grace_s: expected a number of seconds from 0 to 31536000, found -0.1");
    check("log_format = 'jsn'", r#"log_format: expected "text" or "json", found "jsn"; did you mean "json"?"#);
    file("server = 1").fails("runners.toml:1: server: expected a table, found 1");
}

#[test]
fn names() {
    let rule = "1 to 63 characters of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit";
    file("[[runners]]\nname = 'Iris'")
        .fails(&format!("runners.toml:2: runners[0] \"Iris\": name: expected {rule}, found \"Iris\""));
    file("[[runners]]\nname = 1").fails(&format!("runners.toml:2: runners[0]: name: expected {rule}, found 1"));
    file("\n[[runners]]\ncpu = 1").fails("runners.toml:2: runners[0]: needs a name, such as name = \"iris_clf\"");
    file("[[runners]]\ncpu = 0\n[[runners]]\nname = '#0'").fails(&format!(
        "runners.toml:1: runners[0]: needs a name, such as name = \"iris_clf\"\n\
         runners.toml:2: runners[0]: cpu: expected a number above 0, or thousandths, as in \"500m\", found 0\n\
         runners.toml:4: runners[1] \"#0\": name: expected {rule}, found \"#0\""
    ));
    file("[[runners]]\nname = 'a'\n\n[[runners]]\nname = 'a'\n")
        .fails("runners.toml:5: runners[1] \"a\": name: \"a\" is already taken by runners[0] in runners.toml:2");
    file("[runners]\nname = 'a'").fails("runners.toml:1: runners: expected [[runners]] tables, found a table");
    file("runners = [1]").fails("runners.toml:1: runners[0]: expected a table, found 1");
    let method = "[[runners.runnable_method_configs]]\n";
    file(&format!("{IRIS}{method}retry = true\n")).fails(
        "runners.toml:3: runners[0] \"iris_clf\": runnable_method_configs[0]: needs a name, such as name = \"predict\"",
    );
    file(&format!("{IRIS}{method}name = 'p'\n{method}name = 'p'\n")).fails(
        "runners.toml:6: runners[0] \"iris_clf\": runnable_method_configs[1] \"p\": name: \"p\" is already taken by \
         runnable_method_configs[0] in runners.toml:4",
    );
}

#[test]
fn not_toml() {
    file("a = 1\nb = ä ß = 2\n").fails("runners.toml:2:5: string values must be quoted, expected literal string");
    file("[[runners]]\nname = \"ä\nx\n\ny = 'ä' z\n").fails(
        "runners.toml:2:10: invalid basic string, expected `\"`\n\
         runners.toml:3:2: key with no value, expected `=`\n\
         runners.toml:5:9: unexpected key or value, expected newline, `#`",
    );
    file("a = 1\na = 2\n").fails("runners.toml:2:1: duplicate key");
}

#[test]
fn files_that_cannot_be_read() {
    let error = Config::load(Sources::new().file("/nowhere/runners.toml")).map_err(|errors| errors.to_string());
    assert!(error.as_ref().is_err_and(|text| text.starts_with("/nowhere/runners.toml: cannot be read: ")), "{error:?}");
}

#[test]
fn all_errors_at_once_in_the_order_of_layers_and_lines() {
    let text = "[server]\nworkers = -1\n[[runners]]\nname = '?'\ncpu = 'x'\n[[runners]]\nname = 'a'\nretry = 3\n\
        [[runners]]\nname = 'a'\nretry = 4\nbig = 170141183460469231731687303715884105728\n";
    let rule = "1 to 63 characters of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit";
    Case { file: text, env: &[("EKIDEN__RUNNERS__A__CPU", "0")], set: &["runners.a.retry=no", "x"] }.fails(&format!(
        "runners.toml:2: server: workers: expected a whole number of at least 1, found -1\n\
         runners.toml:4: runners[0] \"?\": name: expected {rule}, found \"?\"\n\
         runners.toml:5: runners[0] \"?\": cpu: expected a number above 0, or thousandths, as in \"500m\", found \"x\"\n\
         runners.toml:8: runners[1] \"a\": retry: expected true or false, found 3\n\
         runners.toml:10: runners[2] \"a\": name: \"a\" is already taken by runners[1] in runners.toml:7\n\
         runners.toml:11: runners[2] \"a\": retry: expected true or false, found 4\n\
         runners.toml:12: big: expected a smaller integer, found 170141183460469231731687303715884105728\n\
         EKIDEN__RUNNERS__A__CPU: expected a number above 0, or thousandths, as in \"500m\", found 0\n\
         --set: expected KEY=VALUE, such as server.bind=127.0.0.1:3000, found \"x\"\n\
         --set runners.a.retry: expected true or false, found \"no\""
    ));
}

#[test]
fn a_hidden_error_is_still_one() {
    Case { file: &format!("{IRIS}cpu = 0"), env: &[], set: &["runners.iris_clf.cpu=1"] }
        .fails("runners.toml:3: runners[0] \"iris_clf\": cpu: expected a number above 0, or thousandths, as in \"500m\", found 0");
}

#[track_caller]
fn check_env(variable: &str, value: &str, message: &str) {
    let text = "[[runners]]\nname = 'iris-clf'\nparams = { Weights = 1, weights = 2 }\n[[runners]]\nname = 'a.b'\n\
        [[runners]]\nname = 'a_b'\n[[runners.runnable_method_configs]]\nname = 'predict'\n";
    Case { file: text, env: &[(variable, value)], set: &[] }.fails(&format!("{variable}: {message}"));
}

#[test]
fn variables() {
    check_env(
        "EKIDEN__RUNNERS__IRIS_CLF__MAX_BATCH_SIZE",
        "many",
        r#"expected a whole number of at least 1, found "many""#,
    );
    check_env("EKIDEN__RUNNERS__IRIS_CLF__MAX_BATCH_SIZE", "", r#"expected a whole number of at least 1, found """#);
    check_env(
        "EKIDEN__RUNNERS__IRIS_CLF__CPU",
        "{}",
        "expected a number above 0, or thousandths, as in \"500m\", found a table",
    );
    check_env(
        "EKIDEN__SERVER__BNID",
        "",
        r#"unknown key "BNID"; did you mean "EKIDEN__SERVER__BIND"? allowed: BIND, ADMIN_BIND, GRPC_BIND, GRPC_ORDERS, WORKERS, MAX_BODY_BYTES, GRACE_S, LOG_FORMAT, ACCESS_LOG"#,
    );
    check_env(
        "EKIDEN__SERVR__BIND",
        "",
        r#"unknown key "SERVR"; did you mean "EKIDEN__SERVER__BIND"? allowed: SERVER, RUNNERS"#,
    );
    check_env(
        "EKIDEN__SERVER",
        "",
        "names no option; allowed: BIND, ADMIN_BIND, GRPC_BIND, GRPC_ORDERS, WORKERS, MAX_BODY_BYTES, GRACE_S, LOG_FORMAT, ACCESS_LOG",
    );
    check_env("EKIDEN__", "", r#"unknown key ""; allowed: SERVER, RUNNERS"#);
    check_env(
        "EKIDEN__RUNNERS__IRS_CLF__CPU",
        "1",
        r#"unknown runner "IRS_CLF"; did you mean "EKIDEN__RUNNERS__IRIS_CLF__CPU"? allowed: A_B, IRIS_CLF"#,
    );
    check_env("EKIDEN__RUNNERS__A_B__CPU", "1", r#"could mean "a.b" or "a_b"; use --set instead"#);
    check_env(
        "EKIDEN__RUNNERS__IRIS_CLF__PARAMS__WEIGHTS",
        "1",
        r#"could mean "Weights" or "weights"; use --set instead"#,
    );
    let runner = "RUNNABLE, REQUIRED, CPU, NVIDIA_GPU, GPU, DEVICE, STRATEGY, WORKERS_PER_RESOURCE, PIN, PIPELINE_DEPTH, GOLDEN_CHECK, WEIGHT, MODEL, MODELS, ISOLATION, MEMORY_LIMIT, NICE, \
        MAX_RESTARTS, RESTART_WINDOW_S, RESTART_BACKOFF_MS, MAX_RESTART_BACKOFF_MS, MAX_ABANDONED, BATCHING, MAX_BATCH_SIZE, BATCH_BUCKETS, MAX_LATENCY_MS, \
        MAX_QUEUE_SIZE, TIMEOUT_MS, BATCH_TIMEOUT_MS, RETRY, CUSTOM_RESOURCES, PARAMS, METHODS";
    check_env(
        "EKIDEN__RUNNERS__IRIS_CLF__MAX_BACH_SIZE",
        "1",
        &format!(
            "unknown key \"MAX_BACH_SIZE\"; did you mean \"EKIDEN__RUNNERS__IRIS_CLF__MAX_BATCH_SIZE\"? allowed: {runner}"
        ),
    );
    check_env("EKIDEN__RUNNERS__IRIS_CLF__NAME", "x", &format!("unknown key \"NAME\"; allowed: {runner}"));
    let limits =
        "BATCHING, MAX_BATCH_SIZE, BATCH_BUCKETS, MAX_LATENCY_MS, MAX_QUEUE_SIZE, TIMEOUT_MS, BATCH_TIMEOUT_MS, RETRY";
    check_env("EKIDEN__RUNNERS__IRIS_CLF__METHODS__P", "x", &format!("names no option; allowed: {limits}"));
    check_env(
        "EKIDEN__RUNNERS__IRIS_CLF__METHODS__P__RETRI",
        "x",
        &format!(
            "unknown key \"RETRI\"; did you mean \"EKIDEN__RUNNERS__IRIS_CLF__METHODS__P__RETRY\"? allowed: {limits}"
        ),
    );
    let deep = format!("EKIDEN__RUNNERS__IRIS_CLF__PARAMS{}", "__A".repeat(33));
    check_env(&deep, "1", "expected 1 to 32 names with \"__\" between them, found 33");
    Case { file: "", env: &[("EKIDEN__RUNNERS__A__CPU", "1")], set: &[] }
        .fails("EKIDEN__RUNNERS__A__CPU: unknown runner \"A\"; allowed: none");
    Case { file: "", env: &[("EKIDEN__SERVER__BIND", "a:1"), ("EKIDEN__server__bind", "a:1")], set: &[] }
        .fails("EKIDEN__server__bind: is already set by EKIDEN__SERVER__BIND");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff]);
    let sources = Sources::new().variables([("EKIDEN__SERVER__BIND", value.clone()), ("OTHER", value)]);
    let error = Config::load(sources).map_err(|errors| errors.to_string());
    assert_eq!(error, Err("EKIDEN__SERVER__BIND: the value is not UTF-8".to_owned()));
}

#[test]
fn command_line() {
    let check = |set: &str, message: &str| Case { file: IRIS, env: &[], set: &[set] }.fails(message);
    check(
        "server.grace_s=soon",
        "--set server.grace_s: expected a number of seconds from 0 to 31536000, found \"soon\"",
    );
    check(
        "server.grace=1",
        "--set server.grace: unknown key \"grace\"; did you mean \"grace_s\"? \
         allowed: bind, admin_bind, grpc_bind, grpc_orders, workers, max_body_bytes, grace_s, log_format, access_log",
    );
    check(
        "runners.iris.cpu=1",
        "--set runners.iris.cpu: unknown runner \"iris\"; did you mean \"iris_clf\"? allowed: iris_clf",
    );
    check("runners=1", "--set runners: names no option; allowed: iris_clf");
    check("srver.bind=1", "--set srver.bind: unknown key \"srver\"; did you mean \"server\"? allowed: server, runners");
    check("=1", "--set: expected KEY=VALUE, such as server.bind=127.0.0.1:3000, found \"=1\"");
    check("a b=1", "--set a b: expected a dotted key, such as runners.iris_clf.cpu, found \"a b\"");
    let error = Config::load(Sources::new().flag("--bind", "server.bind", "here")).map_err(|errors| errors.to_string());
    let message = r#"--bind: expected an address and a port, such as "127.0.0.1:3000" or "[::1]:3000", found "here""#;
    assert_eq!(error, Err(message.to_owned()));
}

#[test]
fn code() {
    let options =
        CodeOptions::new("Iris").set("cpu", -1.0).set("max_latency", 3_usize).method("predict", "retry", "no");
    let error = options.read().map_err(|errors| errors.to_string());
    let message =
        "Runner \"Iris\" in code: unknown key \"max_latency\"; did you mean \"max_latency_ms\"? allowed: name,";
    let text = error.err().unwrap_or_default();
    assert!(text.contains(message), "{text}");
    assert!(
        text.contains(
            "Runner \"Iris\" in code: cpu: expected a number above 0, or thousandths, as in \"500m\", found -1.0\n"
        ),
        "{text}"
    );
    assert!(text.contains("Runner \"Iris\" in code: name: expected 1 to 63 characters"), "{text}");
    let method = "Runner \"Iris\" in code: method \"predict\": retry: expected true or false, found \"no\"";
    assert!(text.contains(method), "{text}");
}

#[test]
fn methods_that_the_runnable_lacks() {
    let text = format!("{IRIS}[[runners.runnable_method_configs]]\nname = 'predct'\n");
    let error = file(&text).runner().match_methods(&["predict"]).map_err(|errors| errors.to_string());
    let message =
        "runners.toml:4: runner \"iris_clf\": unknown method \"predct\"; did you mean \"predict\"? allowed: predict";
    assert_eq!(error, Err(message.to_owned()));
}

/// Text that gets past the TOML parser more often than arbitrary text does.
fn likely_text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("[server]".to_owned()),
        Just("[[runners]]".to_owned()),
        Just("[[runners.runnable_method_configs]]".to_owned()),
        Just("[runners.params]".to_owned()),
        (
            prop::sample::select(super::super::keys::runner_in_file()),
            prop_oneof![
                any::<i64>().prop_map(|number| number.to_string()),
                any::<f64>().prop_map(|number| format!("{number:?}").to_lowercase()),
                "'[a-z.]{0,3}'",
                Just("[]".to_owned()),
                Just("[{ name = 'a' }, 1]".to_owned()),
                Just("{ a = nan, b.c = 1979-05-27 }".to_owned()),
                Just("99999999999999999999999999999999999999999".to_owned()),
            ]
        )
            .prop_map(|(key, value)| format!("{key} = {value}")),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), likely_text()]) {
        if let Err(errors) = Config::load(Sources::new().text("runners.toml", text)) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn no_variable_and_no_override_panics(
        rest in "(RUNNERS__IRIS_CLF__|SERVER__)?(METHODS__|PARAMS__|CUSTOM_RESOURCES)?[A-Zä_]{0,12}",
        key in prop_oneof![any::<String>(), "(runners\\.iris_clf\\.)?(params|methods|cpu|\\.|\"|a){0,4}"],
        value in any::<String>(),
    ) {
        let variables = [(format!("EKIDEN__{rest}"), value.clone())];
        let sources = Sources::new().text("runners.toml", IRIS).variables(variables).set(format!("{key}={value}"));
        if let Err(errors) = Config::load(sources) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}
