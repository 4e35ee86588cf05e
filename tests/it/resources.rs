//! What runners ask of the machine, and what becomes of that.

use std::process::Command;

use ekiden::config::Amount;
use ekiden::device::{DeviceName, Placement};
use ekiden::prelude::*;
use ekiden::runner::{CustomResource, Inquiry, Plan, PlanError, Request, Strategy, System};

use crate::support::{Server, block_on};

/// Says which of its runner's executors runs it, by its thread.
struct Who;

impl Runnable for Who {
    type Params = ();
    const SUPPORTS: &'static [ResourceKind] = &[ResourceKind::NvidiaGpu, ResourceKind::Wgpu, ResourceKind::Cpu];

    fn open(ctx: &OpenContext<()>) -> Result<Self, OpenError> {
        assert_eq!(ctx.devices().count(), 1);
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("who", |_: &Self, _: String| {
            Ok::<_, MethodError>(std::thread::current().name().unwrap_or_default().to_owned())
        });
    }
}

fn app(text: &str) -> ekiden::AppBuilder {
    App::builder().runnable::<Who>("who").config_text(text)
}

#[track_caller]
fn refused(builder: ekiden::AppBuilder, expected: &str) {
    let error = builder.check().expect_err("it is refused").to_string();
    assert!(error.contains(expected), "`{expected}` is not in\n{error}");
}

#[test]
fn executors_are_as_many_as_the_runner_asks_for_and_the_api_says_why() {
    let text = "[[runners]]\nname = 'who'\ncpu = '500m'\nworkers_per_resource = 2\n";
    let server = Server::start(&block_on(app(text).start()).expect("it starts"));
    let about = server.get("/v1/runners/who").json();
    assert_eq!(about["executors"].as_array().map(Vec::len), Some(2), "{about}");
    let plan = serde_json::json!({
        "asked": "cpu = 0.5",
        "found": System::this(Inquiry::default()).to_string(),
        "chosen": "2 executors with 1 thread each on flex",
        "reason": "no GPU is asked for; the runnable uses one thread; workers_per_resource = 2",
        "warning": null,
    });
    assert_eq!(about["plan"], plan);
    let who = server.post("/v1/runners/who/who", "\"\"").json();
    assert!(who.as_str().is_some_and(|who| who.starts_with("who/")), "threads are named after the runner: {who}");
}

#[test]
fn what_the_machine_has_not_is_refused_with_where_it_was_asked_for() {
    let there = System::this(Inquiry { gpus: true, names: false });
    let runner = |line: &str| app(&format!("[[runners]]\nname = 'who'\n\n{line}\n"));
    let too_many = there.cpus.ceil() + 1.0;
    refused(
        runner(&format!("cpu = {too_many}")),
        &format!(
            "runners.toml:4: runner \"who\": cpu = {too_many}: this process may use {} CPUs of this machine",
            there.cpus
        ),
    );
    refused(
        runner("nvidia_gpu = [0, 1000]"),
        "runners.toml:4: runner \"who\": nvidia_gpu = [0, 1000]: this process sees ",
    );
    refused(runner("gpu = 'no such make'"), "runners.toml:4: runner \"who\": gpu = \"no such make\": th");
    refused(runner("device = 'rocm:77'"), "runners.toml:4: runner \"who\": device rocm:77");
    refused(
        runner("strategy = 'defualt'"),
        "runners.toml:4: runner \"who\": there is no strategy \"defualt\"; did you mean \"default\"?; there are: default",
    );
}

#[test]
fn auto_falls_back_to_the_cpu_and_says_so() {
    let report = app("[[runners]]\nname = 'who'\ncpu = 1\ndevice = 'auto'\n").check().expect("it is valid").report();
    let gpu = System::this(Inquiry { gpus: true, names: false }).devices.iter().any(|(_, is_gpu)| *is_gpu);
    let expected =
        if gpu { "is the best that is here" } else { "warning: runner who: device = \"auto\" has found no GPU" };
    assert!(report.contains(expected), "{report}");
}

/// One executor for each TPU, on the CPU.
#[derive(Debug)]
struct PerTpu;

impl Strategy for PerTpu {
    fn plan(&self, request: &Request<'_>) -> Result<Plan, PlanError> {
        let tpus = request.granted.custom.get("tpu").copied().unwrap_or_default();
        if tpus < 1.0 {
            return Err(PlanError("it needs custom_resources = { tpu = 1 } or more".to_owned()));
        }
        let one = Placement::cpu(std::num::NonZeroUsize::MIN);
        Ok(Plan { executors: vec![one; tpus as usize], reason: "one for each TPU".to_owned(), warning: None })
    }
}

#[derive(Debug)]
struct Tpu;

impl CustomResource for Tpu {
    fn from_spec(&self, spec: &Amount) -> Result<f64, String> {
        match spec {
            Amount::Number(number) => Ok(*number),
            Amount::Text(text) if text == "pod" => Ok(3.0),
            Amount::Text(_) => Err("expected a number, or \"pod\"".to_owned()),
        }
    }

    fn from_system(&self) -> Option<f64> {
        Some(4.0)
    }
}

#[test]
fn a_strategy_and_a_resource_of_the_apps_own() {
    let with = |amount: &str| {
        let runner = format!("[[runners]]\nname = 'who'\nstrategy = 'per_tpu'\n{amount}\n");
        app(&runner).strategy("per_tpu", PerTpu).resource("tpu", Tpu)
    };
    let report = with("custom_resources = { tpu = 'pod' }").check().expect("it is valid").report();
    assert!(report.contains("runner who: 3 executors with 1 thread each on flex"), "{report}");
    refused(
        with("custom_resources = { tpu = 5 }"),
        "runners.toml:4: runner \"who\": custom_resources.tpu = 5: this machine has 4",
    );
    refused(with("custom_resources = { tpu = 'all' }"), "custom_resources.tpu = all: expected a number, or \"pod\"");
    refused(with(""), "it needs custom_resources = { tpu = 1 } or more");
    let in_code = Runner::<Who>::new(()).strategy(PerTpu).custom_resource("tpu", 2.0);
    let report = App::builder().runner(in_code).check().expect("it is valid").report();
    assert!(report.contains("runner who: 2 executors"), "{report}");
}

#[test]
fn more_threads_than_cpus_are_warned_of() {
    let cpus = System::this(Inquiry::default()).cpus.ceil();
    let text = format!(
        "[[runners]]\nname = 'one'\nrunnable = 'who'\ncpu = {cpus}\n[[runners]]\nname = 'two'\nrunnable = 'who'\ncpu = 1\n"
    );
    let report = app(&text).check().expect("it is valid").report();
    let warning = format!(
        "warning: runners have {} CPU threads together (one {cpus}, two 1), and this process may use ",
        cpus + 1.0
    );
    assert!(report.contains(&warning), "{report}");
    let enough = app("[[runners]]\nname = 'who'\ncpu = 1\n").check().expect("it is valid").report();
    assert!(!enough.contains("warning"), "{enough}");
}

#[cfg(target_os = "linux")]
#[test]
fn pinned_executors_have_cores_of_their_own() {
    let runner = |name: &str| format!("[[runners]]\nname = '{name}'\nrunnable = 'who'\ncpu = 1\npin = true\n");
    let cores = System::this(Inquiry::default()).cores.len();
    let many: String = (0..=cores).map(|index| runner(&format!("r{index}"))).collect();
    let report = app(&many).check().expect("it is valid").report();
    let warning = format!("warning: runner r{cores}: {} threads are bound to {cores} cores: some share one", cores + 1);
    assert!(report.contains(&warning), "{report}");
    assert_eq!(report.matches("share one").count(), 1, "{report}");
    block_on(app(&runner("who")).start()).expect("it starts");
}

fn devices(args: &[&str]) -> (String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ekiden")).arg("devices").args(args).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    assert!(output.status.success(), "{}", text(output.stderr));
    (text(output.stdout), text(output.stderr))
}

#[test]
fn devices_are_listed_and_tried() {
    let (table, built_without) = devices(&[]);
    let last = table.lines().last().expect("flex is always here").split_whitespace().collect::<Vec<_>>();
    assert_eq!(last[..2], ["flex", "CPU"], "{table}");
    for backend in ekiden::device::Backend::ALL {
        let is_built_in = ekiden::device::built_in().contains(&backend);
        assert_ne!(is_built_in, built_without.contains(backend.name()), "{backend}: {built_without}");
    }
    let all = devices(&["--test", "--json"]).0;
    let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
    let flex = all.as_array().and_then(|all| all.last()).expect("flex is always here");
    assert_eq!(flex["name"], DeviceName::Flex.to_string());
    assert_eq!((&flex["test"]["ok"], &flex["test"]["relative_difference"]), (&true.into(), &0.0.into()), "{flex}");
}
