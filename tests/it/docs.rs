//! `/docs.json` and the page in front of it.

use actix_web::{HttpServer, web};
use ekiden::http::docs::Endpoints;
use ekiden::prelude::*;
use serde_json::{Value, json};
use utoipa::openapi::path::{OperationBuilder, PathItem};
use utoipa::openapi::{HttpMethod, Info, OpenApi, Paths, ResponseBuilder};

use crate::client::Client;
use crate::http::{PREDICT, iris};
use crate::kit;
use crate::support::{Gate, Server, block_on};

/// What a reference of the document leads to.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => document.pointer(place.strip_prefix('#').expect("is of this document")).expect(place),
        None => value,
    }
}

/// Every reference in the document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_says_what_is_served() {
    let server = Server::start(&iris());
    let answer = server.get("/docs.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for place in found {
        assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place} leads nowhere");
    }
    let paths = document["paths"].as_object().expect("paths");
    let paths: Vec<&str> = paths.keys().map(String::as_str).collect();
    let (protocol, own): (Vec<&str>, Vec<&str>) = paths.iter().partition(|path| path.starts_with("/v2"));
    assert_eq!(own, ["/docs.json", "/livez", "/metrics", "/readyz", "/v1/runners", PREDICT, "/v1/runners/{runner}"]);
    assert_eq!(protocol.len(), 16, "{protocol:?}");

    let predict = &document["paths"][PREDICT]["post"];
    assert_eq!((&predict["operationId"], &predict["tags"]), (&json!("iris_clf.predict"), &json!(["iris_clf"])));
    let body = &predict["requestBody"]["content"];
    let row = &body["application/json"]["schema"]["oneOf"][0]["items"];
    assert_eq!((&row["minItems"], &row["maxItems"]), (&json!(4), &json!(4)));
    assert!(body["application/x-npy"].is_object() && body["text/plain"].is_null());
    let statuses: Vec<&str> = predict["responses"].as_object().expect("answers").keys().map(String::as_str).collect();
    assert_eq!(statuses, ["200", "400", "404", "405", "406", "408", "413", "415", "429", "500", "503", "504"]);
    let headers = predict["parameters"].as_array().expect("headers").iter();
    let headers: Vec<&Value> = headers.map(|header| &resolve(&document, header)["name"]).collect();
    assert_eq!(headers, ["ekiden-timeout-ms", "ekiden-priority", "x-request-id"]);
    let full = resolve(&document, &predict["responses"]["429"]);
    assert_eq!(full["headers"]["Retry-After"]["schema"]["type"], "integer");
    assert_eq!(full["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/ekiden.Error");
}

#[test]
fn every_example_can_be_sent() {
    let server = Server::start(&kit::app(&Gate::default(), |runner| runner));
    let document = server.get("/docs.json").json();
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let Some((_, method)) = path.strip_prefix("/v1/runners/").and_then(|path| path.split_once('/')) else {
            continue;
        };
        // These are wrong on purpose.
        if ["lost_row", "wrong_shape", "wrong_dtype", "any_rank"].contains(&method) {
            continue;
        }
        for (media_type, content) in item["post"]["requestBody"]["content"].as_object().expect("bodies") {
            let example = match (media_type.as_str(), &content["example"]) {
                ("application/json", Value::Null) => panic!("{path} has no example"),
                ("application/json", example) => example.to_string(),
                ("text/plain", example) => example.as_str().expect("text").to_owned(),
                _ => continue,
            };
            let answer = server.client().request("POST", path, &[("content-type", media_type)], example.as_bytes());
            assert_eq!(answer.status, 200, "{path} {media_type} {example}: {}", answer.text());
            let came = answer.header("content-type").and_then(|came| came.split(';').next()).expect("a type");
            assert!(item["post"]["responses"]["200"]["content"][came].is_object(), "{path} answers {came}");
            sent += 1;
        }
    }
    assert!(sent > 20, "{sent}");
}

#[test]
fn the_protocol_has_an_example_that_can_be_sent() {
    for app in [iris(), kit::app(&Gate::default(), |runner| runner)] {
        let server = Server::start(&app);
        let document = server.get("/docs.json").json();
        let infer = &document["paths"]["/v2/models/{model}/infer"]["post"];
        let parameters = infer["parameters"].as_array().expect("parameters").iter();
        let model =
            parameters.filter(|parameter| parameter["name"] == "model").find_map(|model| model["example"].as_str());
        let path = format!("/v2/models/{}/infer", model.expect("an example"));
        let example = &infer["requestBody"]["content"]["application/json"]["example"];
        let answer = server.post(&path, &example.to_string());
        assert_eq!(answer.status, 200, "{path} {example}: {}", answer.text());
    }
}

#[test]
fn the_admin_listener_says_what_orders_it_takes() {
    let app = iris();
    let admin = crate::admin::Admin::start(&app);
    let document = Client::connect(admin.address).get("/docs.json").json();
    let mut found = Vec::new();
    references(&document, &mut found);
    for place in found {
        assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place} leads nowhere");
    }
    let paths = document["paths"].as_object().expect("paths");
    for path in ["/v1/reload", "/v1/runners/{runner}/restart", "/v2/repository/models/{model}/load"] {
        assert!(paths[path]["post"]["responses"]["200"].is_object(), "{path}");
    }
}

#[test]
fn what_the_schemas_do_not_allow_is_refused() {
    let app = iris();
    let (server, admin) = (Server::start(&app), crate::admin::Admin::start(&app));
    for address in [server.address, admin.address] {
        let list = Client::connect(address).post("/v2/repository/index", "[]");
        assert_eq!(list.status, 400, "{}", list.text());
        assert!(list.json()["error"].as_str().is_some_and(|error| error.contains("the body")), "{}", list.text());
        let put = Client::connect(address).request("PUT", "/v2", &[], b"");
        assert_eq!((put.status, put.header("allow")), (405, Some("GET")));
        let delete = Client::connect(address).request("DELETE", "/docs.json", &[], b"");
        assert_eq!((delete.status, delete.header("allow")), (405, Some("GET")));
    }
}

#[test]
fn endpoints_beside_are_told_of() {
    let app = iris();
    let operation = OperationBuilder::new().response("200", ResponseBuilder::new().description("A name."));
    let mut paths = Paths::new();
    paths.paths.insert("/classify".to_owned(), PathItem::new(HttpMethod::Post, operation));
    let endpoints = Endpoints(OpenApi::new(Info::new("Flowers", "7"), paths));
    let (routes, page) = (ekiden::http::routes(&app), ekiden::page::routes_at("/help"));
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let service = move || {
                let endpoints = web::Data::new(endpoints.clone());
                actix_web::App::new().app_data(endpoints).configure(routes.clone()).configure(page.clone())
            };
            let server = HttpServer::new(service).workers(1).bind("127.0.0.1:0").expect("a port");
            let address = server.addrs()[0];
            let server = server.disable_signals().run();
            tell.send((address, server.handle())).expect("is waited for");
            server.await.expect("the server stops well");
        });
    });
    let (address, server) = told.recv().expect("it listens");
    let mut client = Client::connect(address);
    let document = client.get("/docs.json").json();
    assert_eq!((&document["info"]["title"], &document["info"]["version"]), (&json!("Flowers"), &json!("7")));
    assert!(document["paths"]["/classify"]["post"].is_object() && document["paths"][PREDICT]["post"].is_object());
    assert!(client.get("/help").text().contains("data-docs=\"docs.json\""));
    assert_eq!((client.get("/help/page.js").status, client.get("/").status), (200, 404));
    let put = client.request("PUT", "/help", &[], b"");
    put.refused(405, "method_not_allowed", &["PUT /help", "use GET"]);
    client.get("/help/nothing.js").refused(404, "not_found", &["nothing at /help/nothing.js"]);
    // Whoever takes gzip gets the program's own bytes.
    let script = "/help/swagger-ui-bundle.js";
    let packed = client.request("GET", script, &[("accept-encoding", "gzip")], b"");
    let plain = client.get(script);
    assert_eq!((packed.header("content-encoding"), plain.header("content-encoding")), (Some("gzip"), None));
    assert!(packed.body.len() * 2 < plain.body.len() && plain.text().contains("SwaggerUIBundle"));
    assert!(plain.header("content-security-policy").is_some_and(|policy| policy.contains("connect-src 'self'")));
    drop(client);
    block_on(server.stop(true));
    thread.join().expect("the server ends");
}

#[test]
fn a_reload_changes_the_document() {
    let folder = std::env::temp_dir().join(format!("ekiden-it-docs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let config = folder.join("runners.toml");
    let write = |names: &[&str]| {
        let runners =
            names.iter().map(|name| format!("[[runners]]\nname = \"{name}\"\nrunnable = \"iris\"\ncpu = 1\n"));
        std::fs::write(&config, runners.collect::<String>()).expect("is written");
    };
    write(&["one"]);
    let builder = App::builder().config_file(&config).runnable::<crate::iris::IrisClf>("iris");
    let app = block_on(builder.start()).expect("the app starts");
    let server = Server::start(&app);
    let served = || {
        let document = server.get("/docs.json").json();
        let paths = document["paths"].as_object().expect("paths").keys();
        paths.filter(|path| path.ends_with("/predict")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(served(), ["/v1/runners/one/predict"]);
    assert_eq!(served(), ["/v1/runners/one/predict"]);
    write(&["one", "two"]);
    block_on(app.reload()).expect("is taken over");
    for _ in 0..4 {
        assert_eq!(served(), ["/v1/runners/one/predict", "/v1/runners/two/predict"]);
    }
    std::fs::remove_dir_all(&folder).expect("is removed");
}
