//! Exported models, against what ONNX Runtime answered when they were exported.
//!
//! A model is a folder `NAME` with `model.onnx`, and for each of some batches a folder named after its number of rows, with
//! `input_0`, `input_1`, … and `output_0`, … in the order of the file: `.npy`, or for strings `.json`, a list of rows.
//! `tests/onnx/` has the scripts that write them, and a few small ones in `tests/onnx/models/`. `EKIDEN_ONNX_MODELS` names
//! folders with more, separated by `:`; then those are run instead.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::codec::npy;
use crate::onnx::model::{Given, Model, Session};
use crate::transfer;
use crate::value::{Array, DType, Signature, TensorSpec, Value};

/// How far a number may be off, as a share of the largest of the output. A half has three digits.
fn tolerance(dtype: DType) -> f64 {
    if matches!(dtype, DType::F16 | DType::BF16) { 1e-2 } else { 1e-4 }
}

/// A value of a batch; `None` where there is no such file.
fn read(folder: &Path, stem: &str) -> Option<Value> {
    if let Ok(text) = fs::read(folder.join(format!("{stem}.json"))) {
        return Some(Value::List(serde_json::from_slice(&text).expect("a list of rows")));
    }
    let body = fs::read(folder.join(format!("{stem}.npy"))).ok()?.into();
    let dtypes = [DType::F32, DType::F64, DType::I64, DType::Bool, DType::F16, DType::I32, DType::U8, DType::I8];
    let array = dtypes.into_iter().find_map(|dtype| {
        let inputs = vec![TensorSpec::any_rank("x", dtype).into()];
        npy::decode(&body, &Signature { inputs, outputs: Vec::new(), batching: None, streams: false }).ok()
    });
    Some(array.expect("an array of a known dtype").remove(0))
}

fn all(folder: &Path, what: &str) -> Vec<Value> {
    (0..).map_while(|at| read(folder, &format!("{what}_{at}"))).collect()
}

fn given(value: &Value) -> Given {
    match value {
        Value::Tensor(array) => Given::Tensor(transfer::whole_data(array)),
        Value::List(rows) => Given::Texts(
            rows.iter().map(|row| row.as_str().expect("one string a row").to_owned()).collect(),
            Vec::new(),
        ),
        other => panic!("an input is of kind {}", other.kind()),
    }
}

fn numbers(array: &Array) -> Vec<f64> {
    transfer::whole_data(array).convert::<f64>().try_to_vec().expect("numbers")
}

/// How far `found` is from `expected`, as a share of the largest number.
fn difference(found: &Array, expected: &Array) -> Result<f64, String> {
    if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
        let [a, b] = [found, expected].map(|array| format!("{} of shape {}", array.dtype(), array.shape()));
        return Err(format!("{a}, expected {b}"));
    }
    let (found, wanted) = (numbers(found), numbers(expected));
    let finite = wanted.iter().copied().filter(|number| number.is_finite());
    let scale = finite.fold(0.0, |scale: f64, number| scale.max(number.abs())).max(f64::MIN_POSITIVE);
    let mut worst = 0.0;
    for (at, (a, b)) in found.iter().zip(&wanted).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan());
        let off = if same { 0.0 } else { (a - b).abs() / scale };
        // What is no number is in no range.
        let close = if expected.dtype().is_float() { off <= tolerance(expected.dtype()) } else { same };
        if !close {
            return Err(format!("{a}, expected {b}, at {at}"));
        }
        worst = f64::max(worst, off);
    }
    Ok(worst)
}

fn run(session: &Session, batch: &Path) -> Result<f64, String> {
    let expected = all(batch, "output");
    let inputs = all(batch, "input").iter().map(given).collect();
    let found = session.run(inputs).map_err(|error| error.to_string())?;
    if found.len() != expected.len() || found.is_empty() {
        return Err(format!("{} outputs, expected {}", found.len(), expected.len()));
    }
    let mut worst = 0.0;
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let off = match (found, expected) {
            (Value::Tensor(found), Value::Tensor(expected)) => difference(found, expected),
            (found, expected) if found == expected => Ok(0.0),
            (found, expected) => Err(format!("{found:?}, expected {expected:?}")),
        };
        worst = f64::max(worst, off.map_err(|problem| format!("output {at}: {problem}"))?);
    }
    Ok(worst)
}

/// What is wrong with a model, in lines.
fn check(folder: &Path) -> Vec<String> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let loaded = Model::load(&folder.join("model.onnx"))
        .and_then(|model| model.session(&Device::flex()).map(|session| (model, session)));
    let (model, session) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return vec![format!("{name}: {error}")],
    };
    let mut problems = Vec::new();
    let mut batches: Vec<(usize, PathBuf)> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path)))
        .collect();
    batches.sort();
    let mut line = format!("{name:36}");
    for (rows, batch) in &batches {
        match run(&session, batch) {
            Ok(worst) => line += &format!(" {rows}: {worst:.1e}"),
            Err(problem) => problems.push(format!("{name}: batch of {rows}: {problem}")),
        }
    }
    println!("{line}");
    if batches.is_empty() {
        problems.push(format!("{name}: there are no batches"));
    }
    // Where the range of all rows sets a scale, rows do depend on each other.
    match (model.describe(&session).unbatched, name.contains("dynamic")) {
        (Some(reason), false) => problems.push(format!("{name}: it is not batched: {reason}")),
        (None, true) => problems.push(format!("{name}: it is batched, and must not be")),
        _ => {}
    }
    problems
}

#[test]
fn exported_models_answer_as_onnx_runtime_does() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/models");
    let roots = match std::env::var_os("EKIDEN_ONNX_MODELS") {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => vec![own],
    };
    let mut folders: Vec<PathBuf> = roots
        .iter()
        .flat_map(|root| fs::read_dir(root).expect("a folder of models"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("model.onnx").is_file())
        .collect();
    folders.sort();
    let problems: Vec<String> = folders.iter().flat_map(|folder| check(folder)).collect();
    problems.iter().for_each(|problem| println!("{problem}"));
    assert!(!folders.is_empty(), "there are no models");
    assert!(problems.is_empty(), "{} problems, in {} models", problems.len(), folders.len());
}
