//! Gives orders while all that goes on: restarts, pauses, and configurations that change, some of them wrong.

use std::time::Instant;

use fastrand::Rng;

use super::calls::TIMEOUT;
use super::ledger::{Alarm, Round};
use super::{Config, folder};
use crate::admin::Admin;
use crate::client::Response;
use crate::support::Server;

#[derive(Clone, Copy, Debug)]
enum Order {
    Restart(&'static str),
    Pause(&'static str),
    /// Another `max_batch_size` for this runner.
    Resize(&'static str),
    /// The guest comes, or goes.
    Guest,
    /// A configuration that is wrong.
    Wrong,
}

const ORDERS: [Order; 9] = [
    Order::Restart("far"),
    Order::Restart("near"),
    Order::Pause("far"),
    Order::Pause("near"),
    Order::Resize("far"),
    Order::Resize("near"),
    Order::Guest,
    Order::Guest,
    Order::Wrong,
];

pub fn act(round: &Round<'_>, server: &Server, admin: &Admin, config: &mut Config, mut rng: Rng) {
    let _alarm = Alarm(round.ledger);
    let mut is_first = true;
    while !round.ledger.is_over() {
        let mut orders = ORDERS;
        rng.shuffle(&mut orders);
        for order in orders {
            round.ledger.wait_for(rng.usize(..300));
            if round.ledger.is_over() {
                return;
            }
            give(order, round, server, admin, config, &mut rng);
        }
        if std::mem::take(&mut is_first) {
            round.has_done_all();
        }
    }
}

fn give(order: Order, round: &Round<'_>, server: &Server, admin: &Admin, config: &mut Config, rng: &mut Rng) {
    match order {
        Order::Restart(runner) => {
            expect(&admin.post(&format!("/v1/runners/{runner}/restart")), "order_failed");
        }
        Order::Pause(runner) => {
            let full = || round.ledger.seen(|(of, _, outcome)| of == runner && outcome == "queue_full");
            let before = full();
            let answer = admin.post(&format!("/v1/runners/{runner}/pause"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let begun = Instant::now();
            let is_enough = || full() > before || begun.elapsed() > TIMEOUT / 8 || round.ledger.is_over();
            round.ledger.until("the pause is over", is_enough);
            let answer = admin.post(&format!("/v1/runners/{runner}/resume"));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        Order::Resize(runner) => {
            let before = config.clone();
            let size = if runner == "far" { &mut config.far } else { &mut config.near };
            *size = 1 + (*size + rng.usize(..7)) % 8;
            reload(admin, config, before);
        }
        Order::Guest => {
            let before = config.clone();
            config.guest = !config.guest;
            reload(admin, config, before);
        }
        Order::Wrong => {
            let runners = || server.get("/v1/runners").json()["runners"].as_array().map(Vec::len);
            let before = runners();
            std::fs::write(folder("").join("runners.toml"), config.text() + "max_latency = 1\n").expect("a file");
            admin.post("/v1/reload").refused(422, "invalid_config", &["did you mean \"max_latency_ms\"?"]);
            assert_eq!(runners(), before);
        }
    }
}

/// Has the app follow the configuration. What could not be opened leaves it as it was.
pub fn reload(admin: &Admin, config: &mut Config, before: Config) {
    config.write();
    if !expect(&admin.post("/v1/reload"), "reload_incomplete") {
        *config = before;
    }
}

/// Whether it was done. What makes new executors may meet with one that does not open.
fn expect(answer: &Response, failure: &str) -> bool {
    if answer.status == 200 {
        return true;
    }
    answer.refused(500, failure, &[]);
    let text = answer.text();
    assert!(["refused", "on purpose", "SIGKILL"].iter().any(|luck| text.contains(luck)), "{text}");
    false
}
