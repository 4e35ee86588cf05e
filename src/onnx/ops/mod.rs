//! The operators, one family a file; and the table that finds them.

mod activation;
mod arithmetic;
mod constant;
mod control;
mod conv;
mod index;
mod layout;
mod logic;
mod matmul;
mod ml;
mod norm;
mod pool;
mod reduce;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::node::Op;

/// Operators of one family, by name.
type Family = &'static [(&'static str, Op)];

/// The default domain.
const ONNX: &[Family] = &[
    activation::OPS,
    arithmetic::OPS,
    constant::OPS,
    control::OPS,
    conv::OPS,
    index::OPS,
    layout::OPS,
    logic::OPS,
    matmul::OPS,
    norm::OPS,
    pool::OPS,
    reduce::OPS,
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

/// Whether an operator answers differently each time.
pub(super) fn is_random(operator: &str) -> bool {
    operator.starts_with("Random") || matches!(operator, "Bernoulli" | "Multinomial")
}
