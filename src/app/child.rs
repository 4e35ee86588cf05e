//! Executors in child processes: what a runner's options say about them, and what a program that is one does.

use ekiden_actors::OpenError;

use super::{App, AppBuilder};
use crate::config::{Isolation, RunnerOptions, Sourced};
use crate::isolation::{self, Child, Isolated, Limits, Opening, Which};
use crate::runner::on_pool;
use crate::serving::Model;

impl App {
    /// The first line of `main` in a program whose runners have `isolation = "process"`: where this process is an
    /// executor's child, it is that and never returns; otherwise it returns at once.
    ///
    /// A child is the same program, started with the same arguments. `app` tells it what it can run, and is best the
    /// function that builds the app: in a child, nothing of it is started, no configuration is read, and only one of its
    /// runnables is opened. Parameters that a [`Runner`](crate::Runner) has from code are made anew in the child, by `app`;
    /// those that configuration gives are sent to it. What a child prints is logged by its parent.
    ///
    /// ```no_run
    /// # use ekiden::{App, AppBuilder};
    /// fn main() {
    ///     App::run_child(app);
    ///     // From here on, this is the service.
    /// }
    ///
    /// fn app() -> AppBuilder {
    ///     App::builder().config_file("runners.toml")
    /// }
    /// ```
    pub fn run_child(app: impl FnOnce() -> AppBuilder) {
        let Some(child) = isolation::adopt() else { return };
        be(child, app());
        isolation::leave(0);
    }
}

/// Serves batches until the parent says that it is enough.
fn be(child: Child, app: AppBuilder) {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let name = format!("{}/{}", child.opening().runner, child.opening().executor);
    // A failure to start the pool ends the child, whose parent says so.
    let _ = on_pool(&child.opening().place.clone(), name, move || {
        child.serve(|opening| app.open(opening));
        drop(done);
    });
    // It is dropped when all is done, or when the thread is lost.
    let _ = wait.recv();
}

impl AppBuilder {
    /// What children are started with, in place of this program's own arguments.
    ///
    /// A test needs it, as the `main` of a test binary is not its own: with `["child", "--exact", "--nocapture"]` and a
    /// test named `child` that does nothing but call [`App::run_child`], children run that test alone.
    pub fn child_args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.child_args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Opens what a child process is to run, on this thread.
    fn open(&self, opening: &Opening) -> Result<Box<dyn Model>, OpenError> {
        let kind = match &opening.runnable {
            Which::Runner(name) => {
                self.runners.iter().find(|(options, _)| options.name.as_str() == name).map(|(_, kind)| kind)
            }
            Which::Runnable(name) => self.kinds.get(name),
        };
        let kind = kind.ok_or_else(|| {
            let (what, name) = match &opening.runnable {
                Which::Runner(name) => ("runner", name),
                Which::Runnable(name) => ("runnable", name),
            };
            OpenError::new(format!(
                "the child process does not know the {what} \"{name}\": give `App::run_child` the function that builds the app"
            ))
        })?;
        kind.open(opening)
    }
}

/// How a runner's child processes are to be started; `None` where its executors live on threads.
///
/// # Errors
/// What is wrong with its options.
pub(super) fn isolated(
    options: &RunnerOptions,
    runnable: Which,
    args: Option<Vec<String>>,
) -> Result<Option<Isolated>, String> {
    let chosen = &options.isolation;
    let problem = |key: &str, origin: &crate::config::Origin, problem: &str| {
        format!("{origin}: runner \"{}\": {key} {problem}", options.name)
    };
    match chosen.isolation() {
        Isolation::Thread => {
            let process = "needs isolation = \"process\": a thread has no limits of its own";
            let said = chosen.memory_limit.as_ref().map(|limit| ("memory_limit", &limit.origin));
            match said.or_else(|| chosen.nice.as_ref().map(|nice| ("nice", &nice.origin))) {
                Some((key, origin)) => Err(problem(key, origin, process)),
                None => Ok(None),
            }
        }
        Isolation::Process if !cfg!(unix) => {
            let origin = chosen.isolation.as_ref().map_or(&options.origin, |isolation| &isolation.origin);
            Err(problem("isolation", origin, "= \"process\" needs a Unix, such as Linux or macOS"))
        }
        Isolation::Process => {
            if let (Some(limit), false) = (&chosen.memory_limit, cfg!(target_os = "linux")) {
                return Err(problem("memory_limit", &limit.origin, "needs Linux: this system would not heed it"));
            }
            let limits = Limits {
                memory: chosen.memory_limit.as_ref().map(|limit| limit.value),
                nice: chosen.nice.as_ref().map(|nice| nice.value),
            };
            let params = options.params.as_ref().map(|Sourced { value, .. }| value.clone());
            Ok(Some(Isolated { runnable, params, limits, args }))
        }
    }
}
