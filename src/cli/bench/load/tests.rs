//! The client against servers that do what a script says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A server on a free port, and how many connections and requests it has had. `answer` gets the number of a request
/// and says what to send, or `None` to close the connection.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

fn serve(answer: impl Fn(usize) -> Option<&'static [u8]> + Clone + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = Server { address, connections: connections.clone(), requests: requests.clone() };
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            connections.fetch_add(1, Ordering::Relaxed);
            let (answer, requests) = (answer.clone(), requests.clone());
            thread::spawn(move || converse(stream, &requests, &answer));
        }
    });
    server
}

fn converse(mut stream: TcpStream, requests: &AtomicUsize, answer: &dyn Fn(usize) -> Option<&'static [u8]>) {
    let mut request = [0; REQUEST.len()];
    while stream.read_exact(&mut request).is_ok() {
        match answer(requests.fetch_add(1, Ordering::Relaxed)) {
            Some(answer) => {
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
            None => return,
        }
    }
}

fn plan(address: SocketAddr) -> Plan {
    let patience = Duration::from_millis(300);
    Plan { address, request: REQUEST.to_vec(), patience, good_within: patience, leeway: Duration::ZERO }
}

fn load(server: &Server, connections: usize, pace: &mut Pace) -> Record {
    let plan = plan(server.address);
    let mut client = Client::connect(&plan, connections).expect("the server listens");
    client.drive(pace, Duration::from_millis(200), &mut |_| true).expect("the load runs")
}

fn open(rate: f64) -> Pace {
    Pace::Open(Arrivals::new(rate, Spacing::Constant, 0))
}

#[test]
fn a_closed_loop_keeps_its_connections_busy() {
    let server = serve(|_| Some(OK));
    let record = load(&server, 3, &mut Pace::Closed);
    assert!(record.ok() > 30 && record.failed() == 0, "{} answers", record.ok());
    assert_eq!(server.connections.load(Ordering::Relaxed), 3);
    let sent = server.requests.load(Ordering::Relaxed) as u64;
    assert!((record.ok()..=record.ok() + 3).contains(&sent), "{sent} requests, {} answers", record.ok());
    assert_eq!((record.good, record.received), (record.ok(), 2 * record.ok()));
    assert_eq!(record.seconds.iter().map(|second| second.ok).sum::<u64>(), record.ok());
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let server = serve(|_| Some(OK));
    let record = load(&server, 2, &mut open(500.0));
    let sent = server.requests.load(Ordering::Relaxed) as u64;
    assert_eq!(record.ok(), sent);
    assert_eq!(record.ok() + record.unsent, 100);
    assert!(record.unsent <= 20, "{} of 100 requests were not sent", record.unsent);
}

#[test]
fn the_wait_for_a_free_connection_is_part_of_the_latency() {
    // The first answer takes 100 ms, the others nothing; on one connection, those due meanwhile wait for it.
    let server = serve(|request| {
        if request == 0 {
            let (_never, wait) = mpsc::channel::<()>();
            let _ = wait.recv_timeout(Duration::from_millis(100));
        }
        Some(OK)
    });
    let record = load(&server, 1, &mut open(500.0));
    assert!(record.ok() + record.unsent == 100 && record.ok() > 60, "{} answers", record.ok());
    // Due every 2 ms: half of them fall into the 100 ms, and wait 50 ms on average.
    assert!(record.late > 40, "{} were late", record.late);
    assert!(record.micros(0.75) > 40_000.0, "{} µs", record.micros(0.75));
}

#[test]
fn failures_are_told_apart_and_never_successes() {
    let server = serve(|request| match request % 4 {
        0 => Some(BUSY),
        1 => None,
        2 => Some(b"SSH-2.0-OpenSSH_9.6\r\n"),
        _ => Some(OK),
    });
    let record = load(&server, 1, &mut Pace::Closed);
    let count = |failure| record.failures.get(&failure).copied().unwrap_or(0);
    for failure in [Failure::Status(429), Failure::Closed, Failure::Malformed] {
        assert!(count(failure).abs_diff(record.ok()) <= 1, "{failure}: {}, ok: {}", count(failure), record.ok());
    }
    assert!(record.ok() > 0 && record.failures.len() == 3, "{:?}", record.failures);
    assert_eq!(record.first_failure, Some((Failure::Status(429), "busy".to_owned())));
}

#[test]
fn refusals_have_latencies_of_their_own() {
    // Every second request is refused, after 20 ms.
    let server = serve(|request| {
        if request % 2 == 1 {
            return Some(OK);
        }
        let (_never, wait) = mpsc::channel::<()>();
        let _ = wait.recv_timeout(Duration::from_millis(20));
        Some(BUSY)
    });
    let record = load(&server, 1, &mut Pace::Closed);
    assert!(record.refusals.len() > 2 && record.refusals.len().abs_diff(record.ok()) <= 1, "{}", record.refusals.len());
    assert!(record.refusals.min() >= 20_000_000, "{} ns", record.refusals.min());
    assert!(record.micros(0.5) < 20_000.0, "a refusal counted as a success: {} µs", record.micros(0.5));
}

#[test]
fn a_connection_that_the_server_closes_after_an_answer_is_opened_again() {
    let server = serve(|_| Some(LAST));
    let record = load(&server, 2, &mut Pace::Closed);
    assert!(record.ok() > 10 && record.failed() == 0, "{} answers, {:?}", record.ok(), record.failures);
    assert!(server.connections.load(Ordering::Relaxed) as u64 >= record.ok());
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let server = serve(|_| Some(b""));
    let plan = plan(server.address);
    let mut client = Client::connect(&plan, 2).expect("the server listens");
    let record = client.drive(&mut Pace::Closed, Duration::from_millis(400), &mut |_| true).expect("the load runs");
    assert_eq!(record.failures.get(&Failure::NoAnswer), Some(&2));
    let record = client.finish(&mut |_| false).expect("the load ends");
    assert_eq!(record.unanswered + record.failed(), 2);
}

#[test]
fn a_load_ends_early_when_it_is_told_to() {
    let server = serve(|_| Some(OK));
    let plan = plan(server.address);
    let mut client = Client::connect(&plan, 1).expect("the server listens");
    let hour = Duration::from_secs(3600);
    let record = client.drive(&mut open(100.0), hour, &mut |record| record.ok() < 5).expect("the load runs");
    assert!(record.ok() >= 5 && record.elapsed < hour / 60);
    assert!(record.unsent <= 1, "what would have been due later is not missing: {}", record.unsent);
}

#[test]
fn the_time_that_the_last_answers_take_is_part_of_a_rate() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let server = serve(move |_| {
        // Until the other end is dropped.
        let _ = held.lock().map(|held| held.recv());
        Some(OK)
    });
    let plan = plan(server.address);
    let mut client = Client::connect(&plan, 4).expect("the server listens");
    let (mut hold, sending) = (Some(hold), Duration::from_millis(50));
    // It watches for the first time when everything has been sent.
    let mut watch = |_: &Record| hold.take().is_none_or(|_| true);
    let record = client.drive(&mut open(1_000.0), sending, &mut watch).expect("the load runs");
    assert!(record.ok() > 0 && record.elapsed >= 2 * sending, "{} in {:?}", record.ok(), record.elapsed);
}

#[test]
fn where_nothing_listens_is_no_connection() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let error = Client::connect(&plan(address), 4).map(|_| ()).expect_err("nothing listens");
    assert!(error.to_string().starts_with("connection 1 of 4 could not be opened"), "{error}");
    assert!(ask(address, REQUEST, Duration::from_secs(1)).is_err());
}

#[test]
fn one_request_is_answered_with_its_body() {
    let server = serve(|_| Some(OK));
    let answer = ask(server.address, REQUEST, Duration::from_secs(5)).expect("an answer");
    assert_eq!((answer.status(), answer.body().as_str()), (200, "ok"));
}
