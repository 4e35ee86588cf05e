//! Workers that panic, and workers that cannot be opened.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use ekiden_actors::{CallError, ExecutorState, Exit, MethodLimits, OpenError, RestartLimits, RunnerState};

use crate::stage::{Act, LONG, Stage, answer, block_on, bounded, gate, lock, size};

fn no_restarts() -> RestartLimits {
    RestartLimits { max_restarts: 0, ..RestartLimits::default() }
}

fn unavailable(error: &CallError) -> &str {
    match error {
        CallError::Unavailable { cause, .. } => cause,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[test]
fn nothing_is_lost_while_workers_panic_at_random() {
    const THREADS: u64 = 64;
    const CALLS: u64 = 100;
    bounded(|| {
        let panics = Arc::new(AtomicUsize::new(0));
        let before = {
            let (rng, panics) = (Mutex::new(fastrand::Rng::with_seed(7)), Arc::clone(&panics));
            // A call that breaks two executors is found guilty, so that none may panic twice.
            let unlucky: Mutex<HashSet<u64>> = Mutex::default();
            Box::new(move |values: &[u64]| {
                let mut unlucky = lock(&unlucky);
                if lock(&rng).u8(..20) == 0 && values.iter().all(|value| !unlucky.contains(value)) {
                    unlucky.extend(values);
                    panics.fetch_add(1, Ordering::Relaxed);
                    panic!("bad luck");
                }
            })
        };
        let limits = MethodLimits { max_batch_size: size(8), timeout: None, ..MethodLimits::default() };
        let restarts = RestartLimits { max_restarts: u32::MAX, ..Stage::default().restarts };
        let scene = Arc::new(Stage { executors: 3, limits, restarts, before, ..Stage::default() }.start());
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let scene = Arc::clone(&scene);
                thread::spawn(move || {
                    for value in thread * CALLS..(thread + 1) * CALLS {
                        let rows = 1 + value as usize % 19;
                        let reply = scene.try_call(value, rows, Act::Echo, None).expect("it is taken");
                        assert_eq!(reply.wait(), Ok(answer(value, rows)));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("right answers"));
        block_on(scene.runner.drain(LONG));
        let (panics, status) = (panics.load(Ordering::Relaxed), scene.runner.status());
        assert!(panics > 10, "only {panics} panics");
        assert_eq!(scene.counts.of("executor exited"), panics);
        assert_eq!(scene.counts.of("executor restarted") as u64, status.restarts);
        assert_eq!(status.executors.iter().map(|executor| executor.restarts).sum::<u64>(), status.restarts);
        assert!(status.restarts as usize >= panics - 3, "each was rebuilt, but where nothing was left to do");
        assert_eq!(scene.counts.of("answered") as u64, THREADS * CALLS);
        assert_eq!(status.exits.len(), panics.min(16));
    });
}

#[test]
fn only_the_call_that_breaks_its_executors_gets_the_error() {
    bounded(|| {
        let scene = Stage::default().start();
        let (first, keeper) = scene.occupy(0);
        let calls: Vec<_> =
            (1..=4).map(|value| scene.call(value, if value == 2 { Act::Panic } else { Act::Echo })).collect();
        keeper.open();
        first.wait().expect("an answer");
        for (value, reply) in (1..).zip(calls) {
            let crashed = Err(CallError::Crashed("panicked: told to".into()));
            assert_eq!(reply.wait(), if value == 2 { crashed } else { Ok(answer(value, 1)) });
        }
        assert_eq!(scene.call(5, Act::Echo).wait(), Ok(answer(5, 1)));
        let all = vec![1, 2, 3, 4];
        assert_eq!(
            scene.ran(),
            [vec![0], all.clone(), all, vec![1, 2], vec![3, 4], vec![1], vec![2], vec![2], vec![5]]
        );
        let status = scene.runner.status();
        assert_eq!((status.state, status.restarts), (RunnerState::Ready, 5));
        assert!(status.exits.iter().all(|record| record.exit == Exit::Panicked("told to".into())));
        scene.counts.settle(&[("crashed", 1), ("answered", 5)]);
    });
}

#[test]
fn a_good_call_that_meets_with_an_accident_while_a_guilty_one_is_sought_gets_its_answer() {
    bounded(|| {
        // The third time that it runs is the first time that it runs alone.
        let runs = AtomicUsize::new(0);
        let before = Box::new(move |values: &[u64]| {
            let is_third = values.contains(&1) && runs.fetch_add(1, Ordering::Relaxed) == 2;
            assert!(!is_third, "an accident");
        });
        let scene = Stage { before, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let (good, bad) = (scene.call(1, Act::Echo), scene.call(2, Act::Panic));
        keeper.open();
        first.wait().expect("an answer");
        assert_eq!(good.wait(), Ok(answer(1, 1)));
        assert_eq!(bad.wait(), Err(CallError::Crashed("panicked: told to".into())));
        assert_eq!(scene.ran(), [vec![0], vec![1, 2], vec![1, 2], vec![1], vec![2], vec![1], vec![2]]);
    });
}

#[test]
fn calls_that_break_executors_do_not_spend_the_budget_of_a_runner_that_works() {
    bounded(|| {
        let restarts = RestartLimits { max_restarts: 1, ..Stage::default().restarts };
        let scene = Stage { restarts, ..Stage::default() }.start();
        for value in (0..30).step_by(3) {
            let (first, keeper) = scene.occupy(value);
            let (bad, good) = (scene.call(value + 1, Act::Panic), scene.call(value + 2, Act::Echo));
            keeper.open();
            first.wait().expect("an answer");
            assert!(matches!(bad.wait(), Err(CallError::Crashed(_))));
            assert_eq!(good.wait(), Ok(answer(value + 2, 1)));
        }
        // It has run nothing well since this one broke it, or the last one.
        assert!(matches!(scene.call(31, Act::Panic).wait(), Err(CallError::Crashed(_))));
        let spent = scene.call(32, Act::Panic).wait().expect_err("it breaks on everything");
        assert!(unavailable(&spent).contains("the restart budget is spent"), "{spent}");
    });
}

#[test]
fn a_method_that_must_run_once_is_not_retried() {
    bounded(|| {
        let limits = MethodLimits { retry: false, ..MethodLimits::default() };
        let scene = Stage { limits, ..Stage::default() }.start();
        assert!(matches!(scene.call(1, Act::Panic).wait(), Err(CallError::Crashed(_))));
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
        assert_eq!(scene.ran(), [[1], [2]]);
    });
}

#[test]
fn panics_need_no_message() {
    bounded(|| {
        let scene = Stage::default().start();
        let error = CallError::Crashed("panicked: a panic without a message".into());
        assert_eq!(scene.call(1, Act::PanicOddly).wait(), Err(error));
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
    });
}

#[test]
fn a_worker_may_panic_when_it_is_dropped() {
    bounded(|| {
        let scene = Stage { on_drop: Box::new(|| panic!("told to, in drop")), ..Stage::default() }.start();
        assert_eq!(scene.call(1, Act::Panic).wait(), Err(CallError::Crashed("panicked: told to".into())));
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
        block_on(scene.runner.drain(LONG));
        assert_eq!(scene.runner.status().state, RunnerState::Stopped);
        scene.counts.settle(&[("executor exited", 2)]);
    });
}

#[test]
fn nobody_waits_for_a_broken_worker_to_be_dropped() {
    bounded(|| {
        let (stuck, keeper) = gate();
        let (first_run, first_drop) = (AtomicBool::new(true), AtomicBool::new(true));
        let before = Box::new(move |_: &[u64]| assert!(!first_run.swap(false, Ordering::Relaxed), "told to, once"));
        let on_drop = Box::new(move || {
            if first_drop.swap(false, Ordering::Relaxed) {
                stuck.pass();
            }
        });
        let scene = Stage { before, on_drop, ..Stage::default() }.start();
        let answered = scene.call(1, Act::Echo).wait();
        assert_eq!(answered, Ok(answer(1, 1)), "on a fresh executor, while the old one is stuck");
        drop(keeper);
    });
}

#[test]
fn a_worker_that_panics_at_first_is_opened_again() {
    bounded(|| {
        let open = Box::new(|_, nth| {
            assert!(nth >= 2, "too early");
            Ok(())
        });
        let scene = Stage { open, ..Stage::default() }.start();
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)));
        let status = scene.runner.status();
        assert_eq!(status.restarts, 2);
        assert!(status.exits.iter().all(|record| record.exit == Exit::Panicked("too early".into())), "{status:?}");
    });
}

#[test]
fn a_worker_that_cannot_be_rebuilt_at_once_is_tried_again_while_calls_wait() {
    bounded(|| {
        let open = Box::new(|_, nth| match nth {
            1 => panic!("the second never opens"),
            2 | 3 => Err(OpenError::new("nor do these")),
            _ => Ok(()),
        });
        let scene = Stage { open, ..Stage::default() }.start();
        let (gate, keeper) = gate();
        let first = scene.call(1, Act::GateAndPanic(gate));
        keeper.wait();
        let second = scene.call(2, Act::Echo);
        drop(keeper);
        assert!(matches!(first.wait(), Err(CallError::Crashed(_))));
        assert_eq!(second.wait(), Ok(answer(2, 1)));
        scene.counts.settle(&[("executor exited", 5)]);
    });
}

#[test]
fn an_error_at_the_first_start_fails_the_runner_at_once() {
    bounded(|| {
        let open = Box::new(|_, _| Err(OpenError::new("there is no such model")));
        let scene = Stage { open, executors: 2, ..Stage::default() }.launch();
        let cause = block_on(scene.runner.ready()).expect_err("it fails");
        assert!(cause.contains("could not be opened: there is no such model"), "{cause}");
        assert_eq!(scene.runner.status().state, RunnerState::Failed);
        scene.counts.wait("executor exited", 2);
        block_on(async {
            // The observer hears of the second exit before everybody else.
            while scene.runner.status().executors.iter().any(|executor| executor.state != ExecutorState::Stopped) {
                tokio::task::yield_now().await;
            }
        });
        let refused = scene.try_call(1, 1, Act::Echo, None).expect_err("it has failed");
        assert!(unavailable(&refused).contains("there is no such model"), "{refused}");
        assert_eq!(scene.counts.of("executor restarted"), 0);
        block_on(scene.runner.drain(LONG));
        assert_eq!(scene.runner.status().state, RunnerState::Stopped);
        let refused = scene.try_call(1, 1, Act::Echo, None).expect_err("it has stopped");
        assert!(unavailable(&refused).contains("there is no such model"), "the first cause stays: {refused}");
    });
}

#[test]
fn one_executor_that_cannot_be_opened_fails_the_runner_while_others_still_open() {
    bounded(|| {
        let (gate, keeper) = gate();
        let open = Box::new(move |slot, _| {
            if slot == 0 {
                gate.pass();
                return Ok(());
            }
            Err(OpenError::new("no second device"))
        });
        let scene = Stage { open, executors: 2, ..Stage::default() }.launch();
        keeper.wait();
        let cause = block_on(scene.runner.ready()).expect_err("it fails");
        assert!(cause.contains("executor 1 could not be opened: no second device"), "{cause}");
        keeper.open();
        block_on(async {
            while scene.runner.status().executors.iter().any(|executor| executor.state != ExecutorState::Stopped) {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(scene.runner.status().state, RunnerState::Failed);
    });
}

#[test]
fn out_of_budget_the_runner_fails_and_tells_everybody_why() {
    bounded(|| {
        let scene = Stage { restarts: no_restarts(), ..Stage::default() }.start();
        let (gate, keeper) = gate();
        let first = scene.call(1, Act::GateAndPanic(gate));
        keeper.wait();
        let second = scene.call(2, Act::Echo);
        keeper.open();
        let errors = [first, second].map(|reply| reply.wait().expect_err("nobody runs it"));
        for error in errors {
            assert!(unavailable(&error).contains("the restart budget is spent"), "{error}");
            assert!(unavailable(&error).contains("told to, behind the gate"), "{error}");
        }
        let status = scene.until(RunnerState::Failed);
        assert!(status.cause.is_some_and(|cause| cause.contains("the restart budget is spent")));
        assert_eq!(status.executors[0].state, ExecutorState::Stopped);
        let refused = scene.try_call(3, 1, Act::Echo, None).expect_err("it has failed");
        assert!(unavailable(&refused).contains("the restart budget is spent"), "{refused}");
        scene.counts.settle(&[("unavailable", 3)]);
    });
}

#[test]
fn a_call_that_cannot_be_in_time_is_refused_while_nobody_is_up() {
    bounded(|| {
        let restarts = RestartLimits { backoff: LONG * 100, max_backoff: LONG * 100, ..RestartLimits::default() };
        let scene = Stage { restarts, ..Stage::default() }.start();
        let waits = scene.call(1, Act::Panic);
        scene.until(RunnerState::Restarting);
        let hasty = scene.try_call(2, 1, Act::Echo, Some(LONG)).expect_err("it would be too late");
        assert!(hasty.retry_after().is_some_and(|after| after > LONG), "{hasty:?}");
        let patient = scene.call(3, Act::Echo);
        drop(scene.runtime);
        for reply in [waits, patient] {
            assert_eq!(unavailable(&reply.wait().expect_err("nobody runs it")), "the runner's supervisor has ended");
        }
    });
}

#[test]
fn calls_whose_callers_have_gone_are_counted_when_their_executor_is_lost() {
    bounded(|| {
        let scene = Stage::default().start();
        let (gate, keeper) = gate();
        let first = scene.call(1, Act::GateAndPanic(gate));
        keeper.wait();
        drop(first);
        keeper.open();
        scene.counts.wait("cancelled", 1);
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
        assert_eq!(scene.ran(), [[1], [2]], "nobody wants it run again");
    });
}

#[test]
fn an_executor_without_a_thread_fails_the_runner() {
    bounded(|| {
        let scene = Stage { no_threads: true, ..Stage::default() }.launch();
        let cause = block_on(scene.runner.ready()).expect_err("it fails");
        assert_eq!(&*cause, "executor 0 could not be opened: no thread could be started: too many");
    });
}
