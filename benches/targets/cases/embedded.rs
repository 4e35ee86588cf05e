//! The embedding API: what a call costs without HTTP and without a model.

use std::error::Error;

use ekiden::prelude::*;
use ekiden::value::Array;

use super::Outcome;
use crate::args::Plan;
use crate::callers;
use crate::models::Noop;
use crate::rounds::{Contender, rounds};
use crate::target::{Finding, Target};

pub(super) const ABOUT: &str = "Calls of a method that returns its input, one row of 4 numbers, through the embedding \
    API: callers are tasks on one thread, the executor is another; batches hold half of them, so that the others can call \
    meanwhile. An `Array` is a host tensor, whose clone shares \
    its numbers; a `Tensor` is Burn's. The pair is two threads that do nothing but wake each other, by the standard \
    library's channels: a call cannot take less time than a turn of theirs, which is how long this machine's cores take to \
    wake up, unless somebody keeps a core busy with waiting.";

const CALLERS: usize = 64;

pub(super) fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let runtime = callers::runtime()?;
    let runner = Runner::<Noop>::new(()).cpu(1.0).max_batch_size(CALLERS / 2);
    let app = runtime.block_on(App::builder().runner(runner).start())?;
    let arrays = app.runner("noop")?.method::<Array, Array>("array")?;
    let tensors = app.runner("noop")?.method::<Tensor<2>, Tensor<2>>("tensor")?;
    let array = Array::new(vec![5.1_f32, 3.5, 1.4, 0.2], [1, 4])?;
    let tensor = Tensor::<2>::from_data([[5.1_f32, 3.5, 1.4, 0.2]], &Device::flex());

    let series = rounds(
        &plan.timing,
        vec![
            Contender::new("64 callers, Array", |time| callers::many(&runtime, &arrays, &array, CALLERS, time)),
            Contender::new("64 callers, Tensor", |time| callers::many(&runtime, &tensors, &tensor, CALLERS, time)),
            Contender::new("1 caller, Array, async_run", |time| {
                runtime.block_on(callers::lone_async(async || arrays.async_run(array.clone()).await.map(drop), time))
            }),
            Contender::new("1 caller, Array, run", |time| callers::lone(|| arrays.run(array.clone()).map(drop), time)),
            Contender::new("a bare pair of threads", callers::pair),
        ],
    )?;
    let [many, many_tensors, awaiting, blocking, pair] = &series[..] else { return Err("a contender has gone".into()) };
    let findings = vec![
        Finding::new("embedded, 64 callers, Array", "calls/s", Target::AtLeast(1e6), many.each(|sample| sample.per_s)),
        Finding::new(
            "embedded, 64 callers, Tensor",
            "calls/s",
            Target::Shown,
            many_tensors.each(|sample| sample.per_s),
        ),
        Finding::new("embedded, a lone caller, async", "p50, µs", Target::AtMost(20.0), awaiting.each(|s| s.p50())),
        Finding::new("embedded, a lone caller, blocking", "p50, µs", Target::AtMost(20.0), blocking.each(|s| s.p50())),
        Finding::new(
            "embedded, a lone caller, blocking",
            "p50 − bare pair of threads, µs",
            Target::Shown,
            blocking.with(pair, |own, pair| own.p50() - pair.p50()),
        ),
    ];
    Ok(Outcome { findings, series })
}
