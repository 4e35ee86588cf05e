//! Many clients whose calls have deadlines drawn at random: every answer is right, and every refusal is justified.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ekiden::App;
use ekiden::prelude::*;

use crate::support::{Server, block_on};

const CLIENTS: usize = 64;
const CALLS: usize = 60;
const MAX_BATCH: usize = 16;

/// The longest batch so far, in nanoseconds: this is the one runner's.
static SLOWEST: AtomicU64 = AtomicU64::new(0);

/// Takes a millisecond and 100 µs a row to square numbers.
struct Busy;

impl Runnable for Busy {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("square", |_: &Self, numbers: Vec<i64>| {
                let (start, time) = (Instant::now(), Duration::from_micros(1_000 + 100 * numbers.len() as u64));
                while start.elapsed() < time {
                    std::hint::spin_loop();
                }
                let squares: Vec<i64> = numbers.iter().map(|number| number * number).collect();
                SLOWEST.fetch_max(start.elapsed().as_nanos() as u64, Ordering::SeqCst);
                Ok(squares)
            })
            .batchable();
    }
}

/// How often calls ended in which way.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicUsize,
    refused_at_once: AtomicUsize,
    gave_up: AtomicUsize,
}

#[test]
fn every_answer_is_right_and_every_refusal_justified() {
    let runner = Runner::<Busy>::new(()).name("busy").cpu(1.0).max_batch_size(MAX_BATCH);
    let app = block_on(App::builder().runner(runner).start()).expect("the app starts");
    let server = Server::start(&app);
    let tally = Tally::default();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, tally) = (&server, &tally);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(client as u64);
                let mut connection = server.client();
                for _ in 0..CALLS {
                    // From 1 ms to 4 s, each order of magnitude as often as another; one in eight has none.
                    let timeout = (random.u8(..8) > 0).then(|| 10_f64.powf(random.f64() * 3.6) as u64);
                    call(&mut connection, random.i64(0..1_000_000), timeout, tally);
                }
            });
        }
    });
    let [answered, refused, gave_up] =
        [&tally.answered, &tally.refused_at_once, &tally.gave_up].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(answered + refused + gave_up, CLIENTS * CALLS);
    assert!(answered > 0 && refused > 0, "{tally:?}: nothing was at stake");
    println!("{tally:?}");
    server.counts(&[
        (r#"ekiden_calls_total{runner="busy",method="square",outcome="ok"}"#, answered as f64),
        (
            r#"ekiden_calls_total{runner="busy",method="square",outcome="deadline_exceeded"}"#,
            (refused + gave_up) as f64,
        ),
    ]);
}

fn call(connection: &mut crate::client::Client, number: i64, timeout_ms: Option<u64>, tally: &Tally) {
    let header = timeout_ms.map(|ms| ms.to_string());
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(header.as_deref().map(|ms| ("ekiden-timeout-ms", ms)));
    let sent = Instant::now();
    let answer = connection.request("POST", "/v1/runners/busy/square", &headers, format!("[{number}]").as_bytes());
    let took = sent.elapsed();
    if answer.status == 200 {
        assert_eq!(answer.text(), format!("[{}]", number * number));
        tally.answered.fetch_add(1, Ordering::SeqCst);
        return;
    }
    answer.refused(504, "deadline_exceeded", &[]);
    let timeout = Duration::from_millis(timeout_ms.expect("a call without a deadline is never refused"));
    let Some(expected) = expected(answer.text()) else {
        assert!(took >= timeout, "given up after {took:?} of {timeout:?}: {}", answer.text());
        tally.gave_up.fetch_add(1, Ordering::SeqCst);
        return;
    };
    assert!(expected > timeout, "{}", answer.text());
    // Before a call there is at most one of each other client's, and what runs; what is expected may be twice the mean.
    let batches = (CLIENTS / MAX_BATCH + 2) as u32;
    let bound = 2 * batches * Duration::from_nanos(SLOWEST.load(Ordering::SeqCst));
    assert!(timeout < bound, "refused with {timeout:?}, where all that waits takes {bound:?} at most");
    tally.refused_at_once.fetch_add(1, Ordering::SeqCst);
}

/// The time that the call would have taken, which a refusal names that came before the deadline.
fn expected(message: &str) -> Option<Duration> {
    let (ms, _) = message.split_once("would take about ")?.1.split_once(" ms")?;
    ms.parse().ok().map(Duration::from_millis)
}
