//! Opening runnables on executors: the factory that the supervisor holds.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::tensor::Device;
use ekiden_actors::{Exit, Factory, MethodError, OpenError, Part, RunError};

use super::golden;
use super::methods::Method;
use super::pool::on_pool;
use super::read_back::ReadBack;
use super::{OpenContext, ResourceKind, Runnable};
use crate::device::{self, Placement};
use crate::isolation::{self, Isolated, Opening};
use crate::models::LocatedModel;
use crate::serving::{Answer, CallInput, DeviceMemory, Emit, Model, ModelWorker, Pending, Setup};
use crate::value::Signature;

/// Opens one kind of runnable, with its runner's parameters and models.
pub(crate) struct Opener<R: Runnable> {
    pub(crate) params: R::Params,
    pub(crate) models: Vec<LocatedModel>,
    pub(crate) methods: Arc<[Arc<Method<R>>]>,
    /// Whether what a device other than the CPU computes is compared with the CPU's.
    pub(crate) golden_check: bool,
}

impl<R: Runnable> Opener<R> {
    pub(crate) fn new(ctx: OpenContext<R::Params>, methods: Vec<Method<R>>, golden_check: bool) -> Self {
        Self {
            params: ctx.params,
            models: ctx.models,
            methods: methods.into_iter().map(Arc::new).collect(),
            golden_check,
        }
    }

    /// Opens it on this thread, and makes sure that its device computes what the CPU does.
    pub(crate) fn open(&self, place: &Placement) -> Result<Opened<R>, OpenError> {
        let mut opened = self.open_unchecked(place)?;
        if self.golden_check && !place.device().is_cpu() && R::SUPPORTS.contains(&ResourceKind::Cpu) {
            let methods: Vec<(usize, &str)> =
                self.methods.iter().map(|method| method.name.as_str()).enumerate().collect();
            let on_cpu = self.open_unchecked(&Placement::cpu(place.threads));
            let mut on_cpu = on_cpu.map_err(|error| {
                OpenError::new(format!("it cannot be opened on the CPU, which golden_check compares with: {error}"))
            })?;
            golden::check(&place.device().to_string(), &methods, &mut opened, &mut on_cpu)?;
        }
        Ok(opened)
    }

    fn open_unchecked(&self, place: &Placement) -> Result<Opened<R>, OpenError> {
        let device = device::open(place.device())?;
        let others = place.devices.iter().skip(1).map(device::open).collect::<Result<_, _>>()?;
        let ctx = OpenContext {
            params: self.params.clone(),
            device: device.clone(),
            others,
            threads: place.threads.get(),
            models: self.models.clone(),
        };
        Ok(Opened {
            runnable: R::open(&ctx)?,
            methods: Arc::clone(&self.methods),
            device,
            memory: None,
            depth: NonZeroUsize::MIN,
        })
    }
}

/// A runnable on its device.
pub(crate) struct Opened<R> {
    runnable: R,
    methods: Arc<[Arc<Method<R>>]>,
    device: Device,
    /// Told after each batch what the device holds; `None` on the CPU.
    memory: Option<Arc<DeviceMemory>>,
    /// How many batches its device may have been handed and not have finished.
    depth: NonZeroUsize,
}

impl<R> Opened<R> {
    fn method(&self, method: usize) -> Result<&Arc<Method<R>>, MethodError> {
        self.methods.get(method).ok_or_else(|| MethodError::failed("there is no such method"))
    }
}

impl<R: 'static> Model for Opened<R> {
    fn signature(&self, method: usize) -> Option<&Signature> {
        self.methods.get(method).map(|method| &method.signature)
    }

    fn run(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Answer, RunError> {
        self.launch(method, parts)?.wait()
    }

    fn launch(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Pending, RunError> {
        let method = self.method(method)?;
        let launched = method.launch(&self.runnable, parts, &self.device).map_err(device::recognise)?;
        if self.depth == NonZeroUsize::MIN {
            return finish(launched, method, &self.device, self.memory.as_deref()).map(Pending::Done);
        }
        let (method, device, memory) = (Arc::clone(method), self.device.clone(), self.memory.clone());
        Ok(Pending::Waits(Box::new(move || finish(launched, &method, &device, memory.as_deref()))))
    }

    fn depth(&self) -> usize {
        self.depth.get()
    }

    fn stream(&mut self, method: usize, call: &Part<'_, CallInput>, emit: &mut Emit<'_>) -> Result<(), RunError> {
        let streamed = self.method(method)?.stream(&self.runnable, call, &self.device, emit);
        note_memory(&self.device, self.memory.as_deref());
        Ok(streamed.map_err(device::recognise)?)
    }

    fn exit_of_panic(&self, message: Arc<str>) -> Exit {
        device::exit_of_panic(message)
    }
}

/// Waits for a run that has been launched, and notes what its device holds then.
fn finish<R>(
    launched: ReadBack,
    method: &Method<R>,
    device: &Device,
    memory: Option<&DeviceMemory>,
) -> Result<Answer, RunError> {
    let answer = method.finish(launched).map_err(device::recognise);
    note_memory(device, memory);
    Ok(answer?)
}

fn note_memory(device: &Device, memory: Option<&DeviceMemory>) {
    if let Some(memory) = memory
        && let Some((in_use, reserved)) = device::memory(device)
    {
        memory.found(in_use, reserved);
    }
}

/// Makes the workers of one runner, each in its own place.
pub(crate) struct RunnerFactory<R: Runnable> {
    pub(crate) name: String,
    pub(crate) opener: Opener<R>,
    pub(crate) places: Vec<Placement>,
    /// How each method is run.
    pub(crate) setups: Arc<[Setup]>,
    /// How its executors' child processes are started; `None` where they live on threads.
    pub(crate) isolated: Option<Isolated>,
    /// What each executor finds in use of its device.
    pub(crate) memory: Vec<Arc<DeviceMemory>>,
    /// How many batches an executor on a GPU is given at once.
    pub(crate) depth: NonZeroUsize,
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
            golden_check: self.opener.golden_check,
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
            None => {
                let mut opened = self.opener.open(place)?;
                if !place.device().is_cpu() {
                    opened.memory = self.memory.get(slot).cloned();
                    opened.depth = self.depth;
                }
                Box::new(opened)
            }
            Some(isolated) => {
                let signatures = self.opener.methods.iter().map(|method| method.signature.clone()).collect();
                isolation::open(isolated, self.opening(isolated, slot, place), signatures)?
            }
        };
        Ok(ModelWorker { name: format!("{}/{slot}", self.name), model, setups: Arc::clone(&self.setups) })
    }

    /// A GPU's memory may not hold two; what a CPU shares is large.
    fn has_room(&self, slot: usize) -> bool {
        self.places.get(slot).is_some_and(|place| place.device().is_cpu())
    }

    /// GPUs: what several executors run there goes through one queue. The CPU's executors have threads of their own, which the
    /// system shares out.
    fn shared_device(&self, slot: usize) -> Option<String> {
        self.places.get(slot).map(|place| place.device()).filter(|device| !device.is_cpu()).map(ToString::to_string)
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
