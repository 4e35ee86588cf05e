//! What a graph does with batches: found out by running it.
//!
//! A file does not say which dimension is the batch's, and one exported with a batch of 1 often serves any. So the graph is
//! run on rows alone, of different sizes, and on all of them: where the answers are the same, calls may share a batch.

use std::path::Path;

use burn::tensor::{Device, TensorData};
use fastrand::Rng;

use super::error::{LoadError, OpError};
use super::file::contained;
use super::limits::{Limits, MOST_GIVEN, count};
use super::model::{Given, Model, Port, Session};
use crate::transfer;
use crate::value::{Array, Batching, DType, Signature, TensorSpec, TextsSpec, Value, ValueSpec};

/// Sizes to try where the file leaves one open that is not the batch's: a sequence's length, an image's side.
const SIZES: [usize; 6] = [8, 32, 1, 2, 64, 224];

/// The batches to try, each by how large the floats of its rows are: rows of one size, and rows that would show in others'
/// if anything of all rows, a sum, a largest one, a range, went into an answer.
const ROWS: [&[f32]; 2] = [&[1.0, 1.0], &[1.0, 0.0, 30.0, 1000.0]];

/// What a model is served as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) signature: Signature,
    /// Why calls do not share batches, where they do not.
    pub(crate) unbatched: Option<String>,
    /// Whether the graph has run on inputs of these shapes, all of which are known but for the batch.
    pub(crate) tried: bool,
}

/// One input of a trial: rows along dimension 0.
#[derive(Clone)]
enum Trial {
    Array(Array),
    /// With their shape.
    Texts(Vec<String>, Vec<usize>),
}

impl Trial {
    /// Values that most graphs can do something with: floats about 0, integers that are 0 or 1, any bytes.
    /// Floats of a row are so large as `scales` has it, by turns.
    fn random(port: &Port, dims: &[usize], scales: &[f32], rng: &mut Rng) -> Option<Self> {
        let count = count(dims).ok()?;
        let Some(dtype) = port.dtype else {
            return Some(Self::Texts(vec!["a".to_owned(); count], dims.to_vec()));
        };
        let each = count / dims.first().copied().unwrap_or(1).max(1);
        macro_rules! of {
            ($type:ty, $value:expr) => {
                Array::new((0..count).map(|_| $value as $type).collect::<Vec<$type>>(), dims)
            };
        }
        let floats = |rng: &mut Rng| -> Vec<f32> {
            let scale = |at: usize| scales[at.checked_div(each).unwrap_or(0) % scales.len().max(1)];
            (0..count).map(|at| (rng.f32() * 2.0 - 1.0) * scale(at)).collect()
        };
        let array = match dtype {
            DType::F32 => Array::new(floats(rng), dims),
            DType::F64 => Array::new(floats(rng).into_iter().map(f64::from).collect(), dims),
            DType::F16 => Array::new(floats(rng).into_iter().map(half::f16::from_f32).collect(), dims),
            DType::BF16 => Array::new(floats(rng).into_iter().map(half::bf16::from_f32).collect(), dims),
            DType::U8 => of!(u8, rng.u8(..)),
            DType::I8 => of!(i8, rng.i8(..)),
            DType::Bool => Array::from_bools((0..count).map(|_| rng.bool()).collect(), dims),
            DType::U16 => of!(u16, rng.bool()),
            DType::U32 => of!(u32, rng.bool()),
            DType::U64 => of!(u64, rng.bool()),
            DType::I16 => of!(i16, rng.bool()),
            DType::I32 => of!(i32, rng.bool()),
            DType::I64 => of!(i64, rng.bool()),
        };
        array.ok().map(Self::Array)
    }

    fn row(&self, row: usize) -> Option<Self> {
        match self {
            Self::Array(array) => array.slice(0, row..row + 1).map(Self::Array),
            Self::Texts(texts, dims) => {
                let each = texts.len() / dims.first()?;
                let own = texts.get(row * each..(row + 1) * each)?;
                Some(Self::Texts(own.to_vec(), [&[1], &dims[1..]].concat()))
            }
        }
    }

    fn given(&self) -> Given {
        match self {
            Self::Array(array) => Given::Tensor(transfer::whole_data(array)),
            Self::Texts(texts, dims) => Given::Texts(texts.clone(), dims.get(1..).unwrap_or_default().to_vec()),
        }
    }
}

/// Values for inputs of these sizes; `None` where they are too large to try.
fn trials(ports: &[Port], dims: impl Fn(&Port) -> Vec<usize>, scales: &[f32], rng: &mut Rng) -> Option<Vec<Trial>> {
    let mut room = MOST_GIVEN;
    for port in ports {
        // Each takes a little, whatever its size.
        room = room.checked_sub(count(&dims(port)).ok()?.max(1 << 8))?;
    }
    ports.iter().map(|port| Trial::random(port, &dims(port), scales, rng)).collect()
}

const TOO_LARGE: &str = "its inputs are too large to try it";

/// Runs a trial. A kernel that panics has failed.
fn run(session: &Session, inputs: &[Trial]) -> Result<Vec<Value>, String> {
    let given = inputs.iter().map(Trial::given).collect();
    contained(|| session.run(given)).and_then(|outcome| outcome.map_err(|error: OpError| error.to_string()))
}

/// What the model in a file is served as.
///
/// # Errors
/// Why it cannot be served.
pub(crate) fn signature(path: &Path) -> Result<Signature, LoadError> {
    let model = Model::load(path)?;
    let session = model.session(&Device::flex())?;
    Ok(model.describe(&session).signature)
}

impl Model {
    /// Finds out what the model is served as.
    pub(crate) fn describe(&self, session: &Session) -> Description {
        Limits::of_trials().within(|| self.tried(session)).0
    }

    fn tried(&self, session: &Session) -> Description {
        let mut rng = Rng::with_seed(7);
        let mut problem = match self.rowless() {
            Some(problem) => problem,
            None => match self.batched(session, &mut rng) {
                Ok(description) => return description,
                Err(problem) => problem,
            },
        };
        // As the file says, then: one call at a time.
        let (mut outputs, mut last) = (None, None);
        for &size in self.sizes(false) {
            let trials = trials(&self.inputs, |port| sized(port, None, size), ROWS[0], &mut rng);
            match trials.ok_or_else(|| TOO_LARGE.to_owned()).and_then(|trials| run(session, &trials)) {
                Ok(found) => {
                    outputs = Some(found);
                    break;
                }
                Err(error) => last = Some(error),
            }
        }
        if let Some(error) = last.filter(|error| outputs.is_none() && *error != problem) {
            problem = format!("{problem}; and it does not run on inputs as the file describes them: {error}");
        }
        let inputs = self.inputs.iter().map(|port| input_spec(port, port.dims.clone())).collect();
        let specs = self
            .outputs
            .iter()
            .enumerate()
            .map(|(at, port)| spec(port, observed(port, outputs.as_ref().and_then(|outputs| outputs.get(at)))));
        let known =
            self.inputs.iter().all(|port| port.dims.as_ref().is_some_and(|dims| dims.iter().all(Option::is_some)));
        let tried = outputs.is_some() && known && self.inputs.iter().all(|port| port.dtype.is_some());
        let signature = Signature { inputs, outputs: specs.collect(), batching: None, streams: false };
        Description { signature, unbatched: Some(problem), tried }
    }

    /// Why there can be no rows.
    fn rowless(&self) -> Option<String> {
        if self.inputs.is_empty() {
            return Some("it has no inputs".to_owned());
        }
        // One of a fixed size beside one of any does not follow it.
        let open = |port: &&Port| port.dims.as_ref().is_some_and(|dims| dims.first() == Some(&None));
        let fixed = |port: &&Port| port.dims.as_ref().is_some_and(|dims| dims.first().is_some_and(Option::is_some));
        if let (Some(open), Some(fixed)) = (self.inputs.iter().find(open), self.inputs.iter().find(fixed)) {
            let (open, fixed) = (&open.name, &fixed.name);
            return Some(format!("input \"{open}\" has any number of rows, and input \"{fixed}\" always the same"));
        }
        // Calls that may share a batch are told apart by the shapes of tensors.
        let ragged = |port: &&Port| port.dtype.is_none() && port.dims.iter().flatten().skip(1).any(Option::is_none);
        if let Some(port) = self.inputs.iter().find(ragged) {
            return Some(format!("the rows of input \"{}\" are any number of texts", port.name));
        }
        let scalar = |port: &&Port| port.dims.as_ref().is_none_or(Vec::is_empty);
        let port = self.inputs.iter().find(scalar)?;
        Some(match port.dims {
            Some(_) => format!("input \"{}\" is a scalar", port.name),
            None => format!("the file does not say how many dimensions input \"{}\" has", port.name),
        })
    }

    /// Sizes to try; one where none is open.
    fn sizes(&self, batched: bool) -> &'static [usize] {
        let open = |port: &Port| port.dims.iter().flatten().skip(usize::from(batched)).any(Option::is_none);
        if self.inputs.iter().any(open) { &SIZES } else { &SIZES[..1] }
    }

    fn batched(&self, session: &Session, rng: &mut Rng) -> Result<Description, String> {
        let mut problem = String::new();
        'sizes: for &size in self.sizes(true) {
            let mut first = None;
            for scales in ROWS {
                let Some(batch) = trials(&self.inputs, |port| sized(port, Some(scales.len()), size), scales, rng)
                else {
                    problem = if problem.is_empty() { TOO_LARGE.to_owned() } else { problem };
                    continue 'sizes;
                };
                match self.rows_alone_and_together(session, &batch, scales.len())? {
                    Ok(outputs) => first = first.or(Some(outputs)),
                    Err(error) => {
                        problem = if problem.is_empty() { error } else { problem };
                        continue 'sizes;
                    }
                }
            }
            return Ok(self.as_batched(&first.unwrap_or_default()));
        }
        Err(problem)
    }

    /// What a batch comes to, if each row of it comes to the same alone; the inner error where a row does not run by itself.
    fn rows_alone_and_together(
        &self,
        session: &Session,
        batch: &[Trial],
        rows: usize,
    ) -> Result<Result<Vec<Value>, String>, String> {
        let mut alone = Vec::with_capacity(rows);
        for row in 0..rows {
            let Some(inputs) = batch.iter().map(|trial| trial.row(row)).collect::<Option<Vec<Trial>>>() else {
                return Ok(Err("its inputs have no rows".to_owned()));
            };
            match run(session, &inputs) {
                Ok(outputs) => alone.push(outputs),
                Err(error) => return Ok(Err(format!("it does not run on a batch of one row: {error}"))),
            }
        }
        let together =
            run(session, batch).map_err(|error| format!("it does not run on a batch of {rows} rows: {error}"))?;
        for (at, port) in self.outputs.iter().enumerate() {
            let own: Option<Vec<&Value>> = alone.iter().map(|outputs| outputs.get(at)).collect();
            let (Some(own), Some(all)) = (own, together.get(at)) else {
                return Err(format!("output \"{}\" is missing", port.name));
            };
            same_rows(all, &own).map_err(|problem| format!("output \"{}\": {problem}", port.name))?;
        }
        Ok(Ok(together))
    }

    fn as_batched(&self, outputs: &[Value]) -> Description {
        let free = |dims: Option<Vec<Option<usize>>>| {
            dims.map(|dims| dims.into_iter().enumerate().map(|(at, dim)| if at == 0 { None } else { dim }).collect())
        };
        let inputs: Vec<ValueSpec> = self.inputs.iter().map(|port| input_spec(port, free(port.dims.clone()))).collect();
        let outputs = self
            .outputs
            .iter()
            .zip(outputs)
            .map(|(port, value)| spec(port, free(observed(port, Some(value)))))
            .collect();
        let known = |port: &Port| port.dims.iter().flatten().skip(1).all(Option::is_some) && port.dtype.is_some();
        let signature =
            Signature { inputs, outputs, batching: Some(Batching { input_dim: 0, output_dim: 0 }), streams: false };
        Description { signature, unbatched: None, tried: self.inputs.iter().all(known) }
    }
}

/// The sizes of an input: `rows` along dimension 0, where given, and `size` where the file leaves it open.
fn sized(port: &Port, rows: Option<usize>, size: usize) -> Vec<usize> {
    let dims = port.dims.iter().flatten().enumerate();
    dims.map(|(at, dim)| rows.filter(|_| at == 0).unwrap_or(dim.unwrap_or(size))).collect()
}

/// The sizes of an output: those that the file gives and a run has confirmed. What has come out has a rank, at least.
fn observed(port: &Port, value: Option<&Value>) -> Option<Vec<Option<usize>>> {
    let Some(Value::Tensor(array)) = value else { return port.dims.clone() };
    let found = array.shape().dims();
    let said = port.dims.as_ref().filter(|dims| dims.len() == found.len());
    let size = |(at, &size): (usize, &usize)| said.and_then(|dims| dims[at]).filter(|&said| said == size);
    Some(found.iter().enumerate().map(size).collect())
}

/// Of an input, the sizes of texts are known, too.
fn input_spec(port: &Port, dims: Option<Vec<Option<usize>>>) -> ValueSpec {
    match (port.dtype, dims) {
        (None, Some(dims)) => TextsSpec::new(&port.name, dims).into(),
        (_, dims) => spec(port, dims),
    }
}

fn spec(port: &Port, dims: Option<Vec<Option<usize>>>) -> ValueSpec {
    let Some(dtype) = port.dtype else { return ValueSpec::List(port.name.clone()) };
    match dims {
        Some(dims) => TensorSpec::new(&port.name, dtype, dims).into(),
        None => TensorSpec::any_rank(&port.name, dtype).into(),
    }
}

/// Whether the rows of a batch are what came out for each row alone.
fn same_rows(together: &Value, alone: &[&Value]) -> Result<(), String> {
    if together.rows(0) != Some(alone.len()) || alone.iter().any(|alone| alone.rows(0) != Some(1)) {
        return Err("it has no row for each row of the inputs".to_owned());
    }
    for (row, alone) in alone.iter().enumerate() {
        let same = match (together, alone) {
            (Value::List(together), Value::List(alone)) => together.get(row) == alone.first(),
            (Value::Tensor(together), Value::Tensor(alone)) => {
                together.slice(0, row..row + 1).is_some_and(|part| part.shape() == alone.shape() && close(&part, alone))
            }
            _ => false,
        };
        if !same {
            return Err("a row's answer depends on the other rows".to_owned());
        }
    }
    Ok(())
}

/// Equal but for rounding, which larger batches do in another order.
fn close(a: &Array, b: &Array) -> bool {
    let numbers = |array: &Array| {
        let data: TensorData = transfer::whole_data(array).convert::<f64>();
        data.try_to_vec::<f64>().unwrap_or_default()
    };
    let (a, b) = (numbers(a), numbers(b));
    let scale =
        b.iter().copied().filter(|value| value.is_finite()).fold(0.0, |scale: f64, value| scale.max(value.abs()));
    a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-3 * scale)
}
