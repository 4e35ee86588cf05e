//! Operators that ONNX's counted node tests do not reach: sequences, strings, chance; and what those get wrong.

use std::path::Path;
use std::slice::from_ref;

use onnx_ir::{AttributeProto, AttributeType, ModelProto, NodeProto};

use super::super::graph::host;
use super::super::model::load_values;
use super::super::tensor::Tensor;
use super::super::value::{Strings, Value};

/// An attribute's value.
#[derive(Clone, Copy)]
pub(super) enum Is<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Floats(&'a [f32]),
    Text(&'a str),
    Texts(&'a [&'a str]),
}

pub(super) fn attribute(name: &str, value: Is<'_>) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    let kind = match value {
        Is::Int(i) => {
            proto.i = i;
            AttributeType::INT
        }
        Is::Float(f) => {
            proto.f = f;
            AttributeType::FLOAT
        }
        Is::Ints(ints) => {
            proto.ints = ints.to_vec();
            AttributeType::INTS
        }
        Is::Floats(floats) => {
            proto.floats = floats.to_vec();
            AttributeType::FLOATS
        }
        Is::Text(text) => {
            proto.s = text.as_bytes().to_vec().into();
            AttributeType::STRING
        }
        Is::Texts(texts) => {
            proto.strings = texts.iter().map(|text| text.as_bytes().to_vec().into()).collect();
            AttributeType::STRINGS
        }
    };
    proto.type_ = kind.into();
    proto
}

/// What one node of this operator makes of its inputs; `None` is an input that is not given.
fn try_run(operator: &str, attributes: &[(&str, Is<'_>)], inputs: &[Option<Value>]) -> Result<Vec<Value>, String> {
    let outputs = match operator {
        "StringSplit" | "Attention" | "RNN" | "GRU" | "LSTM" => 2,
        _ => 1,
    };
    let mut model = ModelProto::default();
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 23;
    let graph = model.graph.mut_or_insert_default();
    let mut node = NodeProto { op_type: operator.to_owned(), ..NodeProto::default() };
    node.attribute = attributes.iter().map(|(name, value)| attribute(name, *value)).collect();
    for (at, input) in inputs.iter().enumerate() {
        node.input.push(input.as_ref().map_or_else(String::new, |_| format!("in{at}")));
        if input.is_some() {
            graph.input.push(Default::default());
            graph.input.last_mut().expect("just pushed").name = format!("in{at}");
        }
    }
    for at in 0..outputs {
        node.output.push(format!("out{at}"));
        graph.output.push(Default::default());
        graph.output[at].name = format!("out{at}");
    }
    graph.node.push(node);
    let graph = load_values(Path::new("test.onnx"), &model).map_err(|error| error.to_string())?;
    graph.run(inputs.iter().flatten().cloned().collect(), &[]).map_err(|error| error.to_string())
}

fn run(operator: &str, attributes: &[(&str, Is<'_>)], inputs: &[Value]) -> Value {
    let inputs: Vec<Option<Value>> = inputs.iter().cloned().map(Some).collect();
    try_run(operator, attributes, &inputs).expect("an output").swap_remove(0)
}

fn floats(values: &[f32], dims: &[usize]) -> Value {
    Tensor::new(values.to_vec(), dims, &host()).expect("a tensor").into()
}

/// Numbers that are all different.
fn ramp(dims: &[usize]) -> Value {
    let count: usize = dims.iter().product();
    floats(&(0..count).map(|at| ((at * 37 % 101) as f32 - 50.0) / 40.0).collect::<Vec<_>>(), dims)
}

fn int(value: i64) -> Value {
    Tensor::new(vec![value], &[], &host()).expect("a tensor").into()
}

fn strings(items: &[&str], dims: &[usize]) -> Value {
    Strings::new(items.iter().map(|item| (*item).to_owned()).collect(), dims.to_vec()).into()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.clone().tensor().expect("a tensor").floats().expect("numbers")
}

fn dims(value: &Value) -> Vec<usize> {
    value.clone().tensor().expect("a tensor").dims().to_vec()
}

/// The only numbers of the tensors of a sequence.
fn sequence(value: Value) -> Vec<f64> {
    value.sequence().expect("a sequence").iter().flat_map(numbers).collect()
}

fn texts(value: Value) -> (Vec<String>, Vec<usize>) {
    let strings = value.strings().expect("strings");
    (strings.items.to_vec(), strings.dims)
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?}\n{b:?}");
}

#[test]
fn a_sequence_is_changed_at_either_end_and_within() {
    let abc = run("SequenceConstruct", &[], &[ramp(&[1]), floats(&[7.0], &[1]), floats(&[9.0], &[1])]);
    let a = -1.25;
    assert_eq!(numbers(&run("SequenceLength", &[], from_ref(&abc))), [3.0]);
    assert_eq!(numbers(&run("SequenceAt", &[], &[abc.clone(), int(0)])), [a]);
    assert_eq!(numbers(&run("SequenceAt", &[], &[abc.clone(), int(-1)])), [9.0]);
    let new = floats(&[1.0], &[1]);
    let with = |at: Option<i64>| {
        let mut inputs = vec![abc.clone(), new.clone()];
        inputs.extend(at.map(int));
        sequence(run("SequenceInsert", &[], &inputs))
    };
    assert_eq!(with(None), [a, 7.0, 9.0, 1.0]);
    assert_eq!(with(Some(0)), [1.0, a, 7.0, 9.0]);
    assert_eq!(with(Some(-1)), [a, 7.0, 1.0, 9.0]);
    assert_eq!(with(Some(3)), [a, 7.0, 9.0, 1.0]);
    assert_eq!(sequence(run("SequenceErase", &[], from_ref(&abc))), [a, 7.0]);
    assert_eq!(sequence(run("SequenceErase", &[], &[abc.clone(), int(-2)])), [a, 9.0]);
    for (operator, at) in [("SequenceAt", 3), ("SequenceAt", -4), ("SequenceErase", 3)] {
        let refused = try_run(operator, &[], &[Some(abc.clone()), Some(int(at))]).expect_err("no such place");
        assert!(refused.contains(&format!("there is nothing at {at} of a sequence of 3")), "{refused}");
    }
    let refused = try_run("SequenceInsert", &[], &[Some(abc), Some(new), Some(int(4))]).expect_err("no such place");
    assert!(refused.contains("at 4 of a sequence of 3"), "{refused}");
    let empty = run("SequenceEmpty", &[], &[]);
    assert_eq!(numbers(&run("SequenceLength", &[], from_ref(&empty))), [0.0]);
    assert!(try_run("SequenceErase", &[], &[Some(empty)]).is_err());
}

#[test]
fn what_is_split_into_a_sequence_is_joined_again() {
    let x = ramp(&[5, 2]);
    let parts = run("SplitToSequence", &[], &[x.clone(), int(2)]);
    let lengths: Vec<usize> = parts.clone().sequence().expect("a sequence").iter().map(|part| dims(part)[0]).collect();
    assert_eq!(lengths, [2, 2, 1]);
    assert_eq!(numbers(&run("ConcatFromSequence", &[("axis", Is::Int(0))], &[parts])), numbers(&x));
    let rows = run("SplitToSequence", &[("keepdims", Is::Int(0))], from_ref(&x));
    assert_eq!(dims(&rows.clone().sequence().expect("a sequence")[4]), [2]);
    let stacked = run("ConcatFromSequence", &[("axis", Is::Int(-2)), ("new_axis", Is::Int(1))], &[rows]);
    assert_eq!((dims(&stacked), numbers(&stacked)), (vec![5, 2], numbers(&x)));
    let lengths = Tensor::new(vec![1_i64, 3], &[2], &host()).expect("a tensor").into();
    let refused = try_run("SplitToSequence", &[], &[Some(x), Some(lengths)]).expect_err("one row is left");
    assert!(refused.contains("parts of lengths [1, 3] are not the 5 of dimension 0"), "{refused}");
}

#[test]
fn an_optional_value_says_whether_it_is_there() {
    let there =
        |value: Option<Value>| numbers(&try_run("OptionalHasElement", &[], &[value]).expect("an output")[0]) == [1.0];
    assert!(there(Some(run("Optional", &[], &[int(3)]))));
    assert!(!there(Some(run("Optional", &[], &[]))));
    assert!(!there(None));
    assert_eq!(numbers(&run("OptionalGetElement", &[], &[int(3)])), [3.0]);
    let refused = try_run("OptionalGetElement", &[], &[Some(Value::Nothing)]).expect_err("it is not there");
    assert!(refused.contains("is not there"), "{refused}");
}

#[test]
fn strings_are_joined_split_and_cleaned() {
    let (items, shape) =
        texts(run("StringConcat", &[], &[strings(&["a", "b", "c", "d"], &[2, 2]), strings(&["x", "y"], &[2])]));
    assert_eq!((items.join(" ").as_str(), shape.as_slice()), ("ax by cx dy", &[2, 2][..]));
    let (items, shape) = texts(run("StringConcat", &[], &[strings(&["x", "y"], &[2, 1]), strings(&["a", "b"], &[2])]));
    assert_eq!((items.join(" ").as_str(), shape.as_slice()), ("xa xb ya yb", &[2, 2][..]));
    let split = |text: &str, attributes: &[(&str, Is<'_>)]| {
        let outputs = try_run("StringSplit", attributes, &[Some(strings(&[text, "z"], &[2]))]).expect("outputs");
        let (items, shape) = texts(outputs[0].clone());
        assert_eq!(shape, [2, items.len() / 2]);
        (items[..shape[1]].join("|"), numbers(&outputs[1])[0])
    };
    assert_eq!(split(" a  b c ", &[]), ("a|b|c".to_owned(), 3.0));
    assert_eq!(split(" a  b c ", &[("maxsplit", Is::Int(1))]), ("a|b c ".to_owned(), 2.0));
    assert_eq!(split("a,,b", &[("delimiter", Is::Text(","))]), ("a||b".to_owned(), 3.0));
    let (delimiter, once) = (("delimiter", Is::Text(",")), ("maxsplit", Is::Int(1)));
    assert_eq!(split("a,,b", &[delimiter, once]), ("a|,b".to_owned(), 2.0));
    let days = strings(&["Monday", "monday", "friday"], &[1, 3]);
    let stops = ("stopwords", Is::Texts(&["MONDAY"]));
    let upper = ("case_change_action", Is::Text("UPPER"));
    assert_eq!(
        texts(run("StringNormalizer", &[stops, upper], from_ref(&days))),
        (vec!["FRIDAY".to_owned()], vec![1, 1])
    );
    let exact = ("is_case_sensitive", Is::Int(1));
    assert_eq!(texts(run("StringNormalizer", &[stops, exact], &[days])).0.len(), 3);
    let only = strings(&["Monday"], &[1]);
    assert_eq!(texts(run("StringNormalizer", &[stops], &[only])), (vec![String::new()], vec![1]));
    let pattern = ("pattern", Is::Text("a|ab"));
    assert_eq!(numbers(&run("RegexFullMatch", &[pattern], &[strings(&["a", "ab", "abc"], &[3])])), [1.0, 1.0, 0.0]);
    let wrong = [("pattern", Is::Text("("))];
    assert!(try_run("RegexFullMatch", &wrong, &[Some(strings(&["a"], &[1]))]).is_err());
}

#[test]
fn runs_of_words_are_counted_and_weighed() {
    let words = strings(&["a", "b", "a", "b", "c", "a"], &[2, 3]);
    let attributes = |mode| {
        [
            ("pool_strings", Is::Texts(&["a", "c", "a", "b", "b", "a"])),
            ("ngram_counts", Is::Ints(&[0, 2])),
            ("ngram_indexes", Is::Ints(&[3, 2, 1, 0])),
            ("min_gram_length", Is::Int(1)),
            ("max_gram_length", Is::Int(2)),
            ("max_skip_count", Is::Int(1)),
            ("weights", Is::Floats(&[0.5, 2.0, 3.0, 4.0])),
            ("mode", Is::Text(mode)),
        ]
    };
    let of = |mode| numbers(&run("TfIdfVectorizer", &attributes(mode), from_ref(&words)));
    // "b a" is in the first row side by side, and in the second with "c" between.
    assert_eq!(of("TF"), [1.0, 1.0, 0.0, 2.0, 1.0, 0.0, 1.0, 1.0]);
    assert_eq!(of("IDF"), [4.0, 3.0, 0.0, 0.5, 4.0, 0.0, 2.0, 0.5]);
    assert_eq!(of("TFIDF"), [4.0, 3.0, 0.0, 1.0, 4.0, 0.0, 2.0, 0.5]);
}

#[test]
fn a_seed_draws_the_same_numbers_again() {
    let shape = ("shape", Is::Ints(&[10_000]));
    let seed = ("seed", Is::Float(5.0));
    let normal = [shape, seed, ("mean", Is::Float(3.0)), ("scale", Is::Float(2.0))];
    let drawn = numbers(&run("RandomNormal", &normal, &[]));
    assert_eq!(drawn, numbers(&run("RandomNormal", &normal, &[])));
    let mean = drawn.iter().sum::<f64>() / 1e4;
    let deviation = (drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1e4).sqrt();
    assert!((mean - 3.0).abs() < 0.1 && (deviation - 2.0).abs() < 0.1, "{mean} {deviation}");
    let uniform = [shape, ("low", Is::Float(-1.0)), ("high", Is::Float(4.0))];
    let drawn = numbers(&run("RandomUniform", &uniform, &[]));
    assert!(drawn.iter().all(|value| (-1.0..=4.0).contains(value)));
    assert!((drawn.iter().sum::<f64>() / 1e4 - 1.5).abs() < 0.1);
    assert_ne!(drawn, numbers(&run("RandomUniform", &uniform, &[])));
    let chances = floats(&[0.0, 1.0, 0.25].repeat(4000), &[4000, 3]);
    let hits = numbers(&run("Bernoulli", &[seed], &[chances]));
    let share = |at: usize| hits.iter().skip(at).step_by(3).sum::<f64>() / 4000.0;
    assert!(share(0) == 0.0 && share(1) == 1.0 && (share(2) - 0.25).abs() < 0.05, "{}", share(2));
    let scores = floats(&[0.0, f32::NEG_INFINITY, 3.0_f32.ln()], &[1, 3]);
    let classes = numbers(&run("Multinomial", &[seed, ("sample_size", Is::Int(4000))], &[scores]));
    let share = |class: f64| classes.iter().filter(|&&drawn| drawn == class).count() as f64 / 4000.0;
    assert!(share(1.0) == 0.0 && (share(2.0) - 0.75).abs() < 0.05, "{}", share(2.0));
}

#[test]
fn transforms_of_any_length_are_sums_over_roots() {
    for length in [1_usize, 2, 7, 12, 15, 16, 30] {
        let x = ramp(&[1, length, 1]);
        let signal = numbers(&x);
        let found = run("DFT", &[], from_ref(&x));
        let expected = (0..length).flat_map(|k| {
            let angle = |n: usize| -2.0 * std::f64::consts::PI * (k * n) as f64 / length as f64;
            let sum = |part: fn(f64) -> f64| signal.iter().enumerate().map(|(n, x)| x * part(angle(n))).sum::<f64>();
            [sum(f64::cos), sum(f64::sin)]
        });
        close(&numbers(&found), &expected.collect::<Vec<_>>());
        let back = run("DFT", &[("inverse", Is::Int(1))], &[found]);
        close(&numbers(&back).into_iter().step_by(2).collect::<Vec<_>>(), &signal);
    }
    let refused = try_run("DFT", &[], &[Some(ramp(&[1, 4, 1])), Some(int(1_000_000_007))]).expect_err("a large prime");
    assert!(refused.contains("more than"), "{refused}");
}

/// Of three dimensions, a token's heads lie side by side. (ONNX 1.18's own tests have it otherwise; 1.19 corrects them.)
#[test]
fn attention_of_three_dimensions_is_attention_of_four() {
    let four = [ramp(&[2, 4, 3, 5]), ramp(&[2, 2, 6, 5]), ramp(&[2, 2, 6, 7])];
    let expected = run("Attention", &[("is_causal", Is::Int(1))], &four);
    let flat = |x: &Value| -> Value {
        let x = x.clone().tensor().expect("a tensor").permute(&[0, 2, 1, 3]).expect("four dimensions");
        let dims = x.dims();
        x.reshape(&[dims[0], dims[1], dims[2] * dims[3]]).expect("a shape").into()
    };
    let heads = [("q_num_heads", Is::Int(4)), ("kv_num_heads", Is::Int(2)), ("is_causal", Is::Int(1))];
    let found = run("Attention", &heads, &four.each_ref().map(flat));
    assert_eq!(dims(&found), [2, 3, 28]);
    close(&numbers(&found), &numbers(&flat(&expected)));
}

/// Queries that share a key are neighbours: 0 and 1 the first, 2 and 3 the second.
#[test]
fn attention_shares_keys_among_neighbours() {
    let [query, key, value] = [ramp(&[1, 4, 3, 5]), ramp(&[1, 2, 6, 5]), ramp(&[1, 2, 6, 7])];
    let repeated = |x: &Value| -> Value {
        let x = x.clone().tensor().expect("a tensor");
        let head = |at: usize| x.clone().slice(1, at, at + 1, 1).expect("a head");
        Tensor::cat(vec![head(0), head(0), head(1), head(1)], 1).expect("four heads").into()
    };
    let found = run("Attention", &[], &[query.clone(), key.clone(), value.clone()]);
    let expected = run("Attention", &[], &[query, repeated(&key), repeated(&value)]);
    close(&numbers(&found), &numbers(&expected));
}

#[test]
fn nothing_is_left_of_what_is_shifted_by_all_its_bits() {
    let shift = |direction: &str, values: Vec<u32>, by: Vec<u32>| {
        let tensor = |values: Vec<u32>| {
            let length = values.len();
            Value::from(Tensor::new(values, &[length], &host()).expect("a tensor"))
        };
        numbers(&run("BitShift", &[("direction", Is::Text(direction))], &[tensor(values), tensor(by)]))
    };
    let by = vec![0, 1, 31, 32, 33, u32::MAX];
    assert_eq!(shift("LEFT", vec![3; 6], by.clone()), [3.0, 6.0, 2_147_483_648.0, 0.0, 0.0, 0.0]);
    assert_eq!(shift("RIGHT", vec![u32::MAX; 6], by), [4_294_967_295.0, 2_147_483_647.0, 1.0, 0.0, 0.0, 0.0]);
    let wide = |value: u64| Value::from(Tensor::new(vec![value], &[1], &host()).expect("a tensor"));
    assert_eq!(numbers(&run("BitShift", &[("direction", Is::Text("RIGHT"))], &[wide(1 << 40), wide(40)])), [1.0]);
    assert_eq!(numbers(&run("BitShift", &[("direction", Is::Text("RIGHT"))], &[wide(1 << 40), wide(64)])), [0.0]);
}

#[test]
fn a_sequence_without_steps_leaves_the_state_as_it_was() {
    for (operator, gates) in [("RNN", 1), ("GRU", 3), ("LSTM", 4)] {
        for (direction, directions) in [("forward", 1), ("bidirectional", 2)] {
            let (input, hidden) = (3, 2);
            let state = ramp(&[directions, 5, hidden]);
            let mut inputs = vec![
                Some(floats(&[], &[0, 5, input])),
                Some(ramp(&[directions, gates * hidden, input])),
                Some(ramp(&[directions, gates * hidden, hidden])),
                None,
                None,
                Some(state.clone()),
            ];
            let attributes = [("hidden_size", Is::Int(hidden as i64)), ("direction", Is::Text(direction))];
            let found = try_run(operator, &attributes, &inputs).unwrap_or_else(|error| panic!("{operator}: {error}"));
            assert_eq!(dims(&found[0]), [0, directions, 5, hidden], "{operator} {direction}");
            assert_eq!(numbers(&found[1]), numbers(&state), "{operator} {direction}");
            inputs[5] = None;
            let found = try_run(operator, &attributes, &inputs).unwrap_or_else(|error| panic!("{operator}: {error}"));
            assert_eq!(numbers(&found[1]), vec![0.0; directions * 5 * hidden], "{operator} {direction}");
        }
    }
}
