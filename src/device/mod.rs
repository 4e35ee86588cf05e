//! Devices: their names, which of them are here, and what they say when something goes wrong.
//!
//! ```text
//! "cuda:1" ─► DeviceName ─► backend: the one file that knows which backends were built in ─► Burn's Device
//!                 │
//!                 └─► presence: what is here ─► trial: does it compute what flex computes
//! ```

mod backend;
mod fault;
mod memory;
mod name;
mod place;
mod presence;
mod trial;

pub(crate) use fault::{error, exit_of_panic, recognise};
pub(crate) use memory::memory;
pub use name::{Backend, DeviceName, InvalidDevice};
pub use place::Placement;
pub(crate) use presence::open;
pub use presence::{Facts, Kind, NotAvailable, Present, built_in, check, facts, listed, present};
pub(crate) use trial::difference;
pub use trial::{Trial, TrialError, try_out};
