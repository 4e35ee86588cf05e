//! The runtime from outside: real threads and actors through the public API. Nothing sleeps; what has to have happened
//! is waited for, and every wait is bounded, so that a hang is a failure.

mod calls;
mod crashes;
mod drain;
mod stage;
