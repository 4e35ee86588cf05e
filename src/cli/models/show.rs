//! What is known of models, for people and for machines.

use std::fmt::Write;

use ekiden::models::{Broken, Listing, Model};
use indicatif::HumanBytes;
use serde_json::{Value, json};

/// One line per model, and after them those that are none.
pub(super) fn table(Listing { models, broken }: &Listing) -> String {
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
    rows.extend(broken.iter().map(|broken| {
        let [name, version] = [broken.tag.name.to_string(), broken.tag.version.to_string()];
        [name, version, "broken".to_owned(), String::new(), String::new(), String::new()]
    }));
    lines(&rows)
}

/// All that is known of one model.
pub(super) fn page(model: &Model) -> String {
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
        let streams = if method.signature.streams { ", answers with a stream" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\nmethod {}{}{streams}", method.method, batched.unwrap_or_default());
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

/// All that there is, for machines: a model that is broken has a member that says why.
pub(super) fn listing(Listing { models, broken }: &Listing) -> Value {
    models.iter().map(as_json).chain(broken.iter().map(broken_as_json)).collect()
}

fn broken_as_json(Broken { tag, path, error }: &Broken) -> Value {
    json!({
        "tag": tag.to_string(),
        "name": tag.name.as_str(),
        "version": tag.version.to_string(),
        "path": path.to_string_lossy(),
        "broken": error.to_string(),
    })
}

/// One model, for machines.
pub(super) fn as_json(model: &Model) -> Value {
    let manifest = model.manifest();
    let spec = |spec: &ekiden::value::ValueSpec| json!({"name": spec.name(), "kind": spec.kind().name(), "dtype": spec.dtype_name(), "shape": spec.shape()});
    let methods = manifest.signatures.iter().map(|method| {
        let signature = &method.signature;
        json!({
            "method": method.method,
            "batch_dims": signature.batching.map(|dims| json!({"input": dims.input_dim, "output": dims.output_dim})),
            "stream": signature.streams,
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
