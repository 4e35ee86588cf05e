//! Executors are killed at random while many clients call over HTTP: every request is answered, every answer is right.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ekiden::App;
use ekiden::prelude::*;
use serde::Deserialize;

use crate::client::metric;
use crate::support::{ON_PURPOSE, Server, block_on, eventually, hush_panics_on_purpose};

const CLIENTS: usize = 64;
const CALLS: usize = 50;
/// One in so many calls kills the executor that runs it first.
const DEADLY: u64 = 40;
/// One in so many attempts to rebuild an executor fails.
const UNOPENED: u64 = 5;

/// Dies of some calls, the first time that it sees them; each batch is given a second chance.
struct Mortal {
    plan: Plan,
    died: std::cell::Cell<u64>,
}

/// Shared by all executors, so that what was deadly once is not so again.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Plan {
    #[serde(skip)]
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<HashSet<i64>>,
    opened: AtomicU64,
    deaths: AtomicU64,
    unopened: AtomicU64,
}

impl Runnable for Mortal {
    type Params = Plan;

    fn open(ctx: &OpenContext<Plan>) -> Result<Self, OpenError> {
        let plan = ctx.params().clone();
        let opened = plan.shared.opened.fetch_add(1, Ordering::Relaxed);
        if opened >= EXECUTORS && opened.is_multiple_of(UNOPENED) {
            plan.shared.unopened.fetch_add(1, Ordering::Relaxed);
            return Err(OpenError::new("no luck"));
        }
        Ok(Self { plan, died: 0.into() })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("square", Self::square)
            .batchable()
            .input(TensorSpec::i64("id", [None]))
            .output(TensorSpec::i64("square", [None]));
    }
}

const EXECUTORS: u64 = 3;

impl Mortal {
    fn square(&self, ids: Tensor<1, Int>) -> Result<Tensor<1, Int>, MethodError> {
        let values: Vec<i64> = ids.to_data().try_to_vec().map_err(|error| MethodError::failed(format!("{error:?}")))?;
        // The seeds are the calls' numbers, so that each run of this test kills the same calls.
        let deadly = |id: &i64| fastrand::Rng::with_seed(*id as u64).u64(..DEADLY) == 0;
        let mut new = Vec::new();
        {
            let mut seen = self.plan.shared.seen.lock().map_err(|error| MethodError::failed(error.to_string()))?;
            new.extend(values.into_iter().filter(|&id| seen.insert(id)));
        }
        if let Some(id) = new.into_iter().find(deadly) {
            let deaths = self.plan.shared.deaths.fetch_add(1, Ordering::Relaxed);
            self.died.set(deaths + 1);
            panic!("{ON_PURPOSE}call {id}");
        }
        Ok(ids.clone() * ids)
    }
}

impl Drop for Mortal {
    /// What is left after a panic is in any state, and may panic again.
    fn drop(&mut self) {
        if self.died.get() % 4 == 1 {
            panic!("{ON_PURPOSE}while it was dropped");
        }
    }
}

#[test]
fn every_call_is_answered_rightly_while_executors_die() {
    hush_panics_on_purpose();
    let plan = Plan::default();
    let mortal = Runner::<Mortal>::new(plan.clone())
        .name("mortal")
        .cpu(EXECUTORS as f64)
        .max_batch_size(16)
        .set("max_restarts", u32::MAX)
        .set("restart_backoff_ms", 1_u32)
        .set("max_restart_backoff_ms", 1_u32);
    let app = block_on(App::builder().runner(mortal).start()).expect("the app starts");
    let server = Server::start(&app);

    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.client();
                for call in 0..CALLS {
                    // One to three rows, which no other call has.
                    let first = (client * CALLS + call) * 3;
                    let ids: Vec<usize> = (first..=first + call % 3).collect();
                    let answer = connection.post("/v1/runners/mortal/square", &format!("{ids:?}"));
                    assert_eq!(answer.status, 200, "{ids:?}: {}", answer.text());
                    let squares: Vec<usize> = ids.iter().map(|id| id * id).collect();
                    assert_eq!(answer.json(), serde_json::json!(squares), "{ids:?}");
                }
            });
        }
    });

    let shared = &plan.shared;
    let deaths = shared.deaths.load(Ordering::Relaxed);
    assert!(deaths > 20, "only {deaths} executors died");
    let count = |name: &str| metric(server.get("/metrics").text(), name).expect("it is counted");
    let exits = |kind: &str| count(&format!(r#"ekiden_executor_exits_total{{runner="mortal",kind="{kind}"}}"#));
    eventually("each executor that ended is rebuilt", || {
        let ended = (deaths + shared.unopened.load(Ordering::Relaxed)) as f64;
        exits("panicked") + exits("open_failed") == ended
            && count(r#"ekiden_executor_restarts_total{runner="mortal"}"#) == ended
    });
    assert!(shared.unopened.load(Ordering::Relaxed) > 0);
    let calls = (CLIENTS * CALLS) as f64;
    server.counts(&[
        (r#"ekiden_calls_total{runner="mortal",method="square",outcome="ok"}"#, calls),
        (r#"ekiden_calls_total{runner="mortal",method="square",outcome="crashed"}"#, 0.0),
        (r#"ekiden_calls_total{runner="mortal",method="square",outcome="unavailable"}"#, 0.0),
        (r#"ekiden_calls_total{runner="mortal",method="square",outcome="cancelled"}"#, 0.0),
    ]);
    let batches = count(r#"ekiden_batch_rows_count{runner="mortal",method="square"}"#);
    assert!(batches < calls, "nothing was batched");
    eventually("all executors are up", || server.get("/v1/runners/mortal").text().matches("\"ready\"").count() == 4);
    assert_eq!(server.get("/readyz").status, 200);
}
