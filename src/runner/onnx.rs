//! ONNX files as a runnable: no code, no compilation.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use ekiden_actors::{MethodError, OpenError};
use serde::{Deserialize, Serialize};

use super::{Methods, OpenContext, ResourceKind, Runnable};
use crate::device;
use crate::onnx::{Description, Fault, Given, Model, OpError, Session};
use crate::value::Value;

/// Runs an ONNX file: one method, `predict`, with the inputs and outputs of the graph.
///
/// Calls share batches along dimension 0 where the graph answers each row as it would alone; that is tried when the file
/// is loaded.
pub struct Onnx {
    session: Session,
}

/// `[runners.params]` of an [`Onnx`] runner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxParams {
    /// The file; a relative path starts at the working directory.
    pub file: PathBuf,
    /// What the executors of a runner share.
    #[serde(skip)]
    shared: Shared,
}

/// The model of a runner, read once, and its constants, uploaded once per device.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Loaded>>);

#[derive(Debug, Default)]
struct Loaded {
    model: Option<Arc<Model>>,
    sessions: Vec<(Device, Session)>,
}

impl OnnxParams {
    /// The parameters of a runner of this file.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), shared: Shared::default() }
    }

    fn model(&self) -> Result<Arc<Model>, String> {
        let mut loaded = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = &loaded.model {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(Model::load(&self.file).map_err(|error| error.to_string())?);
        loaded.model = Some(Arc::clone(&model));
        Ok(model)
    }

    fn session(&self, device: &Device) -> Result<Session, String> {
        let model = self.model()?;
        let mut loaded = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, session)) = loaded.sessions.iter().find(|(known, _)| known == device) {
            return Ok(session.clone());
        }
        let session = model.session(device).map_err(|error| error.to_string())?;
        loaded.sessions.push((device.clone(), session.clone()));
        Ok(session)
    }
}

impl Runnable for Onnx {
    type Params = OnnxParams;
    const SUPPORTS: &'static [ResourceKind] = &[ResourceKind::NvidiaGpu, ResourceKind::Wgpu, ResourceKind::Cpu];
    const SUPPORTS_CPU_MULTI_THREADING: bool = true;

    fn open(ctx: &OpenContext<OnnxParams>) -> Result<Self, OpenError> {
        Ok(Self { session: ctx.params().session(ctx.device()).map_err(OpenError::new)? })
    }

    /// They depend on the file: see [`Onnx::declare`].
    fn methods(_: &mut Methods<Self>) {}

    fn declare(params: &OnnxParams, methods: &mut Methods<Self>) -> Result<(), String> {
        let model = params.model()?;
        let session = params.session(&Device::flex())?;
        let Description { signature, unbatched, tried } = model.describe(&session);
        if let Some(reason) = unbatched {
            tracing::warn!(file = %model.path().display(), "calls are run one by one: {reason}");
        }
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
