//! Devices that run out of memory, and devices that are lost.

use ekiden_actors::{CallError, Cap, Exit, MethodError, MethodLimits, RunnerState};

use crate::stage::{Act, Stage, answer, bounded, gate, size};

fn lost() -> Exit {
    Exit::DeviceLost("an illegal address".into())
}

#[test]
fn a_batch_too_large_for_the_device_runs_in_smaller_ones_now_and_later() {
    bounded(|| {
        let limits = MethodLimits { max_batch_size: size(8), timeout: None, ..MethodLimits::default() };
        let scene = Stage { limits, memory: 3, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let replies: Vec<_> = (1..=8).map(|value| scene.call(value, Act::Echo)).collect();
        keeper.open();
        first.wait().expect("an answer");
        for (value, reply) in (1..).zip(replies) {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
        let all: Vec<u64> = (1..=8).collect();
        // Eight rows are too many, and so are four; two are not.
        let halves = [&all[..4], &all[4..], &all[..2], &all[2..4], &all[4..6], &all[6..]].map(<[u64]>::to_vec);
        assert_eq!(scene.ran(), [vec![vec![0], all.clone()], halves.to_vec()].concat());
        assert_eq!(scene.method.caps(), [Cap { shape: 0, rows: 2 }]);
        assert_eq!((scene.runner.status().restarts, scene.counts.of("out of memory")), (0, 3));

        // A call of more rows is cut, and no batch is too large any more.
        let reply = scene.try_call(9, 7, Act::Echo, None).expect("it is taken");
        assert_eq!(reply.wait(), Ok(answer(9, 7)));
        assert_eq!(scene.counts.of("out of memory"), 3);

        // There is memory again: after a while, more rows are tried.
        scene.set_memory(usize::MAX);
        for value in 10..60 {
            let reply = scene.try_call(value, 8, Act::Echo, None).expect("it is taken");
            assert_eq!(reply.wait(), Ok(answer(value, 8)));
        }
        assert_eq!(scene.method.caps(), []);
    });
}

#[test]
fn a_row_too_large_for_the_device_is_its_calls_error() {
    bounded(|| {
        let scene = Stage { memory: 0, ..Stage::default() }.start();
        let error = scene.try_call(1, 2, Act::Echo, None).expect("it is taken").wait().expect_err("no row fits");
        assert_eq!(error, CallError::Method(MethodError::failed("out of memory: 1 rows")));
        assert_eq!(error.code(), "method_failed");
        scene.set_memory(1);
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
        assert_eq!(scene.runner.status().restarts, 0);
    });
}

#[test]
fn a_lost_device_fails_the_runner_at_once_and_names_the_cure() {
    bounded(|| {
        let scene = Stage::default().start();
        let (gate, keeper) = gate();
        let first = scene.call(1, Act::GateAndLost(gate, lost()));
        keeper.wait();
        let second = scene.call(2, Act::Echo);
        keeper.open();
        for reply in [first, second] {
            let Err(CallError::Unavailable { cause, .. }) = reply.wait() else { panic!("nobody runs it") };
            assert!(cause.contains("executor 0 lost its device: an illegal address"), "{cause}");
            assert!(cause.contains("isolation = \"process\""), "{cause}");
        }
        let status = scene.until(RunnerState::Failed);
        assert_eq!((status.restarts, &status.exits[0].exit), (0, &lost()));
        scene.counts.settle(&[("device_lost", 1), ("unavailable", 2)]);
    });
}

#[test]
fn a_lost_device_is_cured_by_a_new_worker_that_has_its_own() {
    bounded(|| {
        let scene = Stage { cures_devices: true, ..Stage::default() }.start();
        let (gate, keeper) = gate();
        let first = scene.call(1, Act::GateAndLost(gate, lost()));
        keeper.wait();
        drop(keeper);
        assert_eq!(first.wait(), Err(CallError::Crashed("lost its device: an illegal address".into())));
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
        scene.counts.settle(&[("device_lost", 2), ("answered", 1)]);
        assert_eq!(scene.runner.status().restarts, 2);
    });
}
