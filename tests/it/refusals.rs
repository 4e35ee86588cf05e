//! The HTTP API when the request is wrong: each answer has its status, its code, and a message that names the input,
//! what was expected and what came; and the server is none the worse.

use ekiden::codec::npy;
use ekiden::value::Array;

use crate::client::{Client, Response};
use crate::http::{NPY, PREDICT, iris, npy_body};
use crate::support::Server;

const JSON: &str = "application/json";
const FLOWER: &[u8] = b"[[5.1,3.5,1.4,0.2]]";

/// A wrong body, its content type, and what is said of it.
struct Wrong<'a>(&'a str, &'a [u8], &'a [&'a str]);

fn check_all(server: &Server, cases: &[Wrong<'_>]) {
    let mut client = server.client();
    for Wrong(content_type, body, parts) in cases {
        let answer = client.request("POST", PREDICT, &[("content-type", content_type)], body);
        println!("{} {}", answer.status, answer.text());
        answer.refused(400, "invalid_input", parts);
        assert!(answer.body.len() < 1000, "a message is to be read");
    }
}

/// Whether the server still does its work, with the executor that it started with.
#[track_caller]
fn is_unharmed(server: &Server) {
    let answer = server.post(PREDICT, std::str::from_utf8(FLOWER).expect("text"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let runner = server.get("/v1/runners/iris_clf").json();
    assert_eq!((&runner["state"], &runner["restarts"]), (&"ready".into(), &0.into()), "{runner}");
    assert_eq!(runner["last_exits"], serde_json::json!([]));
}

#[test]
fn json_bodies() {
    let server = Server::start(&iris());
    let deep = "[".repeat(100_000).into_bytes();
    let deep_object = r#"{"features":"#.repeat(100_000).into_bytes();
    let long_name = format!(r#"{{"{}": 1}}"#, "x".repeat(100_000)).into_bytes();
    let features = "input \"features\"";
    check_all(
        &server,
        &[
            Wrong(JSON, b"", &["features", "the end of the body"]),
            Wrong(JSON, b"[[1,2,3,4]", &[features, "expected `,` or `]`, found the end of the body"]),
            Wrong(JSON, b"[[1,2,3,4]]]", &["expected the end of the body at byte 11, found `]`"]),
            Wrong(JSON, b"not json", &[features, "expected float32, found `n`"]),
            Wrong(JSON, b"\xff\xfe", &[features, "0xff"]),
            Wrong(JSON, b"null", &[features, "found null"]),
            Wrong(JSON, b"\"5.1\"", &[features, "found a string"]),
            Wrong(JSON, b"[[1,2,3,4],[1,2,3]]", &["input \"features\" at [1]", "3 elements, expected 4"]),
            Wrong(JSON, b"[[1,2,3,4],5]", &["input \"features\" at [1]", "found 5"]),
            Wrong(JSON, b"[1,2,3,4]", &[features, "float32 [any, 4] (rank 2, found rank 1)", "float32 [4]"]),
            Wrong(JSON, b"[[[1,2,3,4]]]", &[features, "float32 [any, 4] (rank 2)", "found another dimension"]),
            Wrong(JSON, b"[[1,2,3]]", &[features, "expected", "4"]),
            Wrong(JSON, b"[[1,2,3,true]]", &["input \"features\" at [0][3]", "expected float32, found true"]),
            Wrong(JSON, b"[[1,2,3,\"4\"]]", &["input \"features\" at [0][3]", "found a string"]),
            Wrong(JSON, b"[[1,2,3,null]]", &["input \"features\" at [0][3]", "found null"]),
            Wrong(JSON, b"[[1,2,3,NaN]]", &["input \"features\" at [0][3]", "NaN, which is not JSON"]),
            Wrong(JSON, b"[[1,2,3,Infinity]]", &["input \"features\" at [0][3]", "Infinity, which is not JSON"]),
            Wrong(JSON, b"[[1,2,3,-Infinity]]", &["input \"features\" at [0][3]", "-Infinity, which is not JSON"]),
            Wrong(JSON, b"[[1,2,3,1e39]]", &["input \"features\" at [0][3]", "found 1e39, which is out of its range"]),
            Wrong(JSON, b"[[1,2,3,1e99999]]", &["input \"features\" at [0][3]", "out of its range"]),
            Wrong(JSON, br#"{"feature": [[1,2,3,4]]}"#, &["\"feature\"", "did you mean \"features\"?"]),
            Wrong(JSON, b"{}", &["missing", "\"features\""]),
            Wrong(
                JSON,
                br#"{"features": [[1,2,3,4]], "features": [[1,2,3,4]]}"#,
                &["input \"features\" comes a second time"],
            ),
            Wrong(JSON, br#"{"features": [[1,2,3,4]], "more": 1}"#, &["no input is named \"more\""]),
            Wrong(JSON, &deep, &[features, "found another dimension"]),
            Wrong(JSON, &deep_object, &[features, "expected float32"]),
            Wrong(JSON, &long_name, &["no input is named"]),
            Wrong("text/plain", b"hello", &[features, "a tensor cannot be sent as text/plain"]),
            Wrong(
                "application/octet-stream",
                b"\x00\x01",
                &[features, "a tensor cannot be sent as application/octet-stream"],
            ),
        ],
    );
    is_unharmed(&server);
}

#[test]
fn npy_bodies() {
    let server = Server::start(&iris());
    let good = npy_body(Array::new(vec![5.1_f32, 3.5, 1.4, 0.2], [1, 4]).expect("an array"));
    let with_shape = |shape: &str| {
        let text = String::from_utf8_lossy(&good[10..128]).replacen("(1, 4)", shape, 1);
        let mut text = text.trim_end().to_owned();
        text.push_str(&" ".repeat(117 - text.len()));
        text.push('\n');
        [&good[..10], text.as_bytes(), &good[128..]].concat()
    };
    let doubles = npy_body(Array::new(vec![5.1_f64, 3.5, 1.4, 0.2], [1, 4]).expect("an array"));
    let vector = npy_body(Array::new(vec![5.1_f32, 3.5, 1.4, 0.2], [4]).expect("an array"));
    let narrow = npy_body(Array::new(vec![5.1_f32, 3.5], [1, 2]).expect("an array"));
    let broken = "input \"features\": ";
    let shapes = [
        with_shape("(4000000000, 4000000000, 4000000000)"),
        with_shape("(1099511627776, 4)"),
        with_shape("(0, 9999999999, 4)"),
    ];
    check_all(
        &server,
        &[
            Wrong(NPY, b"", &[broken, "expected a .npy body, which begins with \\x93NUMPY"]),
            Wrong(NPY, FLOWER, &[broken, "expected a .npy body, which begins with \\x93NUMPY, found \"[[5.1,\""]),
            Wrong(NPY, &good[..50], &[broken, "the body ends within the header"]),
            Wrong(NPY, &good[..good.len() - 1], &[broken, "float32 of shape [1, 4] takes 16 bytes", "found 15"]),
            Wrong(NPY, &[&good[..], b"x"].concat(), &[broken, "takes 16 bytes", "found 17"]),
            Wrong(NPY, &doubles, &[broken, "expected dtype float32, found float64"]),
            Wrong(
                NPY,
                &vector,
                &["input \"features\": expected float32 [any, 4] (rank 2, found rank 1), found float32 [4]"],
            ),
            Wrong(NPY, &narrow, &["input \"features\": expected float32 [any, 4], found float32 [1, 2]"]),
            Wrong(NPY, &shapes[0], &[broken, "has more elements than can be addressed"]),
            Wrong(NPY, &shapes[1], &[broken, "takes 17592186044416 bytes", "found 16"]),
            Wrong(NPY, &shapes[2], &[broken, "empty rows"]),
            Wrong(JSON, &good, &["features", "0x93"]),
        ],
    );
    assert!(npy::encode(&[]).is_err());
    is_unharmed(&server);
}

#[test]
fn requests() {
    let server = Server::start(&iris());
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| -> Response {
        server.client().request(method, path, headers, FLOWER)
    };
    ask("POST", "/v1/runners/iris/predict", &[]).refused(
        404,
        "not_found",
        &["there is no runner \"iris\"; did you mean \"iris_clf\"?"],
    );
    ask("POST", "/v1/runners/iris_clf/predit", &[]).refused(
        404,
        "not_found",
        &["runner \"iris_clf\" has no method \"predit\"; did you mean \"predict\"?"],
    );
    ask("GET", "/v1/runners/iris", &[]).refused(404, "not_found", &["did you mean \"iris_clf\"?"]);
    ask("POST", "/predict", &[]).refused(404, "not_found", &["nothing at /predict", "POST /v1/runners/"]);
    ask("GET", "/", &[]).refused(404, "not_found", &["nothing at /;"]);
    let twice = "/v1/runners/iris_clf//predict";
    ask("POST", twice, &[]).refused(404, "not_found", &[&format!("nothing at {twice}")]);
    assert_eq!(ask("POST", &format!("{PREDICT}/"), &[]).status, 200, "a slash at the end means the same");
    assert_eq!(ask("GET", "/v1/runners/iris_clf/", &[]).status, 200, "a slash at the end means the same");

    for (method, path, allowed) in [
        ("GET", PREDICT, "POST"),
        ("PUT", PREDICT, "POST"),
        ("POST", "/v1/runners", "GET"),
        ("DELETE", "/v1/runners/iris_clf", "GET"),
        ("POST", "/readyz", "GET"),
        ("POST", "/metrics", "GET"),
    ] {
        let answer = ask(method, path, &[]);
        answer.refused(405, "method_not_allowed", &[&format!("{method} {path}"), &format!("use {allowed}")]);
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    for wrong in ["text/csv", "application/cbor", "nonsense", "multipart/form-data; boundary=x"] {
        let answer = ask("POST", PREDICT, &[("content-type", wrong)]);
        answer.refused(415, "unsupported_media_type", &[wrong, "application/json", "application/x-npy"]);
    }
    for encoding in ["gzip", "br", "identity, gzip"] {
        let answer = ask("POST", PREDICT, &[("content-encoding", encoding)]);
        answer.refused(415, "unsupported_media_type", &["content-encoding is", encoding, "send it as it is"]);
    }
    assert_eq!(ask("POST", PREDICT, &[("content-encoding", "identity")]).status, 200);
    is_unharmed(&server);
}

#[test]
fn a_body_that_goes_on_after_its_refusal_ends_the_connection() {
    let server = Server::with_body_limit(&iris(), 1000);
    for (method, path, status) in [
        ("POST", PREDICT, 413),
        ("POST", "/v2/models/iris_clf/infer", 413),
        ("POST", "/v2/repository/index", 413),
        ("PUT", PREDICT, 405),
        ("POST", "/readyz", 405),
        ("POST", "/predict", 404),
    ] {
        let mut client = server.client();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: ekiden\r\ntransfer-encoding: chunked\r\n\r\n");
        // More than is read of what nobody wants, of a chunk that has no end.
        let chunk = format!("10000000\r\n{}", " ".repeat((1 << 20) + 1));
        // The server may be fast enough to refuse it before all of it is sent.
        let _ = client.write(head.as_bytes()).and_then(|()| client.write(chunk.as_bytes()));
        let answer = client.receive();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{method} {path}");
        assert!(client.is_over(), "{method} {path}: the connection stays open");
    }
    is_unharmed(&server);
}

#[test]
fn bodies_that_are_too_large() {
    let app = iris();
    let server = Server::with_body_limit(&app, 1000);
    let too_large = |answer: Response| answer.refused(413, "too_large", &["max_body_bytes"]);
    let rows = |count: usize| format!("[{}]", vec!["[5.1,3.5,1.4,0.2]"; count].join(","));
    let fits = rows(55);
    assert!(fits.len() <= 1000 && rows(56).len() > 1000);
    assert_eq!(server.post(PREDICT, &fits).status, 200);
    too_large(server.post(PREDICT, &rows(56)));
    let chunk = rows(50);
    let chunks: Vec<&[u8]> = vec![chunk.as_bytes(); 20];
    too_large(server.client().chunked(PREDICT, &[], &chunks));
    too_large(server.post(PREDICT, &" ".repeat(64 << 20)));
    // It is refused by what it says, not by what it sends.
    let mut client = server.client();
    let head = format!("POST {PREDICT} HTTP/1.1\r\nhost: ekiden\r\ncontent-length: 1000000000000\r\n\r\n");
    client.write(head.as_bytes()).expect("the head is sent");
    too_large(client.receive());
    server.counts(&[(r#"ekiden_calls_total{runner="iris_clf",method="predict",outcome="too_large"}"#, 4.0)]);
    is_unharmed(&server);
}

#[test]
fn a_large_body_is_taken() {
    let server = Server::start(&iris());
    let rows = 100_000;
    let body = format!("[{}]", vec!["[5.1,3.5,1.4,0.2]"; rows].join(","));
    let answer = server.post(PREDICT, &body);
    // All of it waits for an empty queue, and is cut into batches of 100.
    assert_eq!((answer.status, answer.json().as_array().map(Vec::len)), (200, Some(rows)));
    is_unharmed(&server);
}

#[test]
fn what_is_not_http() {
    let server = Server::start(&iris());
    let say = |bytes: &[u8]| {
        let mut client = Client::connect(server.address);
        client.write(bytes).expect("it is sent");
        client.receive().status
    };
    assert_eq!(say(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), 400, "TLS");
    assert_eq!(say(b"POST /v1/runners/iris_clf/predict HTTP/1.1\r\ncontent-length: many\r\n\r\n"), 400);
    // A client that goes away in the middle of its body.
    let mut gone = server.client();
    gone.write(format!("POST {PREDICT} HTTP/1.1\r\nhost: ekiden\r\ncontent-length: 19\r\n\r\n[[5.1").as_bytes())
        .expect("it is sent");
    drop(gone);
    is_unharmed(&server);
}
