//! A runnable without actors, for tests and notebooks.

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use ekiden_actors::{CallError, MethodError, OpenError, Part};

use super::function::{self, Outputs};
use super::open::Opener;
use super::typed::IntoInputs;
use super::{OpenContext, Runnable, Runner};
use crate::device::Placement;
use crate::models::LocatedModel;
use crate::serving::{CallInput, ModelWorker, suggest};
use crate::value::Signature;

/// A runnable that was opened by [`Runner::init_local`].
pub struct LocalRunner<R: Runnable> {
    worker: std::cell::RefCell<ModelWorker>,
    names: Vec<(String, Signature)>,
    runnable: PhantomData<R>,
}

/// Why a runnable cannot be opened locally.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// Its methods are declared wrongly.
    #[error("the runnable is declared wrongly: {0}")]
    Declaration(String),
    /// It refused.
    #[error("the runnable cannot be opened: {0}")]
    Open(OpenError),
}

impl<R: Runnable> LocalRunner<R> {
    pub(super) fn open(runner: Runner<R>) -> Result<Self, LocalError> {
        tracing::warn!(
            runner = runner.name,
            "init_local is for testing and debugging only: no actors, no supervision, no batching"
        );
        tracing::warn!(
            runner = runner.name,
            "init_local ignores the runner's resources, strategy and limits: it runs on the CPU, on the caller's thread"
        );
        let asked = runner.model.into_iter().chain(runner.models);
        let models = asked.map(|asked| LocatedModel::find(asked, Path::new(""))).collect::<Result<_, _>>();
        let ctx = OpenContext::on_host(runner.params, models.map_err(|error| LocalError::Open(error.into()))?);
        let methods = super::declared::<R>(&ctx).map_err(LocalError::Declaration)?;
        let names = methods.iter().map(|method| (method.name.clone(), method.signature.clone())).collect();
        let opener = Opener::new(ctx, methods, false);
        let place = Placement::cpu(NonZeroUsize::MIN);
        let opened = opener.open(&place).map_err(LocalError::Open)?;
        Ok(Self {
            worker: ModelWorker { name: "local".to_owned(), model: Box::new(opened), setups: Arc::default() }.into(),
            names,
            runnable: PhantomData,
        })
    }

    /// The method of this name.
    ///
    /// # Errors
    /// [`CallError::NotFound`] that lists the methods there are.
    pub fn method(&self, name: &str) -> Result<LocalMethod<'_, R>, CallError> {
        let index = self.names.iter().position(|(known, _)| known == name).ok_or_else(|| {
            let known = self.names.iter().map(|(known, _)| known.as_str());
            CallError::NotFound(format!("the runnable has no method \"{name}\"{}", suggest(name, known)).into())
        })?;
        Ok(LocalMethod { runner: self, index })
    }
}

impl<R: Runnable> std::fmt::Debug for LocalRunner<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRunner").field("methods", &self.names).finish_non_exhaustive()
    }
}

/// One method of a [`LocalRunner`].
pub struct LocalMethod<'a, R: Runnable> {
    runner: &'a LocalRunner<R>,
    index: usize,
}

impl<R: Runnable> std::fmt::Debug for LocalMethod<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalMethod").field(&self.runner.names.get(self.index)).finish()
    }
}

impl<R: Runnable> LocalMethod<'_, R> {
    /// Runs the method on this thread.
    ///
    /// # Errors
    /// As for a call to a runner, but for what has to do with queues and supervision. A panic is the caller's.
    pub fn run<I: IntoInputs, O: Outputs>(&self, inputs: I) -> Result<O, CallError> {
        let (name, signature) = &self.runner.names[self.index];
        function::check_types::<I::Inputs, O>(signature)
            .map_err(|problem| CallError::invalid_input(format!("method \"{name}\": {problem}")))?;
        let values = function::values(inputs.into_inputs(), signature)?;
        let rows = signature.check_inputs(&values).map_err(CallError::invalid_input)?;
        if rows == 0 {
            let outputs = signature.empty_outputs().map_err(CallError::invalid_input)?;
            return O::from_values(outputs).map_err(|problem| MethodError::failed(problem).into());
        }
        let input = CallInput { values, batching: signature.batching };
        let parts = [Part { input: &input, rows: 0..rows }];
        let mut worker = self.runner.worker.try_borrow_mut().map_err(|_| {
            CallError::Method(MethodError::failed("a local method was called from within a local method"))
        })?;
        let outcome = worker.run(self.index, &parts)?.pop();
        let outputs = outcome.ok_or_else(|| MethodError::failed("the runnable returned nothing"))??;
        O::from_values(outputs).map_err(|problem| MethodError::failed(problem).into())
    }
}
