//! What models have done, in the terms of Triton's statistics.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use utoipa::ToSchema;

use super::model::Model;
use crate::metrics::Total;

/// What a model has done since its runner was launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::ModelStatistics)]
pub struct ModelStatistics {
    /// The model's name.
    pub name: String,
    /// Its version, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When the last batch ended, in milliseconds since 1970; 0 where none has run.
    pub last_inference: u64,
    /// Rows that ran.
    pub inference_count: u64,
    /// Batches that ran.
    pub execution_count: u64,
    /// Calls.
    pub inference_stats: InferStatistics,
    /// Batches by their rows.
    pub batch_stats: Vec<BatchStatistics>,
}

/// Calls, by what became of them and where they spent their time. Gathering inputs and reading outputs back are part of a
/// run, and not timed alone: `compute_input` and `compute_output` have counted nothing. Nor has a cache, as there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::InferStatistics)]
pub struct InferStatistics {
    /// From their arrival to their answer.
    pub success: DurationStatistics,
    /// The same of calls that were refused, failed, or given up.
    pub fail: DurationStatistics,
    /// Waiting for a batch.
    pub queue: DurationStatistics,
    /// Nothing.
    pub compute_input: DurationStatistics,
    /// In a batch that ran.
    pub compute_infer: DurationStatistics,
    /// Nothing.
    pub compute_output: DurationStatistics,
    /// Nothing.
    pub cache_hit: DurationStatistics,
    /// Nothing.
    pub cache_miss: DurationStatistics,
}

/// How often, and how long together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::DurationStatistics)]
pub struct DurationStatistics {
    /// How often.
    pub count: u64,
    /// How long, in nanoseconds.
    pub ns: u64,
}

/// Batches of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::BatchStatistics)]
pub struct BatchStatistics {
    /// Their rows.
    pub batch_size: u64,
    /// Nothing.
    pub compute_input: DurationStatistics,
    /// Their runs.
    pub compute_infer: DurationStatistics,
    /// Nothing.
    pub compute_output: DurationStatistics,
}

impl From<Total> for DurationStatistics {
    fn from(total: Total) -> Self {
        Self { count: total.count, ns: u64::try_from(total.time.as_nanos()).unwrap_or(u64::MAX) }
    }
}

impl Model {
    /// What it has done.
    pub fn statistics(&self) -> ModelStatistics {
        let counted = self.method().statistics();
        let last = counted.last.and_then(|last| last.duration_since(UNIX_EPOCH).ok());
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let batch = |(rows, total): (usize, Total)| BatchStatistics {
            batch_size: rows as u64,
            compute_infer: total.into(),
            ..BatchStatistics::default()
        };
        ModelStatistics {
            name: self.name(),
            version: self.version().map(str::to_owned),
            last_inference: last.map_or(0, millis),
            inference_count: counted.rows,
            execution_count: counted.batches,
            inference_stats: InferStatistics {
                success: counted.succeeded.into(),
                fail: counted.failed.into(),
                queue: counted.queued.into(),
                compute_infer: counted.ran.into(),
                ..InferStatistics::default()
            },
            batch_stats: counted.sizes.into_iter().map(batch).collect(),
        }
    }
}
