//! `ekiden bench`: the program against the program.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub fn ekiden() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ekiden"))
}

/// `ekiden serve` with the built-in runners, on a free port, for as long as the test takes.
pub struct Served {
    child: Child,
    pub url: String,
}

impl Served {
    pub fn start() -> Self {
        let mut command = ekiden();
        command.args(["serve", "--bind", "127.0.0.1:0"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned)).expect("it listens");
        assert!(lines.any(|line| line.starts_with("ready in")), "it gets ready");
        // Whatever else it says is read, so that it is never kept waiting.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of this test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("ekiden-it-bench-{}-{name}", std::process::id())))
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.0).expect("was written")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn bench(url: &str, options: &str, files: &[(&str, &Scratch)]) -> Output {
    let mut command = ekiden();
    command.args(["bench", url, "--duration", "0.3", "--warm-up", "0.1"]).args(options.split_whitespace());
    files.iter().for_each(|(option, file)| {
        command.arg(option).arg(&file.0);
    });
    command.output().expect("the program runs")
}

#[test]
fn a_server_is_measured() {
    let server = Served::start();
    let predict = format!("{}/v1/runners/iris_clf/predict", server.url);
    let (json, report, charts) = (Scratch::new("json"), Scratch::new("x.html"), Scratch::new("x.svg"));

    let closed = bench(&predict, "--connections 1,4 --rows 3", &[("--json", &json), ("--report", &report)]);
    let table = String::from_utf8(closed.stdout).expect("is text");
    assert!(closed.status.success() && closed.stderr.is_empty(), "{table}{}", String::from_utf8_lossy(&closed.stderr));
    assert!(table.contains("CONNECTIONS") && table.lines().count() == 5, "{table}");
    let results: Value = serde_json::from_str(&json.read()).expect("is JSON");
    let loads = results["loads"].as_array().expect("loads");
    assert_eq!(loads.iter().map(|load| &load["connections"]).collect::<Vec<_>>(), [1, 4]);
    for load in loads {
        assert!(load["ok"].as_u64() > Some(0) && load["failed"] == 0 && load["failures"] == serde_json::json!({}));
        let latency = |name: &str| load["latency_us"][name].as_f64().expect("a latency");
        assert!(0.0 < latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
        assert!(load["percentiles_us"].as_array().is_some_and(|points| points.len() > 5));
    }
    assert!(report.read().starts_with("<!doctype html>"));

    let open = "--rate 200 --arrivals poisson --connections 8 --timeout-ms 5000 --format npy";
    let open = bench(&predict, open, &[("--json", &json), ("--report", &charts)]);
    assert!(open.status.success(), "{}", String::from_utf8_lossy(&open.stderr));
    let results: Value = serde_json::from_str(&json.read()).expect("is JSON");
    let load = &results["loads"][0];
    let sent = load["ok"].as_u64().expect("a count");
    assert!((20..=120).contains(&sent) && load["failed"] == 0, "60 requests are to be expected: {load}");
    assert_eq!((&load["rate"], &load["arrivals"]), (&200.0.into(), &"poisson".into()));
    assert!(charts.read().starts_with("<svg"));

    // A program may read the numbers, while people read the table.
    let piped = bench(&format!("{predict}/"), "--connections 2 --json -", &[]);
    let numbers: Value = serde_json::from_slice(&piped.stdout).expect("is JSON alone");
    assert!(numbers["loads"][0]["ok"].as_u64() > Some(0), "{numbers}");
    assert!(String::from_utf8_lossy(&piped.stderr).contains("CONNECTIONS"));

    // What is not Ekiden's API is asked for with GET.
    let probe = bench(&format!("{}/livez", server.url), "--connections 2", &[]);
    assert!(probe.status.success() && String::from_utf8_lossy(&probe.stdout).starts_with("GET http://"));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let server = Served::start();
    let check = |url: &str, options, code, part: &str| {
        let output = bench(url, options, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains(part)), (Some(code), true), "{url} {options}: {said}");
    };
    let method = |name| format!("{}/v1/runners/{name}", server.url);
    check("https://127.0.0.1/", "", 2, "https is not spoken");
    check(&method("iris_clf/predict"), "--rate 5 --connections 1,2", 2, "one number of --connections");
    check(&method("iris_clf/predict"), "--body nowhere.json", 2, "nowhere.json");
    check(&method("iris_clf/predict"), "--report report.pdf", 2, "ends in .html or .svg");
    check(&method("iris_clf/predict"), "--json nowhere/x.json", 2, "cannot be written");
    check(&method("iris_clf/predict"), "--rate 0.01 --arrivals poisson", 1, "no request was due within 0.3 s");
    check(&method("Iris/predict"), "", 2, "expected 1 to 63 characters of a-z");
    check(&method("iris_clf/guess"), "", 1, "no method guess; it has: predict");
    check(&method("other/predict"), "", 1, "there is no runner");
    check(&format!("{}/nothing", server.url), "", 1, "answered 404");
    check("http://127.0.0.1:1/", "", 1, "is the server running?");
}

#[test]
fn limits_are_proposed_for_a_latency() {
    let tune = |options: &str, files: &[(&str, &Scratch)]| {
        let mut command = ekiden();
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["tune", "--seconds", "0.05"]);
        command.args(options.split_whitespace());
        files.iter().for_each(|(option, file)| {
            command.arg(option).arg(&file.0);
        });
        command.output().expect("the program runs")
    };
    let (json, report) = (Scratch::new("tune.json"), Scratch::new("tune.html"));
    let tuned = tune("iris_clf predict --p99-ms 20000 --up-to 24", &[("--json", &json), ("--report", &report)]);
    let said = String::from_utf8(tuned.stdout).expect("is text");
    assert!(tuned.status.success(), "{said}{}", String::from_utf8_lossy(&tuned.stderr));
    let found: Value = serde_json::from_str(&json.read()).expect("is JSON");
    let curve = found["curve"].as_array().expect("a curve");
    let sizes: Vec<u64> = curve.iter().filter_map(|point| point["rows"].as_u64()).collect();
    assert_eq!(sizes, [1, 2, 4, 8, 16, 24]);
    assert!(curve.iter().all(|point| point["p50_ms"].as_f64() > Some(0.0)), "{found}");
    let size = found["max_batch_size"].as_u64().expect("a size");
    assert!(sizes.contains(&size) && said.contains(&format!("  max_batch_size = {size}\n")), "{said}");
    let trial = &found["trials"][0];
    assert!(trial["answered"].as_u64() > Some(0) && said.contains(": kept\n"), "{said}");
    assert!(report.read().contains("What a batch costs"));
    // What is printed is configuration.
    let (_, lines) = said.split_once("For runners.toml:\n\n").expect("lines to copy");
    let config = Scratch::new("tune.toml");
    std::fs::write(&config.0, lines).expect("is written");
    let checked = ekiden().arg("check").arg(&config.0).output().expect("the program runs");
    assert!(checked.status.success(), "{lines}{}", String::from_utf8_lossy(&checked.stderr));

    // Limits that would have every call refused, or kept waiting, are not what is measured.
    let limits = ["timeout_ms=0.001", "max_queue_size=1", "max_latency_ms=30000"];
    let limits = limits.map(|limit| format!("--set runners.iris_clf.{limit}")).join(" ");
    let strict = tune(&format!("--p99-ms 20000 --up-to 2 {limits}"), &[]);
    let said = String::from_utf8_lossy(&strict.stdout);
    assert!(strict.status.success(), "{said}{}", String::from_utf8_lossy(&strict.stderr));
    assert!(said.contains(" rows/s, is computed from the curve") && said.contains("it was tried up to "), "{said}");

    let check = |options, code, part: &str| {
        let output = tune(options, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains(part)), (Some(code), true), "{options}: {said}");
    };
    check("--p99-ms 0.001", 1, "no batch size keeps a p99 of 1.00 µs");
    check("--p99-ms 0", 2, "expected 0.001 to 60000");
    check("other --p99-ms 5", 2, "no runner \"other\"; there are: iris_clf");
    check("--p99-ms 5 --set runners.iris_clf.batching=off", 2, "iris_clf.predict has batching = \"off\"");
    check("Iris --p99-ms 5", 2, "expected 1 to 63 characters of a-z");
    check("--p99-ms 5 --report x.pdf", 2, "ends in .html or .svg");
    check("iris_clf guess --p99-ms 5", 2, "no method \"guess\"; there are: predict");
}
