//! Opening runnables on executors: the factory that the supervisor holds.

use std::io;
use std::sync::Arc;

use burn::tensor::Device;
use ekiden_actors::{Exit, Factory, MethodError, OpenError, Part, RunError};

use super::methods::Method;
use super::pool::on_pool;
use super::{OpenContext, Runnable};
use crate::device::{self, Placement};
use crate::isolation::{self, Isolated, Opening};
use crate::models::LocatedModel;
use crate::serving::{Answer, CallInput, Model, ModelWorker};
use crate::value::Signature;

/// Opens one kind of runnable, with its runner's parameters and models.
pub(crate) struct Opener<R: Runnable> {
    pub(crate) params: R::Params,
    pub(crate) models: Vec<LocatedModel>,
    pub(crate) methods: Arc<[Method<R>]>,
}

impl<R: Runnable> Opener<R> {
    pub(crate) fn new(ctx: OpenContext<R::Params>, methods: Vec<Method<R>>) -> Self {
        Self { params: ctx.params, models: ctx.models, methods: methods.into() }
    }

    /// Opens it on this thread.
    pub(crate) fn open(&self, place: &Placement) -> Result<Opened<R>, OpenError> {
        let device = device::open(place.device())?;
        let others = place.devices.iter().skip(1).map(device::open).collect::<Result<_, _>>()?;
        let ctx = OpenContext {
            params: self.params.clone(),
            device: device.clone(),
            others,
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

    fn run(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Answer, RunError> {
        let method = self.methods.get(method).ok_or_else(|| MethodError::failed("there is no such method"))?;
        Ok(method.run(&self.runnable, parts, &self.device).map_err(device::recognise)?)
    }

    fn exit_of_panic(&self, message: Arc<str>) -> Exit {
        device::exit_of_panic(message)
    }
}

/// Makes the workers of one runner, each in its own place.
pub(crate) struct RunnerFactory<R: Runnable> {
    pub(crate) name: String,
    pub(crate) opener: Opener<R>,
    pub(crate) places: Vec<Placement>,
    /// The methods to warm up, each with the most rows in a batch.
    pub(crate) warm_ups: Vec<(usize, usize)>,
    /// How its executors' child processes are started; `None` where they live on threads.
    pub(crate) isolated: Option<Isolated>,
}

impl<R: Runnable> RunnerFactory<R> {
    /// What the child process of executor `slot` is to be.
    fn opening(&self, isolated: &Isolated, slot: usize, place: &Placement) -> Opening {
        Opening {
            runner: self.name.clone(),
            executor: slot,
            runnable: isolated.runnable.clone(),
            params: isolated.params.clone(),
            models: self.opener.models.clone(),
            place: place.clone(),
            limits: isolated.limits,
        }
    }
}

impl<R: Runnable> Factory for RunnerFactory<R>
where
    Opener<R>: Send + Sync,
{
    type Worker = ModelWorker;

    fn open(&self, slot: usize) -> Result<ModelWorker, OpenError> {
        let place = self.places.get(slot).ok_or_else(|| OpenError::new("the runner has no such executor"))?;
        let model: Box<dyn Model> = match &self.isolated {
            None => Box::new(self.opener.open(place)?),
            Some(isolated) => {
                let signatures = self.opener.methods.iter().map(|method| method.signature.clone()).collect();
                isolation::open(isolated, self.opening(isolated, slot, place), signatures)?
            }
        };
        Ok(ModelWorker { model, warm_ups: self.warm_ups.clone() })
    }

    /// A GPU's memory may not hold two; what a CPU shares is large.
    fn has_room(&self, slot: usize) -> bool {
        self.places.get(slot).is_some_and(|place| place.device().is_cpu())
    }

    fn device(&self, slot: usize) -> String {
        let devices = self.places.get(slot).map(|place| place.devices.as_slice()).unwrap_or_default();
        devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// A child process has a device context of its own.
    fn cures_lost_devices(&self) -> bool {
        self.isolated.is_some()
    }

    /// The executor's thread, where it is what runs the runnable, is itself a thread of a rayon pool of its own: Burn's CPU kernels use the pool of the
    /// thread they are called on, and get to it without a hop. The pool ends with the executor.
    fn spawn(&self, slot: usize, name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let Some(place) = self.places.get(slot).filter(|_| self.isolated.is_none()) else {
            // The threads are in the child.
            return std::thread::Builder::new().name(name).spawn(body).map(drop);
        };
        on_pool(place, name, body)
    }
}
