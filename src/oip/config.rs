//! A model's configuration in the terms of Triton's `ModelConfig`, as far as they are true here.

use std::collections::BTreeMap;
use std::time::Duration;

use ekiden_actors::Batching;
use serde::Serialize;
use utoipa::ToSchema;

use super::datatype::Datatype;
use super::metadata::{PLATFORM, sizes};
use super::model::Model;
use crate::value::{Signature, ValueSpec};

/// How a model runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::ModelConfig)]
pub struct ModelConfig {
    /// The model's name.
    pub name: String,
    /// "ekiden".
    pub platform: &'static str,
    /// "ekiden".
    pub backend: &'static str,
    /// The most rows in a batch; 0 where calls share none, or not along dimension 0, as Triton has it. A call may have more.
    pub max_batch_size: usize,
    /// Its inputs.
    pub input: Vec<TensorConfig>,
    /// Its outputs.
    pub output: Vec<TensorConfig>,
    /// How calls share batches, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<BatchPolicy>,
    /// Its executors, by their device.
    pub instance_group: Vec<InstanceGroup>,
    /// How it answers.
    pub model_transaction_policy: TransactionPolicy,
}

/// How a model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransactionPolicy {
    /// Whether a call has any number of answers, as that of a method that streams.
    pub decoupled: bool,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::TensorConfig)]
pub struct TensorConfig {
    /// Its name.
    pub name: String,
    /// As `TYPE_FP32`; `TYPE_STRING` is `BYTES`.
    pub data_type: String,
    /// Its sizes, -1 for any; without the batch dimension where `max_batch_size` is not 0.
    pub dims: Vec<i64>,
}

/// How calls become batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::BatchPolicy)]
pub struct BatchPolicy {
    /// The sizes that batches are padded to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferred_batch_size: Vec<usize>,
    /// How long a batch may wait for company.
    pub max_queue_delay_microseconds: u64,
    /// Priorities that are told apart.
    pub priority_levels: u64,
    /// That of calls which say nothing.
    pub default_priority_level: u64,
    /// What holds while calls wait.
    pub default_queue_policy: QueuePolicy,
}

/// What holds while calls wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::QueuePolicy)]
pub struct QueuePolicy {
    /// What becomes of a call that is too late.
    pub timeout_action: &'static str,
    /// How long calls have that say nothing; 0 is for ever.
    pub default_timeout_microseconds: u64,
    /// Whether calls may say otherwise.
    pub allow_timeout_override: bool,
}

/// Executors on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::InstanceGroup)]
pub struct InstanceGroup {
    /// The device, as Ekiden names it.
    pub name: String,
    /// `KIND_CPU` or `KIND_GPU`.
    pub kind: &'static str,
    /// How many.
    pub count: usize,
    /// The GPU's index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<usize>,
}

impl Model {
    /// How it runs.
    pub fn config(&self) -> ModelConfig {
        let method = self.method();
        let (signature, limits) = (method.signature(), method.limits());
        let has_rows = rows_come_first(signature);
        let shares = signature.batching.is_some() && limits.batching != Batching::Off;
        let tensors = |specs: &[ValueSpec]| specs.iter().map(|spec| tensor(spec, has_rows)).collect();
        ModelConfig {
            name: self.name(),
            platform: PLATFORM,
            backend: PLATFORM,
            max_batch_size: if has_rows { limits.max_batch_size.get() } else { 0 },
            input: tensors(&signature.inputs),
            output: tensors(&signature.outputs),
            dynamic_batching: shares.then(|| BatchPolicy {
                preferred_batch_size: method.buckets().sizes().to_vec(),
                max_queue_delay_microseconds: micros(limits.max_latency),
                priority_levels: 3,
                default_priority_level: 2,
                default_queue_policy: QueuePolicy {
                    timeout_action: "REJECT",
                    default_timeout_microseconds: limits.timeout.map_or(0, micros),
                    allow_timeout_override: true,
                },
            }),
            instance_group: self.instances(),
            model_transaction_policy: TransactionPolicy { decoupled: signature.streams },
        }
    }

    fn instances(&self) -> Vec<InstanceGroup> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for executor in &self.runner().status().executors {
            *counts.entry(executor.device.to_string()).or_default() += 1;
        }
        let group = |(name, count): (String, usize)| {
            let index = name.split_once(':').and_then(|(_, index)| index.parse().ok());
            // The one device that is no GPU has no index either.
            let kind = if name == "flex" { "KIND_CPU" } else { "KIND_GPU" };
            InstanceGroup { kind, count, gpus: index.into_iter().collect(), name }
        };
        counts.into_iter().map(group).collect()
    }
}

/// Whether dimension 0 of every input and output is the batch dimension, which is then left out.
fn rows_come_first(signature: &Signature) -> bool {
    let values = || signature.inputs.iter().chain(&signature.outputs);
    signature.batching.is_some_and(|dims| dims.input_dim == 0 && dims.output_dim == 0)
        && values().all(|spec| !matches!(spec, ValueSpec::Tensor(tensor) if tensor.shape().is_none()))
}

fn tensor(spec: &ValueSpec, has_rows: bool) -> TensorConfig {
    let data_type = match Datatype::of_spec(spec) {
        Datatype::Bytes => "TYPE_STRING".to_owned(),
        numbers => format!("TYPE_{numbers}"),
    };
    let dims = sizes(spec).split_off(usize::from(has_rows));
    TensorConfig { name: spec.name().to_owned(), data_type, dims }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
