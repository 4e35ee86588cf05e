//! Configuration: what runs where, and who said so.
//!
//! ```text
//! runners.toml ─ file ──────┐
//! EKIDEN__…  ─── env ───────┼─► one tree a layer ─ read, for errors ─► merge (crate `config`) ─ read ─► Config
//! --set, --bind ─ overrides ┘                                                                            │ overlay
//! Runner::new(..).cpu(4.0) ─ code ─► RunnerOptions ──────────────────────────────────────────────────────┴─► limits
//! ```
//! Layers, weakest first: built-in defaults, code, `runners.toml`, environment, command line. The stronger layer wins;
//! within one layer a method's own option beats its runner's. Every value keeps its [`Origin`], so that `ekiden check`
//! can name it and an error can say where to look. Each layer is read alone before the merge: an error is reported even
//! where a stronger layer hides it, and all errors are reported at once.
//!
//! In the order of reading: [`origin`], [`name`], [`error`]; [`server`], [`runner`], [`resources`] and [`isolation`] are the result; `keys`, `values`
//! and `read` are the rules; `tree`, `file`, `env`, `overrides`, `literal` and [`code`] are the layers; [`report`]
//! prints.

pub mod code;
mod env;
pub mod error;
mod file;
pub mod isolation;
mod keys;
mod literal;
pub mod name;
pub mod origin;
mod overrides;
mod read;
pub mod report;
pub mod resources;
pub mod runner;
pub mod server;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use code::{CodeOptions, Setting};
pub use env::env_form;
pub use error::{ConfigError, ConfigErrors, Problem};
pub use isolation::{Isolation, IsolationOptions};
pub use name::{BindAddress, RunnerName};
pub use origin::{Layer, Origin, Sourced};
pub use resources::{Adapters, Amount, DeviceChoice, NvidiaGpus, ResourceOptions};
pub use runner::{EffectiveMethod, MethodOptions, RestartOptions, RunnerOptions};
pub use server::{LogFormat, ServerConfig};
pub use sources::Sources;
pub(crate) use values::{BYTES_RULE, bytes_of};

use read::Reader;
use tree::Origins;

/// What the file, the environment and the command line say, merged, with the server's defaults filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The HTTP server's options.
    pub server: ServerConfig,
    /// The runners in the order of the file, then those that only code defines, by name; unique names.
    pub runners: Vec<RunnerOptions>,
}

impl Config {
    /// Reads and merges all sources.
    ///
    /// # Errors
    /// Everything that is wrong in any source. A file that cannot be read or is not TOML is reported alone, as what
    /// other sources name depends on it.
    pub fn load(sources: Sources) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let file = sources.read_file(&mut errors);
        let Some(file) = file else {
            ConfigErrors::check(errors)?;
            return Ok(Self::default());
        };
        let names = sources.names(&file);
        let variables = env::read(&sources.variables, &names, &file.tree, &mut errors);
        let overrides = sources.overrides.iter().map(|over| over.read(&names, &mut errors));
        let stronger: Vec<_> = std::iter::once(variables).chain(overrides.collect::<Vec<_>>()).collect();

        Reader::new(&file.tree.origins, Some(&file.labels), &mut errors).root(file.tree.root.clone());
        for tree in &stronger {
            Reader::new(&tree.origins, None, &mut errors).root(tree.root.clone());
        }
        ConfigErrors::check(errors)?;

        let mut origins = Origins::default();
        let mut builder = config::Config::builder();
        for tree in std::iter::once(file.tree).chain(stronger) {
            origins.extend(&tree.origins);
            builder = builder.add_source(tree);
        }
        let merged = builder.build().and_then(|merged| merged.cache.into_table()).map_err(|error| ConfigError {
            origin: Origin::Default,
            path: String::new(),
            problem: Problem::Merge(error),
        })?;
        let mut errors = Vec::new();
        let (server, mut runners) = Reader::new(&origins, None, &mut errors).root(merged);
        ConfigErrors::check(errors)?;
        let in_file: Vec<_> = file.order.iter().filter_map(|name| runners.remove(name)).collect();
        Ok(Self { server, runners: in_file.into_iter().chain(runners.into_values()).collect() })
    }
}
