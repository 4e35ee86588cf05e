//! Methods that are warmed up before they serve.

use ekiden::prelude::*;

use crate::support::{Gate, block_on};

/// Remembers the rows of each batch; refuses zeros if it is told to.
struct Cold {
    gate: Gate,
}

impl Runnable for Cold {
    type Params = Gate;

    fn open(ctx: &OpenContext<Gate>) -> Result<Self, OpenError> {
        Ok(Self { gate: ctx.params().clone() })
    }

    fn methods(methods: &mut Methods<Self>) {
        let spec = || TensorSpec::f32("x", [None, Some(3)]);
        methods.add("rows", Self::rows).batchable().input(spec()).warm_up();
        methods
            .add("alone", |cold: &Self, x: Tensor<1>| cold.ran("alone", 1, x))
            .input(TensorSpec::f32("x", [Some(2)]))
            .warm_up();
        methods.add("cold", |cold: &Self, x: Tensor<2>| cold.ran("cold", x.dims()[0], x)).batchable().input(spec());
    }
}

impl Cold {
    fn rows(&self, x: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        self.ran("rows", x.dims()[0], x)
    }

    fn ran<T>(&self, what: &str, rows: usize, x: T) -> Result<T, MethodError> {
        self.gate.pass(what, rows);
        Ok(x)
    }
}

#[test]
fn batches_of_zeros_run_before_the_runner_is_ready() {
    let gate = Gate::default();
    let runner = Runner::<Cold>::new(gate.clone()).cpu(1.0).max_batch_size(20);
    let _app = block_on(App::builder().runner(runner).start()).expect("it starts");
    let log = gate.log();
    let of = |what: &str| log.iter().filter(|(done, _)| done == what).map(|&(_, rows)| rows).collect::<Vec<_>>();
    assert_eq!(
        (of("rows"), of("alone"), of("cold")),
        ([[1; 4], [8; 4], [20; 4]].concat(), vec![1; 4], vec![]),
        "{log:?}"
    );
}

/// Divides by what it is given.
struct Picky;

impl Runnable for Picky {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        let refuse = |_: &Self, _: Tensor<1>| Err::<Tensor<1>, _>(MethodError::invalid_input("zero will not do"));
        methods.add("divide", refuse).batchable().input(TensorSpec::f32("x", [None])).warm_up();
    }
}

#[test]
fn a_method_that_refuses_zeros_keeps_its_runner_from_starting() {
    let started = block_on(App::builder().runner(Runner::<Picky>::new(())).start());
    let error = started.expect_err("it cannot start").to_string();
    assert!(error.contains("a warm-up batch of zeros (1 rows) failed: zero will not do"), "{error}");
}

/// Asks for what cannot be made up.
struct Vague;

impl Runnable for Vague {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("words", |_: &Self, words: Vec<String>| Ok(words)).batchable().input("words").warm_up();
    }
}

#[test]
fn only_tensors_of_given_sizes_can_be_made_up() {
    let problem = Runner::<Vague>::new(()).init_local().expect_err("it is declared wrongly").to_string();
    assert!(problem.contains("method \"words\": it cannot be warmed up: input \"words\" is a text [any]"), "{problem}");
}
