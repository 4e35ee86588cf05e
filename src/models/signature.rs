//! What a model's methods take and return, as `model.toml` has it.

use serde::{Deserialize, Serialize};

use crate::value::{Batching, DType, Signature, TensorSpec, TextsSpec, ValueKind, ValueSpec};

/// Any size, in a shape.
const ANY: &str = "any";

/// A method and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodSignature {
    /// The method's name.
    pub method: String,
    /// What it takes and returns.
    pub signature: Signature,
}

/// The signature as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSignature {
    method: String,
    /// Absent where calls cannot be batched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_dim: Option<usize>,
    /// Absent where it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_batch_dim: Option<usize>,
    /// Absent where a call has one answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(default)]
    inputs: Vec<RawSpec>,
    #[serde(default)]
    outputs: Vec<RawSpec>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpec {
    name: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dtype: Option<String>,
    /// Sizes, `"any"` for those that can be; absent for any rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<Vec<toml::Value>>,
}

impl From<&MethodSignature> for RawSignature {
    fn from(MethodSignature { method, signature }: &MethodSignature) -> Self {
        let specs = |specs: &[ValueSpec]| specs.iter().map(RawSpec::from).collect();
        let dims = signature.batching;
        Self {
            method: method.clone(),
            batch_dim: dims.map(|dims| dims.input_dim),
            output_batch_dim: dims.filter(|dims| dims.output_dim != dims.input_dim).map(|dims| dims.output_dim),
            stream: signature.streams,
            inputs: specs(&signature.inputs),
            outputs: specs(&signature.outputs),
        }
    }
}

impl TryFrom<RawSignature> for MethodSignature {
    type Error = String;

    fn try_from(raw: RawSignature) -> Result<Self, String> {
        let RawSignature { method, batch_dim, output_batch_dim, stream, inputs, outputs } = raw;
        let at = |problem: String| format!("method {method:?}: {problem}");
        let specs = |specs: Vec<RawSpec>| specs.into_iter().map(ValueSpec::try_from).collect::<Result<Vec<_>, _>>();
        let batching = match (batch_dim, output_batch_dim) {
            (None, Some(_)) => return Err(at("output_batch_dim needs batch_dim".to_owned())),
            (None, None) => None,
            (Some(input_dim), output) => Some(Batching { input_dim, output_dim: output.unwrap_or(input_dim) }),
        };
        if stream && batching.is_some() {
            return Err(at("a method that streams has no batch_dim".to_owned()));
        }
        let (inputs, outputs) = (specs(inputs).map_err(at)?, specs(outputs).map_err(at)?);
        let signature = Signature { inputs, outputs, batching, streams: stream };
        Ok(Self { method, signature })
    }
}

impl From<&ValueSpec> for RawSpec {
    fn from(spec: &ValueSpec) -> Self {
        let (name, kind) = (spec.name().to_owned(), spec.kind().name().to_owned());
        let Some(dtype) = spec.dtype_name() else { return Self { name, kind, dtype: None, shape: None } };
        // A size that TOML cannot hold is none that a tensor can have.
        let size = |size: &Option<usize>| match size.map(i64::try_from) {
            Some(Ok(size)) => size.into(),
            Some(Err(_)) | None => ANY.into(),
        };
        let shape = spec.shape().map(|shape| shape.iter().map(size).collect());
        Self { name, kind, dtype: Some(dtype.to_owned()), shape }
    }
}

impl TryFrom<RawSpec> for ValueSpec {
    type Error = String;

    fn try_from(RawSpec { name, kind, dtype, shape }: RawSpec) -> Result<Self, String> {
        const KINDS: [ValueKind; 5] =
            [ValueKind::Tensor, ValueKind::List, ValueKind::Json, ValueKind::Text, ValueKind::Bytes];
        let at = |problem: String| format!("{name:?}: {problem}");
        let known = KINDS.into_iter().find(|known| known.name() == kind);
        let kind = known.ok_or_else(|| at(format!("kind {kind:?} is none of tensor, list, json, text, bytes")))?;
        let texts = kind == ValueKind::List && dtype.as_deref() == Some(TextsSpec::DTYPE);
        if kind != ValueKind::Tensor && !texts {
            return match (dtype, shape) {
                (None, None) => Ok(Self::of_kind(kind, name)),
                _ => Err(at(format!("a {kind} has neither dtype nor shape"))),
            };
        }
        let size = |size: &toml::Value| match size {
            toml::Value::Integer(size) => usize::try_from(*size).ok().map(Some),
            toml::Value::String(any) if any == ANY => Some(None),
            _ => None,
        };
        let sizes = |shape: &[toml::Value]| -> Result<Vec<Option<usize>>, String> {
            let sizes: Option<_> = shape.iter().map(size).collect();
            sizes.ok_or_else(|| at(format!("a size in a shape is a whole number, or {ANY:?}")))
        };
        if texts {
            let shape = shape.ok_or_else(|| at("a list of texts needs a shape".to_owned()))?;
            return Ok(TextsSpec::new(&name, sizes(&shape)?).into());
        }
        let dtype = dtype.ok_or_else(|| at("a tensor needs a dtype".to_owned()))?;
        let known = DType::ALL.into_iter().find(|known| known.name() == dtype);
        let dtype = known.ok_or_else(|| at(format!("there is no dtype {dtype:?}")))?;
        let Some(shape) = shape else { return Ok(TensorSpec::any_rank(&name, dtype).into()) };
        Ok(TensorSpec::new(&name, dtype, sizes(&shape)?).into())
    }
}
