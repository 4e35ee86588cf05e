//! Devices that several executors share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ekiden_actors::{Batching, CallError, Exit, MethodLimits, Reply, Runtime};

use crate::stage::{Act, LONG, Scene, Stage, Toy, answer, block_on, bounded, gate, lock, ms};

fn runtime() -> Arc<Runtime> {
    Arc::new(Runtime::start().expect("a runtime"))
}

/// A runner whose executors all share one device.
fn on_device(runtime: &Arc<Runtime>, stage: Stage) -> Scene {
    Stage { runtime: Some(Arc::clone(runtime)), shared_device: |_| Some("gpu:0"), ..stage }.start()
}

/// Two of them.
fn two() -> (Scene, Scene) {
    let runtime = runtime();
    (on_device(&runtime, Stage::default()), on_device(&runtime, Stage::default()))
}

fn is_right(reply: Reply<Toy>, value: u64) {
    assert_eq!(reply.wait(), Ok(answer(value, 1)));
}

#[test]
fn what_waits_for_its_turn_waits_together_and_leaves_when_its_time_has_passed() {
    bounded(|| {
        let (one, other) = two();
        let (first, keeper) = one.occupy(0);
        let late = other.try_call(9, 1, Act::Echo, Some(ms(5))).expect("it is taken");
        assert!(matches!(late.wait(), Err(CallError::DeadlineExceeded { .. })));
        let replies: Vec<_> = (1..=5).map(|value| other.call(value, Act::Echo)).collect();
        assert_eq!(other.ran(), Vec::<Vec<u64>>::new(), "it is not its turn");
        keeper.open();
        is_right(first, 0);
        replies.into_iter().zip(1..).for_each(|(reply, value)| is_right(reply, value));
        assert_eq!(other.ran(), [[1, 2, 3, 4, 5]]);
    });
}

#[test]
fn work_goes_to_an_executor_whose_device_is_free() {
    bounded(|| {
        let runtime = runtime();
        let one = on_device(&runtime, Stage::default());
        let shared_device = |slot| (slot == 0).then_some("gpu:0");
        let other =
            Stage { runtime: Some(Arc::clone(&runtime)), executors: 2, shared_device, ..Stage::default() }.start();
        let (first, keeper) = one.occupy(0);
        (1..=20).for_each(|value| is_right(other.call(value, Act::Echo), value));
        keeper.open();
        is_right(first, 0);
    });
}

#[test]
fn however_an_executor_ends_its_turn_ends() {
    let check = |stage: Stage, act: fn(Arc<crate::stage::Gate>) -> Act, is_opened: bool| {
        let runtime = runtime();
        let one = on_device(&runtime, stage);
        let other = on_device(&runtime, Stage::default());
        let (gate, keeper) = gate();
        let broken = one.call(0, act(gate));
        keeper.wait();
        let waits = other.call(1, Act::Echo);
        // What hangs, hangs on while the others have their turns.
        let _kept = (!is_opened).then_some(keeper);
        is_right(waits, 1);
        assert!(matches!(broken.wait(), Err(CallError::Crashed(_))));
        is_right(one.call(2, Act::Echo), 2);
        is_right(other.call(3, Act::Echo), 3);
    };
    bounded(move || {
        check(Stage::default(), Act::GateAndPanic, true);
        check(Stage::default(), |gate| Act::GateAndLost(gate, Exit::ProcessDied("signal 9".into())), true);
        let limits = MethodLimits { batch_timeout: Some(ms(20)), timeout: None, ..MethodLimits::default() };
        let mut stage = Stage { limits, ..Stage::default() };
        stage.restarts.max_abandoned = 9;
        check(stage, Act::Gate, false);
    });
}

#[test]
fn a_runner_that_has_stopped_keeps_no_device_from_others() {
    bounded(|| {
        let (one, other) = two();
        let (_, _keeper) = one.occupy(0);
        let waits = other.call(1, Act::Echo);
        block_on(one.runner.drain(ms(0)));
        is_right(waits, 1);
        // Nor from itself, when it begins anew.
        block_on(one.runner.restart()).expect("it is restarted");
        is_right(one.call(2, Act::Echo), 2);
        is_right(other.call(3, Act::Echo), 3);
    });
}

#[test]
fn whoever_waits_for_a_turn_goes_at_once_when_told_to() {
    bounded(|| {
        let runtime = runtime();
        let one = on_device(&runtime, Stage::default());
        let (gone, has_gone) = channel();
        let on_drop = Box::new(move || {
            let _ = gone.send(());
        });
        let other = on_device(&runtime, Stage { on_drop, ..Stage::default() });
        let (first, keeper) = one.occupy(0);
        let refused = other.call(1, Act::Echo);
        block_on(other.runner.drain(ms(0)));
        assert!(matches!(refused.wait(), Err(CallError::Unavailable { .. })));
        has_gone.recv_timeout(LONG).expect("it waits for a turn that it does not need");
        keeper.open();
        is_right(first, 0);
    });
}

/// Who ran for how long, in order.
type Log = Arc<Mutex<Vec<(usize, Duration)>>>;

type OnBatch = Box<dyn Fn(&[u64]) + Send + Sync>;

/// Runs batches that take the processor for a while, one at a time.
fn busy(log: &Log, inside: &Arc<AtomicUsize>, runner: usize, run: Duration) -> OnBatch {
    let (log, inside) = (Arc::clone(log), Arc::clone(inside));
    Box::new(move |_| {
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two use the device at once");
        let began = Instant::now();
        while began.elapsed() < run {
            std::hint::spin_loop();
        }
        lock(&log).push((runner, began.elapsed()));
        inside.fetch_sub(1, Ordering::SeqCst);
    })
}

#[test]
fn two_floods_share_by_weight_and_a_trickle_is_not_starved() {
    bounded(|| {
        let (runtime, log, inside) = (runtime(), Log::default(), Arc::default());
        let limits = MethodLimits { batching: Batching::Off, timeout: None, ..MethodLimits::default() };
        let runner = |at: usize, executors: usize, weight: f64, micros: u64| {
            let before = busy(&log, &inside, at, Duration::from_micros(micros));
            on_device(&runtime, Stage { executors, weight, limits: limits.clone(), before, ..Stage::default() })
        };
        let scenes = [runner(0, 2, 1.0, 300), runner(1, 1, 3.0, 100)];
        let trickle = runner(2, 1, 1.0, 50);
        let holder = on_device(&runtime, Stage::default());
        let (first, keeper) = holder.occupy(0);
        let floods: Vec<Vec<_>> =
            scenes.iter().map(|scene| (0..900).map(|value| scene.call(value, Act::Echo)).collect()).collect();
        keeper.open();
        is_right(first, 0);
        for value in 0..10 {
            let before = lock(&log).len();
            is_right(trickle.call(value, Act::Echo), value);
            let turns = lock(&log).len() - before;
            // The turn that was being taken, one of each of the others, and as many as come while a thread is slow.
            assert!(turns < 100, "it waited for {turns} turns");
        }
        let replies = floods.into_iter().flatten();
        replies.for_each(|reply| drop(reply.wait().expect("an answer")));
        // While both had work: until the second one had none left, which has as much work and the larger share.
        let log = lock(&log);
        let last = log.iter().rposition(|(runner, _)| *runner == 1).expect("it ran");
        let had = |runner: usize| {
            let own = log[..last].iter().filter(|(of, _)| *of == runner);
            own.map(|(_, took)| took.as_secs_f64()).sum::<f64>()
        };
        let ratio = had(1) / had(0);
        assert!((2.0..4.0).contains(&ratio), "three times as much was to be had, not {ratio}");
    });
}
