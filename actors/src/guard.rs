//! The panic boundary: what users of this crate wrote runs behind [`guarded`], where what it may leave half-done can be
//! thrown away.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs `run`; the message of its panic, if it panics.
///
/// Nothing is left broken behind it: a worker is thrown away after a panic, outputs being joined are the call's own,
/// and calls and desk are behind locks that are not held while a user's code runs.
pub fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> Arc<str> {
    if let Some(message) = payload.downcast_ref::<&str>() {
        (*message).into()
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message.as_str().into()
    } else {
        "a panic without a message".into()
    }
}
