//! Everything breaks at random while many clients call a real server: every call ends once, as its right answer or as an
//! error that is justified, and only the guilty get `crashed`.
//!
//! `EKIDEN_SEED=…` has the adversaries choose otherwise, `EKIDEN_SOAK_S=600` has it all go on for so long. It runs in a
//! process of its own, whose memory and threads no other test changes.

mod calls;
mod ledger;
mod mortal;
mod operator;
mod saboteur;
mod vitals;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ekiden::App;
use ekiden::app::AppBuilder;
use fastrand::Rng;

use crate::admin::Admin;
use crate::client::metric;
use crate::support::{PATIENCE, Server, block_on, eventually, hush_panics_on_purpose};
use ledger::{Goal, Ledger, Outcome};
use mortal::{DOOR, Mortal};
use vitals::Vitals;

const CLIENTS: usize = 40;
const WARM_UP: usize = 20_000;
const CALLS: usize = 25_000;

/// Tells the test [`alone`] that it is in a process of its own.
const ALONE: &str = "IT_CHAOS";

#[test]
fn every_call_ends_once_and_rightly_whatever_breaks() {
    let program = std::env::current_exe().expect("this program");
    let args = ["chaos::alone", "--exact", "--nocapture"];
    let mut alone = Command::new(program);
    // What threads that come and go leave in arenas of their own would look like a leak.
    alone.args(args).env(ALONE, "1").env("MALLOC_ARENA_MAX", "2");
    let output = alone.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
}

/// What children run. Anywhere else, it is nothing.
#[test]
fn child() {
    App::run_child(app);
}

fn app() -> AppBuilder {
    App::builder().runnable::<Mortal>("mortal").child_args(["chaos::child", "--exact", "--nocapture"])
}

/// Where a runner finds what it meets with.
fn folder(runner: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}", std::process::id())).join(runner)
}

/// The `runners.toml`: `far` in child processes, `near` on threads, and a guest that comes and goes.
#[derive(Clone)]
pub struct Config {
    /// The `max_batch_size` of each.
    far: usize,
    near: usize,
    guest: bool,
}

impl Config {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut runner = |name: &str, size: usize, more: &str| {
            let _ = writeln!(
                text,
                "[[runners]]\nname = \"{name}\"\nrunnable = \"mortal\"\nparams = {{ folder = {:?} }}\ncpu = 1\nworkers_per_resource = 3\n\
                 max_restarts = 1000000\nrestart_backoff_ms = 1\nmax_restart_backoff_ms = 8\nmax_queue_size = 24\n\
                 timeout_ms = {}\nmax_batch_size = {size}\n{more}",
                folder(name),
                calls::TIMEOUT.as_millis()
            );
        };
        if self.guest {
            runner("guest", 5, "");
        }
        runner("near", self.near, "");
        runner("far", self.far, "isolation = \"process\"\nbatch_timeout_ms = 700");
        text
    }

    fn write(&self) {
        fs::write(folder("").join("runners.toml"), self.text()).expect("a file");
    }
}

/// Where that is told, the chaos. Anywhere else, it is nothing.
#[test]
fn alone() {
    if std::env::var(ALONE).is_err() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seed: u64 = number("EKIDEN_SEED").unwrap_or(4);
    println!("EKIDEN_SEED={seed}");
    hush_panics_on_purpose();
    for runner in ["far", "near", "guest"] {
        fs::create_dir_all(folder(runner)).expect("a folder");
    }
    let mut config = Config { far: 8, near: 8, guest: true };
    config.write();
    let app = block_on(app().config_file(folder("").join("runners.toml")).start()).expect("it starts");
    let (server, admin) = (Server::start(&app), Admin::start(&app));
    let ledger = Ledger::new(CLIENTS);
    let scene = Scene { server: &server, admin: &admin, ledger: &ledger };
    let mut rng = Rng::with_seed(seed);

    // Both listeners are up, with all of their threads.
    assert_eq!((server.get("/readyz").status, admin.post("/").status), (200, 404));
    let at_first = Vitals::now();
    println!("{at_first:?} at first");
    let soak = number("EKIDEN_SOAK_S").map_or(Duration::ZERO, Duration::from_secs);
    scene.round(Goal { calls: WARM_UP, time: soak / 4 }, &mut config, &mut rng);
    // Those who have been replaced are still going.
    let before = at_first.map(|at_first| Vitals::settled("as many threads", |now| now.has_threads_of(at_first)));
    scene.round(Goal { calls: CALLS, time: soak }, &mut config, &mut rng);
    if let Some(before) = before {
        let after = Vitals::settled("as much as after the warm-up", |now| now.is_as(before));
        println!("{before:?} after the warm-up, {after:?} in the end");
    }
    scene.everything_has_happened();
    drop((server, admin));
    fs::remove_dir_all(folder("")).expect("it was there");
}

struct Scene<'a> {
    server: &'a Server,
    admin: &'a Admin,
    ledger: &'a Ledger,
}

impl Scene<'_> {
    fn round(&self, goal: Goal, config: &mut Config, rng: &mut Rng) {
        let begun = Instant::now();
        let round = self.ledger.begin_round(2);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (round, rng) = (&round, rng.fork());
                scope.spawn(move || calls::make(client, round, goal, self.server, rng));
            }
            let rng_of_saboteur = rng.fork();
            scope.spawn(|| saboteur::act(&round, self.server, rng_of_saboteur));
            let rng = rng.fork();
            scope.spawn(|| operator::act(&round, self.server, self.admin, config, rng));
        });
        let _ = fs::remove_file(folder("far").join(DOOR));
        if !config.guest {
            config.guest = true;
            let is = config.clone();
            operator::reload(self.admin, config, is);
        }
        println!("{} calls in {:?}", round.calls(), begun.elapsed());
        eventually("every runner is ready", || self.server.get("/readyz").status == 200);
        eventually("every executor is up", || {
            let about = self.server.get("/v1/runners").text().to_owned();
            !about.contains("\"restarting\"") && !about.contains("\"starting\"")
        });
        self.books_are_right();
    }

    /// What is counted is what clients saw, and at most those calls more whose clients had gone.
    fn books_are_right(&self) {
        let begun = Instant::now();
        while let Err(why) = self.difference() {
            assert!(begun.elapsed() < PATIENCE, "{why}");
        }
    }

    fn difference(&self) -> Result<(), String> {
        let counted = self.counted();
        let mut more: BTreeMap<(String, String), u64> = BTreeMap::new();
        // Nobody counts calls of what is not there.
        for ((runner, method, outcome), counted) in counted.iter().filter(|((_, _, outcome), _)| outcome != "not_found")
        {
            let seen = self.ledger.seen(|of| of.0 == *runner && of.1 == *method && of.2 == *outcome);
            let beyond = counted.checked_sub(seen);
            let beyond =
                beyond.ok_or_else(|| format!("{runner} {method} {outcome}: {counted}, and {seen} were seen"))?;
            *more.entry((runner.clone(), method.clone())).or_default() += beyond;
        }
        let dropped = self.ledger.dropped();
        for (method, more) in more {
            let dropped = dropped.get(&method).copied().unwrap_or_default();
            if more > dropped {
                return Err(format!("{method:?}: {more} more than were seen, and {dropped} had gone"));
            }
        }
        Ok(())
    }

    fn counted(&self) -> BTreeMap<Outcome, u64> {
        let metrics = self.server.get("/metrics");
        let lines = metrics.text().lines().filter_map(|line| {
            let (labels, count) = line.strip_prefix("ekiden_calls_total{")?.split_once("} ")?;
            let mut labels = labels.split('"').skip(1).step_by(2).map(str::to_owned);
            Some(((labels.next()?, labels.next()?, labels.next()?), count.parse().ok()?))
        });
        lines.collect()
    }

    /// Chaos in which nothing happens proves nothing.
    fn everything_has_happened(&self) {
        let metrics = self.server.get("/metrics").text().to_owned();
        let happened = |name: &str| metric(&metrics, name).is_some_and(|times| times > 0.0);
        for (runner, kinds) in [
            ("far", &["open_failed", "panicked", "process_died", "stuck", "device_lost"][..]),
            ("near", &["panicked"][..]),
        ] {
            for kind in kinds {
                let exits = format!("ekiden_executor_exits_total{{runner=\"{runner}\",kind=\"{kind}\"}}");
                assert!(happened(&exits), "no executor of {runner} has ended as {kind}:\n{metrics}");
            }
        }
        for outcome in ["ok", "invalid"] {
            assert!(happened(&format!("ekiden_reloads_total{{outcome=\"{outcome}\"}}")), "{outcome}:\n{metrics}");
        }
        let counted = self.counted();
        let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
        counted.iter().for_each(|((_, _, outcome), times)| *outcomes.entry(outcome).or_default() += times);
        println!("{outcomes:?}, and {} whose clients had gone", self.ledger.dropped().values().sum::<u64>());
        for outcome in ["ok", "crashed", "method_invalid_input", "queue_full", "deadline_exceeded", "cancelled"] {
            assert!(outcomes.get(outcome).is_some_and(|&times| times > 0), "no call ended as {outcome}: {outcomes:?}");
        }
        assert!(self.ledger.seen(|(_, _, outcome)| outcome == "not_found") > 0, "the guest never went");
    }
}
