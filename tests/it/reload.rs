//! The configuration changes while calls go on: what is new is there, what was accepted is answered, nobody else notices.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Waker};

use ekiden::prelude::*;
use ekiden::runner::Method;
use ekiden::serving::{Failed, ReloadError, Reloaded, RunnerEntry};
use serde::{Deserialize, Serialize};

use crate::support::{Gate, Made, PATIENCE, Server, block_on, eventually};

/// Answers with its version. `"hold"` is held by the gate of its app.
struct Versioned {
    version: String,
    gate: Gate,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct About {
    version: String,
    gate: String,
}

static GATES: LazyLock<Mutex<BTreeMap<String, Gate>>> = LazyLock::new(Mutex::default);

fn gate(name: &str) -> Gate {
    GATES.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
}

impl Runnable for Versioned {
    type Params = About;

    fn open(ctx: &OpenContext<About>) -> Result<Self, OpenError> {
        let About { version, gate: name } = ctx.params().clone();
        if version == "bad" {
            return Err(OpenError::new("there are no such weights"));
        }
        if version == "slow" {
            gate(&name).pass("open", 1);
        }
        Ok(Self { version, gate: gate(&name) })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("version", |own: &Self, word: String| {
            if word == "hold" {
                own.gate.pass("hold", 1);
            }
            Ok(format!("{} {word}", own.version))
        });
    }
}

/// Something else by the same name.
struct Renamed;

impl Runnable for Renamed {
    type Params = About;

    fn open(_: &OpenContext<About>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("name", |_: &Self, word: String| Ok(word));
    }
}

/// An app whose configuration is a file.
struct Place {
    file: PathBuf,
    name: String,
    app: App,
}

impl Place {
    /// With these runners, each with its version.
    fn new(runners: &[(&str, &str)]) -> Self {
        Self::with(|name| text(name, runners))
    }

    fn with(text: impl FnOnce(&str) -> String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("reload-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name).with_extension("toml");
        std::fs::write(&file, text(&name)).expect("a file");
        let builder = App::builder().runnable::<Versioned>("versioned").runnable::<Renamed>("renamed");
        let app = builder.config_file(&file).launch().expect("it is configured well");
        Self { file, name, app }
    }

    fn ready(runners: &[(&str, &str)]) -> Self {
        let place = Self::new(runners);
        block_on(place.app.ready()).expect("it is ready");
        place
    }

    fn write(&self, runners: &[(&str, &str)]) {
        self.write_text(&text(&self.name, runners));
    }

    fn write_text(&self, text: &str) {
        std::fs::write(&self.file, text).expect("a file");
    }

    fn reload(&self) -> Reloaded {
        block_on(self.app.reload()).expect("it is reloaded")
    }

    fn gate(&self) -> Gate {
        gate(&self.name)
    }

    fn method(&self, runner: &str) -> Method<String, String> {
        self.app.runner(runner).expect("the runner").method("version").expect("the method")
    }

    fn ask(&self, runner: &str) -> String {
        self.method(runner).run("?".to_owned()).expect("an answer")
    }

    fn entry(&self, name: &str) -> Arc<RunnerEntry> {
        self.app.entry(name).expect("the runner")
    }
}

fn text(gate: &str, runners: &[(&str, &str)]) -> String {
    let runner = |(name, version): &(&str, &str)| {
        format!(
            "[[runners]]\nname = \"{name}\"\nrunnable = \"versioned\"\ncpu = 1\n\
             params = {{ version = \"{version}\", gate = \"{gate}\" }}\n"
        )
    };
    runners.iter().map(runner).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn runners_are_added_replaced_and_removed_and_others_notice_nothing() {
    let place = Place::ready(&[("same", "1"), ("new", "1"), ("old", "1")]);
    let server = Server::start(&place.app);
    let ask = |runner: &str| server.post(&format!("/v1/runners/{runner}/version"), "\"?\"");
    let (same, method) = (place.entry("same"), place.method("new"));
    let was = same.status().up_since;
    let of_old = "ekiden_runner_state{runner=\"old\"";
    assert!(server.get("/metrics").text().contains(of_old));

    place.write(&[("added", "1"), ("new", "2"), ("same", "1")]);
    let expected = Reloaded {
        added: names(&["added"]),
        replaced: names(&["new"]),
        removed: names(&["old"]),
        unchanged: names(&["same"]),
        ..Reloaded::default()
    };
    assert_eq!(place.reload(), expected);
    assert_eq!(expected.to_string(), "added added; replaced new; removed old; unchanged same");

    assert_eq!(
        [ask("added"), ask("new"), ask("same")].map(|answer| answer.text().to_owned()),
        ["\"1 ?\"", "\"2 ?\"", "\"1 ?\""]
    );
    ask("old").refused(404, "not_found", &["there are: added, new, same"]);
    assert_eq!(method.run("?".to_owned()).as_deref(), Ok("2 ?"), "a handle to the one that was replaced");
    assert!(Arc::ptr_eq(&same, &place.entry("same")) && same.status().up_since == was && was.is_some());
    let metrics = server.get("/metrics").text().to_owned();
    assert!(!metrics.contains(of_old), "{metrics}");
    server.counts(&[
        (r#"ekiden_runner_state{runner="new",state="ready"}"#, 1.0),
        (r#"ekiden_runner_state{runner="new",state="stopped"}"#, 0.0),
        (r#"ekiden_runner_state_changes_total{runner="new",state="ready"}"#, 2.0),
        (r#"ekiden_reloads_total{outcome="ok"}"#, 1.0),
    ]);
    let config = place.app.config();
    let order: Vec<_> = config.runners.iter().map(|runner| runner.name.as_str()).collect();
    assert_eq!(order, ["added", "new", "same"]);

    // Said in other words, in other lines, it is the same.
    let commented = format!("# Nothing new.\n\n{}max_batch_size = 100\n", text(&place.name, &[("added", "1")]));
    place.write_text(&(commented + &text(&place.name, &[("new", "2"), ("same", "1")])));
    assert_eq!(place.reload().unchanged, names(&["added", "new", "same"]));
}

#[test]
fn if_anything_is_wrong_nothing_changes_and_all_of_it_is_told() {
    let place = Place::ready(&[("one", "1"), ("two", "1")]);
    let before = (place.entry("one"), place.entry("two"), place.app.config());
    let wrong = text(&place.name, &[("one", "2"), ("three", "1")]) + "max_batch_size = 0\nmax_latency = 1\n";
    place.write_text(&wrong);
    let Err(ReloadError::Invalid(problems)) = block_on(place.app.reload()) else { panic!("it is wrong") };
    for part in ["max_batch_size", "did you mean \"max_latency_ms\"?", ".toml:11", ".toml:12"] {
        assert!(problems.contains(part), "{part:?} is not in {problems}");
    }
    std::fs::remove_file(&place.file).expect("it was there");
    assert!(matches!(block_on(place.app.reload()), Err(ReloadError::Invalid(_))));
    assert!(Arc::ptr_eq(&before.0, &place.entry("one")) && Arc::ptr_eq(&before.1, &place.entry("two")));
    assert!(Arc::ptr_eq(&before.2, &place.app.config()));
    assert!(place.app.entry("three").is_err());
}

#[test]
fn what_was_accepted_the_old_executor_answers_and_what_is_new_the_new_one() {
    let place = Place::ready(&[("one", "1")]);
    let (gate, old) = (place.gate(), place.entry("one"));
    let method = place.method("one");
    gate.close();
    let held = Made::held(method.async_run("hold".to_owned()));
    gate.wait_for_someone();
    let queued = Made::held(method.async_run("queued".to_owned()));
    place.write(&[("one", "2")]);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| place.reload());
        eventually("the old one drains", || old.status().state.name() == "draining");
        assert_eq!(method.run("new".to_owned()).as_deref(), Ok("2 new"), "by the old handle");
        assert_eq!(place.method("one").run("newer".to_owned()).as_deref(), Ok("2 newer"));
        let waiting = Made::held(place.app.reload());
        assert_eq!(block_on(place.app.reload()), Err(ReloadError::Busy));
        gate.open();
        assert_eq!(reload.join().expect("it ends").replaced, ["one"]);
        assert_eq!(waiting.answer().expect("it had its turn").unchanged, ["one"]);
    });
    assert_eq!(held.answer().as_deref(), Ok("1 hold"));
    assert_eq!(queued.answer().as_deref(), Ok("1 queued"));
    assert_eq!(old.status().state.name(), "stopped");
}

#[test]
fn what_cannot_be_replaced_goes_on_and_the_others_follow() {
    let place = Place::ready(&[("one", "1"), ("paused", "1"), ("drained", "1"), ("last", "1")]);
    block_on(place.entry("paused").pause()).expect("it is paused");
    block_on(place.entry("drained").drain(PATIENCE));
    place.write(&[("one", "bad"), ("paused", "2"), ("drained", "2"), ("last", "2"), ("never", "bad")]);
    let reloaded = place.reload();
    let unopened = "executor 0 could not be opened: there are no such weights";
    let failed = [
        ("one", unopened),
        ("paused", "it has been paused; resume it, and reload again"),
        ("drained", "it has been drained; restart it, and reload again"),
        ("never", unopened),
    ]
    .map(|(runner, cause)| Failed { runner: runner.to_owned(), cause: cause.to_owned() });
    assert_eq!((reloaded.replaced.as_slice(), reloaded.failed.as_slice()), (&names(&["last"])[..], &failed[..]));
    let all = reloaded.to_string();
    assert!(all.contains("runner \"one\" could not be changed: executor 0 could not be opened"), "{all}");
    assert_eq!(place.ask("one"), "1 ?");
    assert_eq!(place.ask("last"), "2 ?");
    assert!(place.app.entry("never").is_err());
    assert!(place.entry("one").not_ready().is_none());
    // What is told of the configuration is what is in effect, so that the next reload tries again.
    block_on(place.entry("paused").resume()).expect("it goes on");
    place.write(&[("one", "2"), ("paused", "2"), ("last", "2")]);
    // One that was drained is removed like any other.
    let again = place.reload();
    assert_eq!((again.replaced, again.unchanged), (names(&["one", "paused"]), names(&["last"])));
}

#[test]
fn an_order_that_comes_while_the_new_runner_opens_is_not_undone() {
    let place = Place::ready(&[("one", "1"), ("two", "1")]);
    let gate = place.gate();
    gate.close();
    place.write(&[("one", "slow"), ("two", "1")]);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| place.reload());
        gate.wait_for_someone();
        block_on(place.entry("one").pause()).expect("it is paused");
        gate.open();
        assert_eq!(reload.join().expect("it ends").failed.len(), 1);
    });
    assert_eq!(place.entry("one").status().state.name(), "paused");
}

#[test]
fn a_reload_goes_on_where_nobody_waits_for_it() {
    let place = Place::ready(&[("one", "1")]);
    let gate = place.gate();
    gate.close();
    place.write(&[("one", "slow")]);
    drop(Made::held(place.app.reload()));
    gate.wait_for_someone();
    gate.open();
    eventually("it is replaced", || place.ask("one") == "slow ?");
    assert_eq!(place.reload().unchanged, ["one"], "and the configuration says so");
}

#[test]
fn what_was_not_answered_within_the_grace_period_is_told() {
    let short = "[server]\ngrace_s = 0.001\n";
    let place = Place::with(|name| short.to_owned() + &text(name, &[("one", "1")]));
    block_on(place.app.ready()).expect("it is ready");
    let (gate, method) = (place.gate(), place.method("one"));
    gate.close();
    let held = Made::held(method.async_run("hold".to_owned()));
    gate.wait_for_someone();
    place.write_text(&(short.to_owned() + &text(&place.name, &[("one", "2")])));
    let reloaded = place.reload();
    assert_eq!(reloaded.refused_calls, 1);
    assert_eq!(reloaded.to_string(), "replaced one; calls that were not answered within grace_s, and refused: 1");
    assert!(matches!(held.answer(), Err(CallError::Unavailable { .. })));
    gate.open();
}

#[test]
fn a_runner_that_has_failed_begins_anew() {
    let place = Place::new(&[("one", "bad")]);
    let failed = place.entry("one");
    eventually("it fails", || failed.status().state.name() == "failed");
    assert_eq!(place.reload().failed.len(), 1, "it fails again");
    assert!(Arc::ptr_eq(&failed, &place.entry("one")));
    place.write(&[("one", "1")]);
    assert_eq!(place.reload().replaced, ["one"]);
    assert_eq!(place.ask("one"), "1 ?");
}

#[test]
fn a_method_that_is_gone_is_missed_by_those_who_still_hold_it() {
    let place = Place::ready(&[("one", "1")]);
    let method = place.method("one");
    let renamed = text(&place.name, &[("one", "1")]).replace("\"versioned\"", "\"renamed\"");
    place.write_text(&renamed);
    assert_eq!(place.reload().replaced, ["one"]);
    let gone = "the runner has been replaced by one that has no such method";
    assert_eq!(method.run("?".to_owned()), Err(CallError::unavailable(gone)));
    let one = place.app.runner("one").expect("the runner");
    let name = one.method::<String, String>("name").expect("the method");
    assert_eq!(name.run("?".to_owned()).as_deref(), Ok("?"));
}

#[test]
fn what_only_a_start_can_change_is_told() {
    let place = Place::ready(&[("one", "1")]);
    let server = "[server]\nbind = \"127.0.0.1:0\"\ngrpc_bind = \"127.0.0.1:0\"\ngrace_s = 7\n".to_owned();
    place.write_text(&(server + &text(&place.name, &[("one", "1")])));
    let reloaded = place.reload();
    assert_eq!(reloaded.needs_restart, ["server.bind", "server.grpc_bind", "server.grace_s"]);
    assert_eq!(reloaded.unchanged, ["one"]);
    assert_eq!(place.app.config().server.bind.value.to_string(), "127.0.0.1:3000", "what is in effect");
}

#[test]
fn whoever_is_leaving_is_waited_for_at_the_end_and_nobody_is_added_then() {
    let place = Place::ready(&[("one", "1")]);
    let (gate, method) = (place.gate(), place.method("one"));
    gate.close();
    let held = Made::held(method.async_run("hold".to_owned()));
    gate.wait_for_someone();
    let old = place.entry("one");
    place.write(&[("one", "2"), ("two", "1")]);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| block_on(place.app.reload()));
        eventually("the old one drains", || old.status().state.name() == "draining");
        let mut shutdown = std::pin::pin!(place.app.shutdown(PATIENCE));
        let mut is_over = || shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_over());
        eventually("the new one ends", || place.entry("one").status().state.name() == "stopped");
        assert!(!is_over(), "the call would be lost");
        gate.open();
        assert_eq!(held.answer().as_deref(), Ok("1 hold"));
        eventually("it is over", is_over);
        assert_eq!(reload.join().expect("it ends"), Err(ReloadError::Ending), "before the second runner");
    });
    assert!(place.app.entry("two").is_err());
}

#[test]
fn nobody_notices_reloads_under_load() {
    let place = Place::ready(&[("one", "0"), ("other", "0")]);
    let server = Server::start(&place.app);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = server.client();
                let mut newest = 0;
                while !over.load(Ordering::Relaxed) {
                    let answer = connection.post("/v1/runners/one/version", "\"?\"");
                    let version = answer.text().trim_matches('"').split(' ').next().and_then(|word| word.parse().ok());
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    assert!(version >= Some(newest), "{version:?} after {newest}");
                    newest = version.unwrap_or(newest);
                    assert_eq!(connection.post("/v1/runners/other/version", "\"?\"").text(), "\"0 ?\"");
                }
            });
        }
        let reloads = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 1..=20 {
                place.write(&[("one", &version.to_string()), ("other", "0")]);
                assert_eq!(place.reload().replaced, ["one"]);
            }
        }));
        over.store(true, Ordering::Relaxed);
        reloads.expect("it is reloaded");
    });
    assert_eq!(place.entry("other").status().restarts, 0);
}
