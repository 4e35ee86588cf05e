//! ONNX files as a runnable: no code, no compilation.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use ekiden_actors::{MethodError, OpenError};
use serde::{Deserialize, Deserializer, de};

use super::read_back::Later;
use super::{Methods, OpenContext, ResourceKind, Runnable};
use crate::config;
use crate::device;
use crate::onnx::{Description, Fault, Given, Model, OpError, SERVED, Session};

/// Runs an ONNX file, the model of its runner: one method, `predict`, with the inputs and outputs of the graph.
///
/// Calls share batches along dimension 0 where the graph answers each row as it would alone; that is tried when the file
/// is loaded.
#[derive(Debug)]
pub struct Onnx {
    session: Session,
    max_run_memory: usize,
}

/// `[runners.params]` of an [`Onnx`] runner.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxParams {
    #[serde(default = "served", deserialize_with = "bytes")]
    max_run_memory: usize,
    /// What the executors of a runner share.
    #[serde(skip)]
    shared: Arc<Mutex<Shared>>,
}

impl Default for OnnxParams {
    fn default() -> Self {
        Self { max_run_memory: SERVED, shared: Arc::default() }
    }
}

impl OnnxParams {
    /// The most bytes that the values of one run of the graph may take at one time, 4 GiB unless it is said. A batch that
    /// would take more is run in smaller ones; a call that does so by itself is refused.
    #[must_use]
    pub fn max_run_memory(self, bytes: usize) -> Self {
        Self { max_run_memory: bytes, ..self }
    }
}

fn served() -> usize {
    SERVED
}

/// A number, or `"8GiB"`.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Number(u64),
        Text(String),
    }
    let bytes = match Said::deserialize(deserializer) {
        Ok(Said::Number(bytes)) => Some(bytes).filter(|&bytes| bytes > 0),
        Ok(Said::Text(text)) => config::bytes_of(&text),
        Err(_) => None,
    };
    let bytes =
        bytes.ok_or_else(|| de::Error::custom(format!("max_run_memory: expected {}", config::BYTES_RULE.as_str())))?;
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The model of a runner, read once, and its constants, uploaded once per device.
#[derive(Debug, Default)]
struct Shared {
    model: Option<Arc<Model>>,
    sessions: Vec<(Device, Session)>,
    /// Why calls do not share batches, until it has been said.
    unbatched: Option<String>,
}

/// The model on a device, whoever is the first to ask for it.
fn session(ctx: &OpenContext<OnnxParams>) -> Result<(Arc<Model>, Session), OpenError> {
    // Whoever panicked with it has left nothing half done: both fields are set as wholes.
    let mut shared = ctx.params().shared.lock().unwrap_or_else(PoisonError::into_inner);
    let model = match &shared.model {
        Some(model) => Arc::clone(model),
        None => {
            let file = ctx.first_model()?.main_file()?;
            let model = Arc::new(Model::load(&file).map_err(|error| OpenError::new(error.to_string()))?);
            shared.model = Some(Arc::clone(&model));
            model
        }
    };
    if let Some((_, session)) = shared.sessions.iter().find(|(device, _)| device == ctx.device()) {
        return Ok((model, session.clone()));
    }
    let session = model.session(ctx.device()).map_err(|error| OpenError::new(error.to_string()))?;
    shared.sessions.push((ctx.device().clone(), session.clone()));
    Ok((model, session))
}

impl Runnable for Onnx {
    type Params = OnnxParams;
    const SUPPORTS: &'static [ResourceKind] = &[ResourceKind::NvidiaGpu, ResourceKind::Wgpu, ResourceKind::Cpu];
    const SUPPORTS_CPU_MULTI_THREADING: bool = true;

    fn open(ctx: &OpenContext<OnnxParams>) -> Result<Self, OpenError> {
        let (model, session) = session(ctx)?;
        // Said here, not where it is found: whatever checks a configuration may not have begun to log.
        let reason = ctx.params().shared.lock().unwrap_or_else(PoisonError::into_inner).unbatched.take();
        if let Some(reason) = reason {
            tracing::warn!(file = %model.path().display(), "calls are run one by one: {reason}");
        }
        Ok(Self { session, max_run_memory: ctx.params().max_run_memory })
    }

    /// They depend on the file: see [`Onnx::declare`].
    fn methods(_: &mut Methods<Self>) {}

    fn declare(ctx: &OpenContext<OnnxParams>, methods: &mut Methods<Self>) -> Result<(), OpenError> {
        let (model, session) = session(ctx)?;
        let Description { signature, unbatched, tried } = model.describe(&session);
        ctx.params().shared.lock().unwrap_or_else(PoisonError::into_inner).unbatched = unbatched;
        methods.add_values("predict", signature, tried, Self::predict);
        Ok(())
    }
}

impl Onnx {
    fn predict(&self, inputs: Vec<Given>, rows: usize) -> Result<Later, MethodError> {
        let computed = self.session.serve(inputs, self.max_run_memory).map_err(|problem| error(problem, rows))?;
        Ok(Box::new(move || computed.read().map_err(|problem| error(problem, rows))))
    }
}

/// What a batch of so many rows has failed with.
fn error(error: OpError, rows: usize) -> MethodError {
    match error.fault() {
        // Fewer rows may fit, and are tried.
        Fault::TooLarge if rows > 1 => MethodError::out_of_memory(error),
        Fault::TooLarge | Fault::Caller => MethodError::invalid_input(error),
        Fault::Graph => MethodError::failed(error),
        Fault::Device(cause) => device::error(cause),
    }
}
