//! What the runtime runs: a worker, made anew by a factory whenever one is needed.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::{Exit, MethodError, OpenError, RunError};

/// The rows of one call that a batch contains.
#[derive(Debug)]
pub struct Part<'a, I> {
    /// The call's whole input.
    pub input: &'a I,
    /// Which of its rows are meant: all of them, unless the call was cut because it is larger than a batch may be.
    pub rows: Range<usize>,
}

/// What became of each part of a batch: its output, or an error that is its own.
pub type Outcomes<O> = Vec<Result<O, MethodError>>;

/// A batch that ran for nobody; see [`Worker::warm_up`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmRun {
    /// The method that ran.
    pub method: usize,
    /// The input's shape, as [`Worker::shape`] has it.
    pub shape: u64,
    /// How many rows.
    pub rows: usize,
    /// How long it took.
    pub execution: Duration,
}

/// See [`Worker::kill_switch`].
pub type KillSwitch = Arc<dyn Fn() + Send + Sync>;

/// What an executor owns: code that is open on one device and runs batches on one thread.
///
/// A batch is [launched](Self::launch), and then [finished](Self::finish). Between the two, a device that works by itself may
/// be handed the next one, so that it does not wait for what the host does: see [`depth`](Self::depth).
///
/// It is made by a [`Factory`] on the executor's thread, never leaves it, and is thrown away when a run panics.
pub trait Worker: 'static {
    /// The input of a call.
    type Input: Send + Sync + 'static;
    /// The output of a call.
    type Output: Send + 'static;
    /// A batch that has been launched: what is still to be done, or all outcomes where nothing is.
    type Launched;

    /// Whether calls of these inputs may share a batch. It looks at shapes, not at data: callers run it under a lock.
    fn can_share_batch(one: &Self::Input, other: &Self::Input) -> bool;

    /// A number for the shape of an input: the same for inputs that can share a batch, and usually another for others.
    /// What batches cost, and how large they may be, is learned for each.
    fn shape(_input: &Self::Input) -> u64 {
        0
    }

    /// Runs batches that serve nobody, before the worker takes others: the first call is not slow then, and what batches
    /// cost is known. Tells `ran` of each.
    ///
    /// # Errors
    /// Why the worker is not fit to be used.
    fn warm_up(&mut self, _ran: &mut dyn FnMut(WarmRun)) -> Result<(), OpenError> {
        Ok(())
    }

    /// How many batches may have been launched and not finished, at least 1. With more than one, the next full batch is
    /// launched before the first is finished, and batches are finished in the order in which they were launched.
    fn depth(&self) -> usize {
        1
    }

    /// Begins one batch of `method`: hands it to the device, and does not wait for that.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    fn launch(&mut self, method: usize, parts: &[Part<'_, Self::Input>]) -> Result<Self::Launched, RunError>;

    /// Waits for a batch that was launched with these parts, and returns what became of each, in order.
    ///
    /// # Errors
    /// A [`RunError`] fails the batch as a whole. The runtime then finds the call that it is due to.
    fn finish(
        &mut self,
        method: usize,
        parts: &[Part<'_, Self::Input>],
        launched: Self::Launched,
    ) -> Result<Outcomes<Self::Output>, RunError>;

    /// What ends whatever runs from another thread, where something can: a process that is killed. What runs then returns
    /// [`RunError::Lost`]. A thread cannot be killed.
    fn kill_switch(&self) -> Option<KillSwitch> {
        None
    }

    /// Why the worker is of no use any more, where that shows while it is idle: a process that has died. Asked before each
    /// batch, which is then run elsewhere and has broken nothing.
    fn lost(&self) -> Option<Exit> {
        None
    }

    /// Has `wake` called, from any thread, when [`lost`](Self::lost) has something to tell.
    fn on_loss(&self, _wake: Box<dyn Fn() + Send>) {}

    /// What a panic of a run with this message was the end of: the worker, or its device.
    fn exit_of_panic(&self, message: Arc<str>) -> Exit {
        Exit::Panicked(message)
    }

    /// Joins the outputs of a call that was cut, in the order of their rows.
    ///
    /// # Errors
    /// A [`MethodError`] where they do not fit together.
    fn join(input: &Self::Input, pieces: Vec<Self::Output>) -> Result<Self::Output, MethodError>;
}

/// Makes workers. One factory serves all executors of a runner, for as long as the runner lives.
pub trait Factory: Send + Sync + 'static {
    /// What it makes.
    type Worker: Worker;

    /// Makes the worker of executor `slot` (counted from 0), on that executor's thread.
    ///
    /// # Errors
    /// Why it cannot be made. A panic counts as such an error.
    fn open(&self, slot: usize) -> Result<Self::Worker, OpenError>;

    /// What executor `slot` runs on, for people: a device's name.
    fn device(&self, _slot: usize) -> String {
        "cpu".to_owned()
    }

    /// What executor `slot` shares with all others of the runtime that share something of this name: a device that runs one
    /// batch at a time. They take turns, by the time that each runner has had and by its
    /// [`weight`](crate::RunnerSpec::weight). `None`: nothing, and it runs when it likes.
    fn shared_device(&self, _slot: usize) -> Option<String> {
        None
    }

    /// Whether, for a moment, a second worker of executor `slot` may be open beside the one that it is to replace.
    fn has_room(&self, _slot: usize) -> bool {
        true
    }

    /// Whether a worker that is opened anew has a device that works where the last one's was lost. Within one process it
    /// has not: Burn's devices stay poisoned.
    fn cures_lost_devices(&self) -> bool {
        false
    }

    /// Runs `body`, the whole life of executor `slot`, on a thread of its own named `name`.
    ///
    /// # Errors
    /// Why no thread could be had.
    fn spawn(&self, _slot: usize, name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(body).map(drop)
    }
}
