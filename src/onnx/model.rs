//! A model: its graph, and what goes in and comes out.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, TensorData};
use onnx_ir::{ModelProto, TypeProto, ValueInfoProto};

use super::compile::Compiler;
use super::data::{self, Externals, STRING};
use super::error::{LoadError, OpError};
use super::file::{self, contained};
use super::graph::{Graph, host};
use super::limits::{Limits, MOST_DIMS, MOST_GIVEN, count};
use super::tensor::{self, Tensor};
use super::value::{Strings, Value};
use crate::value::{Array, DType};

/// What one input or output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    /// `None` for strings.
    pub(super) dtype: Option<DType>,
    /// Its sizes, `None` where the file leaves them open; `None` altogether where it leaves open how many there are.
    pub(super) dims: Option<Vec<Option<usize>>>,
}

/// A model that was read from a file and can be run on the host.
#[derive(Debug)]
pub(crate) struct Model {
    path: PathBuf,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    graph: Arc<Graph>,
}

/// One input of a run.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// A tensor; of shape `[1]` where a scalar is meant.
    Tensor(TensorData),
    /// Strings side by side, and the sizes of a row of them; none where a row is one.
    Texts(Vec<String>, Vec<usize>),
}

/// A model on a device.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    graph: Arc<Graph>,
    device: DispatchDevice,
    /// For each input whether it is a scalar, and how many dimensions it has where it is known.
    ranks: Arc<[Option<usize>]>,
}

impl Model {
    /// Reads a file, and makes its graph ready to run on the host.
    ///
    /// # Errors
    /// [`LoadError`]: everything that is not supported, or the first thing that is wrong.
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let invalid = |problem: String| LoadError::Invalid { path: path.to_owned(), problem };
        let mut proto = file::read(path)?;
        let names: Vec<String> = proto.graph.output.iter().map(|output| output.name.clone()).collect();
        without_maps(&mut proto);
        let constants: HashSet<&str> = proto.graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs = proto.graph.input.iter().filter(|input| !constants.contains(input.name.as_str()));
        let inputs: Result<Vec<Port>, String> = inputs.map(|input| port("input", input)).collect();
        let outputs: Result<Vec<Port>, String> =
            proto.graph.output.iter().map(|output| port("output", output)).collect();
        let mut outputs = outputs.map_err(invalid)?;
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(invalid(format!("it has two outputs \"{twice}\"")));
        }
        for (output, name) in outputs.iter_mut().zip(names) {
            output.name = name;
        }
        let inputs = inputs.map_err(invalid)?;
        let graph = Arc::new(ready(path, &proto, &inputs, &host())?);
        Ok(Self { path: path.to_owned(), inputs, outputs, graph })
    }

    /// Where it was read from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The model on a device. On the host, nothing is read or computed again.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub(crate) fn session(&self, device: &Device) -> Result<Session, LoadError> {
        let device = device.as_dispatch().clone();
        let graph = if device == host() {
            Arc::clone(&self.graph)
        } else {
            let mut proto = file::read(&self.path)?;
            without_maps(&mut proto);
            Arc::new(ready(&self.path, &proto, &self.inputs, &device)?)
        };
        let ranks = self.inputs.iter().map(|input| input.dims.as_ref().map(Vec::len)).collect();
        Ok(Session { graph, device, ranks })
    }
}

impl Session {
    /// As [`run`](Self::run), holding no more than so many bytes of values at one time.
    ///
    /// # Errors
    /// As there; [`Fault::TooLarge`](super::Fault::TooLarge) where it would hold more.
    pub(crate) fn serve(&self, inputs: Vec<Given>, bytes: usize) -> Result<Computed, OpError> {
        Limits::of_serving(bytes).within(|| self.compute(inputs)).0
    }

    /// Runs the graph, and reads what comes out.
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    pub(crate) fn run(&self, inputs: Vec<Given>) -> Result<Vec<crate::value::Value>, OpError> {
        self.compute(inputs)?.read()
    }

    /// Runs the graph; a GPU is handed all of it, and not waited for. On the host, a kernel that panics has failed, and nothing is lost with it;
    /// of a GPU nobody knows that, and whoever supervises is to see the panic.
    ///
    /// # Errors
    /// [`OpError`], which says at which node.
    fn compute(&self, inputs: Vec<Given>) -> Result<Computed, OpError> {
        if self.device != host() {
            return self.run_steps(inputs);
        }
        contained(|| self.run_steps(inputs)).unwrap_or_else(|problem| Err(OpError::new(problem)))
    }

    /// How many steps a run takes.
    #[cfg(test)]
    pub(super) fn steps(&self) -> usize {
        self.graph.steps.len()
    }

    fn run_steps(&self, inputs: Vec<Given>) -> Result<Computed, OpError> {
        let given = inputs.into_iter().zip(self.ranks.iter()).map(|(input, rank)| match input {
            Given::Tensor(data) => {
                count(data.shape())?;
                Ok(Value::Tensor(Tensor::from_data(data, *rank == Some(0), &self.device)))
            }
            Given::Texts(texts, sizes) => {
                let each = sizes.iter().product::<usize>().max(1);
                let mut dims = [&[texts.len() / each], &sizes[..]].concat();
                // A text stands for a row of one.
                dims.resize(rank.unwrap_or(1).max(dims.len()), 1);
                Ok(Value::Strings(Strings::new(texts, dims)))
            }
        });
        self.graph.run(given.collect::<Result<_, OpError>>()?, &[]).map(Computed)
    }
}

/// What goes out of a graph: on a GPU, what it will be.
pub(crate) struct Computed(Vec<Value>);

impl Computed {
    /// Waits for the device, and reads all of it in one synchronization.
    ///
    /// # Errors
    /// [`OpError`]: the device's failure, or an output that cannot leave a graph.
    pub(crate) fn read(self) -> Result<Vec<crate::value::Value>, OpError> {
        let tensors = self.0.iter().filter_map(|value| match value {
            Value::Tensor(tensor) => Some(tensor),
            _ => None,
        });
        let mut arrays = tensor::read(tensors)?.into_iter();
        self.0.iter().map(|value| host_value(value, &mut arrays)).collect()
    }
}

/// One output, the tensors among them from `arrays`: strings row by row, in lists where a row is no single one.
fn host_value(value: &Value, arrays: &mut impl Iterator<Item = Array>) -> Result<crate::value::Value, OpError> {
    match value {
        Value::Tensor(_) => {
            let array = arrays.next().ok_or_else(|| OpError::new("the device lost an output"))?;
            Ok(crate::value::Value::Tensor(array))
        }
        Value::Strings(strings) => {
            let mut rows: Vec<serde_json::Value> = strings.items.iter().map(|text| text.as_str().into()).collect();
            for &size in strings.dims.iter().skip(1).rev() {
                let mut items = rows.into_iter().peekable();
                // Of nothing, there is nothing to be said.
                let row = || items.peek().is_some().then(|| items.by_ref().take(size.max(1)).collect());
                rows = std::iter::from_fn(row).collect();
            }
            Ok(crate::value::Value::List(rows))
        }
        other => Err(OpError::new(format!("an output is {}", other.name()))),
    }
}

/// The graph for a device; one that was exported with a batch of one row takes any, where that can be done.
fn ready(path: &Path, proto: &ModelProto, inputs: &[Port], device: &DispatchDevice) -> Result<Graph, LoadError> {
    let graph = compile(path, proto, device)?;
    let (Some(one), Some(two)) = (rows(inputs, 1, device), rows(inputs, 2, device)) else { return Ok(graph) };
    let (freed, _) = Limits::of_trials().within(|| contained(|| graph.clone().with_free_batch(one, two)));
    Ok(match freed {
        Ok(Ok(freed)) => freed,
        Ok(Err(error)) => {
            tracing::debug!(file = %path.display(), %error, "the batch of one row cannot be freed");
            graph
        }
        Err(_) => graph,
    })
}

/// Inputs of ones with so many rows, where every input has one row in the file.
fn rows(inputs: &[Port], rows: usize, device: &DispatchDevice) -> Option<Vec<Value>> {
    let mut room = MOST_GIVEN;
    let input = |port: &Port| {
        let dims: Option<Vec<usize>> = port.dims.as_ref()?.iter().copied().collect();
        let mut dims = dims.filter(|dims| dims.first() == Some(&1))?;
        dims[0] = rows;
        room = room.checked_sub(count(&dims).ok()?)?;
        Tensor::full(&dims, burn::tensor::Scalar::Int(1), port.dtype?, device).ok().map(Value::Tensor)
    };
    inputs.iter().map(input).collect()
}

fn compile(path: &Path, proto: &ModelProto, device: &DispatchDevice) -> Result<Graph, LoadError> {
    let invalid = |problem: String| LoadError::Invalid { path: path.to_owned(), problem };
    if !proto.functions.is_empty() {
        return Err(invalid(
            "it defines functions of its own, which are not supported; export it with them inlined".to_owned(),
        ));
    }
    let opsets: HashMap<String, i64> = proto
        .opset_import
        .iter()
        .map(|set| (if set.domain == "ai.onnx" { String::new() } else { set.domain.clone() }, set.version))
        .collect();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut compiler = Compiler::new(device, Externals::new(folder), opsets);
    let graph = contained(|| compiler.compile(&proto.graph)).and_then(|graph| graph).map_err(invalid)?;
    if !compiler.missing.is_empty() {
        return Err(LoadError::Unsupported { path: path.to_owned(), missing: compiler.missing });
    }
    Ok(graph)
}

/// Classifiers of scikit-learn end in a node that makes a map of class to probability of each row of probabilities. The
/// rows themselves are what is served: the output keeps its name, and is what went into that node.
fn without_maps(proto: &mut ModelProto) {
    let Some(graph) = proto.graph.as_mut() else { return };
    let maps = graph.node.iter().filter(|node| node.op_type == "ZipMap");
    let inputs: HashMap<&str, &String> =
        maps.filter_map(|node| Some((node.output.first()?.as_str(), node.input.first()?))).collect();
    for output in &mut graph.output {
        let Some(&input) = inputs.get(output.name.as_str()) else { continue };
        let known = graph.value_info.iter().find(|info| info.name == *input);
        output.type_ = known.map_or_else(Default::default, |info| info.type_.clone());
        output.name.clone_from(input);
    }
}

/// What the file says of an input or output.
fn port(what: &str, info: &ValueInfoProto) -> Result<Port, String> {
    let name = info.name.clone();
    let Some(info) = info.type_.as_ref() else { return Ok(Port { name, dtype: Some(DType::F32), dims: None }) };
    if !info.has_tensor_type() {
        return Err(format!("{what} \"{name}\" is {}, which cannot be served", kind(info)));
    }
    let tensor = info.tensor_type();
    let dtype = match tensor.elem_type {
        STRING => None,
        // What classifiers leave open are probabilities.
        0 => Some(DType::F32),
        number => Some(data::dtype(number).ok_or_else(|| {
            format!("{what} \"{name}\" is of dtype {}, which is not supported", data::dtype_name(number))
        })?),
    };
    let dims = tensor.shape.as_ref();
    if let Some(shape) = dims.filter(|shape| shape.dim.len() > MOST_DIMS) {
        let found = shape.dim.len();
        return Err(format!("{what} \"{name}\" has {found} dimensions, where no more than {MOST_DIMS} are supported"));
    }
    let dims = dims.map(|shape| {
        let size = |value: i64| usize::try_from(value).ok().filter(|&size| size > 0);
        shape.dim.iter().map(|dim| if dim.has_dim_value() { size(dim.dim_value()) } else { None }).collect()
    });
    Ok(Port { name, dtype, dims })
}

fn kind(info: &TypeProto) -> &'static str {
    if info.has_sequence_type() {
        "a sequence"
    } else if info.has_map_type() {
        "a map"
    } else if info.has_optional_type() {
        "an optional value"
    } else {
        "no tensor"
    }
}

/// Makes the graph of a model ready to run on values, for tests.
#[cfg(test)]
pub(super) fn load_values(path: &Path, proto: &ModelProto) -> Result<Graph, LoadError> {
    compile(path, proto, &host())
}
