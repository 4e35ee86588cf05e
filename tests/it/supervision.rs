//! Supervision: budgets, failed runners, draining, and calls that outlive what ran them.

use std::time::Duration;

use ekiden::prelude::*;
use ekiden::value::{Value, Values};
use ekiden::{App, CallOptions, StartError};
use serde::Deserialize;

use crate::kit;
use crate::support::{Gate, Made, ON_PURPOSE, PATIENCE, Server, block_on, eventually, hush_panics_on_purpose};

/// Panics when it is told to, and need not open.
struct Fragile;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Fate {
    refuses_to_open: bool,
}

impl Runnable for Fragile {
    type Params = Fate;

    fn open(ctx: &OpenContext<Fate>) -> Result<Self, OpenError> {
        if ctx.params().refuses_to_open { Err(OpenError::new("the weights are missing")) } else { Ok(Self) }
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("echo", |_: &Self, words: Vec<String>| {
                if words.iter().any(|word| word == "panic") {
                    panic!("{ON_PURPOSE}a word");
                }
                Ok(words)
            })
            .batchable();
    }
}

fn fragile(name: &str) -> Runner<Fragile> {
    Runner::<Fragile>::new(Fate::default())
        .name(name)
        .cpu(1.0)
        .set("restart_backoff_ms", 0_u32)
        .set("max_restart_backoff_ms", 0_u32)
}

#[test]
fn a_runner_out_of_budget_fails_with_its_cause_and_alone() {
    hush_panics_on_purpose();
    let fragile_twice = fragile("fragile").set("max_restarts", 2_u32);
    let app = block_on(App::builder().runner(fragile_twice).runner(fragile("sound")).start()).expect("it starts");
    let server = Server::start(&app);
    let mut client = server.client();
    let mut post =
        |runner: &str, word: &str| client.post(&format!("/v1/runners/{runner}/echo"), &format!("[\"{word}\"]"));

    for _ in 0..2 {
        let why = ["the call broke its executor", "panicked: on purpose: a word"];
        post("fragile", "panic").refused(500, "crashed", &why);
    }
    let cause = "the restart budget is spent; last, executor 0 panicked: on purpose: a word";
    post("fragile", "panic").refused(503, "unavailable", &["the runner has failed", cause]);
    post("fragile", "hi").refused(503, "unavailable", &["the runner has failed", cause]);
    assert_eq!(post("sound", "hi").text(), "[\"hi\"]", "other runners do not notice");

    let ready = server.get("/readyz");
    let reasons = serde_json::json!([format!("runner \"fragile\" is failed: {cause}")]);
    assert_eq!((ready.status, &ready.json()["reasons"]), (503, &reasons));
    let about = server.get("/v1/runners/fragile").json();
    assert_eq!((about["state"].as_str(), about["cause"].as_str()), (Some("failed"), Some(cause)));
    assert_eq!((&about["restarts"], about["last_exits"].as_array().map(Vec::len)), (&4.into(), Some(5)));
    server.counts(&[
        (r#"ekiden_runner_state{runner="fragile",state="failed"}"#, 1.0),
        (r#"ekiden_runner_state{runner="sound",state="ready"}"#, 1.0),
        (r#"ekiden_executor_restarts_total{runner="fragile"}"#, 4.0),
        (r#"ekiden_executor_exits_total{runner="fragile",kind="panicked"}"#, 5.0),
        (r#"ekiden_calls_total{runner="fragile",method="echo",outcome="crashed"}"#, 2.0),
        (r#"ekiden_calls_total{runner="fragile",method="echo",outcome="unavailable"}"#, 2.0),
    ]);
}

#[test]
fn a_call_that_breaks_its_executors_is_no_bad_company() {
    hush_panics_on_purpose();
    let app = block_on(App::builder().runner(fragile("busy").set("max_restarts", 3_u32)).start()).expect("it starts");
    let server = Server::start(&app);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.client();
                for call in 0..40 {
                    let bad = client == 0 && call % 4 == 3;
                    let word = if bad { "panic".to_owned() } else { format!("{client}-{call}") };
                    let answer = connection.post("/v1/runners/busy/echo", &format!("[\"{word}\"]"));
                    if bad {
                        answer.refused(500, "crashed", &["panicked: on purpose: a word"]);
                    } else {
                        assert_eq!(answer.text(), format!("[\"{word}\"]"));
                    }
                }
            });
        }
    });
    server.counts(&[
        (r#"ekiden_calls_total{runner="busy",method="echo",outcome="crashed"}"#, 10.0),
        (r#"ekiden_calls_total{runner="busy",method="echo",outcome="ok"}"#, 310.0),
    ]);
}

#[test]
fn a_runnable_that_does_not_open_fails_the_start_with_its_cause() {
    let broken = Runner::<Fragile>::new(Fate { refuses_to_open: true }).name("broken").cpu(1.0);
    let cause = "executor 0 could not be opened: the weights are missing";
    match block_on(App::builder().runner(broken.clone()).start()) {
        Err(StartError::Failed { runner, cause: found }) => assert_eq!((runner.as_str(), &*found), ("broken", cause)),
        other => panic!("{other:?}"),
    }
    // A server goes on with the others.
    let app = App::builder().runner(broken).runner(fragile("sound")).launch().expect("it is configured well");
    let failed = block_on(app.ready()).expect_err("one has failed");
    assert_eq!((failed.0.as_str(), &*failed.1), ("broken", cause));
    let server = Server::start(&app);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.text().contains(cause)), (503, true));
    // That it has failed is published before its queue is closed.
    let post = || server.post("/v1/runners/broken/echo", "[\"a\"]");
    eventually("calls are told the cause", || post().text().contains(cause));
    post().refused(503, "unavailable", &["the runner has failed", cause]);
    eventually("the other one works", || server.post("/v1/runners/sound/echo", "[\"a\"]").text() == "[\"a\"]");
}

#[test]
fn without_retry_a_batch_runs_once() {
    hush_panics_on_purpose();
    let once = fragile("once").set("retry", false).set("max_restarts", 1_u32);
    let app = block_on(App::builder().runner(once).start()).expect("it starts");
    let echo = app.runner("once").expect("the runner").method::<Vec<String>, Vec<String>>("echo").expect("the method");
    let crashed = echo.run(vec!["panic".to_owned()]).expect_err("it panics");
    assert_eq!(crashed, CallError::Crashed("panicked: on purpose: a word".into()));
    assert_eq!(echo.run(vec!["hi".to_owned()]), Ok(vec!["hi".to_owned()]), "one restart was enough");
}

#[test]
fn without_retry_an_input_that_cannot_be_read_is_still_its_own_callers_fault() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.set("retry", false));
    let list = app.entry("kit").and_then(|runner| runner.method("sizes").cloned()).expect("the method");
    let sizes = |sizes: &[i64]| Values::from_iter([Value::List(sizes.iter().map(|&size| size.into()).collect())]);
    let plug = Made::held(list.async_run(sizes(&[1]), CallOptions::default()));
    gate.wait_for_someone();
    let good = Made::held(list.async_run(sizes(&[4]), CallOptions::default()));
    let bad = Made::held(list.async_run(sizes(&[7, 256]), CallOptions::default()));
    gate.open();
    assert!(plug.answer().is_ok());
    assert_eq!(good.answer(), Ok(sizes(&[4])));
    let error = bad.answer().expect_err("256 is no u8");
    assert!(error.to_string().starts_with("input \"sizes\": element [1]: "), "{error}");
}

/// What calls get whose app is going away.
struct Going {
    gate: Gate,
    app: App,
    text: ekiden::runner::Method<String, String>,
}

impl Going {
    fn new() -> Self {
        let gate = Gate::closed();
        let app = kit::app(&gate, |runner| runner);
        let text = app.runner("kit").expect("the runner").method("text").expect("the method");
        Self { gate, app, text }
    }

    fn call(&self, word: &str) -> Made<'_, Result<String, CallError>> {
        Made::held(self.text.async_run(word.to_owned()))
    }
}

fn unavailable(answer: &Result<String, CallError>) -> bool {
    matches!(answer, Err(CallError::Unavailable { .. }))
}

#[test]
fn a_graceful_shutdown_finishes_what_was_accepted() {
    let going = Going::new();
    let running = going.call("running");
    going.gate.wait_for_someone();
    let waiting = going.call("waiting");
    let shutdown = Made::held(going.app.shutdown(PATIENCE));
    eventually("the runner drains", || going.app.runners()[0].status().state.name() == "draining");
    let refused = going.text.run("new".to_owned());
    assert!(unavailable(&refused), "{refused:?}");
    going.gate.open();
    assert_eq!((running.answer(), waiting.answer()), (Ok("RUNNING".to_owned()), Ok("WAITING".to_owned())));
    shutdown.answer();
    assert_eq!(going.app.runners()[0].status().state.name(), "stopped");
    assert!(unavailable(&going.text.run("new".to_owned())));
}

#[test]
fn what_is_not_finished_within_the_grace_period_is_refused() {
    let going = Going::new();
    let running = going.call("running");
    going.gate.wait_for_someone();
    let waiting = going.call("waiting");
    block_on(going.app.shutdown(Duration::ZERO));
    let answers = [running.answer(), waiting.answer()];
    assert!(answers.iter().all(unavailable), "{answers:?}");
    going.gate.open();
}

#[test]
fn dropping_an_app_answers_everything() {
    let Going { gate, app, text } = Going::new();
    let call = |word: &str| Made::held(text.async_run(word.to_owned()));
    let running = call("running");
    gate.wait_for_someone();
    let waiting = [call("one"), call("other")];
    drop(app);
    assert!(waiting.into_iter().all(|call| unavailable(&call.answer())));
    assert!(unavailable(&text.run("new".to_owned())));
    gate.open();
    let running = running.answer();
    assert!(unavailable(&running) || running == Ok("RUNNING".to_owned()), "{running:?}");
}
