//! The supervisor under virtual time: its timers go off at once, and tell how long they would have taken.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use actix::System;
use fastrand::Rng;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::{CallError, CallOptions, Handle, MethodError, MethodLimits, OpenError, Outcomes, Part, RunError};

/// Says twice the number, until it is killed.
struct Victim(Arc<Mutex<Life>>);

#[derive(Default)]
struct Life {
    is_over: bool,
    wake: Option<Box<dyn Fn() + Send>>,
}

fn life(life: &Mutex<Life>) -> std::sync::MutexGuard<'_, Life> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker for Victim {
    type Input = u64;
    type Output = u64;
    type Launched = ();

    fn can_share_batch(_: &u64, _: &u64) -> bool {
        true
    }

    fn launch(&mut self, _: usize, _: &[Part<'_, u64>]) -> Result<(), RunError> {
        Ok(())
    }

    fn finish(&mut self, _: usize, parts: &[Part<'_, u64>], (): ()) -> Result<Outcomes<u64>, RunError> {
        Ok(parts.iter().map(|part| Ok(part.input * 2)).collect())
    }

    fn lost(&self) -> Option<Exit> {
        life(&self.0).is_over.then(|| Exit::ProcessDied("killed by SIGKILL".into()))
    }

    fn on_loss(&self, wake: Box<dyn Fn() + Send>) {
        life(&self.0).wake = Some(wake);
    }

    fn join(_: &u64, pieces: Vec<u64>) -> Result<u64, MethodError> {
        Ok(pieces.iter().sum())
    }
}

/// Makes victims, and kills the last one that it has made.
#[derive(Clone, Default)]
struct Killer(Arc<Mutex<Arc<Mutex<Life>>>>);

impl Factory for Killer {
    type Worker = Victim;

    fn open(&self, _: usize) -> Result<Victim, OpenError> {
        let life = Arc::new(Mutex::new(Life::default()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&life);
        Ok(Victim(life))
    }
}

impl Killer {
    fn kill(&self) {
        let victim = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut life = life(&victim);
        life.is_over = true;
        if let Some(wake) = &life.wake {
            wake();
        }
    }
}

/// Runs a supervisor and what is done with it on a thread whose clock stands still until nobody has anything to do.
fn under_virtual_time<T>(test: impl Future<Output = T> + 'static) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let system = System::with_tokio_rt(|| runtime.enable_time().start_paused(true).build().expect("a runtime"));
    system.block_on(test)
}

async fn until(status: &mut watch::Receiver<RunnerStatus>, is_so: impl Fn(&RunnerStatus) -> bool) -> RunnerStatus {
    status.wait_for(|status| is_so(status)).await.expect("the supervisor lives").clone()
}

#[test]
fn ten_kills_in_a_row_are_ten_delays_then_the_end_and_an_order_begins_anew() {
    under_virtual_time(async {
        let ms = Duration::from_millis;
        let restarts = RestartLimits {
            max_restarts: 9,
            backoff: ms(100),
            max_backoff: ms(5_000),
            window: Duration::from_secs(3_600),
            ..RestartLimits::default()
        };
        let killer = Killer::default();
        let limits = MethodLimits { timeout: None, ..MethodLimits::default() };
        let desk = Arc::new(Desk::new(vec![limits], [None].into(), Arc::new(())));
        let (published, mut status) = watch::channel(Supervisor::first_status(&killer, 1, &restarts));
        let factory = Arc::new(killer.clone());
        let supervisor = Supervisor::new("toy".into(), factory, Arc::clone(&desk), 1, restarts, published).start();
        let handle = Handle::new(desk, 0);
        let call = |number| handle.call(number, NonZeroUsize::MIN, CallOptions::default());
        until(&mut status, |status| status.state == RunnerState::Ready).await;

        // The same numbers as the supervisor's, which lives on this thread.
        fastrand::seed(7);
        let mut jitter = Rng::with_seed(7);
        for kill in 1..=9 {
            let full = ms((100 << (kill - 1)).min(5_000));
            let expected = full - full.mul_f64(jitter.f64() / 2.0);
            let killed = tokio::time::Instant::now();
            killer.kill();
            let back = until(&mut status, |status| status.restarts == kill && status.state == RunnerState::Ready).await;
            let took = killed.elapsed();
            assert!(took >= expected && took <= expected + ms(2), "kill {kill}: {took:?} for {expected:?} of {full:?}");
            assert_eq!(back.charged.len() as u64, kill);
            assert_eq!(call(kill).expect("it is taken").await, Ok(kill * 2));
        }

        let killed = tokio::time::Instant::now();
        killer.kill();
        let failed = until(&mut status, |status| status.state == RunnerState::Failed).await;
        assert_eq!((failed.restarts, killed.elapsed()), (9, Duration::ZERO));
        let cause = "the restart budget is spent; last, executor 0 lost its process: killed by SIGKILL";
        assert_eq!(failed.cause.as_deref(), Some(cause));
        let refused = call(10).expect_err("it has failed");
        assert_eq!(refused, CallError::unavailable(format!("the runner has failed: {cause}")));

        let (done, answer) = oneshot::channel();
        supervisor.do_send(Command { order: Order::Restart, done });
        assert_eq!(answer.await, Ok(Ok(())));
        let anew = until(&mut status, |status| status.state == RunnerState::Ready).await;
        assert_eq!((anew.restarts, anew.charged.len(), anew.cause), (10, 0, None));
        assert_eq!(call(11).expect("it is taken").await, Ok(22));
    });
}
