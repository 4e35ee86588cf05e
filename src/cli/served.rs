//! What `serve` serves and `check` checks: a configuration, or one model without any.

use std::path::{Path, PathBuf};

use clap::Args;
use ekiden::App;
use ekiden::app::AppBuilder;
use ekiden::config::RunnerName;
use ekiden::models::{self, Format, Model};

use super::{ConfigArgs, Failure, app, runnables};

#[derive(Args)]
pub(super) struct ServedArgs {
    /// One ONNX model alone, without a configuration: a file, or name[:version] in the model store. Or a configuration, if it
    /// ends in .toml
    #[arg(value_name = "MODEL", conflicts_with = "config")]
    what: Option<String>,
    /// What to call the model's runner [default: the model's name]
    #[arg(long, value_name = "NAME", requires = "what")]
    name: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl ServedArgs {
    /// What is to be served, and what that was read from.
    pub(super) fn app(self) -> Result<(AppBuilder, String), Failure> {
        let Self { what, name, config: ConfigArgs { config, set } } = self;
        let Some(what) = what else { return Ok(app(ConfigArgs { config, set })) };
        if Path::new(&what).extension().is_some_and(|extension| extension == "toml") {
            return match name {
                None => Ok(app(ConfigArgs { config: Some(PathBuf::from(what)), set })),
                Some(_) => Err(Failure::Usage(format!("--name is for a model, and {what} is a configuration"))),
            };
        }
        one_model(what, name, set)
    }
}

/// A configuration that names one model and nothing else.
fn one_model(what: String, name: Option<String>, set: Vec<String>) -> Result<(AppBuilder, String), Failure> {
    // By the rules of `model` in a configuration, but that a file that is there is meant.
    let is_name = Path::new(&what).components().count() == 1;
    let asked = if is_name && Path::new(&what).is_file() { format!("./{what}") } else { what.clone() };
    let model = find(&asked, &what)?;
    let name = name.unwrap_or_else(|| model.name().to_string());
    let name: RunnerName = name.parse().map_err(|error| Failure::Usage(format!("{error}; choose one with --name")))?;
    let (runner, origin) = (format!("runners.{name}"), "command line");
    let mut builder = App::builder().environment().sources(|sources| {
        let sources = sources.known_runner(&name, Vec::<String>::new());
        sources.flag(origin, format!("{runner}.model"), asked)
    });
    if model.manifest().format == Format::Onnx {
        builder = builder.sources(|sources| sources.flag(origin, format!("{runner}.runnable"), "onnx"));
    }
    Ok((runnables(set.into_iter().fold(builder, AppBuilder::set)), what))
}

/// The model, by its path or its tag.
fn find(asked: &str, what: &str) -> Result<Model, Failure> {
    let found = if models::is_path(asked) { models::open(asked) } else { models::get(asked) };
    found.map_err(|error| {
        let folder = !models::is_path(asked) && Path::new(what).is_dir();
        let hint = if folder { format!("; for the folder of that name, say ./{what}") } else { String::new() };
        Failure::Usage(format!("{error}{hint}"))
    })
}
