//! What operators have a runner do: pause, resume, restart.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ekiden_actors::{
    Batching, CallError, CallOptions, Exit, Group, KillSwitch, MethodLimits, OpenError, OrderError, RestartLimits,
    RunnerState,
};

use crate::stage::{Act, Input, LONG, Scene, Stage, answer, block_on, bounded, gate, lock, ms, size};

fn unlimited() -> MethodLimits {
    MethodLimits { timeout: None, ..MethodLimits::default() }
}

fn opened(scene: &Scene) -> usize {
    scene.script.opened.load(Ordering::Relaxed)
}

#[test]
fn a_pause_keeps_calls_until_the_runner_goes_on_but_not_beyond_their_deadlines() {
    bounded(|| {
        let scene = Stage::default().start();
        let (running, keeper) = scene.occupy(0);
        block_on(scene.runner.pause()).expect("it is paused");
        scene.until(RunnerState::Paused);
        let waiting = scene.call(1, Act::Echo);
        let late = scene.try_call(2, 1, Act::Echo, Some(ms(5))).expect("it is taken");
        keeper.open();
        assert_eq!(running.wait(), Ok(answer(0, 1)), "what runs is finished");
        assert_eq!(late.wait(), Err(CallError::DeadlineExceeded { timeout: ms(5), expected: None }));
        assert_eq!((scene.method.queued_rows(), scene.ran()), (1, vec![vec![0]]));
        block_on(scene.runner.pause()).expect("it is paused already");
        block_on(scene.runner.resume()).expect("it goes on");
        assert_eq!(waiting.wait(), Ok(answer(1, 1)));
        assert_eq!(scene.runner.status().state, RunnerState::Ready);
        scene.counts.settle(&[("paused", 1), ("ready", 2), ("answered", 2), ("deadline_exceeded", 1)]);
    });
}

#[test]
fn a_runner_that_drains_does_not_stay_paused() {
    bounded(|| {
        let scene = Stage::default().start();
        block_on(scene.runner.pause()).expect("it is paused");
        let waiting = scene.call(1, Act::Echo);
        block_on(scene.runner.drain(LONG));
        assert_eq!(waiting.wait(), Ok(answer(1, 1)));
    });
}

#[test]
fn an_executor_that_dies_in_a_pause_is_rebuilt_and_its_batch_waits() {
    bounded(|| {
        let scene = Stage::default().start();
        let (gate, keeper) = gate();
        let dies = scene.call(1, Act::GateAndPanic(gate));
        keeper.wait();
        block_on(scene.runner.pause()).expect("it is paused");
        keeper.open();
        scene.counts.wait("executor restarted", 1);
        assert_eq!(scene.runner.status().state, RunnerState::Paused);
        drop(keeper);
        block_on(scene.runner.resume()).expect("it goes on");
        assert!(matches!(dies.wait(), Err(CallError::Crashed(_))), "it breaks the next one too");
    });
}

#[test]
fn orders_that_make_no_sense_are_refused_with_what_would() {
    bounded(|| {
        let (gate, keeper) = gate();
        let open = Box::new(move |_, nth| {
            if nth == 0 {
                gate.pass()
            }
            Ok(())
        });
        let scene = Stage { open, ..Stage::default() }.launch();
        keeper.wait();
        let check = |order: &str, state| {
            let outcome = block_on(async {
                match order {
                    "pause" => scene.runner.pause().await,
                    "resume" => scene.runner.resume().await,
                    _ => scene.runner.restart().await,
                }
            });
            let error = outcome.expect_err(order);
            assert_eq!(error, OrderError::Impossible { state });
            error.to_string()
        };
        assert_eq!(check("pause", RunnerState::Starting), "the runner is starting; wait until it is ready");
        check("restart", RunnerState::Starting);
        keeper.open();
        block_on(scene.runner.ready()).expect("it is ready");
        let (running, keeper) = scene.occupy(0);
        let drain = thread::spawn({
            let runner = scene.runner.clone();
            move || block_on(runner.drain(LONG))
        });
        scene.counts.wait("draining", 1);
        let message = check("restart", RunnerState::Draining);
        assert_eq!(message, "the runner is draining; wait until it has stopped, and restart it");
        keeper.open();
        assert!(running.wait().is_ok());
        drain.join().expect("drained");
        assert_eq!(check("pause", RunnerState::Stopped), "the runner is stopped; restart it first");
        check("resume", RunnerState::Stopped);
    });
}

/// Counts the workers that are open, and the most and the fewest that ever were.
#[derive(Default)]
struct Open(Mutex<(usize, usize, Vec<usize>)>);

impl Open {
    /// A stage whose workers are counted.
    fn stage() -> (Arc<Self>, Stage) {
        let open = Arc::new(Self::default());
        let (opens, drops) = (Arc::clone(&open), Arc::clone(&open));
        let stage = Stage {
            open: Box::new(move |_, _| {
                opens.change(1);
                Ok(())
            }),
            on_drop: Box::new(move || drops.change(-1)),
            limits: unlimited(),
            ..Stage::default()
        };
        (open, stage)
    }

    fn change(&self, by: isize) {
        let mut open = lock(&self.0);
        open.0 = open.0.saturating_add_signed(by);
        let now = open.0;
        open.2.push(now);
    }

    /// How many were open after each change, since this was last asked.
    fn history(&self) -> Vec<usize> {
        std::mem::take(&mut lock(&self.0).2)
    }
}

#[test]
fn a_restart_opens_the_new_executor_beside_the_old_one_and_takes_one_after_the_other() {
    bounded(|| {
        let (open, stage) = Open::stage();
        let scene = Stage { executors: 3, ..stage }.start();
        open.history();
        block_on(scene.runner.restart()).expect("it is restarted");
        assert_eq!(open.history(), [4, 3, 4, 3, 4, 3]);
        let status = scene.runner.status();
        assert_eq!((status.state, status.restarts, status.exits.len()), (RunnerState::Ready, 3, 0));
        scene.counts.settle(&[("ready", 1), ("executor restarted", 3)]);
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)));
    });
}

#[test]
fn where_there_is_no_room_for_two_calls_wait_while_the_executor_is_replaced() {
    bounded(|| {
        let (open, stage) = Open::stage();
        let scene = Stage { has_room: false, ..stage }.start();
        open.history();
        let (running, keeper) = scene.occupy(0);
        let waiting = scene.call(1, Act::Echo);
        let restart = thread::spawn({
            let runner = scene.runner.clone();
            move || block_on(runner.restart())
        });
        keeper.open();
        assert_eq!((running.wait(), waiting.wait()), (Ok(answer(0, 1)), Ok(answer(1, 1))));
        restart.join().expect("no panic").expect("it is restarted");
        assert_eq!(open.history(), [0, 1]);
    });
}

#[test]
fn a_restart_whose_new_executor_does_not_open_leaves_the_old_one() {
    bounded(|| {
        let open = Box::new(|_, nth| if nth == 1 { Err(OpenError::new("no weights")) } else { Ok(()) });
        let scene = Stage { open, ..Stage::default() }.start();
        let error = block_on(scene.runner.restart()).expect_err("it does not open");
        let message = "the new executor 0 could not be opened: no weights; the old one goes on";
        assert_eq!(error.to_string(), message);
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)));
        assert_eq!(scene.runner.status().state, RunnerState::Ready);
        block_on(scene.runner.restart()).expect("now it opens");
        assert_eq!(opened(&scene), 3);
    });
}

#[test]
fn one_restart_at_a_time() {
    bounded(|| {
        let (gate, keeper) = gate();
        let open = Box::new(move |_, nth| {
            if nth == 1 {
                gate.pass()
            }
            Ok(())
        });
        let scene = Stage { open, ..Stage::default() }.start();
        let restart = thread::spawn({
            let runner = scene.runner.clone();
            move || block_on(runner.restart())
        });
        keeper.wait();
        assert_eq!(block_on(scene.runner.restart()), Err(OrderError::Busy));
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)), "the old one goes on meanwhile");
        // A drain comes before a restart.
        let drain = thread::spawn({
            let runner = scene.runner.clone();
            move || block_on(runner.drain(LONG))
        });
        let error = restart.join().expect("no panic").expect_err("it was not restarted");
        assert_eq!(error.to_string(), "the runner was told to drain meanwhile");
        drain.join().expect("drained");
        keeper.open();
    });
}

#[test]
fn a_failed_runner_begins_anew_with_a_budget_of_its_own() {
    bounded(|| {
        let restarts =
            RestartLimits { max_restarts: 1, backoff: ms(0), max_backoff: ms(0), ..RestartLimits::default() };
        let scene = Stage { restarts, ..Stage::default() }.start();
        for round in 1..=3 {
            // Each breaks an executor and the one after it, which is free; and the budget is for one.
            assert!(scene.call(1, Act::Panic).wait().is_err());
            assert!(scene.call(2, Act::Panic).wait().is_err());
            scene.counts.wait("failed", round);
            assert_eq!(scene.runner.status().restarts_in_window(std::time::Instant::now()), 1);
            // Its end is told before calls are refused.
            while scene.try_call(2, 1, Act::Echo, None).is_ok() {
                thread::yield_now();
            }
            block_on(scene.runner.restart()).expect("it begins anew");
            let status = scene.runner.status();
            assert_eq!((status.state, &status.cause), (RunnerState::Ready, &None));
            assert_eq!(status.restarts_in_window(std::time::Instant::now()), 0);
            assert_eq!(scene.call(3, Act::Echo).wait(), Ok(answer(3, 1)));
        }
        let status = scene.runner.status();
        assert_eq!((status.exits.len(), status.restarts), (9, 9));
    });
}

#[test]
fn a_runner_that_cannot_be_opened_fails_again_with_its_cause() {
    bounded(|| {
        let scene = Stage { open: Box::new(|_, _| Err(OpenError::new("no weights"))), ..Stage::default() }.launch();
        block_on(scene.runner.ready()).expect_err("it does not open");
        let error = block_on(scene.runner.restart()).expect_err("it still does not");
        assert_eq!(error, OrderError::Failed("executor 0 could not be opened: no weights".into()));
    });
}

#[test]
fn a_runner_that_has_stopped_begins_anew_without_those_who_have_not_noticed() {
    bounded(|| {
        let limits =
            MethodLimits { batching: Batching::Window, max_latency: LONG, max_batch_size: size(2), ..unlimited() };
        let (open, stage) = Open::stage();
        let scene = Stage { limits, ..stage }.start();
        let (gate, keeper) = gate();
        let stuck = scene.try_call(0, 2, Act::Gate(gate), None).expect("it is taken");
        keeper.wait();
        block_on(scene.runner.drain(Duration::ZERO));
        assert!(matches!(stuck.wait(), Err(CallError::Unavailable { .. })));
        block_on(scene.runner.restart()).expect("it begins anew");
        assert_eq!(scene.runner.status().state, RunnerState::Ready);
        // The old executor comes back from its batch, and finds that it has been given up.
        keeper.open();
        while open.history().last() != Some(&1) {
            thread::yield_now();
        }
        let lone = scene.call(1, Act::Echo);
        assert_eq!(scene.method.queued_rows(), 1, "calls wait for company again");
        let other = scene.call(2, Act::Echo);
        assert_eq!((lone.wait(), other.wait()), (Ok(answer(1, 1)), Ok(answer(2, 1))));
        assert_eq!(scene.ran(), [vec![0], vec![1, 2]]);
        block_on(scene.runner.drain(LONG));
        assert!(scene.runner.status().exits.is_empty());
    });
}

#[test]
fn nothing_is_lost_while_executors_are_replaced_and_die() {
    bounded(|| {
        for has_room in [true, false] {
            let batches = AtomicUsize::new(0);
            // Every 97th; what is run again is not.
            let before = Box::new(move |_: &[u64]| {
                assert!(batches.fetch_add(1, Ordering::Relaxed) % 97 != 96, "told to");
            });
            let limits = MethodLimits { max_batch_size: size(4), ..unlimited() };
            let scene = Stage { executors: 3, limits, before, has_room, ..Stage::default() }.start();
            thread::scope(|scope| {
                for caller in 0..4_u64 {
                    let scene = &scene;
                    scope.spawn(move || {
                        for call in 0..500 {
                            let value = caller * 1_000 + call;
                            assert_eq!(scene.call(value, Act::Echo).wait(), Ok(answer(value, 1)));
                        }
                    });
                }
                for _ in 0..20 {
                    block_on(scene.runner.restart()).expect("it is restarted");
                }
            });
            let status = scene.runner.status();
            assert!(status.restarts >= 60, "{status:?}");
            block_on(scene.runner.drain(LONG));
        }
    });
}

#[test]
fn calls_to_a_runner_that_was_replaced_go_to_the_next_one_and_those_it_has_it_answers() {
    bounded(|| {
        let (first, second, third) = (Stage::default().start(), Stage::default().start(), Stage::default().start());
        let (running, keeper) = first.occupy(0);
        let queued = first.call(1, Act::Echo);
        first.runner.succeed(&second.runner, [Some(0)]);
        assert_eq!(first.call(2, Act::Echo).wait(), Ok(answer(2, 1)), "before it drains");
        let drained = thread::spawn({
            let runner = first.runner.clone();
            move || block_on(runner.drain(LONG))
        });
        first.until(RunnerState::Draining);
        assert_eq!(first.call(3, Act::Echo).wait(), Ok(answer(3, 1)));
        let mut group = Group::default();
        let replies: Vec<_> = (4..7)
            .map(|value| {
                let input = Input { value, rows: 1, act: Act::Echo };
                group.call(&first.method, input, size(1), CallOptions::default(), None)
            })
            .collect();
        drop(group);
        for (reply, value) in replies.into_iter().zip(4..) {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
        first.method.call_without_rows().expect("the next one takes it");
        assert_eq!(second.ran().concat(), [2, 3, 4, 5, 6]);

        second.runner.succeed(&third.runner, [Some(0)]);
        block_on(second.runner.drain(LONG));
        assert_eq!(first.call(7, Act::Echo).wait(), Ok(answer(7, 1)), "over two of them");
        assert_eq!(third.ran(), [[7]]);

        keeper.open();
        for (reply, value) in [(running, 0), (queued, 1)] {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
        drained.join().expect("it ends");
        first.counts.settle(&[("answered", 2)]);
        second.counts.settle(&[("answered", 6)]);
        assert_eq!(first.counts.of("unavailable") + second.counts.of("unavailable"), 0);
        assert_eq!(first.call(8, Act::Echo).wait(), Ok(answer(8, 1)), "after its end");
    });
}

#[test]
fn calls_to_a_method_that_the_next_runner_does_not_have_are_told_so() {
    bounded(|| {
        let (first, second) = (Stage::default().start(), Stage::default().start());
        first.runner.succeed(&second.runner, [None]);
        block_on(first.runner.drain(LONG));
        let gone = CallError::unavailable("the runner has been replaced by one that has no such method");
        assert_eq!(first.try_call(2, 1, Act::Echo, None).map(drop), Err(gone.clone()));
        assert_eq!(first.method.call_without_rows(), Err(gone.clone()));
        let mut group = Group::default();
        let input = Input { value: 3, rows: 1, act: Act::Echo };
        let reply = group.call(&first.method, input, size(1), CallOptions::default(), None);
        drop(group);
        assert_eq!(reply.wait(), Err(gone));
        first.counts.settle(&[("unavailable", 3)]);
    });
}

#[test]
fn calls_have_the_time_that_the_newest_runner_gives_them_and_runners_between_are_forgotten() {
    bounded(|| {
        let limits = |timeout| MethodLimits { timeout: Some(timeout), ..MethodLimits::default() };
        let first = Stage { limits: limits(ms(1)), ..Stage::default() }.start();
        let second = Stage { limits: limits(ms(1)), ..Stage::default() }.start();
        let third = Stage { limits: limits(LONG), ..Stage::default() }.start();
        first.runner.succeed(&second.runner, [Some(0)]);
        second.runner.succeed(&third.runner, [Some(0)]);
        let (running, keeper) = first.occupy(0);
        let late = first.try_call(1, 1, Act::Echo, Some(ms(5))).expect("it is taken");
        assert!(matches!(late.wait(), Err(CallError::DeadlineExceeded { .. })), "the time of both others has passed");
        keeper.open();
        assert_eq!(running.wait(), Ok(answer(0, 1)));
        // Its desk tells them what happens, for as long as there is one.
        let counts = Arc::downgrade(&second.counts);
        block_on(second.runner.drain(LONG));
        drop(second);
        while counts.upgrade().is_some() {
            thread::yield_now();
        }
        assert_eq!(first.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
    });
}

#[test]
fn a_drain_that_goes_on_is_shortened_and_tells_what_it_did_not_finish() {
    bounded(|| {
        let scene = Stage::default().start();
        let (running, keeper) = scene.occupy(0);
        let waiting = scene.call(1, Act::Echo);
        let longer = thread::spawn({
            let runner = scene.runner.clone();
            move || block_on(runner.drain(LONG))
        });
        scene.until(RunnerState::Draining);
        block_on(scene.runner.drain(ms(1)));
        longer.join().expect("it ends with the shorter one");
        assert_eq!(scene.runner.status().unfinished, 2);
        let over = Err(CallError::unavailable("the runner has stopped"));
        assert_eq!((running.wait(), waiting.wait()), (over.clone(), over));
        drop(keeper);
    });
}

#[test]
fn what_still_runs_when_a_runner_fails_is_killed_where_it_can_be() {
    bounded(|| {
        let (gate, keeper) = gate();
        let (opener, kills) = (keeper.opener(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&kills);
        let kill_switch: KillSwitch = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            opener();
        });
        let restarts = RestartLimits { max_restarts: 0, ..Stage::default().restarts };
        let limits = MethodLimits { retry: false, ..unlimited() };
        let stage = Stage { executors: 2, kill_switch: Some(kill_switch), restarts, limits, ..Stage::default() };
        let scene = stage.start();
        let endless = scene.call(0, Act::GateAndLost(gate, Exit::ProcessDied("killed".into())));
        keeper.wait();
        assert!(matches!(scene.call(1, Act::Panic).wait(), Err(CallError::Crashed(_))));
        assert!(matches!(endless.wait(), Err(CallError::Unavailable { .. })));
        scene.until(RunnerState::Failed);
        while kills.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        drop(keeper);
    });
}

#[test]
fn what_still_runs_when_the_grace_is_over_is_killed_where_it_can_be() {
    bounded(|| {
        let (gate, keeper) = gate();
        let kill = keeper.opener();
        let kill_switch: KillSwitch = Arc::new(kill);
        let scene = Stage { kill_switch: Some(kill_switch), ..Stage::default() }.start();
        let endless = scene.call(0, Act::GateAndLost(gate, Exit::ProcessDied("killed".into())));
        keeper.wait();
        block_on(scene.runner.drain(ms(1)));
        assert_eq!(endless.wait(), Err(CallError::unavailable("the runner has stopped")));
        // Only the switch opens the gate: the keeper is still here. Its worker lets go of what it shares.
        let script = Arc::downgrade(&scene.script);
        drop(scene);
        while script.upgrade().is_some() {
            thread::yield_now();
        }
        drop(keeper);
    });
}
