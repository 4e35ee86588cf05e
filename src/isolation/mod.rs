//! Executors in processes of their own: what no panic boundary survives, an abort, a segfault, a killer, a poisoned
//! device, ends a child and not the server.
//!
//! ```text
//!             parent                                              child: the same program, started once more
//!  Executor ─► Proxy ── a message, inputs laid out once ──────────────► serve ─► the runnable on its device
//!     ▲          │        few bytes: in the message                       │
//!     │          │        more: in memory that both have mapped           │
//!     └───────── ◄────── a message, outputs laid out once ◄───────────────┘
//!              Process   minds the child: reaps it, keeps how it ended, kills it
//! ```
//!
//! * The executor actor stays where it is. Its worker, in `proxy`, looks like an opened runnable.
//! * The two take turns on a socket (`link`, `wire`, `conversation`, `server`), chunk by chunk where a method streams; values
//!   lie in messages or in shared memory (`payload`, `memory`). Nothing that a child says is believed before it has been
//!   checked.
//! * A child dies with its parent: the kernel kills it on Linux, and everywhere a thread of its own waits for the parent's
//!   end (`child`). A parent leaves no zombie (`process`).
//! * What a child prints is logged by its parent (`output`).
//!
//! Nothing here knows what a runnable is: it is a [`Model`](crate::serving::Model) on either side.

#[cfg(unix)]
mod child;
#[cfg(unix)]
mod conversation;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod link;
#[cfg(unix)]
mod memory;
#[cfg(unix)]
mod output;
#[cfg(unix)]
mod payload;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod proxy;
#[cfg(unix)]
mod server;
#[cfg(test)]
#[cfg(unix)]
mod tests;
#[cfg(unix)]
mod wire;

use serde::{Deserialize, Serialize};

use crate::device::Placement;
use crate::models::LocatedModel;

#[cfg(unix)]
pub(crate) use child::{Child, adopt, leave, refuse_stray};
#[cfg(not(unix))]
pub(crate) use elsewhere::{Child, adopt, leave, open, refuse_stray};
#[cfg(unix)]
pub(crate) use proxy::open;

/// The variable that tells a child whose it is: the number of its parent. What a child starts itself has another parent,
/// and is no child of ours, though it inherits the variable.
#[cfg(unix)]
const CHILD_OF: &str = "EKIDEN_CHILD_OF";

/// What a child is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) runner: String,
    pub(crate) executor: usize,
    pub(crate) runnable: Which,
    /// What configuration says; `None`: what code says.
    pub(crate) params: Option<serde_json::Value>,
    pub(crate) models: Vec<LocatedModel>,
    pub(crate) place: Placement,
    pub(crate) limits: Limits,
    /// Whether what a GPU computes is compared with the CPU's.
    pub(crate) golden_check: bool,
}

/// Where the child's own [`AppBuilder`](crate::AppBuilder) has the runnable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Which {
    /// In the runner of this name, which code has added.
    Runner(String),
    /// Registered by this name.
    Runnable(String),
}

/// What a child may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Bytes that it may allocate for itself.
    pub(crate) memory: Option<u64>,
    /// By how much it gives way to others.
    pub(crate) nice: Option<i32>,
}

/// How a runner's children are started.
#[derive(Clone, Debug)]
pub(crate) struct Isolated {
    pub(crate) runnable: Which,
    pub(crate) params: Option<serde_json::Value>,
    pub(crate) limits: Limits,
    /// What the program is started with; `None`: as this process was.
    pub(crate) args: Option<Vec<String>>,
}
