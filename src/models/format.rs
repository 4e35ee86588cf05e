//! What kind of file a model is, and whether a file can be of that kind at all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::files::FilePath;
use super::tag::ModelName;

/// The largest header of a safetensors file, as its own library has it.
const LARGEST_HEADER: u64 = 100_000_000;

/// The kind of a model's files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Format {
    /// A graph with its weights: `.onnx`, and files beside it.
    Onnx,
    /// Weights: `.safetensors`.
    Safetensors,
    /// Weights in a checkpoint of PyTorch: `.pt`, `.pth`.
    Pytorch,
    /// Anything else, by the rule of names.
    Other(String),
}

impl Format {
    /// What a file is, by the end of its name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "onnx" => Some(Self::Onnx),
            "safetensors" => Some(Self::Safetensors),
            "pt" | "pth" => Some(Self::Pytorch),
            _ => None,
        }
    }

    /// The name, as `model.toml` has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
            Self::Pytorch => "pytorch",
            Self::Other(name) => name,
        }
    }

    /// What an imported file is called in its model, so that runnables find it whatever it was called before.
    pub(super) fn file_name(&self) -> &'static str {
        match self {
            Self::Onnx => "model.onnx",
            Self::Safetensors => "weights.safetensors",
            Self::Pytorch => "weights.pt",
            Self::Other(_) => "model.bin",
        }
    }

    /// The format of a model that is made of these files: that of the graph, else that of the weights.
    pub(super) fn of_files<'a>(files: impl Iterator<Item = &'a FilePath>) -> Self {
        let found = files.filter_map(|file| Self::of(Path::new(file.as_str()))).min();
        found.unwrap_or_else(|| Self::Other("files".to_owned()))
    }

    /// Looks whether a file can be what its name says, and for what it says of the programs that wrote it.
    ///
    /// # Errors
    /// What shows that it is something else, or not whole.
    pub(super) fn inspect(&self, path: &Path) -> Result<BTreeMap<String, String>, ModelError> {
        let bad = |problem: String| ModelError::Format { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(ModelError::io("read", path))?;
        let size = file.metadata().map_err(ModelError::io("read", path))?.len();
        if size == 0 {
            return Err(bad("it is empty".to_owned()));
        }
        match self {
            Self::Safetensors => safetensors(&mut file, size).map_err(bad),
            Self::Pytorch => {
                let mut start = [0; 4];
                let whole = file.read_exact(&mut start).is_ok();
                // A zip file, or a pickle of protocol 2 or later, as older versions write.
                let known = whole && (start == *b"PK\x03\x04" || start[0] == 0x80);
                let none = BTreeMap::new();
                known
                    .then_some(none)
                    .ok_or_else(|| bad("it is no checkpoint of PyTorch, neither zip nor pickle".into()))
            }
            Self::Onnx | Self::Other(_) => Ok(BTreeMap::new()),
        }
    }
}

/// What a safetensors file says of one tensor, as far as it matters here.
#[derive(Deserialize)]
struct TensorInfo {
    data_offsets: (u64, u64),
}

/// The header's length, the header, the tensors' bytes: <https://github.com/huggingface/safetensors#format>.
fn safetensors(file: &mut impl Read, size: u64) -> Result<BTreeMap<String, String>, String> {
    let bad = |problem: &str| format!("it is no safetensors file: {problem}");
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| bad("it is shorter than 8 bytes"))?;
    let length = u64::from_le_bytes(length);
    if length > LARGEST_HEADER || length > size - 8 {
        return Err(bad("its header would be longer than the file may have it"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(|error| error.to_string())?;
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|error| bad(&format!("its header: {error}")))?;
    let metadata = header.remove("__metadata__").unwrap_or_default();
    let mut end = 0;
    for (name, tensor) in header {
        let tensor: TensorInfo =
            serde_json::from_value(tensor).map_err(|error| bad(&format!("tensor {name:?}: {error}")))?;
        end = end.max(tensor.data_offsets.1);
    }
    let data = size - 8 - length;
    if data != end {
        return Err(format!("it is cut short, or damaged: its tensors take {end} bytes, and it has {data} for them"));
    }
    let said = |key: &str| metadata.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    Ok(said("producer").zip(said("version")).into_iter().collect())
}

impl FromStr for Format {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        Ok(match text {
            "onnx" => Self::Onnx,
            "safetensors" => Self::Safetensors,
            "pytorch" => Self::Pytorch,
            other => {
                let bad = |_| ModelError::Name { what: "format", found: other.to_owned() };
                Self::Other(other.parse::<ModelName>().map_err(bad)?.to_string())
            }
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
