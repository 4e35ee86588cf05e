//! Models, deadlines and how to run traffic against them.

use std::num::NonZeroUsize;
use std::time::Duration;

use ekiden_actors::simulator::{Model, Pattern, Policy, Report, Traffic, simulate};
use ekiden_actors::{Batching, MethodLimits};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// A model, and how it is served.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) model: Model,
    pub(crate) executors: usize,
    pub(crate) batch: usize,
    /// How long the policies may keep a call waiting for company.
    pub(crate) latency: Duration,
    pub(crate) deadline: Duration,
}

const fn scene(name: &'static str, alpha: Duration, beta: Duration, noise: f64, deadline: Duration) -> Scene {
    Scene { name, model: Model { alpha, beta, noise }, executors: 1, batch: 64, latency: ms(10), deadline }
}

/// A small network on a CPU.
pub(crate) const SMALL: Scene = Scene { latency: ms(2), ..scene("small", us(200), us(20), 0.0, ms(10)) };
/// A large one on a GPU.
pub(crate) const LARGE: Scene = scene("large", ms(20), us(500), 0.0, ms(150));
/// One whose batch costs the same whatever its rows, and takes more than half of the time that calls have.
pub(crate) const FLAT: Scene = scene("flat", ms(30), us(50), 0.0, ms(55));
/// One whose cost varies widely.
pub(crate) const NOISY: Scene = scene("noisy", ms(4), us(250), 0.4, ms(100));
/// One that gains little from batching, and whose largest batches take longer than calls have.
pub(crate) const STEEP: Scene = scene("steep", ms(2), ms(3), 0.1, ms(100));
/// One of which forty batches go by in the time that calls have, each of which takes anything from half as long to twice.
pub(crate) const DEEP: Scene = Scene { batch: 16, ..scene("deep", us(500), us(125), 0.5, ms(100)) };

pub(crate) const SCENES: [Scene; 5] = [SMALL, LARGE, FLAT, NOISY, STEEP];

pub(crate) fn window(batch: usize, window: Duration) -> Policy {
    Policy::Plain { max_batch_size: NonZeroUsize::new(batch).expect("not zero"), window }
}

impl Scene {
    pub(crate) fn adaptive(&self) -> Policy {
        self.policy(Batching::Adaptive)
    }

    pub(crate) fn windowed(&self) -> Policy {
        self.policy(Batching::Window)
    }

    fn policy(&self, batching: Batching) -> Policy {
        let max_batch_size = NonZeroUsize::new(self.batch).expect("not zero");
        Policy::Ekiden(MethodLimits {
            batching,
            max_batch_size,
            max_latency: self.latency,
            timeout: None,
            ..MethodLimits::default()
        })
    }

    /// The most calls per second that can be answered.
    pub(crate) fn capacity(&self) -> f64 {
        self.model.capacity(self.batch) * self.executors as f64
    }

    pub(crate) fn run(&self, policy: &Policy, pattern: Pattern, load: f64, seed: u64) -> Report {
        let rate = self.capacity() * load;
        let calls = (rate * self.deadline.as_secs_f64() * 40.0)
            .clamp(2_000.0, if load > 5.0 { 400_000.0 } else { 120_000.0 }) as usize;
        let traffic = Traffic::new(pattern, rate, calls, &[Some(self.deadline)], seed);
        self.run_traffic(policy, &traffic, seed)
    }

    pub(crate) fn run_traffic(&self, policy: &Policy, traffic: &Traffic, seed: u64) -> Report {
        let executors = NonZeroUsize::new(self.executors).expect("not zero");
        let warm_up = traffic.0.last().map_or(Duration::ZERO, |last| last.at / 10);
        simulate(policy, traffic, &self.model, executors, warm_up, seed)
    }

    /// The most answers in time per second that any fixed window reaches, at its own best load, and which it is.
    pub(crate) fn best_window(&self, seed: u64) -> (f64, String) {
        let mut best = (0.0, String::new());
        for batch in [8, 16, 32, 64] {
            for part in [0.0, 0.02, 0.1, 0.2, 0.4] {
                for load in [0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1] {
                    let wait = self.deadline.mul_f64(part);
                    let goodput = self.run(&window(batch, wait), Pattern::Poisson, load, seed).goodput();
                    if goodput > best.0 {
                        best = (goodput, format!("{batch} rows, {wait:?}, load {load}"));
                    }
                }
            }
        }
        best
    }
}
