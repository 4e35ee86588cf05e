//! From a saved model to a runner, and from a runnable to what is saved of it.

use super::{Runnable, Runner, declared};
use crate::models::{Model, ModelError, Save};

impl Model {
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
        let methods = declared::<R>().map_err(ModelError::Signatures)?;
        Ok(methods.into_iter().fold(self, |save, method| save.signature(method.name, method.signature)))
    }
}
