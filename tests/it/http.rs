//! The HTTP API when all is well: iris over JSON and `.npy`, headers, what is served, probes and metrics.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use ekiden::App;
use ekiden::codec::npy;
use ekiden::http::Beside;
use ekiden::prelude::*;
use ekiden::value::{Array, Value};
use tokio::sync::Notify;

use crate::iris::IrisClf;
use crate::kit;
use crate::support::{Gate, Made, Server, block_on, eventually};

pub const PREDICT: &str = "/v1/runners/iris_clf/predict";
pub const NPY: &str = "application/x-npy";
const FLOWER: &str = "[[5.1,3.5,1.4,0.2]]";

pub fn iris() -> App {
    let runner = Runner::<IrisClf>::new(()).cpu(1.0);
    block_on(App::builder().runner(runner).start()).expect("the app starts")
}

/// A `.npy` body.
pub fn npy_body(array: Array) -> Vec<u8> {
    npy::encode(&[Value::Tensor(array)]).expect("NumPy has it")
}

fn flower_npy() -> Vec<u8> {
    npy_body(Array::new(vec![5.1_f32, 3.5, 1.4, 0.2], [1, 4]).expect("an array"))
}

#[test]
fn a_client_that_hangs_up_cancels_its_call() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.set("max_queue_size", 1));
    let server = Server::start(&app);
    kit::check_leaving(&app, &gate, || {
        let mut gone = server.client();
        gone.send("POST", "/v1/runners/kit/text", &[("content-type", "text/plain")], b"gone");
        kit::waits(&app, "text", 1);
    });
    server.counts(&[(r#"ekiden_calls_total{runner="kit",method="text",outcome="cancelled"}"#, 1.0)]);
}

/// The probabilities of the first row.
fn probabilities(answer: &serde_json::Value) -> Vec<f64> {
    answer[0].as_array().expect("rows").iter().filter_map(serde_json::Value::as_f64).collect()
}

#[test]
fn iris_is_classified_whatever_the_format() {
    let server = Server::start(&iris());
    let mut client = server.client();
    let bare = client.post(PREDICT, FLOWER);
    assert_eq!((bare.status, bare.header("content-type")), (200, Some("application/json")));
    let expected = probabilities(&bare.json());
    assert!(expected.len() == 3 && expected[0] > 0.9, "{expected:?}");
    assert!((expected.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{expected:?}");

    let by_name = client.post(PREDICT, &format!(r#"{{"features": {FLOWER}}}"#));
    assert_eq!((by_name.status, by_name.body.as_slice()), (200, bare.body.as_slice()));
    let no_type = client.request("POST", PREDICT, &[], FLOWER.as_bytes());
    assert_eq!((no_type.status, no_type.body.as_slice()), (200, bare.body.as_slice()));
    let (one, other) = FLOWER.as_bytes().split_at(7);
    let chunked = client.chunked(PREDICT, &[("content-type", "application/json")], &[one, other]);
    assert_eq!((chunked.status, chunked.body.as_slice()), (200, bare.body.as_slice()));

    // What comes as .npy is answered so, unless other is asked for.
    let as_npy = client.request("POST", PREDICT, &[("content-type", NPY)], &flower_npy());
    assert_eq!((as_npy.status, as_npy.header("content-type")), (200, Some(NPY)));
    let json = ("accept", "text/html, application/json;q=0.9, */*;q=0.1");
    let in_json = client.request("POST", PREDICT, &[("content-type", NPY), json], &flower_npy());
    assert_eq!((in_json.status, in_json.body.as_slice()), (200, bare.body.as_slice()));
    let wanted = [("content-type", "application/json"), ("accept", NPY)];
    let in_npy = client.request("POST", PREDICT, &wanted, FLOWER.as_bytes());
    assert_eq!((in_npy.header("content-type"), &in_npy.body), (Some(NPY), &as_npy.body));
    let data = as_npy.body[as_npy.body.len() - 12..].chunks(4);
    let found: Vec<f32> = data.map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect();
    let expected: Vec<f32> = expected.iter().map(|&p| p as f32).collect();
    assert_eq!(found, expected);

    let empty = client.post(PREDICT, "[]");
    assert_eq!((empty.status, empty.text()), (200, "[]"));
}

#[test]
fn other_kinds_of_bodies() {
    let server = Server::start(&kit::app(&Gate::default(), |runner| runner));
    let check = |method: &str, content_type: &str, body: &[u8], expected: (&str, &[u8])| {
        let path = format!("/v1/runners/kit/{method}");
        let answer = server.client().request("POST", &path, &[("content-type", content_type)], body);
        assert_eq!(answer.status, 200, "{method}: {:?}", answer.text());
        assert_eq!((answer.header("content-type"), answer.body.as_slice()), (Some(expected.0), expected.1), "{method}");
    };
    check("text", "text/plain", b"hi", ("text/plain; charset=utf-8", b"HI"));
    check("text", "application/json", b"\"hi\"", ("application/json", b"\"HI\""));
    check("list", "text/plain", b"hi", ("application/json", b"[2]"));
    check("bytes", "application/octet-stream", b"\x00\xff", ("application/octet-stream", b"\xff"));
    let mixed = br#"{"x": [[2]], "n": [3], "words": ["hi"]}"#;
    let answer = br#"{"lengths":[2],"scaled":[[6.0]],"words":["hi"]}"#;
    check("mixed", "application/json", mixed, ("application/json", answer));
}

#[test]
fn requests_have_an_id() {
    let server = Server::start(&iris());
    let mut client = server.client();
    let mut id = |sent: Option<&str>, body: &str| {
        let sent: Vec<_> = sent.map(|id| ("x-request-id", id)).into_iter().collect();
        let answer = client.request("POST", PREDICT, &sent, body.as_bytes());
        answer.header("x-request-id").expect("an id").to_owned()
    };
    assert_eq!(id(Some("mine"), FLOWER), "mine");
    assert_eq!(id(Some("mine"), "broken"), "mine", "errors too");
    let long = "x".repeat(129);
    let made = [id(None, FLOWER), id(None, FLOWER), id(Some(&long), FLOWER), id(Some(""), "broken")];
    for (at, id) in made.iter().enumerate() {
        assert!(id.len() == 16 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        assert!(!made[..at].contains(id), "{made:?}");
    }
}

#[test]
fn a_deadline_comes_in_a_header() {
    let gate = Gate::closed();
    let server = Server::start(&kit::app(&gate, |runner| runner));
    let mut held = server.client();
    held.send("POST", "/v1/runners/kit/text", &[], b"\"a\"");
    gate.wait_for_someone();
    let post = |timeout: &str| {
        server.client().request("POST", "/v1/runners/kit/text", &[("ekiden-timeout-ms", timeout)], b"\"b\"")
    };
    post("1").refused(504, "deadline_exceeded", &["the deadline of 1 ms has passed"]);
    for wrong in ["0", "-1", "+1", "soon", "1.5", "4294967296", ""] {
        let expected = format!("found \"{wrong}\"");
        post(wrong).refused(400, "invalid_input", &["header ekiden-timeout-ms: expected a whole number", &expected]);
    }
    gate.open();
    assert_eq!(held.receive().status, 200);
    assert_eq!(post("60000").status, 200);
}

#[test]
fn runners_describe_themselves() {
    let server = Server::start(&iris());
    let all = server.get("/v1/runners").json();
    let one = server.get("/v1/runners/iris_clf").json();
    let timeless = |mut about: serde_json::Value| {
        assert!(about["uptime_s"].take().as_f64().is_some_and(|up| up >= 0.0), "{about}");
        about
    };
    assert_eq!(timeless(all["runners"][0].clone()), timeless(one.clone()));
    assert_eq!(all["runners"].as_array().map(Vec::len), Some(1));
    assert_eq!((&one["name"], &one["state"], &one["restarts"]), (&"iris_clf".into(), &"ready".into(), &0.into()));
    assert_eq!(one["executors"], serde_json::json!([{"device": "flex", "state": "ready", "restarts": 0}]));
    let method = &one["methods"][0];
    assert_eq!(method["name"], "predict");
    let input = serde_json::json!([{"name": "features", "kind": "tensor", "dtype": "float32", "shape": [null, 4]}]);
    assert_eq!(method["inputs"], input);
    assert_eq!(method["batch_dims"], serde_json::json!({"input": 0, "output": 0}));
    assert_eq!((&method["limits"]["max_batch_size"], &method["queued_rows"]), (&100.into(), &0.into()));
    // Warm-up has run batches of 1, 8, 64 and 100 rows, three of each that count.
    let buckets = method["costs"][0]["buckets"].as_array().expect("what batches cost");
    let sizes: Vec<_> =
        buckets.iter().map(|bucket| (bucket["max_rows"].as_u64(), bucket["batches"].as_u64())).collect();
    assert_eq!(sizes, [1, 8, 64, 128].map(|rows| (Some(rows), Some(3))));
    assert!(buckets.iter().all(|bucket| bucket["mean_ms"].as_f64() > Some(0.0)), "{buckets:?}");
}

#[test]
fn probes_follow_the_runners() {
    let gate = Gate::closed();
    let slow = Runner::<Slow>::new(gate.clone()).name("slow").cpu(1.0);
    let app = App::builder().runner(slow).launch().expect("it is configured well");
    let server = Server::start(&app);
    let mut client = server.client();
    assert_eq!(client.get("/livez").status, 200);
    let ready = client.get("/readyz");
    assert_eq!(ready.status, 503);
    let starting = serde_json::json!({"status": "not ready", "reasons": ["runner \"slow\" is starting"]});
    assert_eq!(ready.json(), starting);
    let refused = client.post("/v1/runners/slow/same", "\"a\"");
    refused.refused(503, "unavailable", &["starting"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
    gate.open();
    block_on(app.ready()).expect("it gets ready");
    assert_eq!((client.get("/readyz").status, client.get("/readyz").json()["status"].as_str()), (200, Some("ready")));
    assert_eq!(client.post("/v1/runners/slow/same", "\"a\"").text(), "\"a\"");
}

/// Opens when its gate does.
struct Slow;

impl Runnable for Slow {
    type Params = Gate;

    fn open(ctx: &OpenContext<Gate>) -> Result<Self, OpenError> {
        ctx.params().pass("open", 0);
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("same", |_: &Self, text: String| Ok(text));
    }
}

#[test]
fn metrics_count_calls_batches_and_states() {
    let gate = Gate::default();
    let app = kit::app(&gate, |runner| runner);
    let server = Server::start(&app);
    let mut client = server.client();
    assert_eq!(client.post("/v1/runners/kit/int", "[1,2,3]").status, 200);
    assert_eq!(client.post("/v1/runners/kit/int", "[1]").status, 200);
    assert_eq!(client.post("/v1/runners/kit/int", "[1.5]").status, 400);
    assert_eq!(client.post("/v1/runners/kit/lost_row", "[[1],[2]]").status, 500);
    gate.close();
    let kit = app.runner("kit").expect("the runner");
    let text = kit.method::<String, String>("text").expect("the method");
    let plug = Made::held(text.async_run("a".to_owned()));
    gate.wait_for_someone();
    let waiting = Made::held(text.async_run("b".to_owned()));

    let answer = client.get("/metrics");
    let kind = answer.header("content-type").expect("a content type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(answer.text().ends_with("# EOF\n"));
    server.counts(&[
        (r#"ekiden_calls_total{runner="kit",method="int",outcome="ok"}"#, 2.0),
        (r#"ekiden_calls_total{runner="kit",method="int",outcome="invalid_input"}"#, 1.0),
        (r#"ekiden_calls_total{runner="kit",method="lost_row",outcome="method_failed"}"#, 1.0),
        (r#"ekiden_batch_rows_sum{runner="kit",method="int"}"#, 4.0),
        (r#"ekiden_batch_rows_count{runner="kit",method="int"}"#, 2.0),
        (r#"ekiden_execution_seconds_count{runner="kit",method="int"}"#, 2.0),
        (r#"ekiden_queue_wait_seconds_count{runner="kit",method="int"}"#, 2.0),
        (r#"ekiden_queue_rows{runner="kit",method="text"}"#, 1.0),
        (r#"ekiden_executor_restarts_total{runner="kit"}"#, 0.0),
        (r#"ekiden_runner_state{runner="kit",state="ready"}"#, 1.0),
        (r#"ekiden_runner_state{runner="kit",state="starting"}"#, 0.0),
    ]);
    gate.open();
    assert!(plug.answer().is_ok() && waiting.answer().is_ok());
}

#[test]
fn a_server_that_stops_finishes_what_it_has_accepted() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner);
    let mut server = Server::start(&app);
    let (mut one, mut other, mut probe) = (server.client(), server.client(), server.client());
    assert_eq!(probe.get("/readyz").status, 200);
    one.send("POST", "/v1/runners/kit/text", &[], b"\"a\"");
    gate.wait_for_someone();
    other.send("POST", "/v1/runners/kit/text", &[], b"\"b\"");
    eventually("the other call waits", || probe.get("/v1/runners/kit").text().contains("\"queued_rows\":1"));
    server.begin_stop();
    eventually("the runner drains", || probe.get("/readyz").text().contains("is draining"));
    assert!(probe.get("/readyz").text().contains("the server is shutting down"));
    let refused = probe.post("/v1/runners/kit/text", "\"c\"");
    refused.refused(503, "unavailable", &[]);
    assert_eq!(refused.header("connection"), Some("close"));
    gate.open();
    assert_eq!((one.receive().text(), other.receive().text()), ("\"A\"", "\"B\""));
    server.wait();
}

/// An endpoint beside the API, which is finished when the test says so.
struct Unfinished(Arc<Notify>);

impl Beside for Unfinished {
    fn mount(&self, config: &mut web::ServiceConfig) {
        config.route("/beside", web::get().to(HttpResponse::Ok));
    }

    fn finish(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self.0.notified())
    }
}

#[test]
fn a_server_that_goes_takes_no_calls_while_what_is_beside_is_finished() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let finished = Arc::new(Notify::new());
    let mut server = Server::with_beside(&app, Unfinished(Arc::clone(&finished)));
    let call = |server: &Server| server.post("/v1/runners/kit/text", "\"a\"");
    let infer = |server: &Server| {
        let input = r#"{"inputs":[{"name":"input","datatype":"BYTES","shape":[1],"data":["a"]}]}"#;
        server.post("/v2/models/kit.text/infer", input)
    };
    assert_eq!((call(&server).status, infer(&server).status), (200, 200));
    server.begin_stop();
    eventually("the server goes", || server.get("/readyz").status == 503);
    let (called, inferred) = (call(&server), infer(&server));
    called.refused(503, "unavailable", &["the server is shutting down"]);
    assert_eq!((inferred.status, inferred.json()["error"].as_str()), (503, Some("the server is shutting down")));
    assert_eq!(called.header("connection"), Some("close"));
    for ready in ["/v2/health/ready", "/v2/models/kit.text/ready"] {
        let answer = server.get(ready);
        assert_eq!((answer.status, answer.json()["ready"].as_bool()), (503, Some(false)), "{ready}");
    }
    // What is beside the API is served on, and the runner takes its calls.
    assert_eq!(server.get("/beside").status, 200);
    let text = app.runner("kit").expect("the runner").method::<String, String>("text").expect("the method");
    assert_eq!(block_on(text.async_run("b".to_owned())).as_deref(), Ok("B"));
    finished.notify_one();
    server.wait();
}

#[test]
fn a_priority_comes_in_a_header() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.method_config("list", MethodConfig::new().set("batching", "off")));
    let server = Server::start(&app);
    let post = |priority: &str, words: usize| {
        let mut client = server.client();
        let body = serde_json::to_vec(&vec!["word"; words]).expect("is JSON");
        let headers: &[_] = if priority.is_empty() { &[] } else { &[("ekiden-priority", priority)] };
        client.send("POST", "/v1/runners/kit/list", headers, &body);
        client
    };
    let mut calls = vec![post("", 9)];
    gate.wait_for_someone();
    let queued = || app.entry("kit").and_then(|kit| kit.method("list").map(|list| list.queued_rows()));
    for (at, (priority, words)) in [("low", 1), ("normal", 2), ("high", 3), ("", 4)].into_iter().enumerate() {
        calls.push(post(priority, words));
        eventually("it is queued", || queued() == Ok([1, 3, 6, 10][at]));
    }
    gate.open();
    assert!(calls.iter_mut().all(|call| call.receive().status == 200));
    assert_eq!(gate.batches("list"), [9, 3, 2, 4, 1]);
    post("urgent", 1).receive().refused(
        400,
        "invalid_input",
        &["header ekiden-priority: expected one of high, normal, low, found \"urgent\""],
    );
}

#[test]
fn a_call_whose_body_does_not_come_holds_nobody_up() {
    let server = Server::start(&iris());
    let head = format!("POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    let head = format!("{head}content-length: {}\r\n\r\n", FLOWER.len());
    let announced = |calls: u64| {
        eventually("calls are announced", || {
            server.get("/v1/runners/iris_clf").json()["methods"][0]["announced_calls"] == calls
        });
    };
    let mut slow = server.client();
    slow.write(head.as_bytes()).expect("is sent");
    let mut gone = server.client();
    gone.write(head.as_bytes()).expect("is sent");
    announced(2);
    let mut client = server.client();
    for _ in 0..20 {
        assert_eq!(client.post(PREDICT, FLOWER).status, 200);
    }
    drop(gone);
    announced(1);
    slow.write(FLOWER.as_bytes()).expect("is sent");
    assert_eq!(slow.receive().status, 200);
    announced(0);
}
