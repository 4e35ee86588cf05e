//! Executors whose devices are handed a batch before they have finished the one before.

use ekiden_actors::{CallError, MethodLimits, Reply};

use crate::stage::{Act, Keeper, Scene, Stage, Toy, answer, bounded, gate, lock, size};

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
fn two_batches_and_a_half(
    scene: &Scene,
    act: impl FnOnce(std::sync::Arc<crate::stage::Gate>) -> Act,
) -> (Vec<Reply<Toy>>, Keeper) {
    let (first, keeper) = scene.occupy(0);
    let (gate, in_the_second) = gate();
    let mut replies = vec![scene.call(1, act(gate))];
    replies.extend((2..6).map(|value| scene.call(value, Act::Echo)));
    keeper.open();
    assert_eq!(first.wait(), Ok(answer(0, 1)));
    in_the_second.wait();
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
fn a_device_that_others_wait_for_is_handed_nothing_ahead() {
    bounded(|| {
        let shared = |depth| Stage { shared_device: |_| Some("gpu"), ..stage(depth) };
        let scene = shared(2).start();
        // One turn is more than its share for a long time.
        let other = Stage { runtime: Some(std::sync::Arc::clone(&scene.runtime)), weight: 0.001, ..shared(2) }.start();
        let (first, keeper) = scene.occupy(0);
        let (gate, in_the_second) = gate();
        let gated = scene.call(1, Act::Gate(gate));
        let (gate, in_the_others) = crate::stage::gate();
        let others = [other.call(0, Act::Gate(gate)), other.call(1, Act::Echo), other.call(2, Act::Echo)];
        let replies: Vec<_> = (2..6).map(|value| scene.call(value, Act::Echo)).collect();
        keeper.open();
        // It has had the device, so that the other one goes first.
        in_the_others.wait();
        in_the_others.open();
        in_the_second.wait();
        assert_eq!(scene.launched(), [vec![0], vec![1, 2]], "the other one has work");
        in_the_second.open();
        let all = [first, gated].into_iter().chain(replies);
        for (value, reply) in (0..).zip(all) {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
        others.into_iter().for_each(|reply| drop(reply.wait().expect("an answer")));
    });
}
