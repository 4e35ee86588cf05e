//! `ekiden models`: the model store, for people and scripts.

mod show;

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use ekiden::models::{Broken, Model, ModelError, ModelName, Progress, Selector, Store, Tag};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{Failure, print, tell};
use show::as_json;

pub(super) const EXAMPLES: &str = "\
Examples:
  ekiden models import iris.safetensors --name iris_clf --label team=flowers
  ekiden models list
  ekiden models get iris_clf
  ekiden models export iris_clf:latest iris.ekiden
  ekiden models delete iris_clf:20261126

A TAG is name, name:latest, name:version, or as much of the version as is unique. Models lie in $EKIDEN_HOME/models, or in \
~/.ekiden/models without that variable.";

/// Copies of fewer bytes are over before anybody has looked.
const LARGE: u64 = 32 << 20;

/// What to do with the store.
#[derive(Subcommand)]
pub(super) enum ModelsCommand {
    /// List the models, of each the newest version first
    List {
        /// One model only
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of a model
    Get {
        #[arg(value_name = "TAG")]
        tag: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Import a .onnx, .safetensors, .pt or .ekiden file, or a folder that was exported; print the model's tag
    Import {
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// The model's name [default: that in the archive, else the file's own]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The model's version [default: that in the archive, else a new one that sorts by time]
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
        /// A label to find it by; any number of them
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Export a model: to an archive if the path ends in .ekiden, else to a folder
    Export {
        #[arg(value_name = "TAG")]
        tag: String,
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete one version of a model, which may be broken where it is named in full
    Delete {
        #[arg(value_name = "TAG")]
        tag: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the folder of a model
    Path {
        #[arg(value_name = "TAG")]
        tag: String,
    },
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Name { .. } | ModelError::Tag { .. } | ModelError::NoHome => Self::Usage(error.to_string()),
            _ => Self::Run(error.to_string()),
        }
    }
}

pub(super) fn models(command: ModelsCommand) -> Result<(), Failure> {
    let store = Store::open()?;
    match command {
        ModelsCommand::List { name, json } => list(&store, name.as_deref(), json),
        ModelsCommand::Get { tag, json } => get(&store.get(&tag)?, json),
        ModelsCommand::Import { path, name, version, labels, json } => {
            let model = import(&store, path, name, version, labels)?;
            say(json, &as_json(&model), format_args!("imported {model}"))
        }
        ModelsCommand::Export { tag, path, json } => {
            let model = export(&store, &tag, &path)?;
            let done = json!({"tag": model.tag().to_string(), "path": path.to_string_lossy()});
            say(json, &done, format_args!("exported {model} to {}", path.display()))
        }
        ModelsCommand::Delete { tag, yes, json } => {
            let (tag, deleted) = delete(&store, &tag, yes)?;
            let done = json!({"tag": tag.to_string(), "deleted": deleted});
            match deleted {
                true => say(json, &done, format_args!("deleted {tag}")),
                false => say(json, &done, "nothing was deleted"),
            }
        }
        ModelsCommand::Path { tag } => print(format_args!("{}\n", store.get(&tag)?.path().display())),
    }
}

/// Says what has been done, to people or to machines.
fn say(json: bool, done: &Value, line: impl fmt::Display) -> Result<(), Failure> {
    if json { print(format_args!("{done:#}\n")) } else { print(format_args!("{line}\n")) }
}

fn list(store: &Store, name: Option<&str>, json: bool) -> Result<(), Failure> {
    let name: Option<ModelName> = name.map(str::parse).transpose()?;
    let listing = match &name {
        Some(name) => store.versions(name)?,
        None => store.list()?,
    };
    for Broken { tag, error, .. } in &listing.broken {
        tell(&mut io::stderr(), format_args!("warning: {tag} is broken: {error}; `ekiden models delete {tag}`"));
    }
    if json {
        return print(format_args!("{:#}\n", show::listing(&listing)));
    }
    if listing.models.is_empty() && listing.broken.is_empty() {
        let which = name.map(|name| format!(" of the name \"{name}\"")).unwrap_or_default();
        return print(format_args!("there are no models{which} in {}\n", store.path().display()));
    }
    print(show::table(&listing))
}

fn get(model: &Model, json: bool) -> Result<(), Failure> {
    if json { print(format_args!("{:#}\n", as_json(model))) } else { print(show::page(model)) }
}

fn import(
    store: &Store,
    path: PathBuf,
    name: Option<String>,
    version: Option<String>,
    labels: Vec<String>,
) -> Result<Model, Failure> {
    let bar = Bar::new();
    let mut import = store.import(path).progress(bar.progress());
    for label in labels {
        let (key, value) = label.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            Failure::Usage(format!("expected --label KEY=VALUE, such as team=flowers, found {label:?}"))
        })?;
        import = import.label(key, value);
    }
    import = name.into_iter().fold(import, |import, name| import.name(name));
    import = version.into_iter().fold(import, |import, version| import.version(version));
    Ok(import.run()?)
}

fn export(store: &Store, tag: &str, path: &Path) -> Result<Model, Failure> {
    let bar = Bar::new();
    Ok(store.export(tag)?.progress(bar.progress()).to(path)?)
}

/// Deletes a version, and returns its tag in full, and whether whoever was asked wanted it.
fn delete(store: &Store, text: &str, yes: bool) -> Result<(Tag, bool), Failure> {
    let asked: Tag = text.parse()?;
    let broken = store.versions(&asked.name)?.broken.into_iter().find(|broken| broken.tag == asked);
    let (tag, about) = match &broken {
        Some(broken) => (broken.tag.clone(), format!("which is broken: {}", broken.error)),
        None => {
            let model = store.find(&asked)?;
            (model.tag(), HumanBytes(model.manifest().size()).to_string())
        }
    };
    if asked.version == Selector::Latest && !text.contains(':') {
        return Err(Failure::Usage(format!("say which version of \"{text}\" to delete, such as \"{tag}\"")));
    }
    if !yes && !confirmed(&tag, &about)? {
        return Ok((tag, false));
    }
    // That which was asked about, whatever has become the latest since.
    Ok((store.delete(&tag.to_string())?, true))
}

/// Asks whoever sits at the terminal.
fn confirmed(tag: &Tag, about: &str) -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Usage(format!("whether to delete {tag} cannot be asked without a terminal; say --yes")));
    }
    let asked = write!(io::stderr(), "delete {tag}, {about}? [y/N] ");
    asked.map_err(|error| Failure::Run(format!("standard error cannot be written: {error}")))?;
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|error| Failure::Run(format!("standard input cannot be read: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// How far a large copy is; hidden where standard error is not a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn progress(&self) -> impl FnMut(Progress) + use<> {
        let bar = self.0.clone();
        move |progress| {
            if progress.total >= LARGE && bar.length().is_none() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                bar.set_length(progress.total);
            }
            bar.set_position(progress.done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
