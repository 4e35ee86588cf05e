//! Values of every kind, alone and batched.

use bytes::Bytes;
use ekiden::codec::json;
use ekiden::serving::MethodHandle;
use ekiden::value::{Array, Value, Values};
use ekiden::{App, CallError, CallOptions};

use crate::kit;
use crate::support::{Gate, Made, block_on};

/// An app whose [`kit::Kit`] passes a gate.
struct Case {
    gate: Gate,
    app: App,
    /// What batches are padded to.
    buckets: Vec<usize>,
}

impl Case {
    fn new(max_batch_size: usize) -> Self {
        Self::padded(max_batch_size, Vec::new())
    }

    fn padded(max_batch_size: usize, buckets: Vec<usize>) -> Self {
        let gate = Gate::default();
        let sizes: Vec<i64> = buckets.iter().map(|size| i64::try_from(*size).expect("a size")).collect();
        let app = kit::app(&gate, |runner| runner.max_batch_size(max_batch_size).set("batch_buckets", sizes));
        Self { gate, app, buckets }
    }

    fn method(&self, name: &str) -> MethodHandle {
        self.app.entry("kit").and_then(|kit| kit.method(name).cloned()).expect("the method")
    }

    /// Calls a method with a JSON body.
    fn call(&self, method: &str, body: &str) -> Result<String, CallError> {
        let method = self.method(method);
        let inputs =
            json::decode(body.as_bytes(), method.signature()).map_err(|e| CallError::invalid_input(e.to_string()))?;
        block_on(method.async_run(inputs, CallOptions::default())).map(|outputs| text(&method, &outputs))
    }

    /// Makes all calls while the executor is held by another one, so that they wait together; returns their answers and
    /// the rows of the batches that they ran in.
    fn together(&self, method: &str, bodies: &[&str]) -> (Vec<Result<String, CallError>>, Vec<usize>) {
        let (name, method) = (method, self.method(method));
        self.gate.batches(name);
        self.gate.close();
        let other = self.method("text");
        let plug = Made::held(other.async_run(Values::from_iter([Value::Text(String::new())]), CallOptions::default()));
        self.gate.wait_for_someone();
        let calls: Vec<_> = bodies
            .iter()
            .map(|body| {
                let inputs = json::decode(body.as_bytes(), method.signature()).expect("the inputs");
                Made::held(method.async_run(inputs, CallOptions::default()))
            })
            .collect();
        self.gate.open();
        plug.answer().expect("the first call is answered");
        let answers = calls.into_iter().map(|call| call.answer().map(|outputs| text(&method, &outputs))).collect();
        (answers, self.gate.batches(name))
    }

    /// Checks what calls are answered, each alone; and that together, in one batch of `rows` rows, they are answered the
    /// same.
    #[track_caller]
    fn check(&self, method: &str, rows: usize, calls: &[(&str, &str)]) {
        for (body, expected) in calls {
            assert_eq!(self.call(method, body).as_deref(), Ok(*expected), "{method} {body}");
        }
        let bodies: Vec<&str> = calls.iter().map(|(body, _)| *body).collect();
        let (answers, batches) = self.together(method, &bodies);
        for ((_, expected), answer) in calls.iter().zip(answers) {
            assert_eq!(answer.as_deref(), Ok(*expected), "{method}, batched");
        }
        let rows = self.buckets.iter().copied().find(|size| *size >= rows).unwrap_or(rows);
        assert_eq!(batches, [rows], "{method}: rows of the batches");
    }
}

/// Outputs as JSON, with their dtypes and shapes checked by the signature.
fn text(method: &MethodHandle, outputs: &Values) -> String {
    let mut body = Vec::new();
    json::encode(method.signature(), outputs, &mut body).expect("the outputs can be written");
    String::from_utf8(body).expect("UTF-8")
}

#[test]
fn batched_or_alone_the_answers_are_the_same() {
    batched_or_alone(&Case::new(100));
}

#[test]
fn padding_does_not_show() {
    batched_or_alone(&Case::padded(100, vec![1, 8, 100]));
    batched_or_alone(&Case::padded(100, vec![5, 100]));
}

fn batched_or_alone(case: &Case) {
    case.check("rank1", 3, &[("[1,2]", "[2.0,4.0]"), ("[0.5]", "[1.0]")]);
    case.check("rank2", 3, &[("[[1,2],[3,4]]", "[[4.0,5.0],[10.0,11.0]]"), ("[[5,6]]", "[[16.0,17.0]]")]);
    case.check("rank3", 2, &[("[[[1,2]]]", "[[[1.0],[2.0]]]"), ("[[[3,4]]]", "[[[3.0],[4.0]]]")]);
    case.check("rank4", 3, &[("[[[[1,2]]],[[[3,4]]]]", "[[1.0,2.0],[3.0,4.0]]"), ("[[[[5,6]]]]", "[[5.0,6.0]]")]);
    case.check("int", 3, &[("[7]", "[8]"), ("[-1,0]", "[0,1]")]);
    case.check(
        "bool",
        3,
        &[("[[true,false]]", "[[false,true]]"), ("[[true,true],[false,false]]", "[[false,false],[true,true]]")],
    );
    case.check("f16", 2, &[("[0.125]", "[0.25]"), ("[1000]", "[2000.0]")]);
    case.check("f64", 2, &[("[0.1]", "[0.2]"), ("[1e300]", "[2e+300]")]);
    case.check("i32", 2, &[("[-1073741824]", "[-2147483648]"), ("[7]", "[14]")]);
    case.check("i64", 3, &[("[9007199254740993]", "[9007199254740994]"), ("[-1,0]", "[0,1]")]);
    case.check("u8", 3, &[("[254,0]", "[255,1]"), ("[7]", "[8]")]);
    case.check("dim1", 3, &[("[[1,2],[3,4]]", "[[2.0,4.0],[6.0,8.0]]"), ("[[5],[6]]", "[[10.0],[12.0]]")]);
    case.check("dim1_to_0", 3, &[("[[1,2],[3,4]]", "[[1.0,3.0],[2.0,4.0]]"), ("[[5],[6]]", "[[5.0,6.0]]")]);
    case.check(
        "mixed",
        3,
        &[
            (
                r#"{"x": [[1],[2]], "n": [10,20], "words": ["a","bc"]}"#,
                r#"{"lengths":[1,2],"scaled":[[10.0],[40.0]],"words":["a","bc"]}"#,
            ),
            (r#"{"words": ["def"], "x": [[3]], "n": [30]}"#, r#"{"lengths":[3],"scaled":[[90.0]],"words":["def"]}"#),
        ],
    );
    case.check("array", 3, &[("[1,2]", "[1.0,2.0]"), ("[3]", "[3.0]")]);
    case.check("array", 3, &[("[[[1]],[[2]]]", "[[[1.0]],[[2.0]]]"), ("[[[3]]]", "[[[3.0]]]")]);
    case.check("array1", 3, &[("[[[1],[2]]]", "[[[1.0],[2.0]]]"), ("[[[3]]]", "[[[3.0]]]")]);
    case.check("list", 4, &[(r#"["a","bc"]"#, "[1,2]"), (r#"["","def"]"#, "[0,3]")]);
}

#[test]
fn what_cannot_be_batched_runs_once_per_call() {
    let case = Case::new(100);
    let check = |method: &str, calls: &[(&str, &str)]| {
        let bodies: Vec<&str> = calls.iter().map(|(body, _)| *body).collect();
        let (answers, batches) = case.together(method, &bodies);
        for ((body, expected), answer) in calls.iter().zip(answers) {
            assert_eq!(answer.as_deref(), Ok(*expected), "{method} {body}");
        }
        assert_eq!(batches, vec![1; calls.len()], "{method}");
    };
    check("json", &[(r#"{"text": "?", "choices": [1, 2]}"#, "[1,2]"), (r#"{"choices": [], "text": ""}"#, "[]")]);
    check("matrix", &[("[[1,2]]", "[[1.0],[2.0]]"), ("[[3],[4]]", "[[3.0,4.0]]")]);
    check("matrix", &[("[[1],[2],[3]]", "[[1.0,2.0,3.0]]")]);
    check("any", &[("7", "7.0"), ("[[7]]", "[[7.0]]")]);
    check("scalar", &[("7", "8.0"), ("8", "9.0")]);
    check("nothing", &[("", r#""something""#), ("{}", r#""something""#)]);
    assert_eq!(case.call("text", r#""straße""#).as_deref(), Ok(r#""STRASSE""#));

    let bytes = case.method("bytes");
    let body = Values::from_iter([Value::Bytes(Bytes::from_static(b"\x00\xff\x01\xfe"))]);
    let halved = Values::from_iter([Value::Bytes(Bytes::from_static(b"\x01\xfe"))]);
    assert_eq!(block_on(bytes.async_run(body, CallOptions::default())), Ok(halved));
}

#[test]
fn calls_of_different_shapes_never_share_a_batch() {
    let case = Case::new(100);
    let check = |method: &str, bodies: &[&str], mut expected: Vec<usize>| {
        let (answers, mut batches) = case.together(method, bodies);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        batches.sort_unstable();
        expected.sort_unstable();
        assert_eq!(batches, expected, "{method} {bodies:?}");
    };
    check("array", &["[[1,2]]", "[[1,2,3]]", "[[4,5],[6,7]]", "[1]", "[[8,9,10]]"], vec![3, 2, 1]);
    check("array1", &["[[1],[2]]", "[[1]]", "[[1,2],[3,4]]"], vec![3, 1]);
    check("rank3", &["[[[1]]]", "[[[1,2]]]"], vec![1, 1]);
}

#[test]
fn a_call_of_more_rows_than_a_batch_holds_is_cut_and_joined() {
    let case = Case::new(4);
    let check = |method: &str, bodies: &[&str], expected: &[&str], batches: &[usize]| {
        let (answers, ran) = case.together(method, bodies);
        let answers: Vec<String> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
        assert_eq!(answers, expected, "{method} {bodies:?}");
        assert_eq!(ran, batches, "{method} {bodies:?}");
    };
    check("int", &["[1,2,3,4,5,6,7,8,9,10]"], &["[2,3,4,5,6,7,8,9,10,11]"], &[4, 4, 2]);
    check("dim1", &["[[1,2,3,4,5],[6,7,8,9,10]]"], &["[[2.0,4.0,6.0,8.0,10.0],[12.0,14.0,16.0,18.0,20.0]]"], &[4, 1]);
    check(
        "dim1_to_0",
        &["[[1,2,3,4,5],[6,7,8,9,10]]"],
        &["[[1.0,6.0],[2.0,7.0],[3.0,8.0],[4.0,9.0],[5.0,10.0]]"],
        &[4, 1],
    );
    check("list", &[r#"["","a","aa","aaa","aaaa"]"#], &["[0,1,2,3,4]"], &[4, 1]);
    // The rest of a cut call has company.
    check("int", &["[0,0,0]", "[1,1,1,1,1,1]", "[2]"], &["[1,1,1]", "[2,2,2,2,2,2]", "[3]"], &[4, 4, 2]);
    // Those that fit are not cut.
    check("int", &["[0,0,0]", "[1,1]", "[2,2]"], &["[1,1,1]", "[2,2]", "[3,3]"], &[3, 4]);
}

#[test]
fn a_call_of_no_rows_is_answered_without_running() {
    let case = Case::new(4);
    let check = |method: &str, body: &str, expected: &str| {
        assert_eq!(case.call(method, body).as_deref(), Ok(expected), "{method}");
        assert!(case.gate.batches(method).is_empty(), "{method} ran");
    };
    check("rank1", "[]", "[]");
    check("list", "[]", "[]");
    check("rank2", "[]", "[]");
    check("dim1", "[[],[]]", "[[],[]]");
    check("dim1_to_0", "[[],[]]", "[]");
    block_on(case.app.shutdown(std::time::Duration::ZERO));
    let stopped = case.call("rank1", "[]").expect_err("the runner has stopped");
    assert_eq!(stopped.code(), "unavailable");
    let empty = Values::from_iter([Array::new(Vec::<f32>::new(), [0, 1, 1, 2]).expect("an array").into()]);
    let unknown = block_on(case.method("rank4").async_run(empty, CallOptions::default()));
    let problem = "the call has no rows, and the size of output \"output\" is not known without running it";
    assert_eq!(unknown, Err(CallError::invalid_input(problem)));
}

#[test]
fn inputs_that_do_not_fit_are_the_callers_error_and_name_the_input() {
    let case = Case::new(4);
    let check = |method: &str, body: &str, expected: &str| {
        let error = case.call(method, body).expect_err("it does not fit");
        assert!(matches!(error.code(), "invalid_input" | "method_invalid_input"), "{error:?}");
        assert_eq!(error.to_string(), expected, "{method} {body}");
    };
    check("array", "7", r#"input "x": expected a batch dimension 0, found a tensor of shape []"#);
    check("array1", "[7]", r#"input "input": expected a batch dimension 1, found a tensor of shape [1]"#);
    check("rank2", "[[1,2,3]]", r#"input "x": expected float32 [any, 2], found float32 [1, 3]"#);
    check("scalar", "[7]", r#"input "x": expected float32 [] (rank 0), found another dimension (byte 0)"#);
    check("any_rank", "[[[1]]]", r#"input "x": expected a tensor of rank 2, found float32 [1, 1, 1]"#);
    check("list", r#"["a", 7]"#, r#"input "words": expected text [any], found a number instead of a text at [1]"#);
    check("json", r#"{"text": 1}"#, r#"input "input": invalid type: integer `1`, expected a string"#);
    check(
        "mixed",
        r#"{"x": [[1],[2]], "n": [1,2,3], "words": ["a","b"]}"#,
        r#"input "n": expected 2 rows, as many as "x" has, found 3"#,
    );
    check(
        "mixed",
        r#"{"x": [[1],[2]], "n": [1,2], "words": ["a"]}"#,
        r#"input "words": expected 2 rows, as many as "x" has, found 1"#,
    );
}

#[test]
fn outputs_that_do_not_fit_are_the_methods_failure_and_name_the_output() {
    let case = Case::new(4);
    let check = |method: &str, body: &str, expected: &str| {
        let error = case.call(method, body).expect_err("its output is wrong");
        assert_eq!((error.code(), error.to_string().as_str()), ("method_failed", expected), "{method}");
    };
    let wrong = "the runnable returned a wrong output \"y\": expected";
    check("lost_row", "[[1,2],[3,4]]", &format!("{wrong} 2 rows along dimension 0, found 1"));
    check("wrong_shape", "[[1,2]]", &format!("{wrong} float32 [any, 2], found float32 [1, 4]"));
    check("wrong_dtype", "[[1,2]]", &format!("{wrong} int64 [any, 2], found float32 [1, 2]"));
}

#[test]
fn an_error_reaches_only_the_call_that_it_is_due_to() {
    let case = Case::new(100);
    let bodies = [r#"["a"]"#, r#"["b","c"]"#, r#"["d","e!"]"#, r#"["f"]"#];
    let (answers, batches) = case.together("picky", &bodies);
    assert_eq!(batches.first(), Some(&6), "all of them ran together first: {batches:?}");
    for (body, answer) in bodies.iter().zip(&answers) {
        match answer {
            Ok(words) => assert_eq!(words, body),
            Err(error) => {
                assert_eq!((error.code(), error.to_string().as_str()), ("method_invalid_input", "\"e!\" is too loud"));
            }
        }
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    assert!(answers[2].is_err());
}

#[test]
fn padding_is_counted_and_told() {
    let gate = Gate::default();
    let app = kit::app(&gate, |runner| runner.max_batch_size(20).set("batch_buckets", vec![4_i64, 16]));
    let server = crate::support::Server::start(&app);
    let warmed: Vec<usize> = gate.batches("rank2");
    assert_eq!(warmed, [[4; 4], [16; 4], [20; 4]].concat(), "each is warmed before the runner is ready");
    assert_eq!(server.post("/v1/runners/kit/rank2", "[[1,2]]").json(), serde_json::json!([[4.0, 5.0]]));
    assert_eq!(gate.batches("rank2"), [4]);
    assert_eq!(
        server.post("/v1/runners/kit/list", r#"["a","bc","d","e","f"]"#).json(),
        serde_json::json!([1, 2, 1, 1, 1])
    );
    assert_eq!(gate.batches("list"), [16]);
    let about = server.get("/v1/runners/kit").json();
    let limits = |name: &str| {
        let methods = about["methods"].as_array().expect("methods");
        methods.iter().find(|method| method["name"] == name).map(|method| method["limits"]["batch_buckets"].clone())
    };
    assert_eq!(limits("rank2"), Some(serde_json::json!([4, 16, 20])));
    assert_eq!(limits("text"), Some(serde_json::json!([])), "what is not batchable is not padded");
    server.counts(&[
        (r#"ekiden_padding_rows_total{runner="kit",method="rank2"}"#, 3.0),
        (r#"ekiden_padding_rows_total{runner="kit",method="list"}"#, 11.0),
        (r#"ekiden_batch_rows_sum{runner="kit",method="list"}"#, 5.0),
        (r#"ekiden_padding_rows_total{runner="kit",method="text"}"#, 0.0),
    ]);
}

#[test]
fn a_bucket_above_the_largest_batch_is_refused() {
    let runner =
        ekiden::Runner::<kit::Kit>::new(Gate::default()).max_batch_size(20).set("batch_buckets", vec![8_i64, 32]);
    let error = App::builder().runner(runner).check().expect_err("no batch is that large").to_string();
    assert!(error.contains("batch_buckets has 32, above max_batch_size = 20: no batch is that large"), "{error}");
}

#[test]
fn a_padding_row_that_fails_fails_nobody_else() {
    let case = Case::padded(100, vec![8, 100]);
    let (answers, batches) = case.together("picky", &[r#"["a"]"#, r#"["b!"]"#]);
    assert_eq!(answers[0].as_deref(), Ok(r#"["a"]"#));
    assert!(answers[1].as_ref().is_err_and(|error| error.to_string().contains("too loud")), "{answers:?}");
    assert_eq!(batches, [8, 8, 8], "{batches:?}: all, and each alone");
}

#[test]
fn a_row_that_fits_without_padding_is_answered() {
    let text = format!(
        "[[runners]]\nname = 'mlp'\nmodel = {:?}\ncpu = 1\nmax_batch_size = 64\nbatch_buckets = [64]\n\
         [runners.params]\nmax_run_memory = '4KiB'\n",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/models/torch_mlp_fixed/model.onnx")
    );
    let app = App::builder().runnable::<ekiden::runner::Onnx>("onnx").config_text(text);
    let server = crate::support::Server::start(&block_on(app.start()).expect("it starts"));
    let row = format!("[{:?}]", vec![0.5; 20]);
    assert_eq!(server.post("/v1/runners/mlp/predict", &row).status, 200);
}
