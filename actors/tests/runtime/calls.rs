//! Calls that come to a runner in good health.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use ekiden_actors::{Batching, CallError, CallOptions, Fault, Group, MethodLimits, RunnerState};

use crate::stage::{Act, Input, LONG, OnDrop, Stage, answer, block_on, bounded, gate, lock, ms, size};

#[test]
fn a_lone_call_is_answered() {
    bounded(|| {
        let scene = Stage::default().start();
        assert_eq!(scene.call(7, Act::Echo).wait(), Ok(answer(7, 1)));
        scene.counts.settle(&[("answered", 1)]);
        scene.counts.wait("batch ran", 1);
        assert_eq!(scene.runner.status().state, RunnerState::Ready);
    });
}

#[test]
fn calls_that_wait_share_a_batch_in_their_order() {
    bounded(|| {
        let scene = Stage::default().start();
        let (first, keeper) = scene.occupy(0);
        let replies: Vec<_> = (1..6).map(|value| scene.call(value, Act::Echo)).collect();
        assert_eq!(scene.method.queued_rows(), 5);
        keeper.open();
        assert_eq!(first.wait(), Ok(answer(0, 1)));
        for (value, reply) in (1..).zip(replies) {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
        assert_eq!(scene.ran(), [vec![0], vec![1, 2, 3, 4, 5]]);
    });
}

#[test]
fn with_batching_off_each_call_runs_alone() {
    bounded(|| {
        let limits = MethodLimits { batching: Batching::Off, ..MethodLimits::default() };
        let scene = Stage { limits, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let replies = [scene.call(1, Act::Echo), scene.call(2, Act::Echo)];
        keeper.open();
        first.wait().expect("an answer");
        for reply in replies {
            reply.wait().expect("an answer");
        }
        assert_eq!(scene.ran(), [[0], [1], [2]]);
    });
}

#[test]
fn a_window_is_kept_open_for_as_long_as_its_limit_says() {
    bounded(|| {
        let limits = MethodLimits {
            batching: Batching::Window,
            max_batch_size: size(3),
            max_latency: ms(5),
            ..MethodLimits::default()
        };
        let scene = Stage { limits, ..Stage::default() }.start();
        // It never fills, so that only the limit can start it.
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)));
        assert_eq!(scene.call(2, Act::Echo).wait(), Ok(answer(2, 1)));
    });
}

#[test]
fn a_call_larger_than_a_batch_is_cut_and_rejoined() {
    bounded(|| {
        let limits = MethodLimits { max_batch_size: size(7), ..MethodLimits::default() };
        let scene = Stage { limits, executors: 3, ..Stage::default() }.start();
        let reply = scene.try_call(3, 100, Act::Echo, None).expect("it is taken");
        assert_eq!(reply.wait(), Ok(answer(3, 100)));
        assert!(lock(&scene.script.batches).iter().all(|&(_, rows, _)| rows <= 7));
        scene.counts.settle(&[("answered", 1)]);
    });
}

#[test]
fn outputs_that_cannot_be_joined_fail_their_call_alone() {
    bounded(|| {
        let limits = MethodLimits { max_batch_size: size(7), ..MethodLimits::default() };
        let scene = Stage { limits, ..Stage::default() }.start();
        let reply = scene.try_call(3, 20, Act::PanicInJoin, None).expect("it is taken");
        let Err(CallError::Method(error)) = reply.wait() else { panic!("a method's error") };
        assert_eq!(error.to_string(), "joining its outputs panicked: told to, in join");
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)));
        assert_eq!(scene.counts.of("executor exited"), 0);
    });
}

#[test]
fn replies_can_be_awaited_and_waited_for() {
    bounded(|| {
        let scene = Arc::new(Stage { executors: 2, ..Stage::default() }.start());
        let threads: Vec<_> = (0..8)
            .map(|value| {
                let scene = Arc::clone(&scene);
                thread::spawn(move || assert_eq!(scene.call(value, Act::Echo).wait(), Ok(answer(value, 1))))
            })
            .collect();
        block_on(async {
            let replies: Vec<_> = (10..60).map(|value| (value, scene.call(value, Act::Echo))).collect();
            for (value, reply) in replies {
                assert_eq!(reply.await, Ok(answer(value, 1)));
            }
            // Polled by one task, then by another.
            let (gate, keeper) = gate();
            let mut reply = scene.call(99, Act::Gate(gate));
            assert!(tokio::time::timeout(ms(1), &mut reply).await.is_err());
            keeper.open();
            assert_eq!(reply.await, Ok(answer(99, 1)));
        });
        threads.into_iter().for_each(|thread| thread.join().expect("an answer"));
    });
}

#[test]
fn dropping_the_reply_cancels_a_call_that_waits() {
    bounded(|| {
        let scene = Stage::default().start();
        let (first, keeper) = scene.occupy(0);
        drop(scene.call(1, Act::Echo));
        let last = scene.call(2, Act::Echo);
        keeper.open();
        last.wait().expect("an answer");
        first.wait().expect("an answer");
        assert_eq!(scene.ran(), [[0], [2]], "the cancelled call never reached the worker");
        scene.counts.settle(&[("cancelled", 1)]);
        scene.counts.settle(&[("answered", 2)]);
    });
}

#[test]
fn dropping_the_reply_of_a_call_that_runs_is_counted_once_it_has_run() {
    bounded(|| {
        let scene = Stage::default().start();
        let (first, keeper) = scene.occupy(0);
        drop(first);
        keeper.open();
        scene.counts.wait("cancelled", 1);
        assert_eq!(scene.counts.of("answered"), 0);
    });
}

#[test]
fn deadlines_pass_for_calls_that_wait_and_calls_that_run() {
    bounded(|| {
        let scene = Stage::default().start();
        let (gate, keeper) = gate();
        let runs = scene.try_call(0, 1, Act::Gate(gate), Some(ms(20))).expect("it is taken");
        keeper.wait();
        let waits = scene.try_call(1, 1, Act::Echo, Some(ms(5))).expect("it is taken");
        let patient = scene.call(2, Act::Echo);
        assert_eq!(waits.wait(), Err(CallError::DeadlineExceeded { timeout: ms(5), expected: None }));
        assert_eq!(runs.wait(), Err(CallError::DeadlineExceeded { timeout: ms(20), expected: None }));
        keeper.open();
        assert_eq!(patient.wait(), Ok(answer(2, 1)));
        assert_eq!(scene.ran(), [[0], [2]]);
        scene.counts.settle(&[("deadline_exceeded", 2), ("answered", 1)]);
    });
}

#[test]
fn calls_that_are_handed_in_together_share_a_batch_and_each_gets_its_answer_or_the_reason() {
    bounded(|| {
        let limits = MethodLimits { max_queue_size: size(3), timeout: None, ..MethodLimits::default() };
        let scene = Stage { limits, ..Stage::default() }.start();
        let mut group = Group::default();
        let mut replies: Vec<_> = (0..4)
            .map(|value| {
                let input = Input { value, rows: 1, act: Act::Echo };
                group.call(&scene.method, input, size(1), CallOptions::default(), None)
            })
            .collect();
        assert_eq!(scene.method.queued_rows(), 0, "nothing is queued before the group is handed in");
        drop(group);
        let last = replies.pop().expect("four calls").wait();
        assert!(matches!(last, Err(CallError::QueueFull { waiting: 3, .. })), "{last:?}");
        for (value, reply) in (0..).zip(replies) {
            assert_eq!(reply.wait(), Ok(answer(value, 1)));
        }
        assert_eq!(scene.ran(), [[0, 1, 2]], "the executor was idle, and still they were not run one by one");
        scene.counts.settle(&[("queue_full", 1), ("answered", 3)]);
    });
}

#[test]
fn the_methods_own_timeout_holds_where_the_call_has_none() {
    bounded(|| {
        let limits = MethodLimits { timeout: Some(ms(5)), ..MethodLimits::default() };
        let scene = Stage { limits, ..Stage::default() }.start();
        let (first, _keeper) = scene.occupy(0);
        assert_eq!(first.wait(), Err(CallError::DeadlineExceeded { timeout: ms(5), expected: None }));
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    bounded(|| {
        let limits = MethodLimits { max_queue_size: size(4), timeout: None, ..MethodLimits::default() };
        let scene = Stage { limits, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let large = scene.try_call(1, 9, Act::Echo, None).expect("an empty queue takes a call of any size");
        let error = scene.try_call(2, 1, Act::Echo, None).expect_err("the queue is full");
        assert!(matches!(error, CallError::QueueFull { waiting: 9, rows: 1, limit: 4, .. }), "{error:?}");
        assert!(error.retry_after().is_some_and(|after| !after.is_zero()), "{error:?}");
        drop(large);
        let next = loop {
            // The cancelled call gives up its place, if not at once.
            match scene.try_call(3, 4, Act::Echo, None) {
                Ok(reply) => break reply,
                Err(error) => assert_eq!(error.code(), "queue_full"),
            }
            thread::yield_now();
        };
        keeper.open();
        assert_eq!(next.wait(), Ok(answer(3, 4)));
        first.wait().expect("an answer");
        scene.counts.settle(&[("cancelled", 1), ("answered", 2)]);
    });
}

#[test]
fn an_error_of_the_whole_batch_is_traced_to_its_call() {
    bounded(|| {
        let scene = Stage::default().start();
        let (first, keeper) = scene.occupy(0);
        let act = |value| if value == 6 { Act::Refuse } else { Act::Echo };
        let replies: Vec<_> = (1..9).map(|value| (value, scene.call(value, act(value)))).collect();
        keeper.open();
        for (value, reply) in replies {
            match reply.wait() {
                Err(CallError::Method(error)) => assert_eq!((value, error.fault()), (6, Fault::Input)),
                other => assert_eq!(other, Ok(answer(value, 1))),
            }
        }
        first.wait().expect("an answer");
        scene.counts.settle(&[("answered", 8), ("method_invalid_input", 1)]);
        assert_eq!(scene.counts.of("executor exited"), 0);
    });
}

#[test]
fn a_method_that_must_run_once_is_not_searched_for_the_culprit() {
    bounded(|| {
        let limits = MethodLimits { retry: false, ..MethodLimits::default() };
        let scene = Stage { limits, ..Stage::default() }.start();
        let (first, keeper) = scene.occupy(0);
        let replies = [scene.call(1, Act::Echo), scene.call(2, Act::Refuse)];
        keeper.open();
        first.wait().expect("an answer");
        for reply in replies {
            assert!(matches!(reply.wait(), Err(CallError::Method(_))));
        }
        assert_eq!(scene.ran(), [vec![0], vec![1, 2]]);
    });
}

#[test]
fn too_few_outputs_are_the_methods_error() {
    bounded(|| {
        let scene = Stage::default().start();
        let Err(CallError::Method(error)) = scene.call(1, Act::Swallow).wait() else { panic!("a method's error") };
        assert_eq!(error.to_string(), "the method returned 0 outputs for 1 calls");
    });
}

#[test]
fn each_executor_has_a_thread_of_its_own() {
    bounded(|| {
        let limits = MethodLimits { batching: Batching::Off, ..MethodLimits::default() };
        let scene = Stage { limits, executors: 3, ..Stage::default() }.start();
        let busy: Vec<_> = (0..3).map(|value| scene.occupy(value)).collect();
        let threads: BTreeSet<String> = lock(&scene.script.batches).iter().map(|batch| batch.2.clone()).collect();
        assert_eq!(threads, ["toy/0", "toy/1", "toy/2"].map(str::to_owned).into());
        for (reply, keeper) in busy {
            keeper.open();
            reply.wait().expect("an answer");
        }
    });
}

#[test]
fn a_runner_takes_no_calls_before_it_is_ready() {
    bounded(|| {
        let (gate, keeper) = gate();
        let open = Box::new(move |_, _| {
            gate.pass();
            Ok(())
        });
        let scene = Stage { open, ..Stage::default() }.launch();
        keeper.wait();
        let error = scene.try_call(1, 1, Act::Echo, None).expect_err("it is starting");
        assert_eq!((error.code(), error.to_string().as_str()), ("unavailable", "the runner is starting"));
        assert!(error.retry_after().is_some());
        keeper.open();
        block_on(scene.runner.ready()).expect("it is ready");
        assert_eq!(scene.call(1, Act::Echo).wait(), Ok(answer(1, 1)));
    });
}

#[test]
fn inputs_are_dropped_while_no_lock_is_held() {
    bounded(|| {
        let scene = Stage::default().start();
        for value in 0..20 {
            let (dropped, is_dropped) = channel();
            let method = scene.method.clone();
            let on_drop = Box::new(move || {
                method.queued_rows();
                let _ = dropped.send(());
            });
            assert_eq!(scene.call(value, Act::OnDrop(OnDrop(on_drop))).wait(), Ok(answer(value, 1)));
            is_dropped.recv_timeout(LONG).expect("it is dropped, and does not wait for itself");
        }
    });
}
