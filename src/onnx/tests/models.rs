//! Models as they are exported, against what ONNX Runtime answers.
//!
//! `EKIDEN_ONNX_MODELS` names folders, separated by `:`, that `tests/onnx/export.py` and its like have written:
//! `NAME/model.onnx`, and `NAME/ROWS/{input,output}_I.npy` for batches of 1, 3 and 64 rows. Without it, the models that come
//! with the project are run, in `tests/onnx/models`.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::super::model::{Given, Model, Session};
use crate::codec::Format;
use crate::transfer;
use crate::value::{Array, DType, Signature, TensorSpec, Value};

/// What the answers may differ by, relative to the largest number of an output.
fn tolerance(output: &Array, narrow: bool) -> f64 {
    match output.dtype() {
        DType::F16 | DType::BF16 => 1e-2,
        // Within the graph, one step of an integer more or less.
        _ if narrow => 2e-2,
        _ => 1e-4,
    }
}

/// An array of the dtype that the file says.
fn array(path: &Path) -> Option<Array> {
    let bytes = fs::read(path).ok()?;
    let header = String::from_utf8_lossy(&bytes[..bytes.len().min(128)]).into_owned();
    let names = [
        ("<f4", DType::F32),
        ("<f2", DType::F16),
        ("<f8", DType::F64),
        ("<i8", DType::I64),
        ("<i4", DType::I32),
        ("|b1", DType::Bool),
        ("|u1", DType::U8),
        ("|i1", DType::I8),
    ];
    let (_, dtype) = names.into_iter().find(|(name, _)| header.contains(name)).unwrap_or_else(|| panic!("{header}"));
    let inputs = vec![TensorSpec::any_rank("array", dtype).into()];
    let signature = Signature { inputs, outputs: Vec::new(), batching: None };
    let mut values =
        Format::Npy.decode(&bytes.into(), &signature).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match values.pop() {
        Some(Value::Tensor(array)) => Some(array),
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn arrays(folder: &Path, what: &str) -> Vec<Array> {
    (0..).map_while(|at| array(&folder.join(format!("{what}_{at}.npy")))).collect()
}

/// The largest difference, relative to the largest number expected.
fn difference(found: &Array, expected: &Array) -> f64 {
    let numbers = |array: &Array| {
        let data = transfer::whole_data(array).convert::<f64>();
        data.try_to_vec::<f64>().expect("doubles")
    };
    let (a, b) = (numbers(found), numbers(expected));
    let scale = b.iter().fold(1e-30, |scale: f64, value| scale.max(value.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale
}

fn batch(session: &Session, folder: &Path, narrow: bool) -> Result<f64, String> {
    let inputs = arrays(folder, "input");
    let given = inputs.iter().map(|input| Given::Tensor(transfer::whole_data(input))).collect();
    let found = session.run(given).map_err(|error| error.to_string())?;
    let mut worst: f64 = 0.0;
    for (at, (found, expected)) in found.iter().zip(arrays(folder, "output")).enumerate() {
        let Value::Tensor(found) = found else { return Err(format!("output {at} is no tensor")) };
        if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
            let (a, b) = ((found.dtype(), found.shape()), (expected.dtype(), expected.shape()));
            return Err(format!("output {at} is {a:?}, expected {b:?}"));
        }
        let off = difference(found, &expected);
        // Not a number is no small difference.
        if !(off <= tolerance(&expected, narrow)) {
            return Err(format!("output {at} is off by {off:.1e}"));
        }
        worst = worst.max(off);
    }
    Ok(worst)
}

fn model(folder: &Path) -> Result<String, String> {
    let model = Model::load(&folder.join("model.onnx")).map_err(|error| error.to_string())?;
    let session = model.session(&Device::flex()).map_err(|error| error.to_string())?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let narrow = ["int8", "qdq", "qoperator"].iter().any(|kind| name.contains(kind));
    let mut report = format!("{name}:");
    for rows in ["1", "3", "64"] {
        let off = batch(&session, &folder.join(rows), narrow).map_err(|error| format!("{rows} rows: {error}"))?;
        report.push_str(&format!(" {off:.1e}"));
    }
    // Where the range of all rows sets a scale, rows do depend on each other.
    match model.describe(&session).unbatched {
        Some(reason) if !name.contains("dynamic") => Err(format!("calls do not share batches: {reason}")),
        None if name.contains("dynamic") => Err("calls share batches, but must not".to_owned()),
        _ => Ok(report),
    }
}

#[test]
fn models_answer_as_onnx_runtime_does() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/models");
    let named = std::env::var_os("EKIDEN_ONNX_MODELS");
    let roots: Vec<PathBuf> = named.map_or_else(|| vec![own], |paths| std::env::split_paths(&paths).collect());
    let mut folders: Vec<PathBuf> = roots
        .iter()
        .flat_map(|root| fs::read_dir(root).unwrap_or_else(|error| panic!("{}: {error}", root.display())))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("model.onnx").exists())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "there are no models in {roots:?}");
    let mut failed = Vec::new();
    for folder in folders {
        match model(&folder) {
            Ok(report) => println!("{report}"),
            Err(problem) => failed.push(format!("{}: {problem}", folder.display())),
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}
