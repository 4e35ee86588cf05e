//! A runnable with methods of every kind.

use bytes::Bytes;
use ekiden::prelude::*;
use ekiden::value::Array;
use serde::{Deserialize, Serialize};

use crate::support::{Gate, Made, block_on, eventually};

pub struct Kit {
    gate: Gate,
}

/// What the method `json` takes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Question {
    pub text: String,
    pub choices: Vec<u8>,
}

/// An app with one executor, which runs a [`Kit`].
pub fn app(gate: &Gate, with: impl FnOnce(Runner<Kit>) -> Runner<Kit>) -> App {
    let runner = with(Runner::<Kit>::new(gate.clone()).cpu(1.0));
    block_on(App::builder().runner(runner).start()).expect("the app starts")
}

/// Waits until so many rows wait for a method.
#[track_caller]
pub fn waits(app: &App, method: &str, rows: usize) {
    let handle = app.entry("kit").and_then(|runner| runner.method(method).cloned()).expect("the method");
    eventually("the calls wait", || handle.queued_rows() == rows);
}

/// Checks that calls are given up whose client leaves: `leave` makes calls of `text`, which fill the queue behind another,
/// and goes. They never run.
#[track_caller]
pub fn check_leaving(app: &App, gate: &Gate, leave: impl FnOnce()) {
    let text = app.runner("kit").expect("the runner").method::<String, String>("text").expect("the method");
    let plug = Made::held(text.async_run("first".to_owned()));
    gate.wait_for_someone();
    leave();
    // Their places in a full queue are free as soon as the server knows.
    let mut last = None;
    eventually("there is room again", || {
        last = Made::try_held(text.async_run("last".to_owned()));
        last.is_some()
    });
    gate.open();
    assert_eq!(plug.answer().as_deref(), Ok("FIRST"));
    assert_eq!(last.expect("it was taken").answer().as_deref(), Ok("LAST"));
    assert_eq!(gate.batches("text"), [1, 1], "the first and the last");
}

impl Runnable for Kit {
    type Params = Gate;

    fn open(ctx: &OpenContext<Gate>) -> Result<Self, OpenError> {
        Ok(Self { gate: ctx.params().clone() })
    }

    fn methods(methods: &mut Methods<Self>) {
        // One of each rank and kind; the batch lies along dimension 0.
        methods.add("rank1", |kit: &Kit, x: Tensor<1>| kit.ran("rank1", x.dims()[0], x * 2.0)).batchable();
        methods
            .add("rank2", |kit: &Kit, x: Tensor<2>| {
                kit.ran("rank2", x.dims()[0], x.clone().sum_dim(1).repeat_dim(1, 2) + x)
            })
            .batchable()
            .input(TensorSpec::f32("x", [None, Some(2)]))
            .output(TensorSpec::f32("y", [None, Some(2)]));
        methods.add("rank3", |kit: &Kit, x: Tensor<3>| kit.ran("rank3", x.dims()[0], x.swap_dims(1, 2))).batchable();
        methods.add("rank4", |kit: &Kit, x: Tensor<4>| kit.ran("rank4", x.dims()[0], x.flatten::<2>(1, 3))).batchable();
        methods.add("int", |kit: &Kit, x: Tensor<1, Int>| kit.ran("int", x.dims()[0], x + 1)).batchable();
        methods.add("bool", |kit: &Kit, x: Tensor<2, Bool>| kit.ran("bool", x.dims()[0], x.bool_not())).batchable();

        // Other dtypes stay what they are.
        let vector = [None];
        methods
            .add("f16", |kit: &Kit, x: Tensor<1>| kit.ran("f16", x.dims()[0], x * 2.0))
            .batchable()
            .input(TensorSpec::f16("x", vector))
            .output(TensorSpec::f16("y", vector));
        methods
            .add("f64", |kit: &Kit, x: Tensor<1>| kit.ran("f64", x.dims()[0], x * 2.0))
            .batchable()
            .input(TensorSpec::f64("x", vector))
            .output(TensorSpec::f64("y", vector));
        methods
            .add("i32", |kit: &Kit, x: Tensor<1, Int>| kit.ran("i32", x.dims()[0], x * 2))
            .batchable()
            .input(TensorSpec::i32("x", vector))
            .output(TensorSpec::i32("y", vector));
        methods
            .add("i64", |kit: &Kit, x: Tensor<1, Int>| kit.ran("i64", x.dims()[0], x + 1))
            .batchable()
            .input(TensorSpec::i64("x", vector))
            .output(TensorSpec::i64("y", vector));
        methods
            .add("u8", |kit: &Kit, x: Tensor<1, Int>| kit.ran("u8", x.dims()[0], x + 1))
            .batchable()
            .input(TensorSpec::u8("x", vector))
            .output(TensorSpec::u8("y", vector));

        // Other batch dimensions.
        methods
            .add("dim1", |kit: &Kit, x: Tensor<2>| kit.ran("dim1", x.dims()[1], x * 2.0))
            .batch_dim(1)
            .input(TensorSpec::f32("x", [Some(2), None]))
            .output(TensorSpec::f32("y", [Some(2), None]));
        methods
            .add("dim1_to_0", |kit: &Kit, x: Tensor<2>| kit.ran("dim1_to_0", x.dims()[1], x.transpose()))
            .batch_dims(1, 0)
            .input(TensorSpec::f32("x", [Some(2), None]))
            .output(TensorSpec::f32("y", [None, Some(2)]));

        // Several inputs and outputs, of kinds mixed.
        methods
            .add("mixed", |kit: &Kit, x: Tensor<2>, n: Tensor<1, Int>, words: Vec<String>| {
                let lengths: Vec<usize> = words.iter().map(String::len).collect();
                let rows = x.dims()[0];
                kit.ran("mixed", rows, (lengths, x * n.float().unsqueeze_dim(1), words))
            })
            .batchable()
            .input("x")
            .input("n")
            .input("words")
            .output("lengths")
            .output("scaled")
            .output("words");
        methods
            .add("array", |kit: &Kit, x: Array| kit.ran("array", x.shape().dims()[0], x))
            .batchable()
            .input(TensorSpec::any_rank("x", DTYPE))
            .output(TensorSpec::any_rank("y", DTYPE));
        methods.add("array1", |kit: &Kit, x: Array| kit.ran("array1", x.shape().dims()[1], x)).batch_dim(1);
        methods
            .add("list", |kit: &Kit, words: Vec<String>| {
                let rows = words.len();
                kit.ran("list", rows, words.into_iter().map(|word| word.len()).collect::<Vec<_>>())
            })
            .batchable()
            .input("words");
        methods
            .add("sizes", |kit: &Kit, sizes: Vec<u8>| kit.ran("sizes", sizes.len(), sizes))
            .batchable()
            .input("sizes")
            .example(serde_json::json!([1, 2]));

        // Not batchable.
        methods
            .add("json", |kit: &Kit, Json(question): Json<Question>| kit.ran("json", 1, Json(question.choices)))
            .example(serde_json::json!({"text": "which?", "choices": [1, 2]}));
        methods.add("nothing", |kit: &Kit| kit.ran("nothing", 1, "something".to_owned()));
        methods.add("text", |kit: &Kit, text: String| kit.ran("text", 1, text.to_uppercase()));
        methods.add("bytes", |kit: &Kit, mut bytes: Bytes| kit.ran("bytes", 1, bytes.split_off(bytes.len() / 2)));
        methods.add("matrix", |kit: &Kit, x: Tensor<2>| kit.ran("matrix", 1, x.transpose()));
        methods.add("any", |kit: &Kit, x: Array| kit.ran("any", 1, x));
        methods
            .add("scalar", |kit: &Kit, x: Tensor<1>| kit.ran("scalar", 1, x + 1.0))
            .input(TensorSpec::f32("x", []))
            .output(TensorSpec::f32("y", []));

        // Wrong in their own ways.
        let matrix = |name: &str| TensorSpec::f32(name, [None, Some(2)]);
        methods.add("lost_row", |_: &Kit, x: Tensor<2>| Ok(x.slice_dim(0, 0..1))).batchable().output(matrix("y"));
        methods
            .add("wrong_shape", |_: &Kit, x: Tensor<2>| Ok(x.repeat_dim(1, 2)))
            .batchable()
            .input(matrix("x"))
            .output(matrix("y"));
        methods
            .add("wrong_dtype", |_: &Kit, x: Array| Ok(x))
            .batchable()
            .input(matrix("x"))
            .output(TensorSpec::i64("y", [None, Some(2)]));
        methods.add("any_rank", |_: &Kit, x: Tensor<2>| Ok(x)).input(TensorSpec::any_rank("x", DTYPE));
        methods
            .add("picky", |kit: &Kit, words: Vec<String>| {
                kit.gate.pass("picky", words.len());
                match words.iter().find(|word| word.contains('!')) {
                    Some(word) => Err(MethodError::invalid_input(format!("\"{word}\" is too loud"))),
                    None => Ok(words),
                }
            })
            .batchable();
    }
}

const DTYPE: ekiden::value::DType = ekiden::value::DType::F32;

impl Kit {
    fn ran<T>(&self, what: &str, rows: usize, output: T) -> Result<T, MethodError> {
        self.gate.pass(what, rows);
        Ok(output)
    }
}
