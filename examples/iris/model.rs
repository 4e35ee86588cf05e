//! The network: four measurements in, three logits out.
//!
//! The served program and the training program both include this file, so that what is trained is what is served.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::store::{ApplyError, ApplyResult, ModuleSnapshot, SafetensorsStore, SafetensorsStoreError};
use burn::tensor::{Device, Tensor, activation::relu};

/// Measurements per flower: sepal length, sepal width, petal length, petal width, in centimetres.
pub(crate) const FEATURES: usize = 4;

/// Classes: 0 is setosa, 1 versicolor, 2 virginica.
pub(crate) const CLASSES: usize = 3;

const HIDDEN: usize = 16;

/// A multi-layer perceptron, 4 → 16 → 3, with a ReLU between.
///
/// It takes centimetres as they were measured: training folds the standardisation of its inputs into `hidden`, so
/// nobody who serves these weights has to know the mean and the deviation they were trained with.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    /// `[4, 16]` and `[16]`.
    pub(crate) hidden: Linear,
    /// `[16, 3]` and `[3]`.
    pub(crate) output: Linear,
}

impl Mlp {
    /// Random weights, from the device's seed. They are drawn at first use: [`Mlp::load`] never draws them.
    pub(crate) fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(FEATURES, HIDDEN).init(device),
            output: LinearConfig::new(HIDDEN, CLASSES).init(device),
        }
    }

    /// Reads weights as `iris_train` writes them.
    ///
    /// # Errors
    /// The bytes are no safetensors file, or their tensors are not exactly this network's. Loading never leaves a
    /// weight at its random value.
    pub(crate) fn load(bytes: &[u8], device: &Device) -> Result<Self, LoadError> {
        let mut mlp = Self::new(device);
        // The store's own refusal is a page of text for a person. Ask for the lists, and judge them here.
        let mut store = SafetensorsStore::from_bytes(Some(bytes.to_vec())).validate(false).allow_partial(true);
        let applied = mlp.load_from(&mut store)?;
        Mismatch::in_result(&applied).map_or(Ok(mlp), |mismatch| Err(LoadError::Mismatch(mismatch)))
    }

    /// Logits `[rows, 3]` of measurements `[rows, 4]`.
    pub(crate) fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(features)))
    }
}

/// Why weights could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// Not a safetensors file, or one cut short.
    #[error("the weights cannot be read: {0}")]
    Format(#[from] SafetensorsStoreError),
    /// A readable file of another network.
    #[error("the weights are of another network: {0}")]
    Mismatch(Mismatch),
}

/// How the tensors of a file differ from those of the network; at least one list has an element.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Mismatch {
    /// Tensors that the network needs and the file lacks.
    pub(crate) missing: Vec<String>,
    /// Tensors that the file has and the network knows nothing of.
    pub(crate) unexpected: Vec<String>,
    /// Tensors that both have, with different shapes or dtypes.
    pub(crate) unfit: Vec<String>,
}

impl Mismatch {
    fn in_result(applied: &ApplyResult) -> Option<Self> {
        let mut found = Self {
            missing: applied.missing.iter().map(|(name, _container)| name.clone()).collect(),
            unexpected: applied.unused.clone(),
            unfit: applied.errors.iter().map(unfit).collect(),
        };
        // The store reports in no certain order.
        [&mut found.missing, &mut found.unexpected, &mut found.unfit].into_iter().for_each(|names| names.sort());
        (found != Self::default()).then_some(found)
    }
}

fn unfit(error: &ApplyError) -> String {
    match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            format!("{path} of shape {:?} in place of {:?}", found.as_slice(), expected.as_slice())
        }
        ApplyError::DTypeMismatch { path, expected, found } => {
            format!("{path} of dtype {found:?} in place of {expected:?}")
        }
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            format!("{path} ({message})")
        }
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lists = [("missing", &self.missing), ("unexpected", &self.unexpected), ("unfit", &self.unfit)];
        let parts: Vec<String> = lists
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| format!("{kind} {}", names.join(", ")))
            .collect();
        f.write_str(&parts.join("; "))
    }
}
