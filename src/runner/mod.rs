//! Runnables and runners: user code, and how it comes to run on its devices.
//!
//! In reading order: `runnable` (what users write), `data`, `function`, `stream` and `methods` (the types, the functions and
//! the declaration of its methods), `builder` (a runner in code), `system`, `resources` and `strategy` (from what the machine has
//! and a runner asks for to executors), `open`, `golden` and `pool` (the factory of supervisors, its check of GPUs, its
//! threads), `typed` (handles for callers), `local` (without actors), `tensor` (between host arrays and Burn), `model` and
//! `weights` (from saved models to runners and modules), `onnx` (files that need no code).

mod builder;
mod data;
mod dynamic;
mod function;
mod golden;
mod local;
mod methods;
mod model;
mod onnx;
mod open;
mod pool;
mod read_back;
mod resources;
mod rows;
mod runnable;
mod strategy;
mod stream;
mod system;
mod tensor;
mod typed;
mod weights;

pub use builder::{MethodConfig, Runner};
pub use data::{Data, InputBatch, Json, Kind};
pub use function::{InputParts, Inputs, MethodFn, Outputs, Slot};
pub use local::{LocalError, LocalMethod, LocalRunner};
pub use methods::{MethodBuilder, Methods, NamedSpec, StreamBuilder};
pub use onnx::{Onnx, OnnxParams};
pub use read_back::ReadBack;
pub use resources::{CustomResource, Granted, ResourceError, Resources};
pub use rows::Rows;
pub use runnable::{OpenContext, ResourceKind, Runnable};
pub use strategy::{DefaultStrategy, Plan, PlanError, Request, Strategy, Support};
pub use stream::{Chunks, StreamFn};
pub use system::{Adapter, Inquiry, System};
pub use typed::{IntoInputs, Method, Streamed, TypeMismatch};
pub use weights::{Weights, WeightsError, WeightsMismatch};

pub(crate) use methods::Method as DeclaredMethod;
pub(crate) use open::{Opener, RunnerFactory};
pub(crate) use pool::on_pool;
pub(crate) use resources::CustomResources;

/// The methods that `R` declares with these parameters and models.
pub(crate) fn declared<R: Runnable>(ctx: &OpenContext<R::Params>) -> Result<Vec<DeclaredMethod<R>>, String> {
    let mut methods = Methods::new();
    R::declare(ctx, &mut methods).map_err(|error| error.to_string())?;
    methods.build().map_err(|problem| format!("it is declared wrongly: {problem}"))
}
