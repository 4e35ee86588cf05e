//! Devices that run out of memory or are lost, as clients and operators see it.

use ekiden::App;
use ekiden::prelude::*;

use crate::support::{Server, block_on, eventually};

/// Holds three rows, and is lost over some.
struct Accelerator;

impl Runnable for Accelerator {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("echo", |_: &Self, words: Vec<String>| match words.len() {
                _ if words.iter().any(|word| word == "lost") => Err(MethodError::device_lost("the bus is gone")),
                _ if words.iter().any(|word| word == "huge") => Err(MethodError::out_of_memory("a huge word")),
                4.. => Err(MethodError::out_of_memory(format!("{} words", words.len()))),
                _ => Ok(words),
            })
            .batchable();
    }
}

fn start() -> Server {
    let accelerator = Runner::<Accelerator>::new(()).name("accelerator").cpu(1.0);
    Server::start(&block_on(App::builder().runner(accelerator).start()).expect("it starts"))
}

#[test]
fn a_device_without_memory_gets_smaller_batches() {
    let server = start();
    let words = r#"["a","b","c","d","e","f","g","h"]"#;
    assert_eq!(server.post("/v1/runners/accelerator/echo", words).text(), words);
    let about = server.get("/v1/runners/accelerator").json();
    assert_eq!(about["methods"][0]["caps"], serde_json::json!([{"shape": "0000000000000000", "rows": 2}]), "{about}");
    assert_eq!((&about["restarts"], &about["abandoned"]), (&0.into(), &0.into()));
    let huge = server.post("/v1/runners/accelerator/echo", r#"["huge"]"#);
    huge.refused(500, "method_failed", &["out of memory: a huge word"]);
    server.counts(&[
        (r#"ekiden_out_of_memory_total{runner="accelerator",method="echo"}"#, 4.0),
        (r#"ekiden_batch_rows_cap{runner="accelerator",method="echo"}"#, 2.0),
        (r#"ekiden_executor_exits_total{runner="accelerator",kind="panicked"}"#, 0.0),
    ]);
}

#[test]
fn a_lost_device_fails_its_runner_and_readiness_and_names_the_cure() {
    let server = start();
    assert_eq!(server.get("/readyz").status, 200);
    let cure = r#"isolation = \"process\""#;
    let lost = server.post("/v1/runners/accelerator/echo", r#"["lost"]"#);
    lost.refused(503, "unavailable", &["executor 0 lost its device: the bus is gone", "isolation = \"process\""]);
    eventually("it is not ready", || server.get("/readyz").status == 503);
    assert!(server.get("/readyz").text().contains(cure));
    let about = server.get("/v1/runners/accelerator").json();
    let exit = &about["last_exits"][0];
    assert_eq!((exit["kind"].as_str(), exit["executor"].as_u64()), (Some("device_lost"), Some(0)), "{about}");
    server.counts(&[(r#"ekiden_executor_exits_total{runner="accelerator",kind="device_lost"}"#, 1.0)]);
}
