//! Services over HTTP: each descriptor in and out, what is refused, and a service's life.

mod forms;
mod life;
mod pictures;
mod streams;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

use actix_web::web;
use ekiden::App;
use ekiden::codec::npy;
use ekiden::dataframe::DataFrame;
use ekiden::http::ServeOptions;
use ekiden::service::{
    AnyShape, ApiError, Cast, Columns, Context, File, Json, Limits, NdArray, Rank, Service, ServiceBuilder,
    ServiceError, Sse, Text, method,
};
use ekiden::value::Array;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use crate::client::{Client, Response};
use crate::http::{NPY, iris, npy_body};
use crate::kit;
use crate::support::{Gate, PATIENCE};

method! {
    pub Predict = "iris_clf"."predict": NdArray<f32, Columns<4>> => NdArray<f32, Columns<3>>;
    pub Double = "kit"."rank1": NdArray<f32, Rank<1>> => NdArray<f32, Rank<1>>;
    pub Upper = "kit"."text": String => String;
}

/// A service in a thread of its own.
pub struct Running {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServiceError>>>,
}

impl Running {
    pub fn start(service: &Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let service = service.clone();
        let workers = NonZeroUsize::new(2).expect("not zero");
        let options = ServeOptions { workers, grace: PATIENCE, ..ServeOptions::default() };
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(service.serve(listener, options, async {
                let _ = stopped.await;
            }))
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.client().request("POST", path, headers, body)
    }

    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub fn wait(&mut self) -> Result<(), ServiceError> {
        self.thread.take().map_or(Ok(()), |thread| thread.join().expect("the service does not panic"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin_stop();
        if !std::thread::panicking() {
            self.wait().expect("the service stops well");
        }
    }
}

pub fn built(builder: ServiceBuilder) -> Service {
    builder.build().expect("all of it is there")
}

const JSON: (&str, &str) = ("content-type", "application/json");

async fn classify(flowers: NdArray<f32, Columns<4>>, predict: Predict) -> Result<NdArray<f32, Columns<3>>, ApiError> {
    Ok(predict.async_run(flowers).await?)
}

async fn cast(any: NdArray<i32, AnyShape, Cast>) -> NdArray<i32> {
    NdArray::from_array(any.into_array()).expect("any shape")
}

async fn cast_rows(rows: NdArray<f64, Columns<2>, Cast>) -> Text {
    Text(format!("{:?}", rows.dims()))
}

async fn upper(Text(text): Text, upper: Upper) -> Result<Text, ApiError> {
    Ok(Text(upper.async_run(text).await?))
}

async fn same_file(file: File) -> File {
    file
}

async fn same_table(table: DataFrame) -> DataFrame {
    table
}

async fn sum(table: DataFrame) -> Result<Json<f64>, ApiError> {
    Ok(Json(table.to_array::<f64, 2>(["a", "b"])?.elements().iter().sum()))
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    pet: Option<Pet>,
}

#[derive(Serialize, Deserialize, ToSchema)]
struct Pet {
    legs: u8,
}

async fn person(Json(mut person): Json<Person>) -> Json<Person> {
    person.name.push('!');
    Json(person)
}

#[derive(Deserialize, IntoParams)]
struct Asked {
    times: usize,
}

async fn repeat(asked: web::Query<Asked>, word: web::Path<String>) -> Text {
    Text(word.repeat(asked.times))
}

fn everything(app: &App) -> ServiceBuilder {
    Service::builder(app)
        .post("/cast", cast)
        .post("/file", same_file)
        .post("/table", same_table)
        .post("/sum", sum)
        .post("/person", person)
        .get("/repeat/{word}", repeat)
        .about("A word, several times.")
}

#[test]
fn arrays_go_in_and_come_out() {
    let app = iris();
    let running = Running::start(&built(everything(&app).post("/classify", classify)));
    let flower = b"[[5.1,3.5,1.4,0.2]]";
    let json = running.post("/classify", &[JSON], flower);
    assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")), "{}", json.text());
    assert_eq!(json.body, running.post("/v1/runners/iris_clf/predict", &[JSON], flower).body, "both are served");

    let array = Array::new(vec![5.1_f32, 3.5, 1.4, 0.2], [1, 4]).expect("an array");
    let as_npy = running.post("/classify", &[("content-type", NPY)], &npy_body(array.clone()));
    assert_eq!((as_npy.status, as_npy.header("content-type")), (200, Some(NPY)));
    let answer = npy::read(&as_npy.body.clone().into()).expect("an array");
    assert_eq!(answer.shape().dims(), [1, 3]);
    let wanted = running.post("/classify", &[JSON, ("accept", NPY)], flower);
    assert_eq!((wanted.header("content-type"), &wanted.body), (Some(NPY), &as_npy.body));
    let unwanted =
        running.post("/classify", &[("content-type", NPY), ("accept", "application/json")], &npy_body(array));
    assert_eq!(unwanted.body, json.body);

    let check = |headers: &[(&str, &str)], body: &[u8], status, code: &str, part: &str| {
        running.post("/classify", headers, body).refused(status, code, &["POST /classify: ", part]);
    };
    let short = "input \"body\": expected float32 [any, 4], found float32 [1, 3]";
    check(&[JSON], b"[[5.1,3.5,1.4]]", 400, "invalid_input", short);
    check(&[JSON], b"[5.1]", 400, "invalid_input", "input \"body\"");
    check(&[JSON], b"[[\"x\"]]", 400, "invalid_input", "input \"body\"");
    check(&[JSON], b"", 400, "invalid_input", "input \"body\"");
    let doubles = npy_body(Array::new(vec![1.0_f64; 4], [1, 4]).expect("an array"));
    check(&[("content-type", NPY)], &doubles, 400, "invalid_input", "expected dtype float32, found float64");
    let xml = ("content-type", "text/xml");
    check(
        &[xml],
        b"<a/>",
        415,
        "unsupported_media_type",
        "expected content-type application/json or application/x-npy",
    );
    check(&[JSON, ("ekiden-timeout-ms", "soon")], flower, 400, "invalid_input", "header ekiden-timeout-ms");
    assert_eq!(running.post("/classify", &[JSON], b"[]").text(), "[]");
}

#[test]
fn arrays_are_cast_where_nothing_is_lost() {
    let running = Running::start(&built(everything(&iris())));
    let cast = |headers: &[(&str, &str)], body: &[u8]| running.post("/cast", headers, body);
    assert_eq!(cast(&[JSON], b"[[1.0, -2]]").text(), "[[1,-2]]");
    let accept = ("accept", "application/json");
    let floats = npy_body(Array::new(vec![3.0_f32, 4.0], [2]).expect("an array"));
    assert_eq!(cast(&[("content-type", NPY), accept], &floats).text(), "[3,4]");
    let bools = npy_body(Array::from_bools(vec![true, false], [2]).expect("an array"));
    assert_eq!(cast(&[("content-type", NPY), accept], &bools).text(), "[1,0]");
    assert_eq!(cast(&[("content-type", "application/octet-stream"), accept], &floats).text(), "[3,4]", "by its bytes");
    cast(&[JSON], b"[1.5]").refused(400, "invalid_input", &["POST /cast: input \"body\": "]);
    let large = npy_body(Array::new(vec![1_i64 << 40], [1]).expect("an array"));
    let part = "element 0 is 1099511627776 of int64, which int32 cannot hold";
    cast(&[("content-type", NPY)], &large).refused(400, "invalid_input", &[part]);
}

#[test]
fn casts_are_bounded() {
    let app = iris();
    let limits = Limits { max_decoded_bytes: 64, ..Limits::default() };
    let running = Running::start(&built(Service::builder(&app).post("/rows", cast_rows).limits(limits)));
    let post = |elements: Vec<u8>, shape: [usize; 2]| {
        let body = npy_body(Array::new(elements, shape).expect("an array"));
        running.post("/rows", &[("content-type", NPY)], &body)
    };
    assert_eq!(post(vec![1; 8], [4, 2]).text(), "[4, 2]");
    let part = "float64 of shape [5, 2] takes more than max_decoded_bytes = 64";
    post(vec![1; 10], [5, 2]).refused(413, "too_large", &["POST /rows: input \"body\": ", part]);
    let part = "expected uint8 [any, 2], found uint8 [2, 10]";
    post(vec![1; 20], [2, 10]).refused(400, "invalid_input", &[part]);
}

#[test]
fn json_texts_and_files() {
    let gate = Gate::default();
    let app = kit::app(&gate, |runner| runner);
    let running = Running::start(&built(everything(&app).post("/upper", upper)));
    let person = |body: &[u8]| running.post("/person", &[JSON], body);
    assert_eq!(person(br#"{"name":"Ada","pet":{"legs":4}}"#).text(), r#"{"name":"Ada!","pet":{"legs":4}}"#);
    person(b"{}").refused(400, "invalid_input", &["POST /person: input \"body\": missing field `name`"]);
    person(br#"{"name":1}"#).refused(400, "invalid_input", &["invalid type: integer `1`, expected a string"]);
    running.post("/person", &[("content-type", NPY)], b"").refused(415, "unsupported_media_type", &["POST /person: "]);

    let text = running.post("/upper", &[("content-type", "text/plain")], "grün".as_bytes());
    assert_eq!((text.text(), text.header("content-type")), ("GRÜN", Some("text/plain; charset=utf-8")));
    running.post("/upper", &[JSON], b"x").refused(415, "unsupported_media_type", &["POST /upper: "]);
    running.post("/upper", &[], b"\xff").refused(400, "invalid_input", &["POST /upper: ", "not UTF-8 at byte 0"]);

    let file = running.post("/file", &[("content-type", "application/pdf")], b"%PDF");
    assert_eq!((file.body.as_slice(), file.header("content-type")), (b"%PDF".as_slice(), Some("application/pdf")));

    let packed = running.post("/file", &[("content-encoding", "gzip")], b"x");
    packed.refused(415, "unsupported_media_type", &["POST /file: ", "content-encoding is \"gzip\""]);
    assert_eq!(running.post("/file", &[("content-encoding", "identity")], b"x").text(), "x");

    let mut client = running.client();
    assert_eq!(client.get("/repeat/ha?times=3").text(), "hahaha");
    let identified = client.request("GET", "/repeat/ha?times=1", &[("x-request-id", "mine")], b"");
    assert_eq!(identified.header("x-request-id"), Some("mine"));
    client.get("/repeat/ha?times=x").refused(400, "invalid_input", &["GET /repeat/{word}: "]);
    let wrong = client.post("/repeat/ha", "1");
    wrong.refused(405, "method_not_allowed", &["POST /repeat/ha is not possible; use GET"]);
    assert_eq!(wrong.header("allow"), Some("GET"));
}

#[test]
fn tables_go_in_and_come_out() {
    let running = Running::start(&built(everything(&iris())));
    let csv = ("content-type", "text/csv");
    let table = running.post("/table", &[csv], b"a,b\n1,x\n2,\n");
    assert_eq!((table.text(), table.header("content-type")), ("a,b\n1,x\n2,\n", Some("text/csv")));
    let json = running.post("/table", &[csv, ("accept", "application/json")], b"a,b\n1,x\n2,\n");
    assert_eq!(json.text(), r#"[{"a":1,"b":"x"},{"a":2,"b":null}]"#);
    let parquet = "application/vnd.apache.parquet";
    let packed = running.post("/table", &[JSON, ("accept", parquet)], br#"{"a":[1,2],"b":[0.5,1]}"#);
    assert_eq!((packed.status, packed.header("content-type")), (200, Some(parquet)));
    let total = running.post("/sum", &[("content-type", parquet)], &packed.body);
    assert_eq!(total.text(), "4.5");
    let by_bytes = running.post("/sum", &[("content-type", "application/octet-stream")], &packed.body);
    assert_eq!(by_bytes.text(), "4.5");
    running.post("/sum", &[csv], b"a,c\n1,2\n").refused(400, "invalid_input", &["POST /sum: there is no column \"b\""]);
    let ragged = running.post("/table", &[csv], b"a,b\n1\n");
    ragged.refused(400, "invalid_input", &["POST /table: input \"body\": "]);
    let broken = running.post("/table", &[("content-type", parquet)], b"PAR1");
    broken.refused(400, "invalid_input", &["POST /table: input \"body\": "]);
    let unknown = running.post("/table", &[("content-type", "text/html")], b"<table>");
    unknown.refused(415, "unsupported_media_type", &["text/csv", parquet]);
}

#[test]
fn bodies_are_bounded() {
    let limits = Limits { max_body_bytes: 64, max_rows: 2, ..Limits::default() };
    let running = Running::start(&built(everything(&iris()).limits(limits)));
    let part = "the body is larger than max_body_bytes = 64";
    running.post("/file", &[], &[0; 65]).refused(413, "too_large", &["POST /file: ", part]);
    let chunked = running.client().chunked("/file", &[], &[&[0; 40], &[0; 40]]);
    chunked.refused(413, "too_large", &[part]);
    let rows = running.post("/table", &[("content-type", "text/csv")], b"a\n1\n2\n3\n");
    rows.refused(413, "too_large", &["3 rows are more than max_rows = 2"]);
}

#[test]
fn endpoints_describe_themselves() {
    let app = iris();
    let events = async || Sse::new(tokio_stream::empty::<Result<u8, ApiError>>());
    let service = built(everything(&app).post("/classify", classify).get("/events", events));
    let document: serde_json::Value =
        serde_json::from_str(&service.openapi().to_json().expect("a document")).expect("JSON");
    let classify = &document["paths"]["/classify"]["post"];
    let row = &classify["requestBody"]["content"]["application/json"]["schema"]["items"];
    assert_eq!((&row["minItems"], &row["maxItems"], &row["items"]["type"]), (&4.into(), &4.into(), &"number".into()));
    assert!(classify["requestBody"]["content"][NPY].is_object(), "{classify}");
    // NaN is null in an answer, and in no request.
    let cell = &classify["responses"]["200"]["content"]["application/json"]["schema"]["items"]["items"];
    assert_eq!(cell["type"], serde_json::json!(["number", "null"]));
    let events = &document["paths"]["/events"]["get"]["responses"]["200"]["content"]["text/event-stream"];
    assert!(events.is_object() && events["schema"].is_null(), "{events}");
    let example = &classify["requestBody"]["content"]["application/json"]["example"];
    let running = Running::start(&service);
    assert_eq!(running.post("/classify", &[JSON], example.to_string().as_bytes()).status, 200, "examples work");
    for status in ["200", "400", "404", "413", "415", "429", "500", "503", "504"] {
        assert!(classify["responses"][status].is_object(), "{status} is not in {classify}");
    }
    let repeat = &document["paths"]["/repeat/{word}"]["get"];
    assert_eq!(repeat["summary"], "A word, several times.");
    assert!(repeat["responses"]["404"].is_object(), "{repeat}");
    let parameters = repeat["parameters"].as_array().expect("parameters");
    let of = |place: &str| parameters.iter().find(|one| one["in"] == place).map(|one| one["name"].clone());
    assert_eq!((of("path"), of("query")), (Some("word".into()), Some("times".into())), "{repeat}");
    let person = &document["paths"]["/person"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(person["properties"]["name"]["type"], "string", "{person}");
    assert!(document["components"]["schemas"]["Pet"].is_object(), "what is referred to is there: {document}");
    assert!(document["paths"]["/table"]["post"]["requestBody"]["content"]["text/csv"].is_object());
}

#[test]
fn the_page_is_in_front() {
    let app = iris();
    let running = Running::start(&built(everything(&app)));
    let page = running.client().get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(running.client().get("/docs.json").json()["paths"]["/repeat/{word}"].is_object());
    let own = built(everything(&app).get("/", async || Text("mine".to_owned())));
    assert_eq!(Running::start(&own).client().get("/").text(), "mine");
}

#[test]
fn actix_routes_the_same_handlers() {
    let app = iris();
    let context = Context::new(&app).limits(Limits { max_body_bytes: 64, ..Limits::default() });
    context.check::<Predict>().expect("it is there");
    let wrong = context.check::<Upper>().expect_err("it is another's").to_string();
    assert!(wrong.contains("there is no runner \"kit\""), "{wrong}");
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let context = web::Data::new(context);
            let server = actix_web::HttpServer::new(move || {
                actix_web::App::new()
                    .app_data(context.clone())
                    .route("/classify", web::post().to(classify))
                    .route("/no_context", web::post().to(|text: Text| async move { text }))
            });
            let server = server.workers(1).listen(listener).expect("it listens").disable_signals().run();
            let handle = server.handle();
            let running = actix_web::rt::spawn(server);
            let _ = stopped.await;
            handle.stop(true).await;
            running.await.expect("it ends").expect("it ends well");
        });
    });
    let mut client = Client::connect(address);
    let answer = client.post("/classify", "[[5.1,3.5,1.4,0.2]]");
    assert_eq!(answer.status, 200, "{}", answer.text());
    client.post("/classify", "[[1]]").refused(
        400,
        "invalid_input",
        &["POST /classify: input \"body\": expected float32"],
    );
    let large = client.post("/classify", &format!("[[{}]]", "1,".repeat(40)));
    large.refused(413, "too_large", &["max_body_bytes = 64"]);
    drop(client);
    stop.send(()).expect("it waits");
    thread.join().expect("it does not panic");
}
