//! The runtime from outside: real threads and actors through the public API. Nothing sleeps; what has to have happened
//! is waited for, and every wait is bounded, so that a hang is a failure.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]

mod calls;
mod crashes;
mod devices;
mod drain;
mod hangs;
mod orders;
mod pipelining;
mod shared;
mod stage;
