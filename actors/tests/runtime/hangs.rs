//! Executors that run a batch for ever, or for too long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ekiden_actors::{CallError, Exit, KillSwitch, MethodLimits, RestartLimits, RunnerState};

use crate::stage::{Act, Keeper, LONG, Scene, Stage, answer, block_on, bounded, gate, ms};

fn limits() -> MethodLimits {
    MethodLimits { batch_timeout: Some(ms(20)), timeout: None, ..MethodLimits::default() }
}

fn stuck() -> Exit {
    Exit::Stuck("a batch ran for more than batch_timeout_ms = 20".into())
}

/// A runner whose first `hangs` runs end when the keeper lets them.
fn hanging(hangs: usize, stage: Stage) -> (Scene, Keeper) {
    let (gate, keeper) = gate();
    let runs = AtomicUsize::new(0);
    let before = Box::new(move |_: &[u64]| {
        if runs.fetch_add(1, Ordering::Relaxed) < hangs {
            gate.pass();
        }
    });
    (Stage { limits: limits(), before, ..stage }.start(), keeper)
}

#[test]
fn a_thread_that_is_stuck_is_abandoned_and_replaced_and_its_batch_run_again() {
    bounded(|| {
        let (scene, keeper) = hanging(1, Stage::default());
        let reply = scene.call(1, Act::Echo);
        assert_eq!(reply.wait(), Ok(answer(1, 1)), "on a fresh executor, while the old one is stuck");
        let status = scene.runner.status();
        assert_eq!((status.state, status.abandoned, status.restarts), (RunnerState::Ready, 1, 1));
        assert_eq!(status.exits.iter().map(|record| record.exit.clone()).collect::<Vec<_>>(), [stuck()]);
        scene.counts.settle(&[("stuck", 1), ("answered", 1)]);
        keeper.open();
        block_on(async {
            while scene.runner.status().abandoned > 0 {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
        block_on(scene.runner.drain(LONG));
        // Its answer came late, and its end was none of the runner's.
        scene.counts.settle(&[("answered", 2), ("executor exited", 1)]);
    });
}

#[test]
fn more_stuck_threads_than_may_be_abandoned_fail_the_runner() {
    bounded(|| {
        let (scene, keeper) = hanging(usize::MAX, Stage::default());
        let endless = scene.call(1, Act::Echo);
        keeper.wait();
        let waits = scene.call(2, Act::Echo);
        assert_eq!(endless.wait(), Err(CallError::Crashed(stuck().to_string().into())), "twice, and alone");
        let error = waits.wait().expect_err("nobody runs it");
        let cause = "executor 0 is stuck: a batch ran for more than batch_timeout_ms = 20, and max_abandoned = 1 others \
                     have not come back; a thread cannot be killed, as a process can (isolation = \"process\")";
        assert_eq!(error, CallError::unavailable(format!("the runner has failed: {cause}")));
        let status = scene.until(RunnerState::Failed);
        assert_eq!((status.cause.as_deref(), status.abandoned), (Some(cause), 2));
        drop(keeper);
    });
}

#[test]
fn a_call_that_hangs_alone_gets_the_error_where_threads_may_be_abandoned() {
    bounded(|| {
        let restarts = RestartLimits { max_abandoned: 4, ..Stage::default().restarts };
        let scene = Stage { limits: limits(), restarts, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let (hang, forever) = gate();
        let endless = scene.call(1, Act::Gate(hang));
        let good = scene.call(2, Act::Echo);
        keeper.open();
        first.wait().expect("an answer");
        assert_eq!(good.wait(), Ok(answer(2, 1)));
        assert_eq!(endless.wait(), Err(CallError::Crashed(stuck().to_string().into())));
        drop(forever);
    });
}

#[test]
fn what_can_be_killed_is_killed_and_not_abandoned() {
    bounded(|| {
        let (gate, keeper) = gate();
        let open = keeper.opener();
        let scene = Stage { limits: limits(), kill_switch: Some(Arc::new(open)), ..Stage::default() }.start();
        let reply = scene.call(1, Act::GateAndLost(gate, Exit::ProcessDied("it was killed".into())));
        assert_eq!(reply.wait(), Err(CallError::Crashed(stuck().to_string().into())));
        let status = scene.runner.status();
        assert_eq!(status.abandoned, 0);
        assert!(status.exits.iter().all(|record| record.exit == stuck()), "{status:?}");
        scene.counts.settle(&[("stuck", 2), ("crashed", 1)]);
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
    });
}

#[test]
fn what_does_not_die_when_it_is_killed_is_abandoned() {
    bounded(|| {
        let kills: Arc<OnceLock<()>> = Arc::default();
        let kill: KillSwitch = {
            let kills = Arc::clone(&kills);
            Arc::new(move || kills.set(()).expect("it is killed once"))
        };
        let (scene, keeper) = hanging(1, Stage { kill_switch: Some(kill), ..Stage::default() });
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)));
        assert!(kills.get().is_some());
        assert_eq!(scene.runner.status().abandoned, 1);
        drop(keeper);
    });
}

#[test]
fn a_worker_whose_process_died_is_rebuilt_and_its_batch_run_again() {
    bounded(|| {
        let scene = Stage::default().start();
        let (first_gate, keeper) = gate();
        let exit = Exit::ProcessDied("signal 9".into());
        let reply = scene.call(1, Act::GateAndLost(first_gate, exit.clone()));
        keeper.wait();
        drop(keeper);
        assert_eq!(reply.wait(), Err(CallError::Crashed("lost its process: signal 9".into())));
        let status = scene.runner.status();
        assert!(status.exits.iter().all(|record| record.exit == exit), "{status:?}");
        scene.counts.settle(&[("process_died", 2), ("crashed", 1)]);
    });
}
