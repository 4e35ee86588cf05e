//! The thread on which supervisors and batchers live, and what is launched there.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::{Actor, ArbiterHandle, Recipient, System};
use tokio::sync::{oneshot, watch};

use crate::desk::Desk;
use crate::shared::SharedDevices;
use crate::supervisor::{Command, Drain, Order, Supervisor};
use crate::{
    Factory, Handle, MethodLimits, Observer, OrderError, RestartLimits, RunnerState, RunnerStatus, Weight, Worker,
};

/// Hosts runners: their supervisors and batchers live on one thread, each executor on its own.
///
/// It brings its own actix system, so that it runs in any program, in async code of any runtime or in none. Dropping it
/// refuses what has not been answered; drain the runners first.
pub struct Runtime {
    system: System,
    arbiter: ArbiterHandle,
    thread: Option<JoinHandle<()>>,
    shared: SharedDevices,
}

/// What to launch.
pub struct RunnerSpec {
    /// The runner's name, for logs and threads.
    pub name: String,
    /// How many executors share its work.
    pub executors: NonZeroUsize,
    /// The limits of each method, in the order by which the worker knows them.
    pub methods: Vec<MethodLimits>,
    /// How often executors are rebuilt.
    pub restarts: RestartLimits,
    /// Its share of the devices that it shares: see [`Factory::shared_device`].
    pub weight: Weight,
    /// Told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Runtime {
    /// Starts the thread.
    ///
    /// # Errors
    /// Why no thread or no event loop could be had.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = thread::Builder::new().name("ekiden-actors".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            let system = System::with_tokio_rt(|| runtime);
            let handles = system.block_on(async { (System::current(), actix::Arbiter::current()) });
            let _ = sender.send(Ok(handles));
            if let Err(error) = system.run() {
                tracing::error!(%error, "the actors' thread has ended with an error");
            }
        })?;
        let (system, arbiter) = receiver.recv().map_err(|_| io::Error::other("the actors' thread died at once"))??;
        Ok(Self { system, arbiter, thread: Some(thread), shared: SharedDevices::default() })
    }

    /// Launches a runner: its executors are being opened when this returns. Watch [`Runner::status`].
    pub fn launch<F: Factory>(&self, spec: RunnerSpec, factory: F) -> Runner<F::Worker> {
        let RunnerSpec { name, executors, methods, restarts, weight, observer } = spec;
        let name: Arc<str> = name.into();
        let (published, status) = watch::channel(Supervisor::first_status(&factory, executors.get(), &restarts));
        let count = methods.len();
        let shares = self.shared.join((0..executors.get()).map(|slot| factory.shared_device(slot)), weight);
        let desk = Arc::new(Desk::new(methods, shares, observer));
        let supervisor = Supervisor::start_in_arbiter(&self.arbiter, {
            let (name, desk) = (Arc::clone(&name), Arc::clone(&desk));
            move |_| Supervisor::new(name, Arc::new(factory), desk, count, restarts, published)
        });
        Runner { name, desk, status, drain: supervisor.clone().recipient(), commands: supervisor.recipient() }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.system.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the actors' thread has panicked");
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// A launched runner. Clones are cheap and mean the same runner.
pub struct Runner<W: Worker> {
    name: Arc<str>,
    pub(crate) desk: Arc<Desk<W>>,
    status: watch::Receiver<RunnerStatus>,
    drain: Recipient<Drain>,
    commands: Recipient<Command>,
}

impl<W: Worker> Runner<W> {
    /// The runner's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A handle to the method of this index, counted as in [`RunnerSpec::methods`].
    ///
    /// # Panics
    /// If there is no such method.
    pub fn method(&self, index: usize) -> Handle<W> {
        assert!(index < self.desk.methods(), "there is no method {index}");
        Handle::new(Arc::clone(&self.desk), index)
    }

    /// The runner's state now.
    pub fn status(&self) -> RunnerStatus {
        self.status.borrow().clone()
    }

    /// Waits until the runner takes calls, or never will.
    ///
    /// # Errors
    /// The cause, if it has failed or stopped.
    pub async fn ready(&self) -> Result<(), Arc<str>> {
        let settled = |status: &RunnerStatus| !matches!(status.state, RunnerState::Starting | RunnerState::Restarting);
        let status = self.settle(settled).await;
        match status.state {
            RunnerState::Ready | RunnerState::Paused => Ok(()),
            state => Err(status.cause.unwrap_or_else(|| format!("the runner is {state}").into())),
        }
    }

    /// Replaces each executor by a new one, one after the other, and waits until that is done; calls go on. Where a
    /// device has room for one only, calls wait for as long as the new one is opened. A runner that has failed or stopped
    /// begins anew. Either way its budget is forgotten.
    ///
    /// # Errors
    /// [`OrderError`]. An executor that cannot be opened is told, and the one that it was to replace goes on.
    pub async fn restart(&self) -> Result<(), OrderError> {
        self.command(Order::Restart).await?;
        self.ready().await.map_err(OrderError::Failed)
    }

    /// Runs nothing more until [`Runner::resume`]; calls are taken and wait, for as long as their deadlines let them.
    ///
    /// # Errors
    /// [`OrderError::Impossible`] unless it takes calls.
    pub async fn pause(&self) -> Result<(), OrderError> {
        self.command(Order::Pause).await
    }

    /// Goes on after [`Runner::pause`].
    ///
    /// # Errors
    /// [`OrderError::Impossible`] if it takes no calls.
    pub async fn resume(&self) -> Result<(), OrderError> {
        self.command(Order::Resume).await
    }

    /// Has `successor` take the calls that come from now on; what this runner has accepted it goes on with, and it is to be
    /// drained. Whoever holds a handle to this one need not know. `methods` says for each of this one's methods which of the
    /// other's is like it: takes the same inputs and gives the same outputs.
    ///
    /// # Panics
    /// If it does not say so for each, or names one that does not exist.
    pub fn succeed(&self, successor: &Self, methods: impl Into<Box<[Option<usize>]>>) {
        let methods = methods.into();
        assert_eq!(methods.len(), self.desk.methods(), "each method has a successor or none");
        let known = successor.desk.methods();
        assert!(methods.iter().flatten().all(|&method| method < known), "there is no such method");
        self.desk.succeed(Arc::clone(&successor.desk), methods);
    }

    async fn command(&self, order: Order) -> Result<(), OrderError> {
        let (done, outcome) = oneshot::channel();
        self.commands.do_send(Command { order, done });
        outcome.await.unwrap_or_else(|_| Err(OrderError::Failed("the runner's supervisor has ended".into())))
    }

    /// Takes no more calls, finishes those it has, for at most `grace`, and ends; waits for that.
    pub async fn drain(&self, grace: Duration) {
        self.drain.do_send(Drain { grace });
        self.settle(|status| status.state == RunnerState::Stopped).await;
    }

    async fn settle(&self, settled: impl FnMut(&RunnerStatus) -> bool) -> RunnerStatus {
        let mut status = self.status.clone();
        match status.wait_for(settled).await {
            Ok(status) => status.clone(),
            // The supervisor is gone; what it said last holds.
            Err(_) => self.status(),
        }
    }
}

impl<W: Worker> Clone for Runner<W> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            desk: Arc::clone(&self.desk),
            status: self.status.clone(),
            drain: self.drain.clone(),
            commands: self.commands.clone(),
        }
    }
}

impl<W: Worker> fmt::Debug for Runner<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("name", &self.name).finish_non_exhaustive()
    }
}
