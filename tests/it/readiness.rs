//! `/readyz`, as load balancers ask it: while runners start, after one has failed, and while the server goes away.

use ekiden::App;
use ekiden::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Gate, Server, block_on, eventually};

/// Opens when its gate does, if at all.
struct Door;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct DoorParams {
    #[serde(skip)]
    gate: Gate,
    is_locked: bool,
}

impl Runnable for Door {
    type Params = DoorParams;

    fn open(ctx: &OpenContext<DoorParams>) -> Result<Self, OpenError> {
        ctx.params().gate.pass("open", 0);
        if ctx.params().is_locked { Err(OpenError::new("the key is missing")) } else { Ok(Self) }
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("same", |_: &Self, text: String| Ok(text));
    }
}

fn door(name: &str, gate: &Gate, is_locked: bool) -> Runner<Door> {
    Runner::<Door>::new(DoorParams { gate: gate.clone(), is_locked }).name(name).cpu(1.0)
}

/// What `/readyz` answers.
#[track_caller]
fn check(server: &Server, query: &str, status: u16, expected: &Value) {
    let answer = server.get(&format!("/readyz{query}"));
    assert_eq!((answer.status, &answer.json()), (status, expected), "/readyz{query}");
}

const LOCKED: &str = "executor 0 could not be opened: the key is missing";

#[test]
fn a_server_is_ready_when_the_runners_are_that_it_requires() {
    let (slow, slower) = (Gate::closed(), Gate::closed());
    let optional = door("optional", &slower, false).required(false);
    let app = App::builder().runner(door("needed", &slow, false)).runner(optional).launch().expect("it is configured");
    let server = Server::start(&app);
    let (needed, optional) = ("runner \"needed\" is starting", "runner \"optional\" is starting");
    check(&server, "", 503, &json!({"status": "not ready", "reasons": [needed], "optional": [optional]}));
    slow.open();
    // It does not wait for what it does not require.
    block_on(app.ready()).expect("it gets ready");
    check(&server, "", 200, &json!({"status": "ready", "optional": [optional]}));
    check(&server, "?runner=needed", 200, &json!({"status": "ready"}));
    check(&server, "?runner=optional", 503, &json!({"status": "not ready", "reasons": [optional]}));
    slower.open();
    eventually("the other one gets ready", || server.get("/readyz?runner=optional").status == 200);
    check(&server, "", 200, &json!({"status": "ready"}));
}

#[test]
fn a_runner_that_has_failed_takes_the_server_with_it_unless_it_may_be_down() {
    let open = Gate::default();
    let build = |required| {
        let builder = App::builder().runner(door("sound", &open, false));
        builder.runner(door("broken", &open, true).required(required))
    };
    let app = block_on(build(false).start()).expect("it starts without what may be down");
    let server = Server::start(&app);
    eventually("it has failed", || server.get("/readyz").text().contains("is failed"));
    let broken = format!("runner \"broken\" is failed: {LOCKED}");
    check(&server, "", 200, &json!({"status": "ready", "optional": [broken]}));
    check(&server, "?runner=broken", 503, &json!({"status": "not ready", "reasons": [broken]}));

    let app = build(true).launch().expect("it is configured");
    block_on(app.ready()).expect_err("one has failed");
    let server = Server::start(&app);
    eventually("the other one is ready", || server.get("/readyz?runner=sound").status == 200);
    check(&server, "", 503, &json!({"status": "not ready", "reasons": [broken]}));
}

#[test]
fn runners_that_have_stopped_are_not_ready() {
    let app = block_on(App::builder().runner(door("door", &Gate::default(), false)).start()).expect("it starts");
    let server = Server::start(&app);
    check(&server, "?runner=door", 200, &json!({"status": "ready"}));
    block_on(app.shutdown(std::time::Duration::ZERO));
    let stopped = json!({"status": "not ready", "reasons": ["runner \"door\" is stopped"]});
    check(&server, "?runner=door", 503, &stopped);
    check(&server, "", 503, &stopped);
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let app = block_on(App::builder().runner(door("door", &Gate::default(), false)).start()).expect("it starts");
    let server = Server::start(&app);
    server.get("/readyz?runner=dor").refused(404, "not_found", &["there is no runner \"dor\"; did you mean \"door\"?"]);
    server.get("/readyz?runer=door").refused(400, "invalid_query", &["runer", "/readyz takes ?runner=NAME"]);
    assert_eq!(server.get("/readyz?").status, 200);
}
