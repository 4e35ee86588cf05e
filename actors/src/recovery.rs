//! What becomes of a batch that did not succeed.

use std::sync::Arc;

use crate::{CallError, MethodError};

/// How a batch ended, where it did not succeed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Its executor was lost while it ran, for this cause.
    Crash(Arc<str>),
    /// The method returned an error for the batch as a whole.
    Error(MethodError),
}

impl Failure {
    /// What its calls are answered with.
    pub(crate) fn into_error(self) -> CallError {
        match self {
            Self::Crash(cause) => CallError::Crashed(cause),
            Self::Error(error) => CallError::Method(error),
        }
    }
}

/// What to do with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Run the same batch again.
    Again,
    /// Run its two halves, to find the call that the failure is due to.
    Halve,
    /// Answer its calls with the failure.
    Answer,
}

/// Decides for a batch of `calls` calls that has now broken an executor `crashes` times.
///
/// An error is a clean answer of the method's, so that looking for its call costs runs but no executor. A crash is
/// retried once, as it may be due to the executor and not to the batch.
pub(crate) fn recovery(failure: &Failure, calls: usize, crashes: u32, retry: bool) -> Recovery {
    match failure {
        Failure::Error(error) if calls > 1 && (retry || !error.ran) => Recovery::Halve,
        Failure::Crash(_) if crashes < 2 && retry => Recovery::Again,
        Failure::Error(_) | Failure::Crash(_) => Recovery::Answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_are_retried_once_and_errors_are_traced_to_their_call() {
        let error = Failure::Error(MethodError::failed("no"));
        let crash = Failure::Crash("no".into());
        let check = |failure: &Failure, calls, crashes, retry, expected| {
            assert_eq!(recovery(failure, calls, crashes, retry), expected, "{failure:?} {calls} {crashes} {retry}");
        };
        check(&crash, 8, 1, true, Recovery::Again);
        check(&crash, 8, 2, true, Recovery::Answer);
        check(&crash, 8, 1, false, Recovery::Answer);
        check(&error, 8, 0, true, Recovery::Halve);
        check(&error, 1, 0, true, Recovery::Answer);
        check(&error, 8, 0, false, Recovery::Answer);
        let before = Failure::Error(MethodError::invalid_input("no").before_run());
        check(&before, 8, 0, false, Recovery::Halve);
        check(&before, 1, 0, false, Recovery::Answer);
    }
}
