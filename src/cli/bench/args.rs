//! The command line of `ekiden bench`, and what it stands for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::load::Spacing;
use crate::cli::Failure;
use crate::cli::report::output::OutputArgs;

/// More than this runs into limits of open files and says nothing about a server.
const MOST_CONNECTIONS: i64 = 4096;
/// Rows of the table.
const MOST_LOADS: usize = 32;
/// An hour.
const LONGEST_S: f64 = 3600.0;
/// Requests per second.
const HIGHEST_RATE: f64 = 1e6;
/// How long the client waits for an answer, on top of what `--timeout-ms` allows the server.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const EXAMPLES: &str = "\
Examples:
  ekiden bench http://127.0.0.1:3000/v1/runners/iris_clf/predict
  ekiden bench URL --connections 1,8,64,256 --duration 10 --warm-up 2
  ekiden bench URL --rate 20000 --arrivals poisson --timeout-ms 100
  ekiden bench URL --body features.json --json results.json --report report.html

A closed loop (the default) has one request under way on each connection, and so asks a slow server less: it finds \
the highest rate. An open loop (--rate) sends when a request is due, as users do, and counts each latency from then: \
it finds the latencies at a rate. Only answers of status 2xx are successes; latencies and rates are theirs.
Ctrl-C ends early and reports what was measured. Client and server on one machine share its cores.

Exit codes: 0 success; 1 the server cannot be reached or every request failed; 2 the command line is wrong, or a file \
cannot be written.";

/// What to send, how, and where to write what was found.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Where to send requests: POST with a body for an Ekiden method or with --body, else GET; http:// only
    #[arg(value_name = "URL")]
    pub(super) url: String,

    /// How many connections to keep open; a list gives one load each
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "64", help_heading = "Load")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MOST_CONNECTIONS))]
    connections: Vec<u32>,
    /// How long each load is measured, in seconds
    #[arg(long, value_name = "S", default_value = "10", value_parser = duration, help_heading = "Load")]
    duration: Duration,
    /// How long each load goes on before that, in seconds
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds, help_heading = "Load")]
    warm_up: Duration,
    /// Open loop: requests per second, over all connections; a list gives one load each
    #[arg(long, value_name = "R,R", value_delimiter = ',', value_parser = rate, help_heading = "Load")]
    rate: Vec<f64>,
    /// How the requests of an open loop are spread: the same time between any two, or each independent of the others,
    /// as those of many users are [default: constant]
    #[arg(long, value_name = "SPACING", requires = "rate", help_heading = "Load")]
    arrivals: Option<ArrivalsArg>,
    /// How long a request may take to count as goodput; sent to the server as ekiden-timeout-ms
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Load")]
    pub(super) timeout_ms: Option<u32>,
    /// Seed of Poisson arrivals and of random bodies
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub(super) seed: u64,

    /// What to send; by default a random body that fits the method's specs, which the server is asked for
    #[arg(long, value_name = "FILE", help_heading = "Request", conflicts_with_all = ["rows", "format"])]
    pub(super) body: Option<PathBuf>,
    /// Media type of --body [default: by its extension, .json, .npy, .txt, else application/octet-stream]
    #[arg(long, value_name = "TYPE", requires = "body", help_heading = "Request")]
    pub(super) content_type: Option<String>,
    /// A header to send, such as 'accept: application/json'; can be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header, help_heading = "Request")]
    pub(super) headers: Vec<(String, String)>,
    /// Rows of a random body, along the method's batch dimension [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Request")]
    pub(super) rows: Option<u32>,
    /// Format of a random body; npy for methods of one tensor [default: json, or raw bytes where those are taken]
    #[arg(long, value_name = "FORMAT", help_heading = "Request")]
    pub(super) format: Option<BodyFormat>,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ArrivalsArg {
    Constant,
    Poisson,
}

/// The formats a random body can be made in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum BodyFormat {
    Json,
    Npy,
}

/// One load: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// The rate of an open loop, and how it is spread.
    pub(super) open: Option<(f64, Spacing)>,
}

/// All loads, and how each is measured.
pub(super) struct Schedule {
    pub(super) loads: Vec<Load>,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) patience: Duration,
    pub(super) good_within: Duration,
    pub(super) seed: u64,
}

impl BenchArgs {
    /// What to measure.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what clap does not see.
    pub(super) fn schedule(&self) -> Result<Schedule, Failure> {
        let spacing = match self.arrivals {
            Some(ArrivalsArg::Poisson) => Spacing::Poisson,
            _ => Spacing::Constant,
        };
        let connections: Vec<usize> = self.connections.iter().map(|&connections| connections as usize).collect();
        let loads: Vec<Load> = match (self.rate.as_slice(), connections.as_slice()) {
            ([], list) => list.iter().map(|&connections| Load { connections, open: None }).collect(),
            (rates, &[connections]) => {
                rates.iter().map(|&rate| Load { connections, open: Some((rate, spacing)) }).collect()
            }
            _ => return usage("--rate shares its requests out over one number of --connections: give one of them"),
        };
        if loads.len() > MOST_LOADS {
            return usage(&format!("{} loads are more than one run takes, {MOST_LOADS}", loads.len()));
        }
        let timeout = self.timeout_ms.map(|milliseconds| Duration::from_millis(milliseconds.into()));
        Ok(Schedule {
            loads,
            warm_up: self.warm_up,
            duration: self.duration,
            patience: timeout.unwrap_or_default() + PATIENCE,
            good_within: timeout.unwrap_or(Duration::MAX),
            seed: self.seed,
        })
    }
}

fn usage<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::Usage(message.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=LONGEST_S).contains(seconds));
    let seconds: f64 = seconds.ok_or_else(|| format!("expected a number of seconds from 0 to {LONGEST_S}"))?;
    Ok(Duration::from_secs_f64(seconds))
}

fn duration(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(50);
    let duration = seconds(text).ok().filter(|duration| *duration >= least);
    duration.ok_or_else(|| format!("expected a number of seconds from 0.05 to {LONGEST_S}"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=HIGHEST_RATE).contains(rate));
    rate.ok_or_else(|| format!("expected requests per second, from 0.01 to {HIGHEST_RATE}"))
}

/// Headers that follow from the body and the URL.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "content-type", "connection", "ekiden-timeout-ms"];

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected a name, a colon and a value")?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("\"{name}\" cannot be the name of a header"));
    }
    if value.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("a header's value has no control characters".to_owned());
    }
    if OWN_HEADERS.contains(&name.as_str()) {
        return Err(format!("{name} is set by this program; see --content-type and --timeout-ms"));
    }
    Ok((name, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> Result<Schedule, String> {
        let words = line.split_whitespace().map(|word| word.replace('_', " "));
        let args = Program::try_parse_from(["bench".to_owned()].into_iter().chain(words));
        args.map_err(|error| error.to_string())?.bench.schedule().map_err(|failure| match failure {
            Failure::Usage(message) | Failure::Run(message) => message,
        })
    }

    #[test]
    fn a_list_gives_one_load_each() {
        let loads = |line| parse(line).expect("is right").loads;
        let closed = |connections| Load { connections, open: None };
        assert_eq!(loads("http://x/"), [closed(64)]);
        assert_eq!(loads("http://x/ --connections 1,8,4096"), [closed(1), closed(8), closed(4096)]);
        let open = |rate, spacing| Load { connections: 7, open: Some((rate, spacing)) };
        assert_eq!(
            loads("http://x/ --connections 7 --rate 10,20.5"),
            [open(10.0, Spacing::Constant), open(20.5, Spacing::Constant)]
        );
        assert_eq!(loads("http://x/ --connections 7 --rate 1e6 --arrivals poisson"), [open(1e6, Spacing::Poisson)]);
    }

    #[test]
    fn times_are_bounded() {
        let schedule = parse("http://x/ --duration 0.5 --warm-up 0 --timeout-ms 250").expect("is right");
        assert_eq!((schedule.duration, schedule.warm_up), (Duration::from_millis(500), Duration::ZERO));
        assert_eq!(schedule.good_within, Duration::from_millis(250));
        assert_eq!(schedule.patience, Duration::from_millis(10_250));
        assert_eq!(parse("http://x/").expect("is right").good_within, Duration::MAX);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |line, part: &str| {
            let message = parse(line).map(|_| ()).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        };
        check("", "required");
        check("http://x/ --connections 0", "1..=4096");
        check("http://x/ --connections 4097", "1..=4096");
        check("http://x/ --connections ,", "");
        check("http://x/ --duration 0", "from 0.05 to 3600");
        check("http://x/ --duration 3601", "from 0.05 to 3600");
        check("http://x/ --duration NaN", "from 0.05 to 3600");
        check("http://x/ --warm-up -1", "");
        check("http://x/ --rate 0", "from 0.01 to 1000000");
        check("http://x/ --rate 1000001", "from 0.01 to 1000000");
        check("http://x/ --arrivals poisson", "--rate");
        check("http://x/ --rate 5 --connections 1,2", "one number of --connections");
        check("http://x/ --timeout-ms 0", "timeout-ms");
        check("http://x/ --body x.json --rows 2", "cannot be used with");
        check("http://x/ --content-type text/plain", "--body");
        check("http://x/ --header accept", "a colon");
        check("http://x/ --header a_b:c", "cannot be the name");
        check("http://x/ --header Content-Length:5", "set by this program");
        let many = vec!["1"; MOST_LOADS + 1].join(",");
        check(&format!("http://x/ --connections {many}"), "33 loads");
    }
}
