//! Orders of operators over HTTP, on a listener of their own.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::admin::Admin;
use crate::client::Client;
use crate::kit;
use crate::support::{Gate, PATIENCE, Server, block_on, eventually};

impl Admin {
    /// Gives `kit` an order, which is carried out.
    #[track_caller]
    fn order(&self, order: &str, state: &str) {
        let answer = self.post(&format!("/v1/runners/kit/{order}"));
        assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some(state)), "{}", answer.text());
    }
}

#[test]
fn orders_are_carried_out_on_the_admin_listener_alone() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let (server, admin) = (Server::start(&app), Admin::start(&app));
    let text = |word: &str| server.post("/v1/runners/kit/text", &format!("\"{word}\""));

    // The public port does not know them.
    for order in ["restart", "pause", "resume", "drain"] {
        let refused = server.post(&format!("/v1/runners/kit/{order}"), "");
        refused.refused(404, "not_found", &["has no method", "admin listener (admin_bind)"]);
    }
    assert_eq!(text("a").text(), "\"A\"", "nothing has happened");

    admin.order("pause", "paused");
    let reasons = server.get("/readyz").json();
    assert_eq!(reasons["reasons"], serde_json::json!(["runner \"kit\" is paused"]));
    let mut waiting = server.client();
    waiting.send("POST", "/v1/runners/kit/text", &[], b"\"b\"");
    eventually("the call waits", || server.get("/v1/runners/kit").text().contains("\"queued_rows\":1"));
    admin.order("resume", "ready");
    assert_eq!(waiting.receive().text(), "\"B\"");

    admin.order("restart", "ready");
    let about = server.get("/v1/runners/kit").json();
    assert_eq!((&about["restarts"], &about["restarts_in_window"]), (&1.into(), &0.into()), "{about}");
    assert!(about["uptime_s"].as_f64().is_some_and(|up| up > 0.0), "{about}");

    admin.order("drain", "stopped");
    text("c").refused(503, "unavailable", &["the runner has stopped"]);
    admin.post("/v1/runners/kit/pause").refused(409, "impossible", &["the runner is stopped; restart it first"]);
    assert!(server.get("/v1/runners/kit").json()["uptime_s"].is_null());
    admin.order("restart", "ready");
    assert_eq!(text("d").text(), "\"D\"");
    server.counts(&[(r#"ekiden_runner_state{runner="kit",state="ready"}"#, 1.0)]);
}

#[test]
fn orders_that_are_none_are_refused() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let admin = Admin::start(&app);
    admin.post("/v1/runners/kitt/pause").refused(404, "not_found", &["did you mean \"kit\"?"]);
    admin.post("/v1/runners/kit/text").refused(404, "not_found", &["restart|pause|resume|drain"]);
    let mut client = Client::connect(admin.address);
    client.get("/v1/runners/kit/pause").refused(405, "method_not_allowed", &["use POST"]);
    let page = [("origin", "http://evil.example")];
    client.request("POST", "/v1/runners/kit/pause", &page, b"").refused(403, "forbidden", &["web pages"]);
    assert_eq!(app.runners()[0].status().state.name(), "ready");
}

#[test]
fn nobody_notices_a_rolling_restart() {
    let app = kit::app(&Gate::default(), |runner| runner.workers_per_resource(3.0));
    let (server, admin) = (Server::start(&app), Admin::start(&app));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                let mut connection = server.client();
                let mut call = 0_u32;
                while !over.load(Ordering::Relaxed) || call < 20 {
                    let answer = connection.post("/v1/runners/kit/int", &format!("[{call}]"));
                    assert_eq!((answer.status, answer.text()), (200, format!("[{}]", call + 1).as_str()), "{client}");
                    call += 1;
                }
            });
        }
        let restarts = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..5).for_each(|_| admin.order("restart", "ready"));
        }));
        over.store(true, Ordering::Relaxed);
        restarts.expect("it is restarted");
    });
    let about = server.get("/v1/runners/kit").json();
    let executors = about["executors"].as_array().map_or(0, Vec::len);
    assert_eq!(about["restarts"], serde_json::json!(5 * executors), "{about}");
}

#[test]
fn the_configuration_is_reloaded_over_http() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let admin = Admin::start(&app);
    let answer = admin.post("/v1/reload");
    assert_eq!(answer.status, 200);
    let nothing = serde_json::json!([]);
    let expected = serde_json::json!({
        "added": nothing, "replaced": nothing, "removed": nothing, "unchanged": ["kit"], "failed": nothing,
        "refused_calls": 0, "needs_restart": nothing,
    });
    assert_eq!(answer.json(), expected);
    Client::connect(admin.address).get("/v1/reload").refused(405, "method_not_allowed", &["use POST"]);
    block_on(app.shutdown(PATIENCE));
    admin.post("/v1/reload").refused(409, "impossible", &["shutting down"]);
}
