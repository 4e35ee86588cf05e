//! The operators, one family a file; and the table that finds them.

mod activation;
mod arithmetic;
mod attention;
mod boxes;
mod constant;
mod control;
mod conv;
mod find;
mod fold;
mod grid;
mod index;
mod layout;
mod logic;
mod loss;
mod matmul;
mod ml;
mod ngram;
mod norm;
mod pool;
mod quantize;
mod random;
mod recurrent;
mod reduce;
mod resize;
mod sequence;
mod signal;
mod text;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::node::Op;

/// Operators of one family, by name.
type Family = &'static [(&'static str, Op)];

/// The default domain.
const ONNX: &[Family] = &[
    activation::OPS,
    arithmetic::OPS,
    attention::OPS,
    boxes::OPS,
    constant::OPS,
    control::OPS,
    conv::OPS,
    find::OPS,
    fold::OPS,
    grid::OPS,
    index::OPS,
    layout::OPS,
    logic::OPS,
    loss::OPS,
    matmul::OPS,
    ngram::OPS,
    norm::OPS,
    pool::OPS,
    quantize::OPS,
    random::OPS,
    recurrent::OPS,
    reduce::OPS,
    resize::OPS,
    sequence::OPS,
    signal::OPS,
    text::OPS,
];

/// `ai.onnx.ml`: what classic models are exported to.
const ML: &[Family] = ml::OPS;

static TABLE: LazyLock<HashMap<(&str, &str), Op>> = LazyLock::new(|| {
    let of = |domain: &'static str, families: &'static [Family]| {
        families.iter().flat_map(|family| family.iter()).map(move |(name, op)| ((domain, *name), *op))
    };
    of("", ONNX).chain(of("ai.onnx.ml", ML)).collect()
});

/// The function of an operator; `None` where it is not supported.
pub(super) fn find(domain: &str, operator: &str) -> Option<Op> {
    TABLE.get(&(domain, operator)).copied()
}

/// All operators, in order, with their domain where that is not the default.
#[cfg(test)]
pub(super) fn names() -> Vec<String> {
    let name = |(domain, name): &(&str, &str)| format!("{domain}.{name}").trim_start_matches('.').to_owned();
    let mut names: Vec<String> = TABLE.keys().map(name).collect();
    names.sort_unstable();
    names
}

/// Whether an operator answers differently each time.
pub(super) fn is_random(operator: &str) -> bool {
    operator.starts_with("Random") || matches!(operator, "Bernoulli" | "Multinomial")
}
