//! Executors in child processes: what a batch costs more than on a thread.

use std::error::Error;

use ekiden::prelude::*;
use ekiden::value::Array;

use super::Outcome;
use crate::args::Plan;
use crate::callers;
use crate::models::{Noop, Pixels, pixels};
use crate::rounds::{Contender, Series, rounds};
use crate::target::{Finding, Target};

pub(super) const ABOUT: &str = "The same runners with `isolation = \"thread\"` and `\"process\"`. Small: a lone caller's \
    row of 4 numbers, returned as it is. Large: batches of 16 calls, of 1 MiB in and a mean out, or of 512 KiB in and as \
    much out: 16 MiB of tensors. Halving is the worst case there is: a thread does that in place, at the speed of memory, \
    and another process takes three more copies, one in, one out, and one to write on.";

const CALLS: usize = 16;

/// All runners of this case, in this process and in its children.
pub(crate) fn app() -> ekiden::app::AppBuilder {
    let mut app = App::builder();
    for isolation in Isolation::ALL {
        let name = |runner: &str| format!("{runner}-{}", isolation.name());
        let noop = Runner::<Noop>::new(()).name(name("noop")).cpu(1.0).isolation(isolation);
        // Full batches only, so that both run the same ones.
        let pixels = Runner::<Pixels>::new(())
            .name(name("pixels"))
            .cpu(1.0)
            .isolation(isolation)
            .max_batch_size(CALLS)
            .set("batching", "window")
            .max_latency_ms(1000);
        app = app.runner(noop).runner(pixels);
    }
    app
}

pub(super) fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let runtime = callers::runtime()?;
    let app = runtime.block_on(app().start())?;
    let small = Array::new(vec![5.1_f32, 3.5, 1.4, 0.2], [1, 4])?;
    let image = |numbers: usize| Array::new(pixels(numbers), [1, numbers]);
    let (large, half) = (image(256 << 10)?, image(128 << 10)?);

    let mut contenders = Vec::new();
    for isolation in Isolation::ALL.map(Isolation::name) {
        let array = app.runner(&format!("noop-{isolation}"))?.method::<Array, Array>("array")?;
        let small = &small;
        contenders.push(Contender::new(format!("{isolation}, small"), move |time| {
            callers::lone(|| array.run(small.clone()).map(drop), time)
        }));
    }
    for (method, input) in [("mean", &large), ("softmax", &half), ("halve", &half)] {
        for isolation in Isolation::ALL.map(Isolation::name) {
            let runtime = &runtime;
            let pixels = app.runner(&format!("pixels-{isolation}"))?.method::<Array, Array>(method)?;
            contenders.push(Contender::new(format!("{isolation}, 16 MiB, {method}"), move |time| {
                callers::many(runtime, &pixels, input, CALLS, time)
            }));
        }
    }
    let series = rounds(&plan.timing, contenders)?;
    let [small, small_apart, mean, mean_apart, softmax, softmax_apart, halve, halve_apart] = &series[..] else {
        return Err("a contender has gone".into());
    };
    let added = small_apart.with(small, |apart, here| apart.p50() - here.p50());
    let large = |what, target, here: &Series, apart: &Series| {
        let what = format!("a child process, a batch of 16 MiB, {what}");
        Finding::new(what, "its time ÷ thread", target, here.rate_by(apart))
    };
    let findings = vec![
        Finding::new("a child process, a small batch", "p50 − thread, µs", Target::AtMost(60.0), added),
        large("16 in, mean", Target::AtMost(1.3), mean, mean_apart),
        large("8 in, 8 out, softmax", Target::AtMost(1.3), softmax, softmax_apart),
        large("8 in, 8 out, halve", Target::Shown, halve, halve_apart),
    ];
    Ok(Outcome { findings, series })
}
