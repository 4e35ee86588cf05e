//! Typed handles in every surrounding, and runnables without actors.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ekiden::prelude::*;
use ekiden::value::Array;

use crate::iris::IrisClf;
use crate::kit::{self, Kit, Question};
use crate::support::{Gate, Made, block_on};

const FLOWER: [[f32; 4]; 1] = [[5.1, 3.5, 1.4, 0.2]];

fn matrix<const N: usize>(rows: [[f32; N]; 1]) -> Tensor<2> {
    Tensor::from_floats(rows, &Device::flex())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("floats")
}

#[test]
fn rust_types_go_in_and_come_out() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let kit = app.runner("kit").expect("the runner");
    let device = Device::flex();

    let rank2 = kit.method::<Tensor<2>, Tensor<2>>("rank2").expect("the method");
    assert_eq!(floats(rank2.run(matrix([[1.0, 2.0]])).expect("an answer")), [4.0, 5.0]);
    let none = rank2.run(Tensor::empty([0, 2], &device)).expect("an answer");
    assert_eq!(none.dims(), [0, 2]);

    let mixed = kit
        .method::<(Tensor<2>, Tensor<1, Int>, Vec<String>), (Vec<usize>, Tensor<2>, Vec<String>)>("mixed")
        .expect("the method");
    let words = vec!["a".to_owned(), "bc".to_owned()];
    let x = Tensor::from_floats([[1.0], [2.0]], &device);
    let (lengths, scaled, same) =
        mixed.run((x, Tensor::from_ints([10, 20], &device), words.clone())).expect("an answer");
    assert_eq!((lengths, floats(scaled), same), (vec![1, 2], vec![10.0, 40.0], words));

    let half = kit.method::<Array, Array>("f16").expect("the method");
    let one = Array::new(vec![half::f16::ONE], [1]).expect("an array");
    assert_eq!(half.run(one).expect("an answer").to_vec::<half::f16>(), Some(vec![half::f16::from_f32(2.0)]));

    let not = kit.method::<Tensor<2, Bool>, Tensor<2, Bool>>("bool").expect("the method");
    let data = not.run(Tensor::from_data([[true, false]], &device)).expect("an answer").into_data();
    assert_eq!(data.iter::<bool>().collect::<Vec<_>>(), [false, true]);

    let json = kit.method::<Json<Question>, Json<Vec<u8>>>("json").expect("the method");
    let question = Question { text: "?".to_owned(), choices: vec![1, 2] };
    assert_eq!(json.run(Json(question)), Ok(Json(vec![1, 2])));

    let nothing = kit.method::<(), String>("nothing").expect("the method");
    assert_eq!(nothing.run(()).as_deref(), Ok("something"));
    let upper = kit.method::<String, String>("text").expect("the method");
    assert_eq!(upper.run("a".to_owned()), Ok("A".to_owned()));

    let bytes = kit.method::<Bytes, Bytes>("bytes").expect("the method");
    assert_eq!(bytes.run(Bytes::from_static(b"\x00\xff")), Ok(Bytes::from_static(b"\xff")));

    let scalar = kit.method::<Tensor<1>, Tensor<1>>("scalar").expect("the method");
    assert_eq!(floats(scalar.run(Tensor::from_floats([7.0], &device)).expect("an answer")), [8.0]);
}

#[test]
fn handles_of_wrong_types_are_refused() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let kit = app.runner("kit").expect("the runner");
    macro_rules! check {
        ($inputs:ty => $outputs:ty, $method:literal, $expected:expr) => {{
            let error = kit.method::<$inputs, $outputs>($method).expect_err("it has other types");
            assert_eq!(error.to_string(), $expected);
        }};
    }
    let of = |method: &str, problem: &str| format!("method \"{method}\" of runner \"kit\": {problem}");
    check!(Tensor<3> => Tensor<2>, "rank2", of("rank2", "its input \"x\" is a float32 [any, 2], not a Tensor<3, Float>"));
    check!(Tensor<2, Int> => Tensor<2>, "rank2", of("rank2", "its input \"x\" is a float32 [any, 2], not a Tensor<2, Int>"));
    check!(Tensor<2> => Tensor<1>, "rank2", of("rank2", "its output \"y\" is a float32 [any, 2], not a Tensor<1, Float>"));
    check!(Tensor<2> => Vec<f32>, "rank2", of("rank2", "its output \"y\" is a float32 [any, 2], not a list"));
    check!(String => Vec<usize>, "list", of("list", "its input \"words\" is a text [any], not a text"));
    check!((Tensor<2>, Tensor<1, Int>) => Vec<usize>, "mixed", of("mixed", "it has 3 inputs, not 2"));
    check!(Tensor<2> => (Tensor<2>, Tensor<2>), "rank2", of("rank2", "it has 1 outputs, not 2"));
    let unknown = kit.method::<Tensor<2>, Tensor<2>>("rank22").expect_err("there is none").to_string();
    assert!(unknown.starts_with("runner \"kit\" has no method \"rank22\"; did you mean \"rank2\"?"), "{unknown}");
    let unknown = app.runner("kitt").expect_err("there is none").to_string();
    assert_eq!(unknown, "there is no runner \"kitt\"; did you mean \"kit\"?; there are: kit");
}

#[test]
fn answers_of_another_shape_than_the_handles_are_errors() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let array = app.runner("kit").expect("the runner").method::<Tensor<3>, Tensor<2>>("array").expect("any rank fits");
    let error = array.run(Tensor::ones([1, 1, 1], &Device::flex())).expect_err("the answer has rank 3");
    assert_eq!(error.to_string(), "expected a tensor of rank 2, found float32 [1, 1, 1]");
}

#[test]
fn calls_work_in_every_surrounding() {
    let app = block_on(App::builder().runnable::<IrisClf>("iris_clf").config_text(IRIS).start()).expect("it starts");
    let predict = app.runner("iris_clf").expect("the runner");
    let predict = predict.method::<Tensor<2>, Tensor<2>>("predict").expect("the method");
    let is_setosa = |answer: Result<Tensor<2>, CallError>| floats(answer.expect("an answer"))[0] > 0.9;

    assert!(is_setosa(predict.run(matrix(FLOWER))), "a plain thread");
    assert!(is_setosa(block_on(predict.async_run(matrix(FLOWER)))), "a tokio runtime of one thread");
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let task = tokio.spawn({
        let predict = predict.clone();
        async move { predict.async_run(matrix(FLOWER)).await }
    });
    assert!(is_setosa(tokio.block_on(task).expect("no panic")), "a task of a tokio runtime of several threads");
    let answer = actix_web::rt::System::new().block_on(predict.async_run(matrix(FLOWER)));
    assert!(is_setosa(answer), "an actix system");

    let inside = |answer: Result<Tensor<2>, CallError>| answer.expect_err("it would block");
    assert_eq!(inside(tokio.block_on(async { predict.run(matrix(FLOWER)) })), CallError::InsideRuntime);
    let actix = actix_web::rt::System::new().block_on(async { predict.run(matrix(FLOWER)) });
    assert_eq!(inside(actix), CallError::InsideRuntime);
}

const IRIS: &str = "[[runners]]\nname = 'iris_clf'\ncpu = 1\n";

#[test]
fn a_call_that_is_late_or_dropped_never_runs() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner);
    let kit = app.runner("kit").expect("the runner");
    let text = kit.method::<String, String>("text").expect("the method");
    let plug = Made::held(text.async_run("first".to_owned()));
    gate.wait_for_someone();
    let late = text.clone().timeout(Duration::from_millis(1));
    assert_eq!(
        block_on(late.async_run("late".to_owned())),
        Err(CallError::DeadlineExceeded { timeout: Duration::from_millis(1), expected: None })
    );
    drop(Made::held(text.async_run("dropped".to_owned())));
    let last = Made::held(text.async_run("last".to_owned()));
    gate.open();
    assert_eq!((plug.answer(), last.answer()), (Ok("FIRST".to_owned()), Ok("LAST".to_owned())));
    assert_eq!(gate.batches("text"), [1, 1], "the first and the last");
}

#[test]
fn a_local_runner_answers_as_a_served_one_and_says_what_it_is() {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(written.clone()).finish();
    let local = tracing::subscriber::with_default(subscriber, || Runner::<Kit>::new(Gate::default()).init_local());
    let local = local.expect("it opens");
    let log = written.text();
    assert_eq!(log.matches(" WARN ").count(), 2, "{log}");
    assert!(log.contains("init_local is for testing and debugging only"), "{log}");
    assert!(log.contains("init_local ignores the runner's resources, strategy and limits"), "{log}");

    let rank2 = local.method("rank2").expect("the method");
    assert_eq!(floats(rank2.run::<_, Tensor<2>>(matrix([[1.0, 2.0]])).expect("an answer")), [4.0, 5.0]);
    let lengths = local.method("list").expect("the method").run(vec!["a".to_owned()]);
    assert_eq!(lengths, Ok(vec![1_usize]));
    let scalar = local.method("scalar").expect("the method");
    let one = scalar.run::<_, Tensor<1>>(Tensor::<1>::ones([1], &Device::flex()));
    assert_eq!(floats(one.expect("an answer")), [2.0]);

    let wrong = rank2.run::<_, Tensor<2>>(matrix([[1.0, 2.0, 3.0]])).expect_err("it does not fit");
    assert_eq!(wrong, CallError::invalid_input("input \"x\": expected float32 [any, 2], found float32 [1, 3]"));
    let wrong = rank2.run::<_, String>(matrix([[1.0, 2.0]])).expect_err("it has another type").to_string();
    assert_eq!(wrong, "method \"rank2\": its output \"y\" is a float32 [any, 2], not a text");
    let unknown = local.method("rank22").expect_err("there is none").to_string();
    assert!(unknown.starts_with("the runnable has no method \"rank22\"; did you mean \"rank2\"?"), "{unknown}");
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
