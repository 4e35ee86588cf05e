//! Methods that fail single rows: their calls alone hear of it, and nothing runs again.

use ekiden::App;
use ekiden::prelude::*;

use crate::support::{Server, block_on};

struct Picky;

impl Runnable for Picky {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("parse", Self::parse).batchable();
        methods.add("root", Self::root).batchable();
        methods
            .add("astray", |_: &Self, x: Tensor<1>| Ok(Rows::new(x).fail(9, MethodError::failed("lost"))))
            .batchable();
    }
}

impl Picky {
    fn parse(&self, words: Vec<String>) -> Result<Rows<Vec<i64>>, MethodError> {
        Ok(words
            .iter()
            .map(|word| word.parse().map_err(|_| MethodError::invalid_input(format!("{word:?} is no number"))))
            .collect())
    }

    fn root(&self, x: Tensor<1>) -> Result<Rows<Tensor<1>>, MethodError> {
        let values: Vec<f32> = x.to_data().try_to_vec().map_err(|error| MethodError::failed(format!("{error:?}")))?;
        let negative = values.iter().enumerate().filter(|(_, value)| **value < 0.0);
        Ok(negative.fold(Rows::new(x.sqrt()), |rows, (row, _)| rows.fail(row, MethodError::failed("it has no root"))))
    }
}

#[test]
fn single_rows_fail_by_themselves() {
    let app =
        block_on(App::builder().runner(Runner::<Picky>::new(()).name("picky").cpu(1.0)).start()).expect("it starts");
    let server = Server::start(&app);
    let post = |method: &str, body: &str| server.post(&format!("/v1/runners/picky/{method}"), body);
    assert_eq!(post("parse", r#"["1","2"]"#).text(), "[1,2]");
    post("parse", r#"["x"]"#).refused(400, "method_invalid_input", &[r#""x" is no number"#]);
    let several = post("parse", r#"["1","y","z"]"#);
    several.refused(400, "method_invalid_input", &[r#"row 1: "y" is no number"#]);
    assert_eq!(post("root", "[4.0,9.0]").text(), "[2.0,3.0]");
    post("root", "[4.0,-1.0]").refused(500, "method_failed", &["row 1: it has no root"]);
    post("astray", "[1.0]").refused(500, "method_failed", &["the runnable failed row 9 of a batch of 1: lost"]);
    let about = server.get("/v1/runners/picky").json();
    assert_eq!(about["restarts"], 0);
    // One run for each call: nobody looks for what is known.
    server.counts(&[(r#"ekiden_batch_rows_count{runner="picky",method="parse"}"#, 3.0)]);
}

#[test]
fn other_calls_of_the_batch_get_their_answers() {
    let local = Runner::<Picky>::new(()).init_local().expect("it opens");
    let numbers: Vec<i64> = local.method("parse").expect("a method").run(vec!["7".to_owned()]).expect("an answer");
    assert_eq!(numbers, [7]);

    let app =
        block_on(App::builder().runner(Runner::<Picky>::new(()).name("picky").cpu(1.0)).start()).expect("it starts");
    let parse = app.runner("picky").expect("it").method::<Vec<String>, Vec<i64>>("parse").expect("it");
    std::thread::scope(|scope| {
        for thread in 0..8_i64 {
            let parse = &parse;
            scope.spawn(move || {
                for n in thread * 40..(thread + 1) * 40 {
                    let word = if n % 4 == 3 { "x".to_owned() } else { n.to_string() };
                    match parse.run(vec![word]) {
                        Ok(numbers) => assert_eq!(numbers, [n]),
                        Err(error) => assert!(n % 4 == 3 && error.to_string() == "\"x\" is no number", "{n}: {error}"),
                    }
                }
            });
        }
    });
}
