//! A runnable without actors, for tests and notebooks.

use std::cell::{RefCell, RefMut};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
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
use crate::value::{Signature, Values};

/// A runnable that was opened by [`Runner::init_local`].
pub struct LocalRunner<R: Runnable> {
    worker: RefCell<ModelWorker>,
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
        let (values, signature) = self.inputs::<I, O>(inputs, false)?;
        let rows = signature.check_inputs(&values).map_err(CallError::invalid_input)?;
        if rows == 0 {
            let outputs = signature.empty_outputs().map_err(CallError::invalid_input)?;
            return O::from_values(outputs).map_err(|problem| MethodError::failed(problem).into());
        }
        let input = CallInput::new(values, signature.batching);
        let outcome = self.worker()?.run(self.index, &[Part { input: &input, rows: 0..rows }])?.pop();
        let outputs = outcome.ok_or_else(|| MethodError::failed("the runnable returned nothing"))??;
        O::from_values(outputs).map_err(|problem| MethodError::failed(problem).into())
    }

    /// Runs a method that streams on this thread, and has `each` take its chunks as they come, until there are no more, or
    /// it breaks.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn stream<I: IntoInputs, O: Outputs>(
        &self,
        inputs: I,
        mut each: impl FnMut(O) -> ControlFlow<()>,
    ) -> Result<(), CallError> {
        let (values, signature) = self.inputs::<I, O>(inputs, true)?;
        signature.check_inputs(&values).map_err(CallError::invalid_input)?;
        let input = CallInput::new(values, None);
        let mut wrong = None;
        let mut emit = |chunk| match O::from_values(chunk) {
            Ok(chunk) => each(chunk),
            Err(problem) => {
                wrong = Some(problem);
                ControlFlow::Break(())
            }
        };
        self.worker()?.stream_into(self.index, &Part { input: &input, rows: 0..1 }, &mut emit)?;
        wrong.map_or(Ok(()), |problem| Err(MethodError::failed(problem).into()))
    }

    /// The inputs of a call whose types are the method's, and which takes its answer as the method gives it.
    fn inputs<I: IntoInputs, O: Outputs>(&self, inputs: I, as_stream: bool) -> Result<(Values, &Signature), CallError> {
        let (name, signature) = &self.runner.names[self.index];
        let check = || {
            function::check_types::<I::Inputs, O>(signature)?;
            match (signature.streams, as_stream) {
                (true, false) => Err("it answers with a stream: call it with stream".to_owned()),
                (false, true) => Err("it does not answer with a stream".to_owned()),
                _ => Ok(()),
            }
        };
        check().map_err(|problem| CallError::invalid_input(format!("method \"{name}\": {problem}")))?;
        Ok((function::values(inputs.into_inputs(), signature)?, signature))
    }

    fn worker(&self) -> Result<RefMut<'_, ModelWorker>, CallError> {
        self.runner
            .worker
            .try_borrow_mut()
            .map_err(|_| CallError::Method(MethodError::failed("a local method was called from within a local method")))
    }
}
