//! `ekiden devices`.

use ekiden::device::{self, Present, Trial, TrialError};
use serde_json::{Value, json};

use super::report::{table, units};
use super::{Failure, print, tell};

pub(super) const EXAMPLES: &str = "Examples:
  ekiden devices                     what runners can be put on, and what to write for it: device = \"cuda:0\"
  ekiden devices --test              whether each computes what the CPU computes; the first time compiles kernels
  ekiden devices --json | jq -r '.[].name'";

/// Lists the devices, and tries each where asked to.
pub(super) fn devices(test: bool, json: bool) -> Result<(), Failure> {
    let present = device::present();
    let trials: Vec<Option<Result<Trial, TrialError>>> = present.iter().map(|one| test.then(|| trial(one))).collect();
    if json {
        let all = present.iter().zip(&trials).map(|(one, trial)| as_json(one, trial.as_ref()));
        print(format_args!("{:#}\n", Value::Array(all.collect())))?;
    } else {
        print(text(&present, &trials))?;
        let missing: Vec<&str> =
            device::Backend::ALL.iter().filter(|one| !device::built_in().contains(one)).map(|one| one.name()).collect();
        if !missing.is_empty() {
            tell(
                &mut std::io::stderr(),
                format_args!(
                    "This program was built without: {}. Build it with --features to use such devices.",
                    missing.join(", ")
                ),
            );
        }
    }
    let failed: Vec<String> = present
        .iter()
        .zip(&trials)
        .filter(|(_, trial)| matches!(trial, Some(Err(_))))
        .map(|(one, _)| one.name.to_string())
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::Run(format!("not to be used: {}", failed.join(", ")))) }
}

fn trial(one: &Present) -> Result<Trial, TrialError> {
    if !one.name.is_cpu() {
        tell(&mut std::io::stderr(), format_args!("{}: compiling and running …", one.name));
    }
    device::try_out(&one.name)
}

fn text(present: &[Present], trials: &[Option<Result<Trial, TrialError>>]) -> String {
    let tested = trials.iter().any(Option::is_some);
    let mut head = vec!["device", "kind", "memory", "largest tensor"];
    if tested {
        head.extend(["first run", "then", "difference"]);
    }
    head.push("what it is");
    let mut rows = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (one, trial) in present.iter().zip(trials) {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), units::bytes);
        let (memory, largest) =
            one.facts.as_ref().map_or((None, None), |facts| (facts.memory, facts.largest_allocation));
        let mut row = vec![one.name.to_string(), one.kind.to_string(), bytes(memory), bytes(largest)];
        if tested {
            row.extend(match trial {
                Some(Ok(trial)) => [
                    units::micros(trial.first.as_secs_f64() * 1e6),
                    units::micros(trial.second.as_secs_f64() * 1e6),
                    format!("{:.0e}", trial.difference),
                ],
                _ => ["–", "–", "–"].map(str::to_owned),
            });
        }
        row.push(match (&one.facts, trial) {
            (Err(error), _) => format!("cannot be opened: {error}"),
            (Ok(facts), Some(Err(error))) => format!("{}; WRONG: {error}", facts.description),
            (Ok(facts), _) => facts.description.clone(),
        });
        rows.push(row);
    }
    table::text(&rows)
}

fn as_json(one: &Present, trial: Option<&Result<Trial, TrialError>>) -> Value {
    let facts = one.facts.as_ref();
    let mut value = json!({
        "name": one.name.to_string(),
        "kind": one.kind.name(),
        "description": facts.ok().map(|facts| &facts.description),
        "memory_bytes": facts.ok().and_then(|facts| facts.memory),
        "largest_allocation_bytes": facts.ok().and_then(|facts| facts.largest_allocation),
        "error": facts.err(),
    });
    if let (Some(object), Some(trial)) = (value.as_object_mut(), trial) {
        let tried = match trial {
            Ok(trial) => json!({
                "ok": true,
                "relative_difference": trial.difference,
                "first_run_ms": trial.first.as_secs_f64() * 1e3,
                "second_run_ms": trial.second.as_secs_f64() * 1e3,
            }),
            Err(error) => json!({"ok": false, "error": error.to_string()}),
        };
        object.insert("test".to_owned(), tried);
    }
    value
}
