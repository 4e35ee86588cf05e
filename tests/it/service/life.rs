//! A service's start and end, its deadlines, and what it calls.

use std::sync::{Arc, Mutex, PoisonError};

use ekiden::service::{ApiError, Columns, NdArray, Service, ServiceError, Text, method};

use super::{Double, JSON, Predict, Running, Upper, built, upper};
use crate::http::iris;
use crate::kit;
use crate::support::{Gate, Made, block_on, eventually};

mod wrong {
    use super::*;

    method! {
        pub NoRunner = "iris_cfl"."predict": NdArray<f32> => NdArray<f32>;
        pub NoMethod = "iris_clf"."predcit": NdArray<f32> => NdArray<f32>;
        pub NoShape = "iris_clf"."predict": NdArray<f32, Columns<5>> => NdArray<f32>;
        pub NoDType = "iris_clf"."predict": NdArray<f32, Columns<4>> => NdArray<f64>;
    }
}

async fn calls_nothing(_: wrong::NoRunner, _: wrong::NoMethod) -> Text {
    Text(String::new())
}

async fn calls_something_else(_: wrong::NoShape, _: wrong::NoDType) -> Text {
    Text(String::new())
}

async fn classify(flowers: NdArray<f32, Columns<4>>, predict: Predict) -> Result<NdArray<f32, Columns<3>>, ApiError> {
    Ok(predict.async_run(flowers).await?)
}

#[test]
fn what_is_not_there_is_told_when_it_is_built() {
    let app = iris();
    let service = Service::builder(&app)
        .post("/a", calls_nothing)
        .post("/b", calls_something_else)
        .post("/c", classify)
        .post("/c", classify)
        .get("/c", async || Text(String::new()))
        .post("d", classify);
    let error = service.build().expect_err("it cannot be served").to_string();
    let lines: Vec<&str> = error.lines().collect();
    let expected = [
        "POST /a: there is no runner \"iris_cfl\"; did you mean \"iris_clf\"?",
        "POST /a: runner \"iris_clf\" has no method \"predcit\"; did you mean \"predict\"?",
        "POST /b: method \"predict\" of runner \"iris_clf\": its input \"features\" is a float32 [any, 4], not an NdArray of float32 [any, 5]",
        "POST /b: method \"predict\" of runner \"iris_clf\": its output \"probabilities\" is a float32 [any, 3], not an NdArray of float64",
        "POST /c: it is there twice",
        "POST d: a path begins with \"/\"",
    ];
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hook(&self, what: &'static str) -> impl Fn() -> std::future::Ready<Result<(), String>> + Send + Sync + 'static {
        let log = self.clone();
        move || {
            log.add(what);
            std::future::ready(Ok(()))
        }
    }
}

#[test]
fn hooks_run_before_the_first_request_and_after_the_last() {
    let log = Log::default();
    let app = kit::app(&Gate::default(), |runner| runner);
    let asked = log.clone();
    let draining = app.clone();
    let ended = log.clone();
    let service = Service::builder(&app)
        .post("/upper", upper)
        .get("/ask", move || {
            asked.add("asked");
            std::future::ready(Text("yes".to_owned()))
        })
        .on_start("begins", log.hook("start 1"))
        .on_start("goes on", log.hook("start 2"))
        .on_stop("ends", log.hook("stop 1"))
        .on_stop("looks", move || {
            let drained = draining.runners().iter().all(|runner| runner.not_ready().is_some());
            ended.add(if drained { "drained" } else { "not drained" });
            std::future::ready(Err::<(), _>("this is told in the log, and the rest is done"))
        });
    let mut running = Running::start(&built(service));
    assert_eq!(running.client().get("/ask").text(), "yes");
    running.begin_stop();
    running.wait().expect("it stops well");
    assert_eq!(log.all(), ["start 1", "start 2", "asked", "drained", "stop 1"]);
}

#[test]
fn a_start_hook_that_fails_ends_the_start() {
    let log = Log::default();
    let service = Service::builder(&iris())
        .on_start("opens the safe", || std::future::ready(Err("the key is lost")))
        .on_start("never", log.hook("started"))
        .on_stop("closes the safe", log.hook("stopped"));
    let mut running = Running::start(&built(service));
    let error = running.wait().expect_err("it does not start");
    assert!(matches!(error, ServiceError::Start { .. }));
    assert_eq!(error.to_string(), "opens the safe: the key is lost");
    assert_eq!(log.all(), ["stopped"]);
}

#[test]
fn a_stop_hook_that_hangs_is_left_behind() {
    let log = Log::default();
    let service = Service::builder(&iris())
        .on_stop("last", log.hook("last"))
        .on_stop("hangs", std::future::pending::<Result<(), String>>);
    let service = built(service);
    block_on(service.stop(std::time::Duration::from_millis(10)));
    assert_eq!(log.all(), ["last"], "the rest is done, in what time is left");
}

async fn twice(Text(text): Text, upper: Upper) -> Result<Text, ApiError> {
    let once = upper.async_run(text).await?;
    Ok(Text(upper.async_run(once + "!").await?))
}

async fn beside(x: NdArray<f32, ekiden::service::Rank<1>>, double: Double, upper: Upper) -> Result<Text, ApiError> {
    let (doubled, text) = tokio::join!(double.async_run(x), upper.async_run("x".to_owned()));
    Ok(Text(format!("{:?} {}", doubled?.elements(), text?)))
}

#[test]
fn methods_are_called_in_turn_and_at_once() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let running = Running::start(&built(Service::builder(&app).post("/twice", twice).post("/beside", beside)));
    assert_eq!(running.post("/twice", &[], b"a").text(), "A!");
    assert_eq!(running.post("/beside", &[JSON], b"[1,2]").text(), "[2.0, 4.0] X");
}

#[test]
fn a_request_that_was_taken_is_finished() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner);
    let service = Service::builder(&app).post("/twice", twice).get("/now", async || Text("now".to_owned()));
    let mut running = Running::start(&built(service));
    let mut client = running.client();
    client.send("POST", "/twice", &[], b"a");
    gate.wait_for_someone();
    running.begin_stop();
    // Of an endpoint that is not held: one that came too early is answered.
    eventually("new requests are refused", || running.client().get("/now").status == 503);
    running.post("/twice", &[], b"b").refused(503, "unavailable", &["POST /twice: ", "shutting down"]);
    // Its second call is made after that.
    gate.open();
    assert_eq!(client.receive().text(), "A!");
    running.wait().expect("it stops well");
}

#[test]
fn a_request_has_its_deadline() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner);
    let running = Running::start(&built(Service::builder(&app).post("/upper", upper).post("/wait", waits)));
    let timeout = ("ekiden-timeout-ms", "50");
    running.post("/upper", &[timeout], b"a").refused(504, "deadline_exceeded", &["POST /upper: "]);
    // Also where it waits for something else.
    running.post("/wait", &[timeout], b"a").refused(504, "deadline_exceeded", &["POST /wait: "]);
    gate.open();
}

async fn waits(_: Text) -> Text {
    std::future::pending().await
}

#[test]
fn whoever_hangs_up_cancels_the_calls() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.set("max_queue_size", 1));
    let running = Running::start(&built(Service::builder(&app).post("/upper", upper)));
    let text = app.runner("kit").expect("the runner").method::<String, String>("text").expect("the method");
    let mut first = running.client();
    first.send("POST", "/upper", &[], b"first");
    gate.wait_for_someone();
    let mut gone = running.client();
    gone.send("POST", "/upper", &[], b"gone");
    let method = app.entry("kit").and_then(|runner| runner.method("text").cloned()).expect("the method");
    eventually("the call waits", || method.queued_rows() == 1);
    drop(gone);
    // It gives up its place in a full queue as soon as the service knows.
    let mut last = None;
    eventually("there is room again", || {
        last = Made::try_held(text.async_run("last".to_owned()));
        last.is_some()
    });
    gate.open();
    assert_eq!(first.receive().text(), "FIRST");
    assert_eq!(last.expect("it was taken").answer().as_deref(), Ok("LAST"));
    assert_eq!(gate.batches("text"), [1, 1], "the first and the last");
}
