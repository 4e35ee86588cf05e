//! ONNX files as a runnable: no code, no compilation.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use ekiden_actors::{MethodError, OpenError};
use serde::Deserialize;

use super::{Methods, OpenContext, ResourceKind, Runnable};
use crate::device;
use crate::onnx::{Description, Fault, Given, Model, OpError, Session};
use crate::value::Value;

/// Runs an ONNX file, the model of its runner: one method, `predict`, with the inputs and outputs of the graph.
///
/// Calls share batches along dimension 0 where the graph answers each row as it would alone; that is tried when the file
/// is loaded.
#[derive(Debug)]
pub struct Onnx {
    session: Session,
}

/// `[runners.params]` of an [`Onnx`] runner: there are none. What the executors of a runner share is kept here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxParams {
    #[serde(skip)]
    shared: Arc<Mutex<Shared>>,
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
        Ok(Self { session })
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
    fn predict(&self, inputs: Vec<Given>) -> Result<Vec<Value>, MethodError> {
        self.session.run(inputs).map_err(error)
    }
}

fn error(error: OpError) -> MethodError {
    match error.fault() {
        Fault::Caller => MethodError::invalid_input(error),
        Fault::Graph => MethodError::failed(error),
        Fault::Device(cause) => device::error(cause),
    }
}
