//! The keys that users write, in the order in which messages list them.

/// Keys of `[server]`.
pub(super) const SERVER: [&str; 9] = [
    "bind",
    "admin_bind",
    "grpc_bind",
    "grpc_orders",
    "workers",
    "max_body_bytes",
    "grace_s",
    "log_format",
    "access_log",
];

/// Limits of a method; at a runner they are the defaults of its methods.
pub(super) const LIMITS: [&str; 8] = [
    "batching",
    "max_batch_size",
    "batch_buckets",
    "max_latency_ms",
    "max_queue_size",
    "timeout_ms",
    "batch_timeout_ms",
    "retry",
];

/// Keys of a runner with one value each, but for its name and [`LIMITS`].
pub(super) const RUNNER: [&str; 22] = [
    "runnable",
    "required",
    "cpu",
    "nvidia_gpu",
    "gpu",
    "device",
    "strategy",
    "workers_per_resource",
    "pin",
    "pipeline_depth",
    "golden_check",
    "weight",
    "model",
    "models",
    "isolation",
    "memory_limit",
    "nice",
    "max_restarts",
    "restart_window_s",
    "restart_backoff_ms",
    "max_restart_backoff_ms",
    "max_abandoned",
];

/// The runner's name; the other layers name the runner by it.
pub(super) const NAME: &str = "name";
/// The table of resources other than CPUs and GPUs.
pub(super) const CUSTOM_RESOURCES: &str = "custom_resources";
/// The free-form table for the runnable.
pub(super) const PARAMS: &str = "params";
/// The methods, in `runners.toml`.
pub(super) const METHODS: &str = "runnable_method_configs";
/// The methods, in variables and in `--set`.
pub(super) const METHODS_SHORT: &str = "methods";

/// The keys of a `[[runners]]` table.
pub(super) fn runner_in_file() -> Vec<&'static str> {
    [&[NAME], &RUNNER[..], &LIMITS, &[CUSTOM_RESOURCES, PARAMS, METHODS]].concat()
}

/// The keys of a runner outside the file.
pub(super) fn runner_elsewhere() -> Vec<&'static str> {
    [&RUNNER[..], &LIMITS, &[CUSTOM_RESOURCES, PARAMS, METHODS_SHORT]].concat()
}

/// The keys of a `[[runners.runnable_method_configs]]` table.
pub(super) fn method_in_file() -> Vec<&'static str> {
    [&[NAME], &LIMITS[..]].concat()
}
