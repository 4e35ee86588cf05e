//! From a saved model to a runner, and from a runnable to what is saved of it.

use super::{Methods, Onnx, OnnxParams, Runnable, Runner};
use crate::models::{Model, ModelError, Save};

impl Model {
    /// A runner of this very version of an ONNX model, named like it. One of another format needs code: see
    /// [`to_runner_of`](Self::to_runner_of).
    pub fn to_runner(&self) -> Runner<Onnx> {
        self.to_runner_of(OnnxParams::default())
    }

    /// A runner of this very version, named like the model, whose runnable finds it by
    /// [`OpenContext::first_model`](super::OpenContext::first_model) or by the model's name.
    pub fn to_runner_of<R: Runnable>(&self, params: R::Params) -> Runner<R> {
        Runner::new(params).name(self.name().as_str()).model(self.path().to_string_lossy())
    }
}

impl Save {
    /// What the methods of a runnable take and return.
    ///
    /// # Errors
    /// [`ModelError::Signatures`], if they are declared wrongly.
    pub fn signatures_of<R: Runnable>(self) -> Result<Self, ModelError> {
        let mut methods = Methods::<R>::new();
        R::methods(&mut methods);
        let methods = methods.build().map_err(ModelError::Signatures)?;
        Ok(methods.into_iter().fold(self, |save, method| save.signature(method.name, method.signature)))
    }
}
