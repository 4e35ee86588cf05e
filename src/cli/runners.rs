//! `ekiden runners`: asks a running server.

use std::time::Duration;

use serde_json::Value;

use super::{Failure, print};

pub(super) fn runners(runner: Option<&str>, url: &str, json: bool) -> Result<(), Failure> {
    let base = url.trim_end_matches('/');
    if !base.starts_with("http://") {
        return Err(Failure::Usage(format!("--url {url}: expected a URL that begins with http://")));
    }
    let path = runner.map_or_else(|| format!("{base}/v1/runners"), |name| format!("{base}/v1/runners/{name}"));
    let (answer, text) = ask(&path)?;
    if json {
        return print(format_args!("{text}\n"));
    }
    let one = [answer.clone()];
    let runners = answer["runners"].as_array().map_or(one.as_slice(), Vec::as_slice);
    print(table(runners))
}

/// What an ekiden server answers at `path`, a whole URL: JSON, and as it came.
pub(super) fn ask(path: &str) -> Result<(Value, String), Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build()
        .into();
    let unreachable = |error: ureq::Error| Failure::Run(format!("{path}: {error}; is the server running?"));
    let mut response = agent.get(path).call().map_err(unreachable)?;
    let status = response.status();
    let text = response.body_mut().read_to_string().map_err(unreachable)?;
    let answer: Value = serde_json::from_str(&text)
        .map_err(|_| Failure::Run(format!("{path} answered {status}, and not as an ekiden server does")))?;
    if !status.is_success() {
        let message = answer["error"].as_str().unwrap_or(&text);
        return Err(Failure::Run(format!("{path} answered {status}: {message}")));
    }
    Ok((answer, text))
}

/// One line per runner, and one per method below it.
fn table(runners: &[Value]) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut rows =
        vec![["RUNNER", "STATE", "EXECUTORS", "RESTARTS", "METHOD", "QUEUED ROWS", "MAX BATCH"].map(str::to_owned)];
    for runner in runners {
        let mut row = [
            text(&runner["name"]),
            text(&runner["state"]),
            runner["executors"].as_array().map_or(0, Vec::len).to_string(),
            text(&runner["restarts"]),
        ];
        for method in runner["methods"].as_array().into_iter().flatten() {
            let [name, state, executors, restarts] = std::mem::take(&mut row);
            rows.push([
                name,
                state,
                executors,
                restarts,
                text(&method["name"]),
                text(&method["queued_rows"]),
                text(&method["limits"]["max_batch_size"]),
            ]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let mut table: String = rows.iter().map(line).collect();
    for runner in runners.iter().filter(|runner| runner["cause"].is_string()) {
        table.push_str(&format!("{}: {}\n", text(&runner["name"]), text(&runner["cause"])));
    }
    table
}
