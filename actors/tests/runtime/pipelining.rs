//! Executors whose devices are handed a batch before they have finished the one before.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use ekiden_actors::{CallError, MethodLimits, Reply};

use crate::stage::{Act, Gate, Keeper, LONG, Scene, Stage, Toy, answer, bounded, gate, lock, size};

fn stage(depth: usize) -> Stage {
    let limits = MethodLimits { max_batch_size: size(2), timeout: None, ..MethodLimits::default() };
    Stage { depth, limits, ..Stage::default() }
}

impl Scene {
    fn launched(&self) -> Vec<Vec<u64>> {
        lock(&self.script.launched).clone()
    }
}

/// Has the executor come to a gate in the batch of 1 and 2, when 3, 4 and 5 wait too.
fn two_batches_and_a_half(scene: &Scene, act: impl FnOnce(Arc<Gate>) -> Act) -> (Vec<Reply<Toy>>, Keeper) {
    let (first, keeper) = scene.occupy(0);
    let (gate, in_the_second) = gate();
    let act = act(gate);
    let is_gated = !matches!(act, Act::Echo);
    let mut replies = vec![scene.call(1, act)];
    replies.extend((2..6).map(|value| scene.call(value, Act::Echo)));
    keeper.open();
    assert_eq!(first.wait(), Ok(answer(0, 1)));
    if is_gated {
        in_the_second.wait();
    }
    (replies, in_the_second)
}

fn all_answered(replies: Vec<Reply<Toy>>) {
    for (value, reply) in (1..).zip(replies) {
        assert_eq!(reply.wait(), Ok(answer(value, 1)));
    }
}

#[test]
fn a_full_batch_is_launched_before_the_one_before_it_is_finished() {
    bounded(|| {
        let scene = stage(2).start();
        let (replies, keeper) = two_batches_and_a_half(&scene, Act::Gate);
        assert_eq!(scene.launched(), [vec![0], vec![1, 2], vec![3, 4]], "and 5 may have company");
        assert_eq!(scene.ran(), [vec![0], vec![1, 2]]);
        keeper.open();
        all_answered(replies);
        assert_eq!(scene.ran(), [vec![0], vec![1, 2], vec![3, 4], vec![5]]);
        scene.counts.settle(&[("answered", 6), ("batch ran", 4)]);
    });
}

#[test]
fn a_batch_that_is_not_full_is_not_launched_ahead() {
    bounded(|| {
        let scene = stage(2).start();
        let (first, keeper) = scene.occupy(0);
        let (gate, in_the_second) = gate();
        let gated = [scene.call(1, Act::Gate(gate)), scene.call(2, Act::Echo), scene.call(3, Act::Echo)];
        keeper.open();
        first.wait().expect("an answer");
        in_the_second.wait();
        assert_eq!(scene.launched(), [vec![0], vec![1, 2]]);
        // Its company comes.
        let late = scene.call(4, Act::Echo);
        in_the_second.open();
        all_answered(gated.into_iter().chain([late]).collect());
        assert_eq!(scene.ran(), [vec![0], vec![1, 2], vec![3, 4]]);
    });
}

#[test]
fn a_device_is_handed_as_many_batches_as_it_has_room_for() {
    bounded(|| {
        let scene = stage(1).start();
        let (replies, keeper) = two_batches_and_a_half(&scene, Act::Gate);
        assert_eq!(scene.launched(), [vec![0], vec![1, 2]]);
        keeper.open();
        all_answered(replies);

        let scene = stage(3).start();
        let (first, keeper) = scene.occupy(0);
        let (gate, in_the_second) = gate();
        let gated = scene.call(1, Act::Gate(gate));
        let replies: Vec<_> = (2..10).map(|value| scene.call(value, Act::Echo)).collect();
        keeper.open();
        in_the_second.wait();
        assert_eq!(scene.launched(), [vec![0], vec![1, 2], vec![3, 4], vec![5, 6]]);
        in_the_second.open();
        let all = [first, gated].into_iter().chain(replies);
        for (value, reply) in (0..).zip(all) {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
    });
}

#[test]
fn what_may_run_only_once_has_no_company() {
    bounded(|| {
        let limits = MethodLimits { retry: false, ..stage(2).limits };
        let scene = Stage { limits, ..stage(2) }.start();
        let (replies, keeper) = two_batches_and_a_half(&scene, Act::Gate);
        assert_eq!(scene.launched(), [vec![0], vec![1, 2]]);
        keeper.open();
        all_answered(replies);
    });
}

#[test]
fn a_call_that_breaks_its_executor_takes_none_of_its_company_with_it() {
    bounded(|| {
        let scene = stage(2).start();
        let (replies, keeper) = two_batches_and_a_half(&scene, Act::GateAndPanic);
        assert_eq!(scene.launched().len(), 3, "it has company");
        // As often as it is run.
        drop(keeper);
        for (value, reply) in (1..).zip(replies) {
            match reply.wait() {
                Err(CallError::Crashed(_)) => assert_eq!(value, 1),
                other => assert_eq!(other, Ok(answer(value, 1))),
            }
        }
        scene.counts.settle(&[("answered", 5), ("crashed", 1)]);
        // In company once, then beside 2, and twice alone.
        scene.counts.wait("executor exited", 4);
        assert_eq!(scene.counts.of("executor exited"), 4);
    });
}

#[test]
fn a_device_without_memory_for_two_is_given_one_at_a_time() {
    bounded(|| {
        let scene = Stage { memory: 1, ..stage(2) }.start();
        let (replies, keeper) = two_batches_and_a_half(&scene, |_| Act::Echo);
        drop(keeper);
        all_answered(replies);
        let ran = scene.ran();
        let expected: [&[u64]; 5] = [&[0], &[1, 2], &[3, 4], &[1, 2], &[3, 4]];
        assert_eq!(ran[..5], expected, "each is tried again by itself before it is cut");
        assert!(ran[5..].iter().all(|batch| batch.len() == 1), "{ran:?}");

        scene.set_memory(2);
        let (replies, keeper) = two_batches_and_a_half(&scene, Act::Gate);
        let (launched, ran) = (scene.launched().len(), scene.ran().len());
        assert_eq!(launched, ran, "nothing is handed ahead any more");
        drop(keeper);
        all_answered(replies);
    });
}

#[test]
fn a_device_that_others_wait_for_is_handed_nothing_ahead() {
    bounded(|| {
        let (runs, running) = channel();
        // Each batch is told of before it runs, and waits until it is let go.
        let shared = |name: &'static str| {
            let (go, gone) = channel::<()>();
            let (runs, gone) = (runs.clone(), Mutex::new(gone));
            let before = Box::new(move |_: &[u64]| {
                let _ = runs.send(name);
                let _ = lock(&gone).recv();
            });
            (go, Stage { before, shared_device: |_| Some("gpu"), ..stage(2) })
        };
        let ((go_on, other), (done, one)) = (shared("other"), shared("one"));
        let other = other.start();
        let one = Stage { runtime: Some(Arc::clone(&other.runtime)), ..one }.start();
        let mut others: Vec<_> = (0..4).map(|value| other.call(value, Act::Echo)).collect();
        assert_eq!(running.recv_timeout(LONG), Ok("other"));
        let replies: Vec<_> = (1..6).map(|value| one.call(value, Act::Echo)).collect();
        // The other one has had the device, and goes on until this one has asked for it, always with work left.
        loop {
            others.extend((0..4).map(|value| other.call(value, Act::Echo)));
            go_on.send(()).expect("it waits");
            if running.recv_timeout(LONG).expect("one of them runs") == "one" {
                break;
            }
        }
        assert_eq!(one.launched(), [[1, 2]], "another one waits");
        drop((go_on, done));
        all_answered(replies);
        others.into_iter().for_each(|reply| drop(reply.wait().expect("an answer")));
    });
}
