//! Executors in child processes: every way in which one ends, and that its callers hardly notice.
//!
//! The children are this test binary again, told to run the test [`child`] alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ekiden::app::AppBuilder;
use ekiden::codec::json;
use ekiden::prelude::*;
use ekiden::runner::Streamed;
use ekiden::value::Array;
use ekiden::{App, CallOptions, StartError};
use rustix::process::{Pid, Resource, Signal, getpid, getppid, getrlimit, kill_process};
use serde::{Deserialize, Serialize};

use crate::admin::Admin;
use crate::kit::Kit;
use crate::support::{Gate, ON_PURPOSE, PATIENCE, Server, block_on, eventually};

/// What children run. Anywhere else, it is nothing.
#[test]
fn child() {
    App::run_child(app);
}

/// All that children of these tests can be.
fn app() -> AppBuilder {
    let kit = Runner::<Kit>::new(Gate::default()).name("kit").isolation(Isolation::Process).cpu(1.0);
    App::builder().runnable::<Perilous>("perilous").runner(kit).child_args([
        "isolation::child",
        "--exact",
        "--nocapture",
    ])
}

/// The app with one more runner, of these options, which is named after what it runs.
fn perilous(options: &str) -> Result<App, StartError> {
    let text = format!(
        "[[runners]]\nname = \"perilous\"\ncpu = 1\nisolation = \"process\"\nrestart_backoff_ms = 1\n\
         max_restart_backoff_ms = 1\n{options}\n"
    );
    block_on(app().config_text(text).start())
}

fn started(options: &str) -> App {
    perilous(options).expect("the app starts")
}

/// Does as it is told.
struct Perilous;

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Peril {
    /// What it does when it is opened.
    open: String,
    /// It does so only where there is such a file, which it removes.
    once: Option<String>,
}

impl Runnable for Perilous {
    type Params = Peril;

    fn open(ctx: &OpenContext<Peril>) -> Result<Self, OpenError> {
        let Peril { open, once } = ctx.params();
        if once.as_ref().is_none_or(|file| std::fs::remove_file(file).is_ok()) {
            obey(open).map_err(OpenError::new)?;
        }
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("obey", |_: &Self, orders: Vec<String>| {
                orders.iter().map(|order| obey(order)).collect::<Result<Vec<_>, _>>()
            })
            .batchable();
        methods
            .add("sum", |_: &Self, x: Array| Ok(x.to_vec::<f32>().unwrap_or_default().iter().sum::<f32>().to_string()));
        methods.add("negate", |_: &Self, x: Tensor<2>| Ok(-x)).batchable();
        methods.add_stream("recite", Self::recite);
        methods.add_stream("grow", Self::grow);
    }
}

impl Perilous {
    fn recite(&self, orders: Vec<String>) -> Result<Chunks<'_, String>, MethodError> {
        Ok(Box::new(orders.into_iter().map(|order| obey(&order))))
    }

    /// Rows of twos, ever longer, until there are so many of them.
    fn grow(&self, x: Tensor<1>) -> Result<Chunks<'_, Tensor<1>>, MethodError> {
        Ok(Box::new((1..).map(move |times| Ok(x.clone().repeat_dim(0, times) * 2.0))))
    }
}

/// Does what it is told to, which may be the end of this process.
pub fn obey(order: &str) -> Result<String, MethodError> {
    // A handler of the standard library's takes the first SIGSEGV for a stack that may have overflown, and not the second.
    let signal = |signal| loop {
        kill_process(getpid(), signal).expect("a signal");
    };
    match order {
        "pid" => Ok(getpid().as_raw_nonzero().to_string()),
        "parent" => Ok(getppid().map_or(0, |parent| parent.as_raw_nonzero().get()).to_string()),
        "nice" => Ok(rustix::process::getpriority_process(None).expect("its priority").to_string()),
        "memory" => Ok(format!("{:?}", getrlimit(Resource::Data).current)),
        "kill" => signal(Signal::KILL),
        "segv" => signal(Signal::SEGV),
        "abort" => std::process::abort(),
        #[expect(clippy::disallowed_methods, reason = "that is what is tested")]
        "exit" => std::process::exit(3),
        "panic" => panic!("{ON_PURPOSE}told to"),
        "poison" => Err(MethodError::device_lost("poisoned")),
        "refuse" => Err(MethodError::invalid_input("refused")),
        "allocate" => Ok(vec![1_u8; 4 << 30].len().to_string()),
        "print" => {
            println!("to standard output");
            eprintln!("to standard error");
            Ok("printed".to_owned())
        }
        "flood" => {
            (0..200_000).for_each(|line| println!("line {line} of a flood that nobody can want to read"));
            Ok("flooded".to_owned())
        }
        "read" => Ok(std::io::read_to_string(std::io::stdin()).expect("nothing to read")),
        "hang" => loop {
            std::thread::park();
        },
        #[cfg(target_os = "linux")]
        "hang up" => {
            hang_up();
            obey("hang")
        }
        other => {
            if let Some(file) = other.strip_prefix("sign ") {
                // Whoever finds the file finds all of it.
                let draft = format!("{file}.draft");
                std::fs::write(&draft, getpid().as_raw_nonzero().to_string())?;
                std::fs::rename(draft, file)?;
            }
            Ok(other.to_owned())
        }
    }
}

/// Closes the first of this process's sockets, which it talks to its parent through.
#[cfg(target_os = "linux")]
fn hang_up() {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty()).expect("this process");
    let mut files = (0..64).filter_map(|number| pidfd_getfd(&own, number, PidfdGetfdFlags::empty()).ok());
    files.find(|file| rustix::net::shutdown(file, rustix::net::Shutdown::Both).is_ok()).expect("a socket");
}

/// Calls a method with a JSON body; the answer as JSON, or the error's text.
fn call(app: &App, runner: &str, method: &str, body: &str) -> Result<String, String> {
    let method =
        app.entry(runner).and_then(|runner| runner.method(method).cloned()).map_err(|error| error.to_string())?;
    let inputs = json::decode(body.as_bytes(), method.signature()).map_err(|error| error.to_string())?;
    let outputs = block_on(method.async_run(inputs, CallOptions::default())).map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    json::encode(method.signature(), &outputs, &mut answer).expect("it can be written");
    Ok(String::from_utf8(answer).expect("text"))
}

/// What the perilous runner answers to one order.
fn order(app: &App, order: &str) -> Result<String, String> {
    let answer = call(app, "perilous", "obey", &serde_json::json!([order]).to_string())?;
    Ok(serde_json::from_str::<[String; 1]>(&answer).expect("one answer")[0].clone())
}

fn recite(app: &App, orders: &[&str]) -> Vec<Result<String, String>> {
    let recite: Method<Vec<String>, String> =
        app.runner("perilous").expect("the runner").method("recite").expect("the method");
    let orders = orders.iter().map(|&order| order.to_owned()).collect();
    let chunks = recite.stream(orders).and_then(Streamed::blocking).expect("it is taken");
    chunks.map(|chunk| chunk.map_err(|error| error.to_string())).collect()
}

#[test]
fn a_child_answers_with_streams() {
    let app = started("");
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(recite(&app, &["one", "two", "three"]), [ok("one"), ok("two"), ok("three")]);
    assert_eq!(recite(&app, &[]), []);
    let pid = order(&app, "pid");
    assert_eq!(recite(&app, &["one", "refuse", "two"]), [ok("one"), Err("refused".to_owned())]);
    assert_eq!(order(&app, "pid"), pid, "an error costs no process");
    let killed = recite(&app, &["one", "kill", "two"]);
    assert_eq!(killed[0], ok("one"));
    let how = killed[1].as_ref().expect_err("it is killed");
    assert!(killed.len() == 2 && how.contains("the call broke its executor") && how.contains("SIGKILL"), "{how}");
    let panicked = recite(&app, &["one", "panic"]);
    let how = panicked[1].as_ref().expect_err("it panics");
    assert!(panicked.len() == 2 && how.contains("panicked: on purpose: told to"), "{how}");
    assert_ne!(order(&app, "pid"), pid);
}

#[test]
fn chunks_of_a_childs_stream_may_be_large_and_a_reader_may_have_had_enough() {
    let app = started("");
    let grow: Method<Tensor<1>, Tensor<1>> =
        app.runner("perilous").expect("the runner").method("grow").expect("the method");
    let pid = order(&app, "pid");
    // In the message, and then through memory, while those that came before are held.
    let x = Tensor::<1>::ones([2_000], &Device::flex());
    let chunks = grow.stream(x).and_then(Streamed::blocking).expect("it is taken");
    let chunks: Vec<Tensor<1>> = chunks.take(24).map(|chunk| chunk.expect("a chunk")).collect();
    for (at, chunk) in chunks.into_iter().enumerate() {
        let numbers = chunk.into_data().try_to_vec::<f32>().expect("floats");
        assert_eq!(numbers, vec![2.0; 2_000 * (at + 1)]);
    }
    assert_eq!(order(&app, "pid"), pid, "it was stopped, and not killed");
}

#[test]
fn a_child_is_another_process_of_the_same_program_within_its_limits() {
    let app = started("nice = 7\nmemory_limit = \"1GiB\"");
    let ours = std::process::id().to_string();
    assert_ne!(order(&app, "pid"), Ok(ours.clone()));
    assert_eq!(order(&app, "parent"), Ok(ours));
    assert_eq!(order(&app, "nice").as_deref(), Ok("7"));
    if cfg!(target_os = "linux") {
        assert_eq!(order(&app, "memory").as_deref(), Ok("Some(1073741824)"));
    }
    assert_eq!(order(&app, "read").as_deref(), Ok(""), "the parent's messages are not its input");
}

#[test]
fn answers_are_those_of_a_thread_for_every_kind_of_value() {
    let isolated = block_on(app().start()).expect("the app starts");
    let here = crate::kit::app(&Gate::default(), |runner| runner);
    let bodies = [
        "[1.5, -2, 3e3]",
        "[[1, 2], [3, 4]]",
        "[[[1, 2], [3, 4]]]",
        "[[[[1], [2]]]]",
        "[1, 2, 3]",
        "[[true, false], [false, false]]",
        r#"["one", "", "thrée"]"#,
        r#"{"text": "why", "choices": [1, 2]}"#,
        r#""text""#,
        "7",
        "[]",
        "{}",
        "null",
    ];
    let methods = &here.entry("kit").expect("the kit").methods;
    let mut agreed = 0;
    for method in methods {
        for body in bodies {
            let expected = call(&here, "kit", method.name(), body);
            assert_eq!(call(&isolated, "kit", method.name(), body), expected, "{} {body}", method.name());
            agreed += usize::from(expected.is_ok());
        }
    }
    assert!(agreed >= methods.len(), "only {agreed} calls of {} methods succeeded", methods.len());
}

#[test]
fn sixteen_mebibytes_pass_through_shared_memory() {
    let app = started("max_batch_size = 10000");
    let sum = app.runner("perilous").expect("a runner").method::<Array, String>("sum").expect("a method");
    let negate = app.runner("perilous").expect("a runner").method::<Array, Array>("negate").expect("a method");
    let elements: Vec<f32> = (0..4 << 20).map(|at| (at % 7) as f32).collect();
    let total: f32 = elements.iter().sum();
    let large = Array::new(elements, [1024, 4096]).expect("it fits");
    for _ in 0..3 {
        assert_eq!(block_on(sum.async_run(large.clone())), Ok(total.to_string()));
        let negated = block_on(negate.async_run(large.clone())).expect("an answer");
        let same = negated
            .to_vec::<f32>()
            .expect("floats")
            .iter()
            .zip(large.to_vec::<f32>().expect("floats"))
            .all(|(one, other)| -one == other);
        assert!(same && negated.shape() == large.shape());
    }
}

#[test]
fn every_end_of_a_child_is_one_exit_and_only_the_guilty_call_hears_of_it() {
    let app = started("max_restarts = 100");
    let check = |peril: &str, kind: &str, how: &str| {
        let error = order(&app, peril).expect_err("it breaks its executor, twice");
        assert!(error.contains("broke its executor") && error.contains(how), "{peril}: {error}");
        let exits = app.entry("perilous").expect("the runner").status().exits;
        let last = exits.last().expect("an exit");
        assert_eq!(last.exit.kind(), kind, "{peril}");
        assert!(last.exit.to_string().contains(how), "{peril}: {}", last.exit);
        // It is up again, and has another process.
        assert_eq!(order(&app, "hello").as_deref(), Ok("hello"), "after {peril}");
    };
    check("kill", "process_died", "killed by SIGKILL");
    check("segv", "process_died", "killed by SIGSEGV");
    check("abort", "process_died", "killed by SIGABRT");
    check("exit", "process_died", "exited with code 3");
    if cfg!(target_os = "linux") {
        check("hang up", "process_died", "it closed its connection, and was killed");
    }
    check("panic", "panicked", "on purpose: told to");
    check("poison", "device_lost", "poisoned");
    assert_eq!(order(&app, "refuse"), Err("refused".to_owned()), "an error is not an end");
}

#[test]
fn a_child_that_hangs_is_killed_and_its_call_told() {
    let app = started("batch_timeout_ms = 300\nretry = false");
    let pid = order(&app, "pid");
    let error = order(&app, "hang").expect_err("it never ends");
    assert!(error.contains("is stuck"), "{error}");
    let after = order(&app, "pid");
    assert!(after.is_ok() && after != pid, "another process: {after:?}");
    let pid: i32 = pid.expect("its number").parse().expect("a number");
    let pid = Pid::from_raw(pid).expect("a number");
    eventually("the stuck process is gone", || kill_process(pid, Signal::CONT) == Err(rustix::io::Errno::SRCH));
}

#[cfg(target_os = "linux")]
#[test]
fn memory_beyond_the_limit_is_not_had() {
    let app = started("memory_limit = \"512MiB\"");
    let error = order(&app, "allocate").expect_err("there is not so much");
    assert!(error.contains("killed by SIGABRT"), "{error}");
    assert_eq!(order(&app, "hello").as_deref(), Ok("hello"));
}

#[test]
fn a_child_that_dies_idle_is_noticed_at_once_and_no_call_pays_for_it() {
    let app = started("");
    let runner = app.entry("perilous").expect("the runner");
    let pid: i32 = order(&app, "pid").expect("its number").parse().expect("a number");
    kill_process(Pid::from_raw(pid).expect("a number"), Signal::KILL).expect("it can be killed");
    eventually("the end is noticed without a call", || runner.status().restarts == 1);
    assert_eq!(order(&app, "hello").as_deref(), Ok("hello"));
    let exits = runner.status().exits;
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert_eq!(exits[0].exit.to_string(), "lost its process: killed by SIGKILL");
}

#[test]
fn what_a_child_prints_is_in_the_log_of_its_parent_under_its_name() {
    static LOG: Log = Log(Mutex::new(Vec::new()));
    tracing::subscriber::set_global_default(&LOG).expect("nobody else in these tests listens");
    let app = started("");
    assert_eq!(order(&app, "print").as_deref(), Ok("printed"));
    let has = |line: &str| LOG.0.lock().is_ok_and(|log| log.iter().any(|logged| logged == line));
    eventually("both lines are in the log", || {
        has("perilous/0: to standard output") && has("perilous/0: to standard error")
    });
}

/// Keeps what is logged for executors.
struct Log(Mutex<Vec<String>>);

impl tracing::Subscriber for &'static Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("ekiden::isolation")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        #[derive(Default)]
        struct Line(String, String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                match field.name() {
                    "executor" => self.0 = format!("{value:?}").trim_matches('"').to_owned(),
                    "message" => self.1 = format!("{value:?}"),
                    _ => {}
                }
            }
        }
        let mut line = Line::default();
        event.record(&mut line);
        if let Ok(mut log) = self.0.lock() {
            log.push(format!("{}: {}", line.0, line.1));
        }
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_flood_of_output_holds_nobody_up() {
    let app = started("");
    assert_eq!(order(&app, "flood").as_deref(), Ok("flooded"));
    assert_eq!(order(&app, "hello").as_deref(), Ok("hello"));
}

#[test]
fn what_a_runnable_says_when_it_is_opened_comes_from_the_child() {
    let refused = |open: &str, parts: &[&str]| {
        let error = perilous(&format!("max_restarts = 1\n[runners.params]\nopen = \"{open}\""))
            .expect_err("it fails")
            .to_string();
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in `{error}`");
        }
    };
    refused("refuse", &["could not be opened: refused"]);
    refused("panic", &["panicked: on purpose: told to"]);
    refused("exit", &["the restart budget is spent", "while it was being opened, exited with code 3"]);
    refused("segv", &["the restart budget is spent", "while it was being opened, killed by SIGSEGV"]);
}

#[test]
fn a_child_that_dies_while_it_is_opened_is_given_another_try() {
    let once = scratch("once");
    std::fs::write(&once, "").expect("a file");
    let app = started(&format!("[runners.params]\nopen = \"kill\"\nonce = {once:?}"));
    assert_eq!(order(&app, "hello").as_deref(), Ok("hello"));
    assert_eq!(app.entry("perilous").expect("the runner").status().restarts, 1);
}

#[test]
fn ten_kills_in_a_row_are_nine_delays_then_the_end_and_an_order_begins_anew() {
    let set = |key: &str| format!("runners.perilous.{key}");
    let text = "[[runners]]\nname = \"perilous\"\ncpu = 1\nisolation = \"process\"\n";
    let configured = app().config_text(text).set(set("max_restarts=9"));
    let app = configured.set(set("restart_backoff_ms=4")).set(set("max_restart_backoff_ms=100"));
    let app = block_on(app.start()).expect("it starts");
    let (server, admin) = (Server::start(&app), Admin::start(&app));
    let order = |order: &str| server.post("/v1/runners/perilous/obey", &format!("[\"{order}\"]"));
    let runner = app.entry("perilous").expect("the runner");
    for kill in 1..=10 {
        assert_eq!(server.get("/readyz").status, 200);
        let pid = order("pid").json()[0].as_str().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        let killed = Instant::now();
        kill_process(pid.expect("its number"), Signal::KILL).expect("it can be killed");
        if kill < 10 {
            eventually("it is being rebuilt", || runner.status().restarts == kill);
            // Chance takes off up to half of the delay.
            let least = Duration::from_millis((4 << (kill - 1)).min(100) / 2);
            assert!(killed.elapsed() >= least, "kill {kill}: after {:?}, and not {least:?}", killed.elapsed());
            eventually("it is back", || server.get("/readyz").status == 200);
            let about = server.get("/v1/runners/perilous").json();
            let exit = &about["last_exits"][kill as usize - 1];
            assert_eq!(
                (exit["kind"].as_str(), about["restarts_in_window"].as_u64()),
                (Some("process_died"), Some(kill))
            );
        }
    }
    eventually("the budget is spent", || runner.status().state.name() == "failed");
    let cause = "the restart budget is spent; last, executor 0 lost its process: killed by SIGKILL";
    eventually("calls are told", || order("hello").status == 503);
    order("hello").refused(503, "unavailable", &["the runner has failed", cause]);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.text().contains(cause)), (503, true), "{}", ready.text());

    let answer = admin.post("/v1/runners/perilous/restart");
    assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("ready")), "{}", answer.text());
    assert_eq!(order("hello").text(), "[\"hello\"]");
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(server.get("/v1/runners/perilous").json()["restarts_in_window"], 0);
}

#[test]
fn a_runner_that_stops_leaves_no_process_behind() {
    let app = started("");
    let pid: i32 = order(&app, "pid").expect("its number").parse().expect("a number");
    let begun = Instant::now();
    block_on(app.shutdown(PATIENCE));
    assert!(begun.elapsed() < PATIENCE);
    let gone = kill_process(Pid::from_raw(pid).expect("a number"), Signal::CONT);
    assert_eq!(gone, Err(rustix::io::Errno::SRCH), "it has ended and was reaped");
}

/// This very program, as a parent that is killed while its child is in the middle of a batch.
#[test]
fn children_die_with_their_parent_however_that_dies() {
    let sign = scratch("busy");
    let mut parent = Command::new(std::env::current_exe().expect("this program"))
        .args(["isolation::parent", "--exact", "--nocapture"])
        .env(PARENT, &sign)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut child = None;
    eventually("a child is busy", || {
        child = std::fs::read_to_string(&sign).ok().and_then(|number| Pid::from_raw(number.parse().ok()?));
        child.is_some()
    });
    parent.kill().expect("it can be killed");
    parent.wait().expect("it ends");
    let child = child.expect("a number");
    eventually("the child ends", || kill_process(child, Signal::CONT) == Err(rustix::io::Errno::SRCH));
}

/// Tells the test [`parent`] that it is one, and where its child shows that it is busy.
const PARENT: &str = "IT_PARENT";

/// Where that is told, a program with a child that never answers. Anywhere else, it is nothing.
#[test]
fn parent() {
    if let Ok(sign) = std::env::var(PARENT) {
        let app = started("");
        let orders = serde_json::json!([format!("sign {sign}"), "hang"]);
        let _ = call(&app, "perilous", "obey", &orders.to_string());
    }
}

/// A file that does not exist.
fn scratch(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&file);
    file
}

#[test]
fn a_program_that_does_not_know_that_it_is_a_child_is_told_which_line_is_missing() {
    let text = "[[runners]]\nname = \"perilous\"\nisolation = \"process\"\ncpu = 1\n";
    let stray = app().config_text(text).child_args(["isolation::stray", "--exact", "--nocapture"]);
    let error = block_on(stray.start()).expect_err("it cannot start").to_string();
    assert!(error.contains("the first line of its `main` must be `App::run_child(..)`"), "{error}");
}

/// What a program does that starts its app where it is a child.
#[test]
fn stray() {
    match app().check() {
        Ok(_) => {}
        Err(error) => assert!(matches!(error, StartError::Stray), "{error}"),
    }
}

#[test]
fn limits_without_a_process_to_limit_are_refused() {
    let check = |options: &str, problem: &str| {
        let text = format!("[[runners]]\nname = \"perilous\"\ncpu = 1\n{options}\n");
        let error = app().config_text(text).check().expect_err("it is wrong").to_string();
        assert!(error.contains(problem), "`{problem}` is not in `{error}`");
    };
    check("nice = 5", "runners.toml:4: runner \"perilous\": nice needs isolation = \"process\"");
    check("memory_limit = \"1GiB\"", "runners.toml:4: runner \"perilous\": memory_limit needs isolation = \"process\"");
    check("isolation = \"proces\"", "did you mean \"process\"?");
    check("isolation = \"process\"\nmemory_limit = \"lots\"", "bytes above 0");
    check("isolation = \"process\"\nnice = 20", "at most 19");
}
