//! Supervised batching actors: the runtime under Ekiden, without tensors and without HTTP.
//!
//! ```text
//! caller ── Handle ──► Desk ◄── Executor (one OS thread, one Worker)
//!              │        ▲  ▲         │
//!            Reply ◄────┼──┼─────────┘   each call carries its own reply
//!                 Batcher  Supervisor
//! ```
//!
//! * A [`Handle`] admits a call to one method and returns its [`Reply`], a future that can also be waited for.
//! * The desk holds what waits and what runs. Callers put calls on it, free executors take batches off it, both by the
//!   same pure policy under one short lock: a call reaches a free executor in one hop, and an executor that stays busy
//!   goes from batch to batch without any.
//! * A batcher is the actor of one method. It keeps the time: latency limits and deadlines.
//! * An executor is the actor of one worker, alone on its thread. It runs batches behind one `catch_unwind`.
//! * A supervisor is the actor of one runner. It holds the [`Factory`], classifies [`Exit`]s, and rebuilds executors
//!   and batchers, within a budget and after a backoff. What was queued or running outlives all of them on the desk.
//!
//! Modules, in reading order: `worker` (what a user of this crate implements), `limits`, `error`; `policy`, `cost`,
//! `forecast`, `triage`, `company`, `batch`,
//! `lane`, `due`, `queue`, `board`, `budget`, `recovery`, `cap`, `turns` (pure decisions); `call`,
//! `announced`, `shared`, `desk`, `handle`, `group`; `guard` (the panic boundary); `batcher`, `executor`, `supervisor`; `runtime`; and apart
//! from these `simulator`.

mod announced;
mod batch;
mod batcher;
mod board;
mod budget;
mod call;
mod cap;
mod company;
mod cost;
mod desk;
mod due;
mod error;
mod executor;
mod forecast;
mod group;
mod guard;
mod handle;
mod lane;
mod limits;
mod observer;
mod policy;
mod queue;
mod recovery;
mod runtime;
mod seat;
mod shared;
pub mod simulator;
mod status;
mod supervisor;
mod triage;
mod turns;
mod worker;

pub use call::Reply;
pub use cap::Cap;
pub use cost::{BucketCost, Cost};
pub use error::{CallError, Fault, MethodError, OpenError, RunError};
pub use group::Group;
pub use guard::guarded;
pub use handle::{Announcement, CallOptions, Handle};
pub use limits::{Batching, MethodLimits, Priority, RestartLimits, Weight};
pub use observer::{BatchReport, Observer};
pub use runtime::{Runner, RunnerSpec, Runtime};
pub use status::{ExecutorState, ExecutorStatus, Exit, ExitRecord, RunnerState, RunnerStatus};
pub use supervisor::OrderError;
pub use worker::{Factory, KillSwitch, Outcomes, Part, WarmRun, Worker};

#[cfg(test)]
mod simulation;
