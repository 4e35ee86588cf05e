//! Both sides in one process: every kind of batch, large and small, and a child that lies.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use bytes::Bytes;
use ekiden_actors::{Exit, Fault, MethodError, Part, RunError};
use serde_json::json;

use super::conversation::Conversation;
use super::link::Link;
use super::payload::{Laid, Layout};
use super::server::Server;
use super::wire::{FromChild, ToChild};
use crate::serving::{Answer, CallInput, Emit, Model};
use crate::value::{Array, Batching, DType, Signature, TensorSpec, Value, ValueKind, ValueSpec, Values};

/// Answers with its inputs, says which parts it saw, and does what they ask for.
struct Echo {
    signatures: Vec<Signature>,
    seen: Sender<Vec<usize>>,
    kept: Vec<Values>,
}

impl Model for Echo {
    fn signature(&self, method: usize) -> Option<&Signature> {
        self.signatures.get(method)
    }

    /// Says a list item by item.
    fn stream(&mut self, _: usize, call: &Part<'_, CallInput>, emit: &mut Emit<'_>) -> Result<(), RunError> {
        let Value::List(items) = &call.input.values[0] else { panic!("a list") };
        for item in items {
            if item == "refuse" {
                return Err(MethodError::invalid_input("refused").into());
            }
            if emit(Values::from_iter([Value::Json(item.clone())])).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn run(&mut self, _: usize, parts: &[Part<'_, CallInput>]) -> Result<Answer, RunError> {
        let _ = self.seen.send(parts.iter().map(|part| part.rows.len()).collect());
        let values = parts[0].input.values.clone();
        match &values[0] {
            Value::Text(text) if text == "panic" => panic!("on purpose: told to"),
            Value::Text(text) if text == "poison" => panic!("on purpose: The device is poisoned"),
            Value::Text(text) if text == "refuse" => Err(MethodError::invalid_input("refused").before_run().into()),
            Value::Text(text) if text == "memory" => Err(RunError::OutOfMemory("too large".into())),
            Value::Text(text) if text == "device" => Err(RunError::Lost(Exit::DeviceLost("poisoned".into()))),
            Value::Bytes(_) => {
                self.kept.push(values);
                Ok(self.kept[0].clone().into())
            }
            Value::List(items) if items[0] == "bad" => {
                Ok(Answer { outputs: values, failed: vec![(1, MethodError::invalid_input("bad"))] })
            }
            _ => Ok(values.into()),
        }
    }
}

fn signatures() -> Vec<Signature> {
    let method = |spec: ValueSpec, batching| Signature {
        inputs: vec![spec.clone()],
        outputs: vec![spec],
        batching,
        streams: false,
    };
    let rows = Some(Batching { input_dim: 0, output_dim: 0 });
    vec![
        method(TensorSpec::any_rank("x", DType::I64).into(), rows),
        method(ValueSpec::of_kind(ValueKind::List, "x"), rows),
        method(ValueSpec::of_kind(ValueKind::Text, "x"), None),
        method(ValueSpec::of_kind(ValueKind::Bytes, "x"), None),
        Signature { streams: true, ..method(ValueSpec::of_kind(ValueKind::List, "x"), None) },
    ]
}

/// A parent and a child that echoes.
fn talk() -> (Conversation, Receiver<Vec<usize>>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let (seen, sees) = channel();
    thread::spawn(move || {
        let model = Echo { signatures: signatures(), seen, kept: Vec::new() };
        let mut server = Server::new(Link::new(theirs), Box::new(model));
        while let Ok(true) = server.turn() {}
    });
    (Conversation::new(signatures(), Link::new(ours)), sees)
}

fn input(value: Value, batching: bool) -> CallInput {
    let batching = batching.then_some(Batching { input_dim: 0, output_dim: 0 });
    CallInput::new(Values::from_iter([value]), batching)
}

fn numbers(first: i64, rows: usize, width: usize) -> Array {
    Array::new((first..first + (rows * width) as i64).collect(), [rows, width]).expect("it fits")
}

#[test]
fn batches_of_every_size_come_back_as_they_went() {
    let (mut talk, sees) = talk();
    let mut held = Vec::new();
    // Inline, shared, larger, small again, and large while all that came before is still held.
    for width in [1, 3, 1000, 40_000, 2, 1000, 1000, 1000, 1000, 1000, 50_000] {
        let (one, other) = (numbers(0, 2, width), numbers(7, 3, width));
        let inputs = [input(one.clone().into(), true), input(other.clone().into(), true)];
        let parts = [Part { input: &inputs[0], rows: 1..2 }, Part { input: &inputs[1], rows: 0..3 }];
        let outputs = talk.run(0, &parts).expect("it can be talked to").expect("an answer").outputs;
        let rows = [one.slice(0, 1..2), other.slice(0, 0..3)].map(|rows| rows.expect("in range"));
        let expected: Vec<i64> = rows.iter().flat_map(|rows| rows.to_vec().expect("numbers")).collect();
        let expected = Array::new(expected, [4, width]).expect("it fits");
        assert_eq!(outputs.as_slice(), [Value::Tensor(expected.clone())], "{width}");
        assert_eq!(sees.recv(), Ok(vec![1, 3]));
        held.push((outputs, expected));
    }
    for (outputs, expected) in held {
        assert_eq!(outputs.as_slice(), [Value::Tensor(expected)], "what is held stays what it was");
    }
}

#[test]
fn lists_are_gathered_and_large_ones_pass_through_memory() {
    let (mut talk, _) = talk();
    for length in [1, 20_000] {
        let items = |first: usize| (first..first + length).map(|item| json!({"item": item})).collect::<Vec<_>>();
        let inputs = [input(Value::List(items(0)), true), input(Value::List(items(5)), true)];
        let parts = inputs.each_ref().map(|input| Part { input, rows: 0..length });
        let outputs = talk.run(1, &parts).expect("it can be talked to").expect("an answer").outputs;
        assert_eq!(outputs.as_slice(), [Value::List([items(0), items(5)].concat())], "{length}");
    }
}

#[test]
fn a_rows_own_error_arrives_beside_the_outputs() {
    let (mut talk, _) = talk();
    let input = input(Value::List(vec![json!("bad"), json!("good")]), true);
    let answer = talk.run(1, &[Part { input: &input, rows: 0..2 }]).expect("it can be talked to").expect("an answer");
    assert_eq!(answer.failed, [(1, MethodError::invalid_input("bad"))]);
}

#[test]
fn a_stream_comes_chunk_by_chunk_for_as_long_as_it_is_wanted() {
    let (mut talk, _) = talk();
    let mut stream = |items: &[serde_json::Value], wanted: usize| {
        let input = input(Value::List(items.to_vec()), false);
        let mut chunks = Vec::new();
        let ended = talk.stream(4, &Part { input: &input, rows: 0..1 }, &mut |chunk| {
            chunks.extend(chunk);
            if chunks.len() < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        (ended.expect("it can be talked to"), chunks)
    };
    let large = json!("x".repeat(100_000));
    let chunks = |items: &[serde_json::Value]| items.iter().cloned().map(Value::Json).collect::<Vec<_>>();
    let items = [json!(1), large.clone(), large.clone(), json!(2), large.clone(), large.clone(), large.clone(), large];
    assert_eq!(stream(&items, usize::MAX), (Ok(()), chunks(&items)));
    assert_eq!(stream(&items, 2), (Ok(()), chunks(&items[..2])));
    assert_eq!(stream(&[], 1), (Ok(()), Vec::new()));
    let refused = Err(MethodError::invalid_input("refused").into());
    assert_eq!(stream(&[json!(1), json!("refuse"), json!(2)], 9), (refused, chunks(&[json!(1)])));
    assert_eq!(stream(&[json!(3)], 9), (Ok(()), chunks(&[json!(3)])), "it goes on");
}

#[test]
fn inputs_that_the_runnable_keeps_are_not_written_over() {
    let (mut talk, _) = talk();
    // The echo keeps each, and answers with the first.
    for fill in 0..6_u8 {
        let input = input(Value::Bytes(Bytes::from(vec![fill; 100_000])), false);
        let answer = talk.run(3, &[Part { input: &input, rows: 0..1 }]).expect("it can be talked to");
        assert_eq!(
            answer.expect("an answer").outputs.as_slice(),
            [Value::Bytes(Bytes::from(vec![0; 100_000]))],
            "{fill}"
        );
    }
}

#[test]
fn failures_arrive_as_what_they_are() {
    let (mut talk, _) = talk();
    let mut say = |text: &str| {
        let input = input(Value::Text(text.to_owned()), false);
        talk.run(2, &[Part { input: &input, rows: 0..1 }]).expect("it can be talked to")
    };
    match say("refuse") {
        Err(RunError::Method(error)) => {
            assert_eq!((error.fault(), error.ran(), error.to_string()), (Fault::Input, false, "refused".to_owned()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(say("memory"), Err(RunError::OutOfMemory("too large".into())));
    assert_eq!(say("device"), Err(RunError::Lost(Exit::DeviceLost("poisoned".into()))));
    assert_eq!(say("panic"), Err(RunError::Lost(Exit::Panicked("on purpose: told to".into()))));
}

#[test]
fn a_panic_over_a_poisoned_device_is_the_end_of_the_device() {
    let (mut talk, _) = talk();
    let input = input(Value::Text("poison".to_owned()), false);
    let answer = talk.run(2, &[Part { input: &input, rows: 0..1 }]).expect("it can be talked to");
    assert_eq!(answer, Err(RunError::Lost(Exit::DeviceLost("on purpose: The device is poisoned".into()))));
}

/// What becomes of a batch whose child answers with this.
fn answered_by(lie: impl FnOnce(&mut Link) -> io::Result<()> + Send + 'static) -> io::Result<Result<Answer, RunError>> {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let liar = thread::spawn(move || {
        let mut link = Link::new(theirs);
        link.receive::<ToChild<'_>>().expect("a batch");
        lie(&mut link).expect("it can be said");
    });
    let input = input(numbers(0, 2, 2).into(), true);
    let answer = Conversation::new(signatures(), Link::new(ours)).run(0, &[Part { input: &input, rows: 0..2 }]);
    liar.join().expect("the liar ends");
    answer
}

#[test]
fn a_child_that_lies_is_found_out() {
    let check = |lie: fn(&mut Link) -> io::Result<()>, kind| match answered_by(lie) {
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
        Ok(answer) => panic!("it was believed: {answer:?}"),
    };
    let nonsense = io::ErrorKind::InvalidData;
    let shared = |link: &mut Link| {
        let big = Value::Bytes(Bytes::from_static(&[0; 64]));
        let mut layout = Layout::default();
        layout.whole(&big).expect("it can be laid out");
        let outputs: Laid<'_> = layout.shared(&mut [0; 64]);
        link.send(&FromChild::Outputs { outputs, failed: Vec::new(), inputs_free: true }, &[])
    };
    check(shared, nonsense);
    check(|link| link.send(&FromChild::NeedsRoom(u64::MAX), &[]), nonsense);
    check(|link| link.send(&FromChild::Hello, &[]), nonsense);
    check(|link| link.send(&FromChild::Opened, &[]), nonsense);
    check(|link| link.send(&FromChild::Ended { inputs_free: true }, &[]), nonsense);
    check(|link| link.send(&"something else altogether", &[]), nonsense);
    check(|_| Ok(()), io::ErrorKind::UnexpectedEof);
    // It asks for room, and then claims more of it than there is.
    check(
        |link| {
            link.send(&FromChild::NeedsRoom(10), &[])?;
            link.receive::<ToChild<'_>>()?;
            let value = Value::Bytes(Bytes::from(vec![0; 1 << 20]));
            let mut layout = Layout::default();
            layout.whole(&value).expect("it can be laid out");
            let outputs = layout.shared(&mut vec![0; 1 << 20]);
            link.send(&FromChild::Outputs { outputs, failed: Vec::new(), inputs_free: true }, &[])
        },
        nonsense,
    );
}
