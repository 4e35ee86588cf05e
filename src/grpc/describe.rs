//! What the protocol's core says of models, as messages.

use super::inference::model_instance_group::Kind;
use super::inference::model_metadata_response::TensorMetadata;
use super::inference::model_queue_policy::TimeoutAction;
use super::inference::repository_index_response::ModelIndex;
use super::inference::{self as messages, model_config::SchedulingChoice};
use crate::oip;

impl From<oip::ServerMetadata> for messages::ServerMetadataResponse {
    fn from(server: oip::ServerMetadata) -> Self {
        let extensions = server.extensions.into_iter().map(str::to_owned).collect();
        Self { name: server.name.to_owned(), version: server.version.to_owned(), extensions }
    }
}

impl From<oip::ModelMetadata> for messages::ModelMetadataResponse {
    fn from(model: oip::ModelMetadata) -> Self {
        let tensor = |tensor: oip::TensorMetadata| TensorMetadata {
            name: tensor.name,
            datatype: tensor.datatype.name().to_owned(),
            shape: tensor.shape,
        };
        Self {
            name: model.name,
            versions: model.versions,
            platform: model.platform.to_owned(),
            inputs: model.inputs.into_iter().map(tensor).collect(),
            outputs: model.outputs.into_iter().map(tensor).collect(),
        }
    }
}

/// The protocol's configuration has 32 bits for what is a size here.
fn count(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

fn data_type(name: &str) -> i32 {
    messages::DataType::from_str_name(name).unwrap_or_default().into()
}

impl From<oip::ModelConfig> for messages::ModelConfig {
    fn from(model: oip::ModelConfig) -> Self {
        let input = model.input.into_iter().map(|input| messages::ModelInput {
            data_type: data_type(&input.data_type),
            name: input.name,
            dims: input.dims,
        });
        let output = model.output.into_iter().map(|output| messages::ModelOutput {
            data_type: data_type(&output.data_type),
            name: output.name,
            dims: output.dims,
        });
        Self {
            name: model.name,
            platform: model.platform.to_owned(),
            max_batch_size: count(model.max_batch_size),
            input: input.collect(),
            output: output.collect(),
            instance_group: model.instance_group.into_iter().map(instances).collect(),
            backend: model.backend.to_owned(),
            model_transaction_policy: Some(messages::ModelTransactionPolicy {
                decoupled: model.model_transaction_policy.decoupled,
            }),
            scheduling_choice: model.dynamic_batching.map(|policy| SchedulingChoice::DynamicBatching(batching(policy))),
        }
    }
}

fn instances(group: oip::InstanceGroup) -> messages::ModelInstanceGroup {
    messages::ModelInstanceGroup {
        name: group.name,
        count: count(group.count),
        gpus: group.gpus.into_iter().map(count).collect(),
        kind: Kind::from_str_name(group.kind).unwrap_or_default().into(),
    }
}

fn batching(policy: oip::BatchPolicy) -> messages::ModelDynamicBatching {
    let queue = policy.default_queue_policy;
    messages::ModelDynamicBatching {
        preferred_batch_size: policy.preferred_batch_size.into_iter().map(count).collect(),
        max_queue_delay_microseconds: policy.max_queue_delay_microseconds,
        priority_levels: policy.priority_levels,
        default_priority_level: policy.default_priority_level,
        default_queue_policy: Some(messages::ModelQueuePolicy {
            timeout_action: TimeoutAction::from_str_name(queue.timeout_action).unwrap_or_default().into(),
            default_timeout_microseconds: queue.default_timeout_microseconds,
            allow_timeout_override: queue.allow_timeout_override,
        }),
    }
}

impl From<oip::DurationStatistics> for messages::StatisticDuration {
    fn from(duration: oip::DurationStatistics) -> Self {
        Self { count: duration.count, ns: duration.ns }
    }
}

impl From<oip::ModelStatistics> for messages::ModelStatistics {
    fn from(model: oip::ModelStatistics) -> Self {
        let calls = model.inference_stats;
        let batch = |batch: oip::BatchStatistics| messages::InferBatchStatistics {
            batch_size: batch.batch_size,
            compute_input: Some(batch.compute_input.into()),
            compute_infer: Some(batch.compute_infer.into()),
            compute_output: Some(batch.compute_output.into()),
        };
        Self {
            name: model.name,
            version: model.version.unwrap_or_default(),
            last_inference: model.last_inference,
            inference_count: model.inference_count,
            execution_count: model.execution_count,
            inference_stats: Some(messages::InferStatistics {
                success: Some(calls.success.into()),
                fail: Some(calls.fail.into()),
                queue: Some(calls.queue.into()),
                compute_input: Some(calls.compute_input.into()),
                compute_infer: Some(calls.compute_infer.into()),
                compute_output: Some(calls.compute_output.into()),
                cache_hit: Some(calls.cache_hit.into()),
                cache_miss: Some(calls.cache_miss.into()),
            }),
            batch_stats: model.batch_stats.into_iter().map(batch).collect(),
        }
    }
}

impl From<oip::IndexEntry> for ModelIndex {
    fn from(entry: oip::IndexEntry) -> Self {
        Self {
            name: entry.name,
            version: entry.version.unwrap_or_default(),
            state: entry.state.to_owned(),
            reason: entry.reason,
        }
    }
}
