//! The program `ekiden`, as a black box: what it prints, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::client::Client;
use crate::support::{PATIENCE, eventually};

/// A working directory of its own, and a way to run the program there.
struct Place {
    folder: PathBuf,
    variables: Vec<(&'static str, &'static str)>,
}

impl Place {
    /// A directory with this `runners.toml`, or none.
    fn new(config: Option<&str>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder");
        if let Some(config) = config {
            fs::write(folder.join("runners.toml"), config).expect("a file");
        }
        Self { folder, variables: Vec::new() }
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ekiden"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EKIDEN")) {
            command.env_remove(name);
        }
        command.args(args).current_dir(&self.folder).env("RUST_LOG", "info").envs(self.variables.iter().copied());
        command
    }

    /// Runs the program to its end.
    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// Checks how a command ends, and parts of what it prints, on standard output if well and on standard error if not.
    #[track_caller]
    fn check(&self, args: &[&str], code: i32, parts: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{out}\n{err}");
        let printed = if code == 0 { out } else { err };
        for part in parts {
            assert!(printed.contains(part), "`{part}` is not in\n{printed}");
        }
        printed
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const GOOD: &str = "[[runners]]\nname = \"iris_clf\"\ncpu = 1\nmax_batch_size = 20\n";

#[test]
fn a_good_configuration_is_explained() {
    let place = Place::new(Some(GOOD));
    let report = place.check(
        &["check"],
        0,
        &["runners.toml is valid", "runner iris_clf: 1 executor with 1 thread on flex (asked: cpu = 1; found: "],
    );
    let line = |report: &str, key: &str| -> String {
        let line = report.lines().find(|line| line.trim_start().starts_with(key));
        line.unwrap_or_else(|| panic!("{key} is not in\n{report}")).to_owned()
    };
    assert!(line(&report, "predict.max_batch_size").contains("20"), "{report}");
    assert!(line(&report, "predict.max_batch_size").contains("runners.toml:4"), "{report}");
    assert!(line(&report, "predict.max_queue_size").contains("default"), "{report}");

    let set = place.check(&["check", "--set", "runners.iris_clf.max_batch_size=7"], 0, &[]);
    assert!(
        line(&set, "predict.max_batch_size").contains('7') && line(&set, "predict.max_batch_size").contains("--set"),
        "{set}"
    );

    let place = place.variable("EKIDEN__RUNNERS__IRIS_CLF__MAX_BATCH_SIZE", "9");
    let env = place.check(&["check"], 0, &[]);
    assert!(line(&env, "predict.max_batch_size").contains('9'), "{env}");
    assert!(line(&env, "predict.max_batch_size").contains("EKIDEN__RUNNERS__IRIS_CLF__MAX_BATCH_SIZE"), "{env}");
    let both = place.check(&["check", "--set", "runners.iris_clf.max_batch_size=7"], 0, &[]);
    assert!(line(&both, "predict.max_batch_size").contains("--set"), "the command line is stronger: {both}");

    let limits = ["batching=\"window\"", "max_latency_ms=500", "timeout_ms=500", "max_queue_size=8"];
    let set = limits.map(|limit| format!("runners.iris_clf.{limit}"));
    let odd: Vec<&str> = ["check"].into_iter().chain(set.iter().flat_map(|set| ["--set", set])).collect();
    place.check(
        &odd,
        0,
        &[
            "warning: runner iris_clf, predict: max_latency_ms = 500 is not below timeout_ms = 500",
            "warning: runner iris_clf, predict: max_queue_size = 8 is below max_batch_size = 9",
        ],
    );
    assert!(!report.contains("warning"), "{report}");

    Place::new(None).check(&["check"], 0, &["built-in runners.toml is valid", "runner iris_clf:"]);
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let check = |config: &str, parts: &[&str]| {
        let place = Place::new(Some(config));
        place.check(&["check"], 2, parts);
        place.check(&["serve", "--bind", "127.0.0.1:0"], 2, parts);
    };
    check(
        "[[runners]]\nname = \"iris_clf\"\nmax_batch_size = 0\n",
        &["error: ", "runners.toml:3: ", "max_batch_size: expected a whole number of at least 1, found 0"],
    );
    check(
        "[[runners]]\nname = \"iris_clf\"\nmax_bach_size = 1\n",
        &["runners.toml:3: ", "did you mean \"max_batch_size\"?"],
    );
    check(
        "[[runners]]\nname = \"flowers\"\nrunnable = \"iris_cfl\"\n",
        &["runners.toml:3: ", "there is no runnable \"iris_cfl\"; did you mean \"iris_clf\"?"],
    );
    check(
        "[[runners]]\nname = \"iris_clf\"\n[[runners.runnable_method_configs]]\nname = \"predit\"\n",
        &["runners.toml:4: ", "\"predit\"", "did you mean \"predict\"?"],
    );
    check(
        "[[runners]]\nname = \"iris_clf\"\nnvidia_gpu = 1\n",
        &["runners.toml:3: runner \"iris_clf\": nvidia_gpu = 1: this process sees no NVIDIA GPU on this machine"],
    );
    check("[server]\nbind = \"127.0.0.1:3000\"\n", &["there are no runners"]);
    check("[[runners]\n", &["runners.toml:1"]);
    // All errors at once.
    check("[[runners]]\nname = \"iris_clf\"\ncpu = 0\nretry = 1\n", &["runners.toml:3: ", "runners.toml:4: "]);

    let place = Place::new(Some(GOOD));
    place.check(&["check", "missing.toml"], 2, &["missing.toml"]);
    place.check(&["check", "--set", "runners.iris_clf.cpu=none"], 2, &["--set", "cpu"]);
    place.check(&["check", "--set", "runners.iris.cpu=1"], 2, &["iris_clf"]);
    place.check(&["check", "--sett", "x"], 2, &["--set"]);
    place.check(&["serv"], 2, &["serve"]);
    let place = place.variable("EKIDEN__RUNNERS__IRIS_CLF__CPU", "many");
    place.check(&["check"], 2, &["EKIDEN__RUNNERS__IRIS_CLF__CPU", "many"]);
}

#[test]
fn help_says_what_there_is() {
    let place = Place::new(None);
    place.check(&["--help"], 0, &["serve", "check", "runners", "Exit codes", "RUST_LOG"]);
    place.check(&["serve", "--help"], 0, &["--config", "--set", "--bind", "127.0.0.1:3000", "--grpc-bind"]);
    place.check(&["check", "--help"], 0, &["--set", "runners.toml"]);
    place.check(&["runners", "--help"], 0, &["--url", "--json"]);
    place.check(&["--version"], 0, &[env!("CARGO_PKG_VERSION")]);
}

/// A running `ekiden serve`.
struct Serving {
    child: Child,
    lines: Receiver<String>,
    printed: Vec<String>,
}

impl Serving {
    /// Starts it on a free port.
    fn start(place: &Place, args: &[&str]) -> Self {
        Self::start_with(place, args, Stdio::null())
    }

    fn start_with(place: &Place, args: &[&str], stderr: Stdio) -> Self {
        let args = [&["serve", "--bind", "127.0.0.1:0"], args].concat();
        let mut child = place.command(&args).stdout(Stdio::piped()).stderr(stderr).spawn().expect("it starts");
        let lines = lines(child.stdout.take().expect("it is piped"));
        Self { child, lines, printed: Vec::new() }
    }

    /// Waits for a line that holds this.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with `{part}` in {:#?}", self.printed));
            self.printed.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn address(&mut self) -> SocketAddr {
        let line = self.line("listening on http://");
        line.rsplit('/').next().and_then(|address| address.parse().ok()).expect("an address")
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().expect("a status");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

/// The lines of an output, as they come.
fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    let output = BufReader::new(output);
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_answer_has_a_line_in_the_access_log() {
    // Whatever else is logged, or not.
    let place = Place::new(Some(GOOD)).variable("RUST_LOG", "off");
    let logged = |format: &str| {
        let format = format!("server.log_format={format}");
        let args = ["--set", "server.access_log=true", "--set", &format];
        let mut serving = Serving::start_with(&place, &args, Stdio::piped());
        let mut client = Client::connect(serving.address());
        serving.line("ready in ");
        let path = "/v1/runners/iris_clf/predict";
        let log = lines(serving.child.stderr.take().expect("it is piped"));
        assert_eq!(client.request("POST", path, &[("x-request-id", "one")], b"[[1,1,1,1]]").status, 200);
        assert_eq!(client.request("POST", path, &[("x-request-id", "two")], b"[[1]]").status, 400);
        assert_eq!(client.get("/nowhere?x=y").status, 404);
        let line = || log.recv_timeout(PATIENCE).expect("a line");
        [line(), line(), line()]
    };
    let check = |line: &str, expected: &str| {
        // The time that it took, and when, differ.
        let parts = line.split_whitespace().enumerate().filter(|(at, _)| ![0, 6].contains(at));
        assert_eq!(parts.map(|(_, part)| part).collect::<Vec<_>>().join(" "), expected, "{line}");
    };
    let [answered, refused, lost] = logged("text");
    check(&answered, "INFO 127.0.0.1 POST /v1/runners/iris_clf/predict 200 µs one");
    check(&refused, "INFO 127.0.0.1 POST /v1/runners/iris_clf/predict 400 µs two");
    check(&lost, "INFO 127.0.0.1 GET /nowhere 404 µs");
    let json: Value = serde_json::from_str(&logged("json")[1]).expect("is JSON");
    assert_eq!(
        (&json["status"], &json["request_id"], &json["client"]),
        (&400.into(), &"two".into(), &"127.0.0.1".into())
    );
}

#[test]
fn serving_from_the_first_line_to_the_last() {
    let place = Place::new(Some(GOOD));
    // Calls wait for company that does not come: until the server is told to stop.
    let wait = ["--set", "runners.iris_clf.batching=window", "--set", "runners.iris_clf.max_latency_ms=100000000"];
    let more = ["--set", "runners.iris_clf.max_batch_size=1000", "--set", "runners.iris_clf.timeout_ms=0"];
    let mut serving = Serving::start(&place, &[wait, more].concat());
    let address = serving.address();
    assert_eq!(serving.printed[0], format!("ekiden {} serves runners.toml", env!("CARGO_PKG_VERSION")));
    assert_eq!(serving.printed[1], "  iris_clf: 1 executor with 1 thread on flex");
    assert_eq!(serving.printed[2].trim(), "predict(features: float32 [any, 4]) -> probabilities: float32 [any, 3]");
    serving.line("ready in ");
    let curl = serving.line("curl ");
    let (path, body) = (format!("http://{address}/v1/runners/iris_clf/predict"), "[[5.1,3.5,1.4,0.2]]");
    assert_eq!(curl.trim(), format!("curl {path} -H 'content-type: application/json' -d '{body}'"));

    let url = format!("http://{address}");
    let table = place.check(&["runners", "--url", &url], 0, &["RUNNER", "STATE", "QUEUED ROWS"]);
    let row: Vec<&str> = table.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(row, ["iris_clf", "ready", "1", "0", "predict", "0", "1000"]);
    place.check(&["runners", "iris_clf", "--url", &url], 0, &["iris_clf  ready"]);
    let json = place.check(&["runners", "--url", &url, "--json"], 0, &[]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["runners"][0]["name"], "iris_clf");
    place.check(&["runners", "iris", "--url", &url], 1, &["404", "did you mean \"iris_clf\"?"]);

    let busy = place.run(&["serve", "--bind", &address.to_string()]);
    assert_eq!(busy.status.code(), Some(1));
    let message = text(&busy.stderr);
    assert!(message.contains(&format!("cannot listen on {address} (--bind): ")), "{message}");
    assert!(message.contains("choose another with --bind"), "{message}");

    #[cfg(unix)]
    {
        let mut call = Client::connect(address);
        call.send("POST", "/v1/runners/iris_clf/predict", &[], body.as_bytes());
        let mut probe = Client::connect(address);
        eventually("the call waits", || probe.get("/v1/runners").text().contains("\"queued_rows\":1"));
        serving.signal("-TERM");
        let answer = call.receive();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.text());
        serving.line("stopped");
        assert_eq!(serving.exit_code(), Some(0));
    }
    place.check(&["runners", "--url", &url], 1, &["is the server running?"]);
}

#[test]
fn without_a_file_the_built_in_runners_are_served() {
    let place = Place::new(None);
    let mut serving = Serving::start(&place, &[]);
    let address = serving.address();
    assert!(serving.printed[0].ends_with("serves built-in runners.toml"), "{:?}", serving.printed);
    serving.line("ready in ");
    let answer = Client::connect(address).post("/v1/runners/iris_clf/predict", "[[1.0,1.0,1.0,1.0]]");
    assert_eq!(answer.status, 200);
    #[cfg(unix)]
    {
        serving.signal("-INT");
        assert_eq!(serving.exit_code(), Some(0));
        // As soon as it listens, it can be stopped well.
        let mut starting = Serving::start(&place, &[]);
        starting.address();
        starting.signal("-TERM");
        assert_eq!(starting.exit_code(), Some(0));
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let bind = format!("server.bind={address}");
    place.check(&["serve", "--set", &bind], 1, &[&format!("cannot listen on {address} (--set"), "in use"]);
}

#[test]
fn grpc_is_served_beside_http_where_it_is_asked_for() {
    let place = Place::new(Some(GOOD));
    let mut serving = Serving::start(&place, &["--grpc-bind", "127.0.0.1:0"]);
    let address = serving.address();
    let grpc = serving.line("gRPC on ");
    let grpc: SocketAddr = grpc.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address");
    serving.line("ready in ");
    assert!(crate::grpc::is_live(grpc));
    assert_eq!(Client::connect(address).get("/livez").status, 200);
    let busy = ["--set", &format!("server.grpc_bind={grpc}")];
    let message = [&format!("cannot listen on {grpc} (--set"), "choose another with --grpc-bind"];
    place.check(&[&["serve", "--bind", "127.0.0.1:0"], &busy[..]].concat(), 1, &message);
    #[cfg(unix)]
    {
        serving.signal("-TERM");
        assert_eq!(serving.exit_code(), Some(0));
        assert!(TcpListener::bind(grpc).is_ok(), "it listens no more");
    }
}

#[test]
fn a_runner_is_given_orders_from_the_shell() {
    let place = Place::new(Some(GOOD));
    let mut serving = Serving::start(&place, &["--admin-bind", "127.0.0.1:0"]);
    let address = serving.address();
    let admin = serving.line("taking orders on http://");
    let admin = admin.rsplit(' ').next().expect("a URL");
    serving.line("ready in ");
    let url = format!("http://{address}");
    let order = |order: &str, parts: &[&str]| place.check(&["runners", order, "iris_clf", "--admin", admin], 0, parts);
    order("pause", &["runner \"iris_clf\" is paused; calls wait until it is resumed"]);
    place.check(&["runners", "iris_clf", "--url", &url], 0, &["paused", "0 of 5 restarts within 60 s"]);
    order("resume", &["goes on"]);
    order("restart", &["has been restarted"]);
    order("drain", &["stopped; restart begins it anew"]);
    let wrong = place.check(&["runners", "pause", "iris_clf", "--admin", admin], 1, &["409", "restart it first"]);
    assert!(wrong.starts_with("error: "), "{wrong}");
    order("restart", &["has been restarted"]);
    assert_eq!(Client::connect(address).post("/v1/runners/iris_clf/predict", "[[1.0,1.0,1.0,1.0]]").status, 200);
    // At the public port there is nobody to take them.
    let lost = place.check(&["runners", "pause", "iris_clf", "--admin", &url], 1, &["404", "admin listener"]);
    assert!(lost.contains("has no method \"pause\""), "{lost}");
    let off = Serving::start(&place, &["--admin-bind", ""]).address();
    assert_ne!(off, address);
    let taken = address.to_string();
    place.check(&["serve", "--bind", "127.0.0.1:0", "--admin-bind", &taken], 1, &["--admin-bind): ", "choose another"]);
}

#[test]
fn the_configuration_is_reloaded_from_the_shell_and_by_a_signal() {
    let place = Place::new(Some(GOOD));
    let mut serving = Serving::start(&place, &["--admin-bind", "127.0.0.1:0"]);
    let address = serving.address();
    // As early as anybody can know of it, a signal does not end it.
    serving.signal("-HUP");
    let admin = serving.line("taking orders on http://");
    let admin = admin.rsplit(' ').next().expect("a URL").to_owned();
    serving.line("ready in ");
    let write = |text: &str| fs::write(place.folder.join("runners.toml"), text).expect("a file");
    let batch = || {
        let about: Value = Client::connect(address).get("/v1/runners/iris_clf").json();
        about["methods"][0]["limits"]["max_batch_size"].as_u64()
    };
    let reload = |code, parts: &[&str]| place.check(&["reload", "--admin", &admin], code, parts);

    reload(0, &["unchanged  iris_clf"]);
    write(&GOOD.replace("20", "30"));
    reload(0, &["replaced   iris_clf"]);
    assert_eq!(batch(), Some(30));

    write(&GOOD.replace("20", "many"));
    reload(1, &["error: ", "422", "runners.toml:4"]);
    assert_eq!(batch(), Some(30));
    write(&format!("[server]\nworkers = 9\n\n{}nvidia_gpu = 1\n", GOOD.replace("cpu = 1\n", "")));
    reload(1, &["error: ", "422", "nvidia_gpu = 1"]);

    write(&format!("[server]\nworkers = 9\n\n{}", GOOD.replace("20", "40")));
    serving.signal("-HUP");
    eventually("it is reloaded", || batch() == Some(40));
    reload(0, &["unchanged  iris_clf", "server.workers: takes effect when the server is started again"]);
    assert_eq!(Client::connect(address).post("/v1/runners/iris_clf/predict", "[[1.0,1.0,1.0,1.0]]").status, 200);
}
