//! How a runner ends, and the runtime with it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ekiden_actors::{Batching, CallError, MethodLimits, RestartLimits, RunnerState};

use crate::stage::{Act, LONG, Scene, Stage, answer, block_on, bounded, gate, size};

/// Longer than any test may take: a drain that ends has not waited for it.
const FOREVER: Duration = Duration::from_secs(3_600);

fn is_unavailable<T>(result: &Result<T, CallError>, cause: &str) -> bool {
    matches!(result, Err(CallError::Unavailable { cause: its, .. }) if its.contains(cause))
}

/// Drains on a thread of its own, until the runner is draining.
fn draining(scene: &Scene, grace: Duration) -> thread::JoinHandle<()> {
    let runner = scene.runner.clone();
    let thread = thread::spawn(move || block_on(runner.drain(grace)));
    scene.counts.wait("draining", 1);
    thread
}

/// Waits until calls are refused, which follows the state within a moment.
fn until_refused(scene: &Scene) {
    while !is_unavailable(&scene.try_call(9, 1, Act::Echo, None).map(drop), "the runner is shutting down") {
        thread::yield_now();
    }
}

#[test]
fn what_was_accepted_is_finished_and_what_is_new_refused() {
    bounded(|| {
        let scene = Stage { executors: 2, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let (second, other_keeper) = scene.occupy(1);
        let waits: Vec<_> = (2..5).map(|value| (value, scene.call(value, Act::Echo))).collect();
        let drain = draining(&scene, FOREVER);
        until_refused(&scene);
        keeper.open();
        other_keeper.open();
        assert_eq!((first.wait(), second.wait()), (Ok(answer(0, 1)), Ok(answer(1, 1))));
        for (value, reply) in waits {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
        drain.join().expect("drained");
        assert_eq!(scene.runner.status().state, RunnerState::Stopped);
        assert!(is_unavailable(&scene.try_call(9, 1, Act::Echo, None), "the runner has stopped"));
        block_on(scene.runner.drain(FOREVER));
    });
}

#[test]
fn an_idle_runner_drains_at_once() {
    bounded(|| {
        let scene = Stage { executors: 4, ..Stage::default() }.start();
        block_on(scene.runner.drain(FOREVER));
        assert_eq!(scene.runner.status().state, RunnerState::Stopped);
        assert_eq!(scene.counts.of("executor exited"), 0);
    });
}

#[test]
fn nothing_is_kept_of_a_runner_that_has_stopped_and_that_nobody_holds() {
    bounded(|| {
        let scene = Stage::default().start();
        block_on(scene.runner.drain(FOREVER));
        let Scene { runtime, runner, method, script, .. } = scene;
        drop((runner, method));
        // The supervisor has it, through its factory.
        while Arc::strong_count(&script) > 1 {
            thread::yield_now();
        }
        drop(runtime);
    });
}

#[test]
fn a_window_is_not_kept_open_for_company_that_cannot_come() {
    bounded(|| {
        let limits = MethodLimits {
            batching: Batching::Window,
            max_latency: Duration::MAX,
            timeout: None,
            ..MethodLimits::default()
        };
        let scene = Stage { limits, ..Stage::default() }.start();
        let reply = scene.call(1, Act::Echo);
        block_on(scene.runner.drain(FOREVER));
        assert_eq!(reply.wait(), Ok(answer(1, 1)));
    });
}

#[test]
fn when_the_grace_is_over_the_rest_is_told_so() {
    bounded(|| {
        let scene = Stage::default().start();
        let (first, keeper) = scene.occupy(0);
        let second = scene.call(1, Act::Echo);
        block_on(scene.runner.drain(Duration::from_millis(1)));
        for reply in [first, second] {
            assert!(is_unavailable(&reply.wait(), "the runner has stopped"));
        }
        assert_eq!(scene.runner.status().state, RunnerState::Stopped);
        scene.counts.settle(&[("unavailable", 2)]);
        keeper.open();
    });
}

#[test]
fn a_batch_that_breaks_its_executor_is_run_again_while_the_runner_drains() {
    bounded(|| {
        let scene = Stage::default().start();
        let (gate, keeper) = gate();
        let first = scene.call(1, Act::GateAndPanic(gate));
        keeper.wait();
        let second = scene.call(2, Act::Echo);
        let drain = draining(&scene, FOREVER);
        drop(keeper);
        assert!(matches!(first.wait(), Err(CallError::Crashed(_))));
        assert_eq!(second.wait(), Ok(answer(2, 1)));
        drain.join().expect("drained");
    });
}

#[test]
fn a_runner_that_fails_while_it_drains_has_ended() {
    bounded(|| {
        let restarts = RestartLimits { max_restarts: 0, ..RestartLimits::default() };
        let scene = Stage { restarts, ..Stage::default() }.start();
        let (gate, keeper) = gate();
        let reply = scene.call(1, Act::GateAndPanic(gate));
        keeper.wait();
        let drain = draining(&scene, FOREVER);
        keeper.open();
        drain.join().expect("drained");
        assert!(is_unavailable(&reply.wait(), "the restart budget is spent"));
        let status = scene.runner.status();
        assert_eq!(status.state, RunnerState::Stopped);
        assert!(status.cause.is_some_and(|cause| cause.contains("the restart budget is spent")));
    });
}

#[test]
fn a_runner_that_waits_for_a_restart_with_nothing_to_do_drains_at_once() {
    bounded(|| {
        let restarts = RestartLimits { backoff: FOREVER, max_backoff: FOREVER, ..RestartLimits::default() };
        let limits = MethodLimits { retry: false, ..MethodLimits::default() };
        let scene = Stage { restarts, limits, ..Stage::default() }.start();
        assert!(matches!(scene.call(1, Act::Panic).wait(), Err(CallError::Crashed(_))));
        scene.until(RunnerState::Restarting);
        block_on(scene.runner.drain(FOREVER));
    });
}

#[test]
fn a_runner_that_starts_drains_when_it_has_started() {
    bounded(|| {
        let (gate, keeper) = gate();
        let open = Box::new(move |_, _| {
            gate.pass();
            Ok(())
        });
        let scene = Stage { open, executors: 2, ..Stage::default() }.launch();
        keeper.wait();
        let drain = draining(&scene, FOREVER);
        drop(keeper);
        drain.join().expect("drained");
    });
}

#[test]
fn dropping_the_runtime_hangs_nobody() {
    bounded(|| {
        let limits = MethodLimits { max_batch_size: size(1), timeout: None, ..MethodLimits::default() };
        let scene = Stage { limits, executors: 2, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let waits: Vec<_> = (1..9).map(|value| scene.call(value, Act::Panic)).collect();
        let Scene { runtime, runner, method, counts, .. } = scene;
        drop(runtime);
        let refused = "the runner's supervisor has ended";
        assert!(is_unavailable(&first.wait(), refused));
        for reply in waits {
            // The other executor may have got hold of some before.
            let answer = reply.wait();
            assert!(is_unavailable(&answer, refused) || matches!(answer, Err(CallError::Crashed(_))), "{answer:?}");
        }
        let status = runner.status();
        assert_eq!((status.state, status.cause.as_deref()), (RunnerState::Stopped, Some(refused)));
        block_on(runner.ready()).expect_err("it has ended");
        block_on(runner.drain(LONG));
        assert_eq!(method.queued_rows(), 0);
        assert_eq!(counts.of("answered"), 0);
        keeper.open();
    });
}

#[test]
fn a_runtime_that_hosts_nothing_comes_and_goes() {
    bounded(|| {
        for _ in 0..20 {
            drop(ekiden_actors::Runtime::start().expect("a runtime"));
        }
        drop(Stage { executors: 3, ..Stage::default() }.launch());
    });
}
