//! Opening runnables on executors: the factory that the supervisor holds.

use std::io;
use std::sync::Arc;

use burn::tensor::Device;
use ekiden_actors::{Factory, MethodError, OpenError, Part, RunError};

use super::methods::Method;
use super::strategy::Placement;
use super::{OpenContext, Runnable};
use crate::device;
use crate::serving::{CallInput, Model, ModelWorker};
use crate::value::{Signature, Values};

/// Opens one kind of runnable, with its runner's parameters and models.
pub(crate) struct Opener<R: Runnable> {
    pub(crate) params: R::Params,
    pub(crate) models: Vec<String>,
    pub(crate) methods: Arc<[Method<R>]>,
}

impl<R: Runnable> Opener<R> {
    /// Opens it on this thread.
    pub(crate) fn open(&self, place: &Placement) -> Result<Opened<R>, OpenError> {
        let device = device::open(&place.device)?;
        let ctx = OpenContext {
            params: self.params.clone(),
            device: device.clone(),
            threads: place.threads.get(),
            models: self.models.clone(),
        };
        Ok(Opened { runnable: R::open(&ctx)?, methods: Arc::clone(&self.methods), device })
    }
}

/// A runnable on its device.
pub(crate) struct Opened<R> {
    runnable: R,
    methods: Arc<[Method<R>]>,
    device: Device,
}

impl<R: 'static> Model for Opened<R> {
    fn signature(&self, method: usize) -> Option<&Signature> {
        self.methods.get(method).map(|method| &method.signature)
    }

    fn run(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Values, RunError> {
        let method = self.methods.get(method).ok_or_else(|| MethodError::failed("there is no such method"))?;
        Ok(method.run(&self.runnable, parts, &self.device)?)
    }
}

/// Makes the workers of one runner, each in its own place.
pub(crate) struct RunnerFactory<R: Runnable> {
    pub(crate) opener: Opener<R>,
    pub(crate) places: Vec<Placement>,
    /// The methods to warm up, each with the most rows in a batch.
    pub(crate) warm_ups: Vec<(usize, usize)>,
}

impl<R: Runnable> Factory for RunnerFactory<R>
where
    Opener<R>: Send + Sync,
{
    type Worker = ModelWorker;

    fn open(&self, slot: usize) -> Result<ModelWorker, OpenError> {
        let place = self.places.get(slot).ok_or_else(|| OpenError::new("the runner has no such executor"))?;
        Ok(ModelWorker { model: Box::new(self.opener.open(place)?), warm_ups: self.warm_ups.clone() })
    }

    fn device(&self, slot: usize) -> String {
        self.places.get(slot).map_or_else(String::new, |place| place.device.to_string())
    }

    /// The executor's thread is itself a thread of a rayon pool of its own: Burn's CPU kernels use the pool of the
    /// thread they are called on, and get to it without a hop. The pool ends with the executor.
    fn spawn(&self, slot: usize, name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let threads = self.places.get(slot).map_or(1, |place| place.threads.get());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |thread| if thread == 0 { name.clone() } else { format!("{name}.{thread}") })
            // A panic outside the panic boundary is reported by the executor's supervisor; it must not abort.
            .panic_handler(|_| ())
            .build()
            .map_err(io::Error::other)?;
        pool.spawn(body);
        Ok(())
    }
}
