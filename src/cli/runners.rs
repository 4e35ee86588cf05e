//! `ekiden runners`: asks a running server, or gives a runner an order.

use std::time::Duration;

use clap::{Args, Subcommand};
use ekiden::config::RunnerName;
use serde_json::Value;

use super::{Failure, print};

pub(super) fn runners(runner: Option<&RunnerName>, url: &str, json: bool) -> Result<(), Failure> {
    let base = base("--url", url)?;
    let path = runner.map_or_else(|| format!("{base}/v1/runners"), |name| format!("{base}/v1/runners/{name}"));
    let (answer, text) = ask(&path)?;
    if json {
        return print(format_args!("{text}\n"));
    }
    let one = [answer.clone()];
    let runners = answer["runners"].as_array().map_or(one.as_slice(), Vec::as_slice);
    print(table(runners))
}

/// What a runner can be told to do.
#[derive(Subcommand)]
pub(super) enum Order {
    /// Replace its executors one after the other, while calls go on; one that has failed or stopped begins anew
    Restart(To),
    /// Run nothing more: calls are taken and wait
    Pause(To),
    /// Go on after a pause
    Resume(To),
    /// Finish what it has accepted, refuse what is new, and stop
    Drain(To),
}

#[derive(Args)]
pub(super) struct To {
    /// The runner
    #[arg(value_name = "RUNNER")]
    runner: RunnerName,
    /// The server's admin listener
    #[arg(long, value_name = "URL", default_value = ADMIN)]
    admin: String,
}

/// Where orders are taken unless told otherwise.
pub(super) const ADMIN: &str = "http://127.0.0.1:3001";

pub(super) fn order(order: &Order) -> Result<(), Failure> {
    let (what, To { runner, admin }) = match order {
        Order::Restart(to) => ("restart", to),
        Order::Pause(to) => ("pause", to),
        Order::Resume(to) => ("resume", to),
        Order::Drain(to) => ("drain", to),
    };
    let path = format!("{}/v1/runners/{runner}/{what}", base("--admin", admin)?);
    let (answer, _) = read(&path, agent(PATIENCE).post(&path).send_empty(), ADMIN_HINT)?;
    print(format_args!("{}\n", answer["message"].as_str().unwrap_or("done")))
}

/// How long an order may take: batches have to end, and weights to be read.
const PATIENCE: Duration = Duration::from_secs(3600);
const ADMIN_HINT: &str = "is the server running, and is this its admin listener (admin_bind)?";

/// What `ekiden reload --help` ends with.
pub(super) const RELOAD: &str = "\
The new configuration is checked whole: if it is wrong, nothing changes. Otherwise runners are added, replaced and \
removed one by one, each new one being ready before the old one is drained. SIGHUP does the same. Write the new file \
beside the old one and rename it, so that no half of it is read.";

pub(super) fn reload(admin: &str) -> Result<(), Failure> {
    let path = format!("{}/v1/reload", base("--admin", admin)?);
    let (answer, _) = read(&path, agent(PATIENCE).post(&path).send_empty(), ADMIN_HINT)?;
    let mut lines = String::new();
    for what in ["added", "replaced", "removed", "unchanged"] {
        for runner in answer[what].as_array().into_iter().flatten() {
            lines.push_str(&format!("{what:<9}  {}\n", runner.as_str().unwrap_or_default()));
        }
    }
    if let Some(calls @ 1..) = answer["refused_calls"].as_u64() {
        lines.push_str(&format!("calls that were not answered within grace_s, and refused: {calls}\n"));
    }
    for option in answer["needs_restart"].as_array().into_iter().flatten() {
        lines.push_str(&format!(
            "{}: takes effect when the server is started again\n",
            option.as_str().unwrap_or_default()
        ));
    }
    print(lines)
}

pub(super) fn base<'a>(option: &str, url: &'a str) -> Result<&'a str, Failure> {
    if url.starts_with("http://") {
        Ok(url.trim_end_matches('/'))
    } else {
        Err(Failure::Usage(format!("{option} {url}: expected a URL that begins with http://")))
    }
}

pub(super) fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build().into()
}

/// What an ekiden server answers at `path`, a whole URL: JSON, and as it came.
pub(super) fn ask(path: &str) -> Result<(Value, String), Failure> {
    read(path, agent(Duration::from_secs(10)).get(path).call(), "is the server running?")
}

fn read(
    path: &str,
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    hint: &str,
) -> Result<(Value, String), Failure> {
    let failed = |error: ureq::Error| {
        let hint = if is_lost(&error) { LOST } else { hint };
        Failure::Run(format!("{path}: {error}; {hint}"))
    };
    let mut response = response.map_err(failed)?;
    let status = response.status();
    let text = response.body_mut().read_to_string().map_err(failed)?;
    let answer: Value = serde_json::from_str(&text)
        .map_err(|_| Failure::Run(format!("{path} answered {status}, and not as an ekiden server does")))?;
    if !status.is_success() {
        let message = answer["error"].as_str().unwrap_or(&text);
        return Err(Failure::Run(format!("{path} answered {status}: {message}")));
    }
    Ok((answer, text))
}

const LOST: &str =
    "the server was reached, and has gone before it answered: what it was to do may be done or not; see its log";

/// Whether there was a connection, which the server has closed.
fn is_lost(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(error) => {
            matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
        }
        _ => false,
    }
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
    if let [runner] = runners {
        table.push_str(&history(runner));
    }
    table
}

/// How long one runner has been up, what it has spent of its budget, and its last exits.
fn history(runner: &Value) -> String {
    let up = runner["uptime_s"].as_f64().map_or_else(|| "takes no calls".to_owned(), |up| format!("up for {up:.0} s"));
    let mut history = format!(
        "\n{up}; {} of {} restarts within {} s\n",
        runner["restarts_in_window"],
        runner["max_restarts"],
        runner["restart_window_s"].as_f64().unwrap_or_default()
    );
    for exit in runner["last_exits"].as_array().into_iter().flatten() {
        let ago = exit["ago_s"].as_f64().unwrap_or_default();
        let cause = exit["cause"].as_str().unwrap_or_default();
        history.push_str(&format!("{ago:.0} s ago  executor {}  {cause}\n", exit["executor"]));
    }
    history
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_goes_while_it_is_waited_for_is_told_from_one_that_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let admin = format!("http://{}", listener.local_addr().expect("an address"));
        let said = |result: Result<(), Failure>| match result {
            Err(Failure::Run(message)) => message,
            _ => "no failure of a run".to_owned(),
        };
        // It takes the order, and goes.
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            connection.read(&mut request).expect("a request")
        });
        let lost = said(reload(&admin));
        assert!(server.join().expect("it has read") > 0);
        assert!(lost.contains("/v1/reload: ") && lost.contains(LOST) && !lost.contains(ADMIN_HINT), "{lost}");
        let absent = said(reload(&admin));
        assert!(absent.contains(ADMIN_HINT) && !absent.contains(LOST), "{absent}");
    }
}
