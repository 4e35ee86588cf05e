//! The Open Inference Protocol over HTTP: what its own clients do not send, and what they would not notice.

use std::io::{Read, Write};

use ekiden::prelude::*;
use ekiden::value::{DType, Element};
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::client::{Client, Response};
use crate::kit;
use crate::support::{Gate, Made, Server, block_on, eventually};
use crate::types::{Pair, Types};

const JSON_LENGTH: &str = "inference-header-content-length";

fn app() -> App {
    let types = Runner::<Types>::new(()).name("types").cpu(1.0).max_batch_size(8);
    let pair = Runner::<Pair>::new(()).name("pair").cpu(1.0);
    block_on(App::builder().runner(types).runner(pair).start()).expect("the app starts")
}

impl Response {
    /// Checks that it is a refusal of this status in the protocol's shape, whose message has these parts.
    #[track_caller]
    fn refused_by_protocol(&self, status: u16, parts: &[&str]) {
        let body = self.json();
        assert_eq!((self.status, self.header("content-type")), (status, Some("application/json")), "{body}");
        let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["error"], "{body}");
        let message = body["error"].as_str().expect("a message");
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
    }

    /// The JSON before binary data, and that data.
    fn binary(&self) -> (Value, &[u8]) {
        let length = self.header(JSON_LENGTH).expect("binary data").parse().expect("a number");
        let (json, data) = self.body.split_at(length);
        (serde_json::from_slice(json).expect("JSON"), data)
    }
}

fn infer(model: &str) -> String {
    format!("/v2/models/{model}/infer")
}

/// Posts JSON and binary data behind it.
fn post_binary(client: &mut Client, model: &str, json: &Value, data: &[u8]) -> Response {
    let json = json.to_string();
    let length = json.len().to_string();
    client.request("POST", &infer(model), &[(JSON_LENGTH, &length)], &[json.as_bytes(), data].concat())
}

fn text(how: &str) -> String {
    json!({"inputs": [{"name": "how", "datatype": "BYTES", "shape": [1], "data": [how]}]}).to_string()
}

#[test]
fn the_server_and_its_models_are_described() {
    let app = app();
    let server = Server::start(&app);
    let get = |path: &str| {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    let about = get("/v2");
    assert_eq!(about, get("/v2/"), "a slash at the end means the same");
    assert_eq!((about["name"].as_str(), about["version"].as_str()), (Some("ekiden"), Some(env!("CARGO_PKG_VERSION"))));
    let extensions =
        json!(["classification", "schedule_policy", "model_configuration", "statistics", "binary_tensor_data"]);
    assert_eq!(about["extensions"], extensions);
    assert_eq!(get("/v2/health/live"), json!({"live": true}));
    assert_eq!(get("/v2/health/ready"), json!({"ready": true}));
    let models = get("/v2/models");
    let names: Vec<&str> = models["models"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"types.bfloat16") && names.contains(&"types.slow") && names.contains(&"pair"), "{names:?}");
    assert_eq!(get("/v2/models/pair/ready"), json!({"name": "pair", "ready": true}));
    let numbers = json!({"name": "numbers", "datatype": "FP32", "shape": [-1, 3]});
    let texts = json!({"name": "texts", "datatype": "BYTES", "shape": [-1]});
    let expected =
        json!({"name": "pair", "platform": "ekiden", "inputs": [numbers, texts], "outputs": [texts, numbers]});
    assert_eq!(get("/v2/models/pair"), expected);
    let config = get("/v2/models/types.float16/config");
    assert_eq!((&config["name"], &config["max_batch_size"]), (&json!("types.float16"), &json!(8)), "{config}");
    assert_eq!(config["input"], json!([{"name": "x", "data_type": "TYPE_FP16", "dims": [-1]}]));
    assert_eq!(config["instance_group"], json!([{"name": "flex", "kind": "KIND_CPU", "count": 1}]));
    assert_eq!(config["dynamic_batching"]["priority_levels"], json!(3), "{config}");
    let alone = get("/v2/models/types.text/config");
    assert_eq!((&alone["max_batch_size"], &alone["dynamic_batching"]), (&json!(0), &Value::Null), "{alone}");
    assert_eq!(alone["output"], json!([{"name": "y", "data_type": "TYPE_STRING", "dims": [1]}]));
}

#[test]
fn what_is_not_there_is_refused_as_the_protocol_has_it() {
    let app = app();
    let server = Server::start(&app);
    let ask = |method: &str, path: &str| server.client().request(method, path, &[], b"{}");
    ask("GET", "/v2/models/pare").refused_by_protocol(404, &["there is no model \"pare\"; did you mean \"pair\"?"]);
    ask("POST", "/v2/models/types/infer").refused_by_protocol(404, &["several methods", "\"types.bool\""]);
    ask("POST", "/v2/models/pair.echo/infer").refused_by_protocol(404, &["there is no model \"pair.echo\""]);
    ask("GET", "/v2/models/pair/versions/1").refused_by_protocol(404, &["has no version \"1\"", "no model store"]);
    ask("GET", "/v2/nothing").refused_by_protocol(404, &["nothing at /v2/nothing", "/v2/models"]);
    ask("GET", "/v2/models/pair/trace/setting").refused_by_protocol(404, &["nothing at"]);
    ask("GET", "/v2/systemsharedmemory/status").refused_by_protocol(404, &["extensions that work"]);
    for order in ["load", "unload"] {
        let refused = ask("POST", &format!("/v2/repository/models/pair/{order}"));
        refused.refused_by_protocol(403, &["admin listener (admin_bind) alone"]);
    }
    for (method, path, allowed) in [
        ("POST", "/v2", "GET"),
        ("POST", "/v2/health/ready", "GET"),
        ("DELETE", "/v2/models/pair", "GET"),
        ("POST", "/v2/models/pair/config", "GET"),
        ("GET", "/v2/models/pair/infer", "POST"),
        ("GET", "/v2/repository/index", "POST"),
    ] {
        let answer = ask(method, path);
        answer.refused_by_protocol(405, &[&format!("use {allowed}")]);
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    assert_eq!(ask("GET", "/v20").json()["code"], json!("not_found"), "that is none of the protocol's");
}

/// What every number of a datatype is answered with, in JSON and in binary.
fn check_numbers<T: Element + Into<f64>>(client: &mut Client, numbers: &[T]) {
    let dtype = T::DTYPE;
    let (model, bytes) = (format!("types.{dtype}"), bytemuck::cast_slice::<T, u8>(numbers));
    check_bytes(client, &model, dtype, bytes);
    let numbers: Vec<f64> = numbers.iter().map(|&number| number.into()).collect();
    let numbers: Vec<Value> = match dtype.is_float() {
        true => numbers.into_iter().map(Value::from).collect(),
        false => numbers.into_iter().map(|number| json!(number as i64)).collect(),
    };
    check_json(client, &model, dtype, &numbers);
}

fn datatype(dtype: DType) -> String {
    match dtype {
        DType::BF16 => "BF16".to_owned(),
        other => other.name().replace("float", "FP").to_uppercase(),
    }
}

fn check_bytes(client: &mut Client, model: &str, dtype: DType, bytes: &[u8]) {
    let (datatype, shape) = (datatype(dtype), json!([1, bytes.len() / dtype.size()]));
    let size = json!({"binary_data_size": bytes.len()});
    let input = json!({"name": "x", "datatype": datatype, "shape": shape, "parameters": size});
    let asked = json!({"inputs": [input], "parameters": {"binary_data_output": true}});
    let answer = post_binary(client, model, &asked, bytes);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")), "{model}");
    let (json, data) = answer.binary();
    let output = json!({"name": "y", "datatype": datatype, "shape": shape, "parameters": size});
    assert_eq!((json, data), (json!({"model_name": model, "outputs": [output]}), bytes));
}

fn check_json(client: &mut Client, model: &str, dtype: DType, numbers: &[Value]) {
    let (datatype, shape) = (datatype(dtype), json!([1, numbers.len()]));
    let input = json!({"name": "x", "datatype": datatype, "shape": shape, "data": [numbers]});
    let answer = client.post(&infer(model), &json!({"id": "me", "inputs": [input]}).to_string());
    let output = json!({"name": "y", "datatype": datatype, "shape": shape, "data": numbers});
    assert_eq!(answer.json(), json!({"id": "me", "model_name": model, "outputs": [output]}));
}

#[test]
fn every_datatype_comes_and_goes_in_json_and_in_binary() {
    let app = app();
    let server = Server::start(&app);
    let client = &mut server.client();
    check_numbers::<u8>(client, &[0, 255]);
    check_numbers::<u16>(client, &[0, 65_535]);
    check_numbers::<u32>(client, &[7, u32::MAX]);
    check_numbers::<i8>(client, &[-128, 127]);
    check_numbers::<i16>(client, &[-32_768, 1]);
    check_numbers::<i32>(client, &[i32::MIN, 3]);
    check_numbers::<f32>(client, &[0.5, -1.25]);
    check_numbers::<f64>(client, &[1e300, -0.5]);
    check_numbers::<half::f16>(client, &[0.5, -2.0].map(half::f16::from_f32));
    check_numbers::<half::bf16>(client, &[0.5, -2.0].map(half::bf16::from_f32));
    check_bytes(client, "types.uint64", DType::U64, &[u64::MAX, 1].map(u64::to_le_bytes).concat());
    check_json(client, "types.uint64", DType::U64, &[json!(u64::MAX), json!(1)]);
    check_bytes(client, "types.int64", DType::I64, &[i64::MIN, 1].map(i64::to_le_bytes).concat());
    check_json(client, "types.int64", DType::I64, &[json!(i64::MIN), json!(1)]);
    check_bytes(client, "types.bool", DType::Bool, &[1, 0]);
    check_json(client, "types.bool", DType::Bool, &[json!(true), json!(false)]);
}

#[test]
fn bytes_are_texts_values_and_bytes() {
    let app = app();
    let server = Server::start(&app);
    let echo = |model: &str, data: Value| {
        let shape = json!([data.as_array().expect("elements").len()]);
        let input = json!({"name": "x", "datatype": "BYTES", "shape": shape, "data": data});
        let answer = server.post(&infer(model), &json!({"inputs": [input]}).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["outputs"], json!([{"name": "y", "datatype": "BYTES", "shape": shape, "data": data}]));
    };
    // A text may look like JSON.
    echo("types.texts", json!(["a", "1.5", "{}", "", "ä\n"]));
    echo("types.values", json!(["a", "1.5", "{\"b\":[true]}"]));
    echo("types.text", json!(["[1]"]));
    echo("types.json", json!(["{\"b\":[true]}"]));
    let client = &mut server.client();
    let input = json!({"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}});
    let asked = json!({"inputs": [input], "outputs": [{"name": "y", "parameters": {"binary_data": true}}]});
    let answer = post_binary(client, "types.bytes", &asked, b"\x02\0\0\0\xff\0");
    assert_eq!(answer.binary().1, b"\x02\0\0\0\xff\0");
    // JSON cannot carry them.
    let in_json = post_binary(client, "types.bytes", &json!({"inputs": [input]}), b"\x02\0\0\0\xff\0");
    in_json.refused_by_protocol(406, &["output \"y\": element 0 is not UTF-8", "binary_data"]);
    // The whole body is the input.
    let raw = client.request("POST", &infer("types.bytes"), &[(JSON_LENGTH, "0")], b"all of it");
    assert_eq!(raw.json()["outputs"][0]["data"], json!(["all of it"]));
    let raw = client.request("POST", &infer("types.slow"), &[(JSON_LENGTH, "0")], &1_i32.to_le_bytes());
    assert_eq!(raw.json()["outputs"][0]["data"], json!([1]));
}

#[test]
fn outputs_are_chosen_and_classified() {
    let app = app();
    let server = Server::start(&app);
    let numbers = json!({"name": "numbers", "datatype": "FP32", "shape": [2, 3], "data": [0.5, 0.125, 0.75, 3, 2, 1]});
    let texts = json!({"name": "texts", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]});
    let ask = |outputs: Value| {
        // The inputs come in another order than the method has them.
        let asked = json!({"inputs": [texts, numbers], "outputs": outputs});
        server.post(&infer("pair"), &asked.to_string())
    };
    assert_eq!(
        ask(json!([])).json()["outputs"],
        json!([texts, {
            "name": "numbers", "datatype": "FP32", "shape": [2, 3], "data": [0.5, 0.125, 0.75, 3.0, 2.0, 1.0]
        }])
    );
    assert_eq!(ask(json!([{"name": "texts"}])).json()["outputs"], json!([texts]));
    let best = ask(json!([{"name": "numbers", "parameters": {"classification": 2}}])).json();
    let classes = json!(["0.750000:2", "0.500000:0", "3.000000:0", "2.000000:1"]);
    assert_eq!(best["outputs"], json!([{"name": "numbers", "datatype": "BYTES", "shape": [2, 2], "data": classes}]));
    ask(json!([{"name": "text"}])).refused_by_protocol(400, &["no output \"text\"; did you mean \"texts\"?"]);
    let refused = ask(json!([{"name": "texts", "parameters": {"classification": 1}}]));
    refused.refused_by_protocol(400, &["output \"texts\": classification takes numbers"]);
}

#[test]
fn refusals_of_calls_have_the_status_of_their_kind() {
    let app = app();
    let server = Server::with_body_limit(&app, 2000);
    let mut client = server.client();
    let path = infer("types.fail");
    client.post(&path, "{").refused_by_protocol(400, &["expected the name of a member", "byte 1"]);
    client.post(&path, r#"{"inputs": []}"#).refused_by_protocol(400, &["input \"how\" is missing"]);
    client.post(&path, &text("invalid")).refused_by_protocol(400, &["nobody can answer that"]);
    client.post(&path, &text("failed")).refused_by_protocol(500, &["it went wrong"]);
    client.post(&path, &text(&"x".repeat(2000))).refused_by_protocol(413, &["max_body_bytes = 2000"]);
    let mut client = server.client();
    let shape = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}).to_string();
    client.post(&infer("types.float32"), &shape).refused_by_protocol(400, &["rank 2, found rank 1"]);
    for wrong in ["x", "-1", "", "99999999999999999999999"] {
        let refused = client.request("POST", &path, &[(JSON_LENGTH, wrong)], b"{}");
        refused.refused_by_protocol(400, &["header Inference-Header-Content-Length: expected a number of bytes"]);
    }
    let br = client.request("POST", &path, &[("content-encoding", "br")], b"{}");
    br.refused_by_protocol(415, &["br", "gzip, deflate"]);
    let sequence = json!({"parameters": {"sequence_id": 1}, "inputs": []}).to_string();
    client.post(&path, &sequence).refused_by_protocol(400, &["sequences are not supported"]);
    // Each of them was counted, and the last one is answered.
    assert_eq!(client.post(&path, &text("well")).json()["outputs"][0]["data"], json!(["well"]));
    let ended = |outcome: &str| format!("ekiden_calls_total{{runner=\"types\",method=\"fail\",outcome=\"{outcome}\"}}");
    let (invalid, large) = (ended("invalid_input"), ended("too_large"));
    server.counts(&[(&invalid, 8.0), (&large, 1.0), (&ended("method_failed"), 1.0), (&ended("ok"), 1.0)]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes it")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes it")
}

#[test]
fn bodies_are_compressed_both_ways() {
    let app = app();
    let server = Server::with_body_limit(&app, 1 << 20);
    let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at.wrapping_mul(at) / 7) as u8).collect();
    let input = json!({"name": "x", "datatype": "UINT8", "shape": [1, bytes.len()], "parameters": {"binary_data_size": bytes.len()}});
    let json = json!({"inputs": [input], "parameters": {"binary_data_output": true}}).to_string();
    let length = json.len().to_string();
    let body = [json.as_bytes(), &bytes].concat();
    let client = &mut server.client();
    for (encoding, compressed) in [("gzip", gzip(&body)), ("deflate", zlib(&body))] {
        let headers = [("content-encoding", encoding), ("accept-encoding", encoding), (JSON_LENGTH, length.as_str())];
        let mut answer = client.request("POST", &infer("types.uint8"), &headers, &compressed);
        assert_eq!((answer.status, answer.header("content-encoding")), (200, Some(encoding)));
        let mut inflated = Vec::new();
        match encoding {
            "gzip" => GzDecoder::new(answer.body.as_slice()).read_to_end(&mut inflated),
            _ => ZlibDecoder::new(answer.body.as_slice()).read_to_end(&mut inflated),
        }
        .expect("is inflated");
        answer.body = inflated;
        assert_eq!(answer.binary().1, bytes);
        let cut_off = client.request("POST", &infer("types.uint8"), &headers, &compressed[..compressed.len() - 3]);
        cut_off.refused_by_protocol(400, &[&format!("the body is not {encoding}")]);
    }
    // A bomb: it is small, and would not be.
    for (encoding, bomb) in [("gzip", gzip(&vec![b' '; 64 << 20])), ("deflate", zlib(&vec![b' '; 64 << 20]))] {
        let refused = client.request("POST", &infer("types.uint8"), &[("content-encoding", encoding)], &bomb);
        refused.refused_by_protocol(413, &["inflated", "max_body_bytes = 1048576"]);
    }
    let plain = client.request("POST", &infer("types.text"), &[("accept-encoding", "gzip"), (JSON_LENGTH, "0")], b"hi");
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "it is too small to be worth it");
}

#[test]
fn a_closed_connection_drops_the_call_before_it_runs() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.set("max_queue_size", 1));
    let server = Server::start(&app);
    let body = json!({"inputs": [{"name": "input", "datatype": "BYTES", "shape": [1], "data": ["gone"]}]}).to_string();
    kit::check_leaving(&app, &gate, || {
        let mut gone = server.client();
        gone.send("POST", &infer("kit.text"), &[], body.as_bytes());
        kit::waits(&app, "text", 1);
    });
    server.counts(&[(r#"ekiden_calls_total{runner="kit",method="text",outcome="cancelled"}"#, 1.0)]);
}

#[test]
fn priority_and_timeout_reach_the_queue() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.max_batch_size(3));
    let server = Server::start(&app);
    let text = app.runner("kit").expect("the runner").method::<String, String>("text").expect("the method");
    let plug = Made::held(text.async_run("first".to_owned()));
    gate.wait_for_someone();
    let send = |rows: usize, parameters: Value| {
        let x = json!({"name": "input", "datatype": "FP32", "shape": [rows], "data": vec![1; rows]});
        let mut client = server.client();
        let asked = json!({"parameters": parameters, "inputs": [x]}).to_string();
        client.send("POST", &infer("kit.rank1"), &[], asked.as_bytes());
        client
    };
    send(1, json!({"timeout": 1000})).receive().refused_by_protocol(504, &["1 ms"]);
    let mut clients = Vec::new();
    // No two of them fit one batch.
    for (rows, priority, waiting) in [(3, 3, 3), (2, 2, 5), (2, 1, 7)] {
        clients.push(send(rows, json!({"priority": priority})));
        kit::waits(&app, "rank1", waiting);
    }
    gate.open();
    let answers: Vec<u16> = clients.iter_mut().map(|client| client.receive().status).collect();
    assert_eq!((plug.answer().as_deref(), answers), (Ok("FIRST"), vec![200; 3]));
    assert_eq!(gate.batches("rank1"), [2, 2, 3], "the first to come goes last");
}

#[test]
fn what_has_run_is_counted() {
    let app = app();
    let server = Server::start(&app);
    let statistics = || server.get("/v2/models/pair/stats").json()["model_stats"][0].clone();
    let none = statistics();
    assert_eq!(
        (&none["inference_count"], &none["last_inference"], &none["batch_stats"]),
        (&json!(0), &json!(0), &json!([]))
    );
    let numbers = json!({"name": "numbers", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]});
    let texts = json!({"name": "texts", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]});
    let asked = json!({"inputs": [texts, numbers]}).to_string();
    for _ in 0..3 {
        assert_eq!(server.post(&infer("pair"), &asked).status, 200);
    }
    assert_eq!(server.post(&infer("pair"), "{}").status, 400);
    // A batch is counted when its calls have been answered.
    eventually("all is counted", || statistics()["execution_count"] == json!(3));
    let counted = statistics();
    assert_eq!((&counted["name"], &counted["inference_count"]), (&json!("pair"), &json!(6)), "{counted}");
    let calls = &counted["inference_stats"];
    assert_eq!((&calls["success"]["count"], &calls["fail"]["count"]), (&json!(3), &json!(1)), "{counted}");
    assert_eq!((&calls["queue"]["count"], &calls["compute_infer"]["count"]), (&json!(3), &json!(3)), "{counted}");
    assert!(calls["success"]["ns"].as_u64() > calls["compute_infer"]["ns"].as_u64(), "{counted}");
    assert_eq!(counted["batch_stats"][0]["batch_size"], json!(2), "{counted}");
    assert_eq!(counted["batch_stats"][0]["compute_infer"]["count"], json!(3), "{counted}");
    assert!(counted["last_inference"].as_u64() > Some(1_600_000_000_000), "{counted}");
    let all = server.get("/v2/models/stats").json();
    assert!(all["model_stats"].as_array().is_some_and(|models| models.contains(&counted)), "{all}");
}

#[test]
fn models_are_loaded_and_unloaded_on_the_admin_listener() {
    let app = app();
    let (server, admin) = (Server::start(&app), Admin::start(&app));
    let index = |body: &[u8]| {
        let answer = Client::connect(admin.address).request("POST", "/v2/repository/index", &[], body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let state = |model: &str| {
        let index = index(b"");
        let entry = index.as_array().expect("models").iter().find(|entry| entry["name"] == model).cloned();
        entry.expect("it is there")
    };
    let order = |path: &str| admin.post(&format!("/v2/repository/models/{path}"));
    assert_eq!(index(b""), server.client().request("POST", "/v2/repository/index", &[], b"").json());
    assert_eq!(state("pair"), json!({"name": "pair", "state": "READY"}));
    let about = Client::connect(admin.address).get("/v2").json();
    assert!(about["extensions"].as_array().is_some_and(|known| known.contains(&json!("model_repository"))), "{about}");

    assert_eq!((order("pair/load").status, order("pair/load").text().len()), (200, 0), "it is loaded already");
    assert_eq!(order("pair/unload").status, 200);
    let gone = json!({"name": "pair", "state": "UNAVAILABLE", "reason": "runner \"pair\" is stopped"});
    assert_eq!(state("pair"), gone);
    let ready = index(br#"{"ready": true}"#);
    assert!(ready.as_array().is_some_and(|models| models.iter().all(|model| model["name"] != "pair")), "{ready}");
    let not_ready = server.get("/v2/models/pair/ready");
    assert_eq!((not_ready.status, &not_ready.json()["ready"]), (503, &json!(false)));
    let not_ready = server.get("/v2/health/ready");
    assert_eq!((not_ready.status, &not_ready.json()["ready"]), (503, &json!(false)));
    let numbers = json!({"name": "numbers", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]});
    let asked = json!({"inputs": [numbers, {"name": "texts", "datatype": "BYTES", "shape": [1], "data": ["a"]}]});
    let refused = server.post(&infer("pair"), &asked.to_string());
    refused.refused_by_protocol(503, &["the runner has stopped"]);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(order("pair/load").status, 200);
    assert_eq!(state("pair")["state"], json!("READY"));
    assert_eq!(server.post(&infer("pair"), &asked.to_string()).status, 200);

    order("types.bool/unload").refused_by_protocol(400, &["with the other models of runner \"types\""]);
    assert_eq!(order("types/unload").status, 200);
    assert_eq!(state("types.bool")["state"], json!("UNAVAILABLE"));
    assert_eq!(order("types/load").status, 200);
    order("pare/load").refused_by_protocol(404, &["did you mean \"pair\"?"]);
    let config = br#"{"parameters": {"config": "{}"}}"#;
    let refused = Client::connect(admin.address).request("POST", "/v2/repository/models/pair/load", &[], config);
    refused.refused_by_protocol(400, &["parameter \"config\"", "/v1/reload"]);
    let page = [("origin", "http://evil.example")];
    let refused = Client::connect(admin.address).request("POST", "/v2/repository/models/pair/unload", &page, b"");
    assert_eq!(refused.status, 403);
}
