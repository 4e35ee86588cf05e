//! What `GET /v1/runners/{runner}` says of methods, as far as commands need it.

use ekiden::value::{Batching, DType, Signature, TensorSpec, TextsSpec, ValueSpec};
use serde::Deserialize;

use super::Failure;

/// A runner of a server.
#[derive(Debug, Deserialize)]
pub(crate) struct Runner {
    methods: Vec<Method>,
}

/// A method of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Method {
    name: String,
    inputs: Vec<Spec>,
    #[serde(default)]
    outputs: Vec<Spec>,
    /// Inputs that can be sent.
    pub(crate) example: Option<serde_json::Value>,
    batch_dims: Option<BatchDims>,
    #[serde(default)]
    stream: bool,
}

#[derive(Debug, Deserialize)]
struct BatchDims {
    input: usize,
    output: usize,
}

#[derive(Debug, Deserialize)]
struct Spec {
    name: String,
    kind: String,
    dtype: Option<String>,
    shape: Option<Vec<Option<usize>>>,
}

impl Runner {
    /// Reads what a server has said.
    ///
    /// # Errors
    /// [`Failure::Run`] if it is not understood.
    pub(crate) fn read(information: &str) -> Result<Self, Failure> {
        serde_json::from_str(information)
            .map_err(|error| Failure::Run(format!("the server's description of the runner is not understood: {error}")))
    }

    /// The method of this name.
    ///
    /// # Errors
    /// [`Failure::Run`] that lists those there are.
    pub(crate) fn method(&self, name: &str) -> Result<&Method, Failure> {
        self.methods.iter().find(|found| found.name == name).ok_or_else(|| {
            let known: Vec<_> = self.methods.iter().map(|method| method.name.as_str()).collect();
            Failure::Run(format!("the runner has no method {name}; it has: {}", known.join(", ")))
        })
    }
}

impl Method {
    /// What it takes and returns.
    ///
    /// # Errors
    /// Which input or output is of a kind that is unknown here.
    pub(crate) fn signature(&self) -> Result<Signature, String> {
        let specs = |what, specs: &[Spec]| specs.iter().map(|spec| spec.read(what)).collect::<Result<Vec<_>, _>>();
        let batching = self.batch_dims.as_ref().map(|dims| Batching { input_dim: dims.input, output_dim: dims.output });
        let (inputs, outputs) = (specs("input", &self.inputs)?, specs("output", &self.outputs)?);
        Ok(Signature { inputs, outputs, batching, streams: self.stream })
    }
}

impl Spec {
    fn read(&self, what: &str) -> Result<ValueSpec, String> {
        let name = self.name.clone();
        match self.kind.as_str() {
            "list" if let Some(shape) = &self.shape => Ok(TextsSpec::new(name, shape).into()),
            "list" => Ok(ValueSpec::List(name)),
            "json" => Ok(ValueSpec::Json(name)),
            "text" => Ok(ValueSpec::Text(name)),
            "bytes" => Ok(ValueSpec::Bytes(name)),
            "tensor" => {
                let dtype = self.dtype.as_deref().unwrap_or_default();
                let found = DType::ALL.into_iter().find(|known| known.name() == dtype);
                let dtype =
                    found.ok_or_else(|| format!("{what} \"{name}\" is of dtype \"{dtype}\", which is unknown"))?;
                let spec = match &self.shape {
                    Some(shape) => TensorSpec::new(name, dtype, shape),
                    None => TensorSpec::any_rank(name, dtype),
                };
                Ok(spec.into())
            }
            kind => Err(format!("{what} \"{name}\" is of kind \"{kind}\", which is unknown")),
        }
    }
}
