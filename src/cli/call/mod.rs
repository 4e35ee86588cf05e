//! `ekiden call`: one call from the shell, and its answer for people.

mod body;
mod csv;
mod out;
mod stream;
mod table;

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ekiden::codec::{Format, npy};
use ekiden::config::RunnerName;
use ekiden::http::docs;
use ekiden::value::{Signature, ValueSpec};
use serde_json::Value;

use super::described::Runner;
use super::runners::{agent, ask, base};
use super::{Failure, print};
use body::Body;
use out::Out;

pub(super) const EXAMPLES: &str = "\
Examples:
  ekiden call iris_clf predict --data '[[5.1,3.5,1.4,0.2]]'
  ekiden call iris_clf predict --file flowers.csv
  ekiden call iris_clf predict --file flowers.npy -o probabilities.npy
  echo '[[6.7,3.0,5.2,2.3]]' | ekiden call iris_clf predict --data - --output json

A file is sent as what its name ends in: .json, .npy, .txt, .csv (rows of numbers, which become JSON; a first row \
without numbers is a heading), or as raw bytes where that is what the method takes. Standard input is told by what it holds.

Exit codes: 0 success; 1 the call was refused or has failed, or there is no server; 2 the command line is wrong.";

/// The longest body and the longest answer, in bytes.
const LONGEST: u64 = 1 << 30;

/// How long an answer is waited for where the call brings no deadline.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Args)]
pub(crate) struct CallArgs {
    /// The runner
    #[arg(value_name = "RUNNER")]
    runner: RunnerName,
    /// Its method
    #[arg(value_name = "METHOD")]
    method: String,

    /// The inputs as JSON: a sole one bare, several as an object by their names; a sole text as it is; - reads standard
    /// input
    #[arg(long, value_name = "JSON", conflicts_with = "file", allow_hyphen_values = true, help_heading = "Request")]
    data: Option<String>,
    /// The inputs, from a file; - reads standard input
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    file: Option<PathBuf>,
    /// The media type of what is sent, as it is [default: by the file's name, or by what the method takes]
    #[arg(long, value_name = "TYPE", help_heading = "Request")]
    content_type: Option<String>,
    /// How long the call may take
    #[arg(long, visible_alias = "timeout", value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(help_heading = "Request")]
    timeout_ms: Option<u32>,
    /// Whether it goes before or after others
    #[arg(long, value_name = "PRIORITY", help_heading = "Request")]
    priority: Option<PriorityArg>,
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000", help_heading = "Request")]
    url: String,

    /// How to show the answer [default: by the name of the file it goes to, else a table]
    #[arg(long, value_name = "FORMAT", help_heading = "Answer")]
    output: Option<OutputArg>,
    /// Where to write the answer instead of printing it
    #[arg(short = 'o', long = "out", value_name = "FILE", help_heading = "Answer")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PriorityArg {
    High,
    Normal,
    Low,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputArg {
    /// For people; what is long is cut short.
    Table,
    /// As the server writes it.
    Json,
    /// One tensor, as numpy.save writes it.
    Npy,
}

/// What a server has answered, all being well.
struct Answer {
    media_type: String,
    bytes: Vec<u8>,
}

pub(super) fn call(args: &CallArgs) -> Result<(), Failure> {
    let base = base("--url", &args.url)?;
    let (_, information) = ask(&format!("{base}/v1/runners/{}", args.runner))?;
    let runner = Runner::read(&information)?;
    let method = runner.method(&args.method)?;
    let signature = method.signature().map_err(Failure::Run)?;
    let Some(body) = Body::of(args, &signature)? else {
        let example = method.example.clone().or_else(|| docs::example(&signature, 1));
        return Err(usage(&args.method, &signature, example));
    };
    match send(args, &signature, base, body)? {
        Some(answer) => show(args, &signature, answer),
        None => Ok(()),
    }
}

/// What a method takes, and how it is said, for those who have said nothing.
fn usage(method: &str, signature: &Signature, example: Option<Value>) -> Failure {
    let inputs: Vec<String> = signature.inputs.iter().map(|spec| format!("{}: {spec}", spec.name())).collect();
    let example = match (example, signature.inputs.as_slice()) {
        (Some(Value::String(text)), [ValueSpec::Text(_)]) => format!("--data '{text}'"),
        (Some(example), _) if example.to_string().len() <= 300 => format!("--data '{example}'"),
        (_, [ValueSpec::Tensor(_)]) => "--file input.npy".to_owned(),
        (_, [ValueSpec::Bytes(_)]) => "--file input.bin".to_owned(),
        _ => "--file inputs.json".to_owned(),
    };
    Failure::Usage(format!("{method} takes {}: give it with --data or --file, such as {example}", inputs.join(", ")))
}

/// Makes the call; `None` where its answer was a stream, and has been shown.
fn send(args: &CallArgs, signature: &Signature, base: &str, body: Body) -> Result<Option<Answer>, Failure> {
    let CallArgs { runner, method, .. } = args;
    let accept = if format(args) == Some(OutputArg::Npy) { Format::Npy } else { Format::Json };
    // The server says that the deadline has passed; this is for one that says nothing.
    let patience = args.timeout_ms.map_or(PATIENCE, |ms| Duration::from_millis(ms.into()) + Duration::from_secs(10));
    let mut request = agent(patience).post(format!("{base}/v1/runners/{runner}/{method}"));
    request = request.header("content-type", body.media_type).header("accept", accept.media_type());
    if let Some(ms) = args.timeout_ms {
        request = request.header("ekiden-timeout-ms", ms.to_string());
    }
    if let Some(priority) = args.priority.and_then(|priority| priority.to_possible_value()) {
        request = request.header("ekiden-priority", priority.get_name());
    }
    let failed = |error: ureq::Error| Failure::Run(format!("{runner}.{method}: {error}"));
    let mut response = request.send(&body.bytes[..]).map_err(failed)?;
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let (media_type, retry_after) = (header("content-type"), header("retry-after"));
    if status.is_success() && signature.streams {
        let what = format!("{runner}.{method}");
        return stream(args, &what, &media_type, response.body_mut().as_reader()).map(|()| None);
    }
    let bytes = response.body_mut().with_config().limit(LONGEST).read_to_vec().map_err(failed)?;
    if status.is_success() {
        return Ok(Some(Answer { media_type, bytes }));
    }
    let error: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let (code, message) = (error["code"].as_str().unwrap_or("no code"), error["error"].as_str());
    let message = message.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
    let later = if retry_after.is_empty() { retry_after } else { format!("; try again in {retry_after} s") };
    Err(Failure::Run(format!("{runner}.{method} answered {}, {code}: {message}{later}", status.as_u16())))
}

/// Shows an answer that is a stream, as it comes.
fn stream(args: &CallArgs, what: &str, media_type: &str, answer: impl Read) -> Result<(), Failure> {
    let events = media_type.starts_with("text/event-stream");
    let format = format(args);
    match format {
        Some(OutputArg::Npy) => {
            return Err(Failure::Usage(format!("--output npy is for one tensor, and {what} answers with a stream")));
        }
        Some(asked) if !events && args.output == Some(asked) => return Err(not_json(args, media_type)),
        _ if !events && args.out.is_none() && io::stdout().is_terminal() => {
            return Err(Failure::Usage(format!(
                "{media_type} is nothing for a terminal: write it to a file with -o FILE"
            )));
        }
        _ => {}
    }
    let mut out = Out::of(args.out.as_deref())?;
    let shown = if events { stream::events(answer, format, &mut out) } else { stream::copy(answer, &mut out) };
    shown.map_err(|problem| Failure::Run(format!("{what}: {problem}")))?;
    out.finish()
}

fn not_json(args: &CallArgs, media_type: &str) -> Failure {
    let asked = args.output.and_then(|asked| asked.to_possible_value());
    let asked = asked.map_or_else(String::new, |asked| format!("--output {} ", asked.get_name()));
    Failure::Usage(format!("{asked}is for JSON, and {} answers with {media_type}: leave it out", args.method))
}

/// What was asked for, or follows from the name of the file that the answer goes to.
fn format(args: &CallArgs) -> Option<OutputArg> {
    args.output.or_else(|| match args.out.as_ref()?.extension()?.to_str()? {
        "npy" => Some(OutputArg::Npy),
        "json" => Some(OutputArg::Json),
        _ => None,
    })
}

fn show(args: &CallArgs, signature: &Signature, answer: Answer) -> Result<(), Failure> {
    let came = Format::of_media_type(&answer.media_type);
    let is_json = came == Some(Format::Json);
    match format(args) {
        Some(OutputArg::Npy) if came != Some(Format::Npy) => {
            let outputs: Vec<String> =
                signature.outputs.iter().map(|spec| format!("{}: {spec}", spec.name())).collect();
            let outputs = outputs.join(", ");
            Err(Failure::Usage(format!("--output npy is for one tensor, and {} returns {outputs}", args.method)))
        }
        Some(OutputArg::Npy) => write(args, &answer.bytes),
        Some(OutputArg::Json) if !is_json && args.output.is_some() => Err(not_json(args, &answer.media_type)),
        Some(OutputArg::Table) if !is_json && args.out.is_some() => Err(not_json(args, &answer.media_type)),
        Some(OutputArg::Json) if is_json && args.out.is_none() => write(args, &[&answer.bytes[..], b"\n"].concat()),
        Some(OutputArg::Json) if is_json || args.out.is_some() => write(args, &answer.bytes),
        None if args.out.is_some() || (!is_json && !io::stdout().is_terminal()) => write(args, &answer.bytes),
        _ if !is_json => {
            let length = answer.bytes.len();
            print(format_args!("{length} bytes of {}: -o FILE keeps them\n", answer.media_type))
        }
        _ => {
            let outputs: Value = serde_json::from_slice(&answer.bytes)
                .map_err(|error| Failure::Run(format!("the answer is not JSON: {error}")))?;
            write(args, table::text(signature, &outputs).as_bytes())
        }
    }
}

/// Writes the answer to its file, or prints it.
fn write(args: &CallArgs, bytes: &[u8]) -> Result<(), Failure> {
    if args.out.is_none() && bytes.starts_with(npy::MAGIC) && io::stdout().is_terminal() {
        return Err(Failure::Usage("a .npy file is nothing for a terminal: write it to one with -o FILE".to_owned()));
    }
    let mut out = Out::of(args.out.as_deref())?;
    out.put(bytes)?;
    out.finish()
}
