//! `ekiden models`: the model store, for people and scripts.

use std::fmt::Write;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Subcommand;
use ekiden::models::{Listing, Model, ModelError, ModelName, Progress, Store, Tag};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{Failure, print, tell};

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
    },
    /// Export a model: to an archive if the path ends in .ekiden, else to a folder
    Export {
        #[arg(value_name = "TAG")]
        tag: String,
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// Delete one version of a model
    Delete {
        #[arg(value_name = "TAG")]
        tag: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
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
        ModelsCommand::Import { path, name, version, labels } => import(&store, path, name, version, labels),
        ModelsCommand::Export { tag, path } => {
            let bar = Bar::new();
            let model = store.export(&tag)?.progress(bar.progress()).to(&path)?;
            drop(bar);
            print(format_args!("exported {model} to {}\n", path.display()))
        }
        ModelsCommand::Delete { tag, yes } => delete(&store, &tag, yes),
        ModelsCommand::Path { tag } => print(format_args!("{}\n", store.get(&tag)?.path().display())),
    }
}

fn list(store: &Store, name: Option<&str>, json: bool) -> Result<(), Failure> {
    let name: Option<ModelName> = name.map(str::parse).transpose()?;
    let Listing { models, broken } = match &name {
        Some(name) => store.versions(name)?,
        None => store.list()?,
    };
    for error in &broken {
        tell(&mut io::stderr(), format_args!("warning: {error}"));
    }
    if json {
        return print(format_args!("{:#}\n", Value::Array(models.iter().map(as_json).collect())));
    }
    if models.is_empty() {
        let which = name.map(|name| format!(" of the name \"{name}\"")).unwrap_or_default();
        return print(format_args!("there are no models{which} in {}\n", store.path().display()));
    }
    print(table(&models))
}

fn get(model: &Model, json: bool) -> Result<(), Failure> {
    if json { print(format_args!("{:#}\n", as_json(model))) } else { print(page(model)) }
}

fn import(
    store: &Store,
    path: PathBuf,
    name: Option<String>,
    version: Option<String>,
    labels: Vec<String>,
) -> Result<(), Failure> {
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
    let model = import.run()?;
    drop(bar);
    print(format_args!("imported {model}\n"))
}

fn delete(store: &Store, tag: &str, yes: bool) -> Result<(), Failure> {
    let parsed: Tag = tag.parse()?;
    let model = store.find(&parsed)?;
    if !tag.contains(':') {
        return Err(Failure::Usage(format!("say which version of \"{tag}\" to delete, such as \"{}\"", model.tag())));
    }
    if !yes && !confirmed(&model)? {
        return print("nothing was deleted\n");
    }
    // That which was asked about, whatever has become the latest since.
    let model = store.delete(&model.tag().to_string())?;
    print(format_args!("deleted {model}\n"))
}

/// Asks whoever sits at the terminal.
fn confirmed(model: &Model) -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Usage(format!("whether to delete {model} cannot be asked without a terminal; say --yes")));
    }
    print(format_args!("delete {model}, {}? [y/N] ", HumanBytes(model.manifest().size())))?;
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|error| Failure::Run(format!("standard input cannot be read: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// One line per model.
fn table(models: &[Model]) -> String {
    let mut rows = vec![["NAME", "VERSION", "FORMAT", "SIZE", "CREATED (UTC)", "LABELS"].map(str::to_owned)];
    rows.extend(models.iter().map(|model| {
        let manifest = model.manifest();
        let labels: Vec<String> = manifest.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        [
            manifest.name.to_string(),
            manifest.version.to_string(),
            manifest.format.to_string(),
            HumanBytes(manifest.size()).to_string(),
            manifest.created.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            labels.join(" "),
        ]
    }));
    lines(&rows)
}

/// All that is known of one model.
fn page(model: &Model) -> String {
    let manifest = model.manifest();
    let mut rows = vec![
        ["tag".to_owned(), model.tag().to_string()],
        ["format".to_owned(), manifest.format.to_string()],
        ["created".to_owned(), format!("{} UTC", manifest.created.strftime("%Y-%m-%d %H:%M:%S"))],
        ["path".to_owned(), model.path().display().to_string()],
    ];
    rows.extend(manifest.source.iter().map(|source| ["source".to_owned(), source.clone()]));
    rows.extend(manifest.labels.iter().map(|(key, value)| [format!("label {key}"), value.clone()]));
    rows.extend(manifest.metadata.iter().map(|(key, value)| [format!("metadata {key}"), value.to_string()]));
    rows.extend(manifest.frameworks.iter().map(|(name, version)| [format!("made with {name}"), version.clone()]));
    let mut text = lines(&rows);
    for method in &manifest.signatures {
        let batching = method.signature.batching;
        let batched = batching.map(|dims| match dims.input_dim == dims.output_dim {
            true => format!(", batched along dimension {}", dims.input_dim),
            false => format!(", batched along dimensions {} and {}", dims.input_dim, dims.output_dim),
        });
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\nmethod {}{}", method.method, batched.unwrap_or_default());
        let (inputs, outputs) = (&method.signature.inputs, &method.signature.outputs);
        let spec = |which: &str, spec: &ekiden::value::ValueSpec| {
            ["".to_owned(), which.to_owned(), spec.name().to_owned(), spec.to_string()]
        };
        let mut rows: Vec<[String; 4]> = inputs.iter().map(|input| spec("input", input)).collect();
        rows.extend(outputs.iter().map(|output| spec("output", output)));
        text.push_str(&lines(&rows));
    }
    text.push('\n');
    let file = |file: &ekiden::models::FileEntry| {
        [file.path.to_string(), HumanBytes(file.size).to_string(), format!("sha256 {}", file.sha256)]
    };
    text.push_str(&lines(&manifest.files.iter().map(file).collect::<Vec<_>>()));
    text
}

/// Cells, each to the left of its column.
fn lines<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// For machines.
fn as_json(model: &Model) -> Value {
    let manifest = model.manifest();
    let spec = |spec: &ekiden::value::ValueSpec| {
        let (dtype, shape) = match spec {
            ekiden::value::ValueSpec::Tensor(tensor) => (Some(tensor.dtype().name()), tensor.shape()),
            ekiden::value::ValueSpec::Texts(texts) => (Some("string"), Some(texts.shape())),
            _ => (None, None),
        };
        json!({"name": spec.name(), "kind": spec.kind().name(), "dtype": dtype, "shape": shape})
    };
    let methods = manifest.signatures.iter().map(|method| {
        let signature = &method.signature;
        json!({
            "method": method.method,
            "batch_dims": signature.batching.map(|dims| json!({"input": dims.input_dim, "output": dims.output_dim})),
            "inputs": signature.inputs.iter().map(spec).collect::<Vec<_>>(),
            "outputs": signature.outputs.iter().map(spec).collect::<Vec<_>>(),
        })
    });
    let files = manifest
        .files
        .iter()
        .map(|file| json!({"path": file.path.as_str(), "size": file.size, "sha256": file.sha256.to_string()}));
    json!({
        "tag": model.tag().to_string(),
        "name": manifest.name.as_str(),
        "version": manifest.version.as_str(),
        "format": manifest.format.as_str(),
        "created": manifest.created.to_string(),
        "path": model.path().to_string_lossy(),
        "size": manifest.size(),
        "source": manifest.source,
        "labels": manifest.labels,
        "metadata": manifest.metadata,
        "frameworks": manifest.frameworks,
        "signatures": methods.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
    })
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
