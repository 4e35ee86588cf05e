//! What parent and child say to each other.

use ekiden_actors::{Exit, Fault, MethodError, RunError};
use serde::{Deserialize, Serialize};

use super::payload::Laid;

/// From the parent. Files that belong to a message travel with it, in the order of the fields that need them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild<'a> {
    /// What to be, after [`FromChild::Hello`], as the JSON of an [`Opening`](super::Opening). With it comes a socket that
    /// nothing is ever sent through: it closes when the parent dies.
    Open(&'a str),
    /// A batch.
    Run {
        method: u32,
        /// The rows of each of its parts.
        parts: Vec<u32>,
        #[serde(borrow)]
        inputs: Laid<'a>,
        /// The bytes of the region that inputs pass through from now on, if it is a new one.
        fresh: Option<u64>,
        /// The region that is free for outputs.
        room: Option<u32>,
    },
    /// The answer to [`FromChild::NeedsRoom`]: the region of this number is a new one, of so many bytes.
    Room { number: u32, len: u64 },
    /// The answer to a chunk of a stream: the next one is wanted, and this region is free for it.
    More { room: Option<u32> },
    /// The answer to a chunk of a stream: nobody wants another.
    Enough,
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild<'a> {
    /// The program knows that it is a child.
    Hello,
    /// The program has started as if it were not a child.
    Stray,
    /// The runnable is open.
    Opened,
    /// It cannot be opened, for this reason.
    NotOpened(&'a str),
    /// It has panicked, with this message; the child ends.
    Panicked(&'a str),
    /// The outputs of the batch take so many bytes.
    NeedsRoom(u64),
    /// The outputs of the batch; or one chunk of a stream, which waits for an answer.
    Outputs {
        #[serde(borrow)]
        outputs: Laid<'a>,
        /// The rows that failed by themselves.
        failed: Vec<(u32, Failure)>,
        /// Nobody reads its inputs any more.
        inputs_free: bool,
    },
    /// The stream has no more chunks.
    Ended { inputs_free: bool },
    /// The batch has failed.
    Failed { why: Failure, inputs_free: bool },
}

/// A [`RunError`] on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Method {
        invalid_input: bool,
        ran: bool,
        message: String,
    },
    OutOfMemory(String),
    DeviceLost(String),
    /// In any other way.
    Lost(String),
}

impl Failure {
    /// A row's own error. Of its message, as much as anybody will read: there may be many.
    pub(super) fn of_row(error: &MethodError) -> Self {
        let message = error.to_string();
        let message = message[..message.floor_char_boundary(256)].to_owned();
        Self::Method { invalid_input: error.fault() == Fault::Input, ran: error.ran(), message }
    }

    /// The same in the parent.
    pub(super) fn into_row_error(self) -> MethodError {
        match RunError::from(self) {
            RunError::Method(error) => error,
            RunError::OutOfMemory(message) => MethodError::failed(message),
            RunError::Lost(exit) => MethodError::failed(exit),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Method(error) => Self::Method {
                invalid_input: error.fault() == Fault::Input,
                ran: error.ran(),
                message: error.to_string(),
            },
            RunError::OutOfMemory(message) => Self::OutOfMemory(message.to_string()),
            RunError::Lost(Exit::DeviceLost(message)) => Self::DeviceLost(message.to_string()),
            RunError::Lost(exit) => Self::Lost(exit.to_string()),
        }
    }
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Method { invalid_input, ran, message } => {
                let error =
                    if invalid_input { MethodError::invalid_input(message) } else { MethodError::failed(message) };
                Self::Method(if ran { error } else { error.before_run() })
            }
            Failure::OutOfMemory(message) => Self::OutOfMemory(message.into()),
            Failure::DeviceLost(message) => Self::Lost(Exit::DeviceLost(message.into())),
            Failure::Lost(message) => Self::Lost(Exit::Panicked(message.into())),
        }
    }
}
