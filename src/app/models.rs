//! The models of runners: which they are is settled when an app is prepared, and stays so until it is reloaded.

use std::path::Path;

use crate::config::{Layer, Origin, RunnerOptions, Sourced};
use crate::models::{Format, LocatedModel, is_path};

/// What serves a model of a format by itself.
const SERVED: &[(Format, &str)] = &[(Format::Onnx, "onnx")];

/// Looks up the models that a runner names, that of `model` first, and writes down what they were found to be. A path in the
/// configuration's file starts at that file's `folder`, any other at the working directory.
///
/// # Errors
/// Every model that is not there, with the place that named it.
pub(super) fn locate(options: &mut RunnerOptions, folder: &Path) -> Result<Vec<LocatedModel>, Vec<String>> {
    let one = options.model.iter().map(|model| ("model", &model.value, &model.origin));
    let many = options
        .models
        .iter()
        .flat_map(|Sourced { value, origin }| value.iter().map(move |model| ("models", model, origin)));
    let (mut located, mut problems) = (Vec::new(), Vec::new());
    for (key, model, origin) in one.chain(many) {
        let start = if origin.layer() == Layer::File { folder } else { Path::new("") };
        match LocatedModel::find(model.clone(), start) {
            Ok(model) => located.push(model),
            Err(error) => problems.push(problem(options, key, origin, &error)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    options.found_models = located.iter().map(|model| (model.asked.clone(), model.found.clone())).collect();
    Ok(located)
}

/// The version of a runner's model in the store: of that of `model`, or of the only one. One at a path has none.
pub(super) fn version(options: &RunnerOptions) -> Option<String> {
    let many = options.models.iter().flat_map(|models| &models.value);
    let asked = match (&options.model, many.clone().next(), many.count()) {
        (Some(model), ..) => &model.value,
        (None, Some(only), 1) => only,
        _ => return None,
    };
    let found = options.found_models.get(asked).filter(|_| !is_path(asked))?;
    found.split_once(':').map(|(_, version)| version.to_owned())
}

/// A runner that names a model, and nothing that it runs, runs what serves such models.
pub(super) fn choose_runnable(options: &mut RunnerOptions, models: &[LocatedModel]) {
    let (Some(model), None) = (&options.model, &options.runnable) else { return };
    let served = models.first().and_then(|first| SERVED.iter().find(|(format, _)| *format == first.format));
    if let Some((_, runnable)) = served {
        options.runnable = Some(Sourced::new((*runnable).to_owned(), model.origin.clone()));
    }
}

/// What is to be said of a runner that has a model, and no runnable that it names.
pub(super) fn not_served(options: &RunnerOptions, models: &[LocatedModel]) -> Option<String> {
    let (Some(model), None, [first, ..]) = (&options.model, &options.runnable, models) else { return None };
    let served: Vec<&str> = SERVED.iter().map(|(format, _)| format.as_str()).collect();
    Some(format!(
        "; model \"{}\" is of format {}, and only {} is served without code: name the `runnable` that takes it",
        model.value,
        first.format,
        served.join(", ")
    ))
}

fn problem(options: &RunnerOptions, key: &str, origin: &Origin, error: &dyn std::fmt::Display) -> String {
    format!("{origin}: runner \"{}\": {key}: {error}", options.name)
}
