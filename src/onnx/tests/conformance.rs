//! ONNX's own node tests, which come with the Python package `onnx`.
//!
//! `EKIDEN_ONNX_NODE_TESTS` names their folder (`onnx/backend/test/data/node` of the package); without it there is nothing
//! to do. `CONFORMANCE.md` is written anew, operator by operator.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use onnx_ir::{Message, ModelProto, TensorProto, ValueInfoProto};

use super::super::data::{self, Constant, Externals};
use super::super::error::LoadError;
use super::super::file::contained;
use super::super::graph::host;
use super::super::model::load_values;
use super::super::tensor::Tensor;
use super::super::value::Value;
use crate::transfer;
use crate::value::DType;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    NotSupported(String),
}

/// Dtypes that the count is about: floats, integers, booleans of eight bits and more.
fn is_counted(number: i32) -> bool {
    number == 0 || data::dtype(number).is_some()
}

/// The operators that a case is about are those of its name; what counts is the graph: the default domain, opset 13 and
/// later, tensors of floats, integers and booleans.
fn counted(model: &ModelProto) -> bool {
    let domain = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = model.opset_import.iter().find(|set| domain(&set.domain)).map_or(0, |set| set.version);
    let foreign = model.graph.node.iter().any(|node| !domain(&node.domain));
    let ports = model.graph.input.iter().chain(&model.graph.output);
    let tensors = ports.clone().all(|port| {
        let Some(kind) = port.type_.as_ref() else { return false };
        match kind {
            kind if kind.has_tensor_type() => is_counted(kind.tensor_type().elem_type),
            _ => false,
        }
    });
    opset >= 13 && !foreign && tensors
}

/// The tensors of a case. NumPy has no bfloat16: the files hold its bits as uint16, and the graph says what they are.
fn tensors(folder: &Path, what: &str, ports: &[ValueInfoProto]) -> Result<Vec<Option<Constant>>, String> {
    ports
        .iter()
        .enumerate()
        .map(|(at, port)| {
            let path = folder.join(format!("{what}_{at}.pb"));
            let bytes = fs::read(&path).map_err(|error| error.to_string())?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let mut tensor = TensorProto::parse_from_bytes(&bytes).map_err(|error| error.to_string())?;
            let meant = port.type_.tensor_type().elem_type;
            if data::dtype(meant) == Some(DType::BF16) && data::dtype(tensor.data_type) == Some(DType::U16) {
                tensor.data_type = meant;
            }
            data::constant(&tensor, &mut Externals::new(folder)).map(Some)
        })
        .collect()
}

/// NumPy's `allclose` with the tolerances of ONNX's own runner.
fn check(at: usize, found: &Value, expected: &Constant) -> Result<(), String> {
    let problem = |text: String| Err(format!("output {at}: {text}"));
    let (found, expected) = match (found, expected) {
        (Value::Strings(found), Constant::Strings(expected)) if found == expected => return Ok(()),
        (Value::Tensor(found), Constant::Array(expected)) => (found, expected),
        _ => return problem("another kind of value".to_owned()),
    };
    if found.dims().as_slice() != expected.shape().dims() {
        return problem(format!("shape {:?}, expected {:?}", found.dims(), expected.shape().dims()));
    }
    if found.dtype() != expected.dtype() {
        return problem(format!("dtype {}, expected {}", found.dtype(), expected.dtype()));
    }
    let numbers = |data: TensorData| data.convert::<f64>().try_to_vec::<f64>().map_err(|error| format!("{error:?}"));
    let array = found.to_array().map_err(|error| error.to_string())?;
    let (a, b) = (numbers(transfer::whole_data(&array))?, numbers(transfer::whole_data(expected))?);
    let wrong = a.iter().zip(&b).find(|(a, b)| {
        let same = a == b || (a.is_nan() && b.is_nan());
        let close = (*a - *b).abs() <= 1e-7 + 1e-3 * b.abs();
        !(same || close)
    });
    match wrong {
        Some((a, b)) => problem(format!("{a}, expected {b}")),
        None => Ok(()),
    }
}

fn case(folder: &Path, model: &ModelProto) -> Outcome {
    let path = folder.join("model.onnx");
    let graph = match load_values(&path, model) {
        Ok(graph) => graph,
        Err(LoadError::Unsupported { missing, .. }) => return Outcome::NotSupported(missing[0].operator.clone()),
        Err(error) => return Outcome::NotSupported(error.to_string()),
    };
    let mut sets: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    sets.sort();
    for set in sets {
        let read = |what, ports: &[ValueInfoProto]| tensors(&set, what, ports);
        let (inputs, outputs) = match (read("input", &model.graph.input), read("output", &model.graph.output)) {
            (Ok(inputs), Ok(outputs)) => (inputs, outputs),
            (Err(problem), _) | (_, Err(problem)) => return Outcome::NotSupported(problem),
        };
        let value = |constant: Option<Constant>| match constant {
            Some(Constant::Array(array)) => Value::Tensor(Tensor::from_array(&array, &host())),
            Some(Constant::Strings(strings)) => Value::Strings(strings),
            None => Value::Nothing,
        };
        let inputs = inputs.into_iter().map(value).collect();
        let found = match contained(|| graph.run(inputs, &[])) {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if error.to_string().contains("not supported") => {
                return Outcome::NotSupported(error.to_string());
            }
            Ok(Err(error)) => return Outcome::Failed(error.to_string()),
            Err(panic) => return Outcome::Failed(format!("panicked: {panic}")),
        };
        for (at, (found, expected)) in found.iter().zip(&outputs).enumerate() {
            let Some(expected) = expected else { continue };
            if let Err(problem) = check(at, found, expected) {
                return Outcome::Failed(problem);
            }
        }
    }
    Outcome::Passed
}

/// The operator that a case is about: the one that its graph has most of, else the first.
fn operator(model: &ModelProto) -> String {
    let name = model.graph.name.as_str();
    let mut operators: Vec<&str> = model.graph.node.iter().map(|node| node.op_type.as_str()).collect();
    operators.sort_by_key(|operator| {
        let flat = name.strip_prefix("test_").unwrap_or(name).replace('_', "");
        (!flat.starts_with(&operator.to_lowercase()), operator.to_lowercase())
    });
    operators.first().map_or_else(String::new, |operator| (*operator).to_owned())
}

#[test]
fn node_tests() {
    let Some(folder) = std::env::var_os("EKIDEN_ONNX_NODE_TESTS") else {
        println!("EKIDEN_ONNX_NODE_TESTS is not set: ONNX's node tests are not run");
        return;
    };
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of the node tests")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    // What is random is the same each time: what it is compared with was drawn by another generator.
    fastrand::seed(7);
    let mut table: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut reasons = Vec::new();
    for folder in cases {
        let Ok(bytes) = fs::read(folder.join("model.onnx")) else { continue };
        let model = ModelProto::parse_from_bytes(&bytes).expect("one of ONNX's models");
        if !counted(&model) {
            continue;
        }
        let outcome = case(&folder, &model);
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let row = table.entry(operator(&model)).or_default();
        match outcome {
            Outcome::Passed => row[0] += 1,
            Outcome::Failed(reason) => {
                row[1] += 1;
                reasons.push(format!("failed {name}: {reason}"));
            }
            Outcome::NotSupported(reason) => {
                row[2] += 1;
                reasons.push(format!("not supported {name}: {reason}"));
            }
        }
    }
    reasons.iter().for_each(|reason| println!("{reason}"));
    let sum = |at: usize| table.values().map(|row| row[at]).sum::<usize>();
    let (passed, failed, missing) = (sum(0), sum(1), sum(2));
    let all = passed + failed + missing;
    println!("{passed} of {all} passed, {failed} failed, {missing} not supported");
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md"), page(&table, [passed, failed, missing]))
        .expect("written");
    assert!(all > 1000, "only {all} cases were found");
    assert!(passed * 100 >= all * 85, "{passed} of {all} passed");
}

fn page(table: &BTreeMap<String, [usize; 3]>, [passed, failed, missing]: [usize; 3]) -> String {
    let all = passed + failed + missing;
    let mut text = format!(
        "# ONNX conformance\n\nONNX's own node tests (version 1.22.0): the cases of the default domain for opset 13 and later whose inputs and\noutputs are tensors of floats, integers of at least eight bits, and booleans. Written by\n`cargo test --lib onnx::tests::conformance`, which reads them from the folder that `EKIDEN_ONNX_NODE_TESTS` names.\n\n**{passed} of {all} pass** ({:.1} %); {failed} fail, {missing} need what is not supported.\n\n| operator | passed | failed | not supported |\n|---|---:|---:|---:|\n",
        passed as f64 * 100.0 / all.max(1) as f64
    );
    for (operator, [passed, failed, missing]) in table {
        let _ = writeln!(text, "| {operator} | {passed} | {failed} | {missing} |");
    }
    text
}
