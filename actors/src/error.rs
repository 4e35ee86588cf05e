//! What can go wrong with a call, and with opening a worker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Exit;

/// What went wrong with a call. Cheap to clone: a batch that fails gives the same one to each of its calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The input does not fit the method's signature, or cannot be read at all.
    #[error("{0}")]
    InvalidInput(Arc<str>),
    /// There is no such runner or method.
    #[error("{0}")]
    NotFound(Arc<str>),
    /// The request is larger than the limit.
    #[error("{0}")]
    TooLarge(Arc<str>),
    /// As many rows wait as may.
    #[error("the queue is full: {waiting} rows wait, {rows} more would exceed max_queue_size = {limit}")]
    QueueFull {
        /// Rows that wait.
        waiting: usize,
        /// Rows of this call.
        rows: usize,
        /// The most that may wait.
        limit: usize,
        /// When to try again: the backlog over the measured rate.
        retry_after: Duration,
    },
    /// The runnable refused the input, or failed.
    #[error("{0}")]
    Method(MethodError),
    /// This very call broke its executors; or a call of its batch did, where nothing is retried.
    #[error("the call broke its executor: {0}")]
    Crashed(Arc<str>),
    /// The runner cannot take or finish calls now.
    #[error("{cause}")]
    Unavailable {
        /// Why.
        cause: Arc<str>,
        /// When to try again, where that is known.
        retry_after: Option<Duration>,
    },
    /// The call did not, or could not, finish in time.
    #[error("{}", late(*timeout, *expected))]
    DeadlineExceeded {
        /// The time the call was given.
        timeout: Duration,
        /// The time that it would have taken, by what batches cost, where it was refused for that before its deadline.
        expected: Option<Duration>,
    },
    /// A blocking call in a thread that belongs to an async runtime, which it might hold up.
    #[error(
        "a blocking call inside an async runtime might hold it up; await async_run instead, or use a thread of its own"
    )]
    InsideRuntime,
    /// The caller has gone. Nobody sees this but the metrics.
    #[error("the caller has gone")]
    Cancelled,
}

/// How a call is told that it is late.
fn late(timeout: Duration, expected: Option<Duration>) -> String {
    let timeout = timeout.as_millis();
    match expected {
        Some(expected) => {
            let expected = expected.as_micros().div_ceil(1_000);
            format!("the call would take about {expected} ms, and {timeout} ms were given")
        }
        None => format!("the deadline of {timeout} ms has passed"),
    }
}

impl CallError {
    /// The name of the error in the HTTP API's bodies and in the metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "invalid_input",
            Self::NotFound(_) => "not_found",
            Self::TooLarge(_) => "too_large",
            Self::QueueFull { .. } => "queue_full",
            Self::Method(error) => match error.fault {
                Fault::Input => "method_invalid_input",
                Fault::Method => "method_failed",
            },
            Self::Crashed(_) => "crashed",
            Self::Unavailable { .. } => "unavailable",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::InsideRuntime => "inside_runtime",
            Self::Cancelled => "cancelled",
        }
    }

    /// When the caller should try again, where that makes sense and is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::QueueFull { retry_after, .. } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The runner cannot take calls, and when it will is not known.
    pub fn unavailable(cause: impl Into<Arc<str>>) -> Self {
        Self::Unavailable { cause: cause.into(), retry_after: None }
    }

    /// An input that does not fit.
    pub fn invalid_input(message: impl Into<Arc<str>>) -> Self {
        Self::InvalidInput(message.into())
    }
}

impl From<MethodError> for CallError {
    fn from(error: MethodError) -> Self {
        Self::Method(error)
    }
}

impl From<RunError> for CallError {
    /// What the calls of a batch are told where nothing is retried.
    fn from(error: RunError) -> Self {
        match error {
            RunError::Method(error) => Self::Method(error),
            RunError::OutOfMemory(message) => Self::Method(MethodError::failed(format!("out of memory: {message}"))),
            RunError::Lost(exit) => Self::Crashed(exit.to_string().into()),
        }
    }
}

/// Whose fault a [`MethodError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: the input makes no sense to the method.
    Input,
    /// The method's own.
    Method,
}

/// A method's own error: it refused its input, or it failed.
///
/// Any [`std::error::Error`] becomes a failed method with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodError {
    pub(crate) fault: Fault,
    /// Whether the method had run.
    pub(crate) ran: bool,
    device: Option<DeviceFault>,
    message: Arc<str>,
}

/// What an error says of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceFault {
    OutOfMemory,
    Lost,
}

impl MethodError {
    /// The input makes no sense to the method; the caller is told so with this message.
    pub fn invalid_input(message: impl fmt::Display) -> Self {
        Self { fault: Fault::Input, ran: true, device: None, message: message.to_string().into() }
    }

    /// The method failed.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { fault: Fault::Method, ran: true, device: None, message: message.to_string().into() }
    }

    /// The device has not enough memory for this batch: smaller ones are run instead, now and later.
    ///
    /// What Burn's devices report is recognised without it; it is for others.
    pub fn out_of_memory(message: impl fmt::Display) -> Self {
        Self { device: Some(DeviceFault::OutOfMemory), ..Self::failed(message) }
    }

    /// The device is lost or poisoned: the executor is given up.
    ///
    /// What Burn's devices report is recognised without it; it is for others.
    pub fn device_lost(message: impl fmt::Display) -> Self {
        Self { device: Some(DeviceFault::Lost), ..Self::failed(message) }
    }

    /// The same error, of a batch on which the method has not run: even a method that must run at most once may still
    /// run on the other calls.
    #[must_use]
    pub fn before_run(mut self) -> Self {
        self.ran = false;
        self
    }

    /// The same error, which says that it is row `row`'s, counted from 0.
    #[must_use]
    pub fn of_row(mut self, row: usize) -> Self {
        self.message = format!("row {row}: {}", self.message).into();
        self
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Whether the method had run.
    pub fn ran(&self) -> bool {
        self.ran
    }
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for MethodError {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

/// Why a batch has no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The method refused the batch, or failed on it, as a whole.
    Method(MethodError),
    /// The device has not enough memory for a batch of this size, with the device's message. A smaller one may do.
    OutOfMemory(Arc<str>),
    /// The worker is of no use any more, for this reason: it is thrown away and rebuilt.
    Lost(Exit),
}

impl<E: Into<MethodError>> From<E> for RunError {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.device {
            None => Self::Method(error),
            Some(DeviceFault::OutOfMemory) => Self::OutOfMemory(error.message),
            Some(DeviceFault::Lost) => Self::Lost(Exit::DeviceLost(error.message)),
        }
    }
}

/// Why a worker cannot be opened.
///
/// Any [`std::error::Error`] becomes one with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    message: Arc<str>,
    died: bool,
}

impl OpenError {
    /// An error with this message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string().into(), died: false }
    }

    /// The process in which it was being opened has died. It has not said no: it may be opened yet, even the first time.
    pub fn process_died(how: impl fmt::Display) -> Self {
        Self { message: how.to_string().into(), died: true }
    }

    /// What it makes of the executor.
    pub(crate) fn into_exit(self) -> Exit {
        if self.died { Exit::ProcessDied(self.message) } else { Exit::OpenFailed(self.message) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for OpenError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}
