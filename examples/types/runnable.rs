//! Runnables that answer with what they are asked, in every datatype, and some that do not answer so well.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ekiden::prelude::*;
use ekiden::value::{Array, DType};
use serde_json::Value;

/// A method for each datatype, and a few to test clients on.
pub(crate) struct Types;

impl Runnable for Types {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        // Host arrays, which no device has to know: bool, uint8, … float64.
        for dtype in DType::ALL {
            methods
                .add(dtype.name(), |_: &Self, x: Array| Ok(x))
                .batchable()
                .input(TensorSpec::new("x", dtype, [None, None]))
                .output(TensorSpec::new("y", dtype, [None, None]));
        }
        methods.add("texts", |_: &Self, x: Vec<String>| Ok(x)).batchable().input("x").output("y");
        methods.add("values", |_: &Self, x: Vec<Value>| Ok(x)).batchable().input("x").output("y");
        methods.add("text", |_: &Self, x: String| Ok(x)).input("x").output("y");
        methods.add("json", |_: &Self, x: Json<Value>| Ok(x)).input("x").output("y");
        methods.add("bytes", |_: &Self, x: Bytes| Ok(x)).input("x").output("y");
        methods.add("slow", |_: &Self, x: Array| slow(x)).input(milliseconds("x")).output(milliseconds("y"));
        methods.add("fail", |_: &Self, how: String| fail(&how)).input("how").output("y");
    }
}

fn milliseconds(name: &str) -> TensorSpec {
    TensorSpec::i32(name, [Some(1)])
}

/// Works for as many milliseconds as it is told, and not for more than ten seconds.
fn slow(x: Array) -> Result<Array, MethodError> {
    let asked = x.elements::<i32>().and_then(|x| x.first().copied()).unwrap_or(0);
    let time = Duration::from_millis(u64::try_from(asked).unwrap_or(0).min(10_000));
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
    Ok(x)
}

/// Fails: because of what it was asked, or by itself.
fn fail(how: &str) -> Result<String, MethodError> {
    match how {
        "invalid" => Err(MethodError::invalid_input("nobody can answer that")),
        "failed" => Err(MethodError::failed("it went wrong")),
        _ => Ok(how.to_owned()),
    }
}

/// Two inputs and two outputs, in one method: so its model has the runner's own name.
pub(crate) struct Pair;

impl Runnable for Pair {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("echo", |_: &Self, numbers: Array, texts: Vec<String>| Ok((texts, numbers)))
            .batchable()
            .input(TensorSpec::f32("numbers", [None, Some(3)]))
            .input("texts")
            .output("texts")
            .output(TensorSpec::f32("numbers", [None, Some(3)]));
    }
}
