//! Batches that take milliseconds: what Ekiden leaves of the model's own speed.

use std::error::Error;

use burn::tensor::TensorData;
use ekiden::prelude::*;
use ekiden::value::Array;

use super::Outcome;
use crate::args::Plan;
use crate::callers;
use crate::models::{self, Dense, Mlp};
use crate::rounds::{Contender, rounds};
use crate::target::{Finding, Target};

pub(super) const ABOUT: &str = "An MLP of 784-2048-2048-10 in batches of 64 rows. Ekiden's one executor is kept busy by \
    128 callers of one row each; the bare loop runs the same batches on Burn, uploads and reads back included, on a \
    pool of as many threads, one.";

const BATCH: usize = 64;

pub(super) fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let runtime = callers::runtime()?;
    let runner = Runner::<Dense>::new(models::LARGE.to_vec()).cpu(1.0).max_batch_size(BATCH);
    let app = runtime.block_on(App::builder().runner(runner).start())?;
    let predict = app.runner("dense")?.method::<Array, Array>("predict")?;
    let features = models::LARGE[0];
    let row = Array::new(models::pixels(features), [1, features])?;

    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let device = Device::flex();
    let net = Mlp::new(models::LARGE, &device);
    let rows = models::pixels(features).repeat(BATCH);
    let batch = || {
        let rows = Tensor::<2>::from_data(TensorData::new(rows.clone(), [BATCH, features]), &device);
        std::hint::black_box(net.forward(rows).into_data());
    };

    let series = rounds(
        &plan.timing,
        vec![
            Contender::new("bare Burn loop", |time| Ok(pool.install(|| callers::repeat(batch, BATCH, time)))),
            // One batch runs, and one waits.
            Contender::new("ekiden", |time| callers::many(&runtime, &predict, &row, 2 * BATCH, time)),
        ],
    )?;
    let [bare, ekiden] = &series[..] else { return Err("a contender has gone".into()) };
    let target = Target::AtLeast(0.97);
    let findings = vec![Finding::new("compute-bound batches", "rows/s ÷ bare loop", target, ekiden.rate_by(bare))];
    Ok(Outcome { findings, series })
}
