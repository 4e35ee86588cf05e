//! From a file to the messages in it: bounded, and whatever the parser does.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use onnx_ir::{Message, ModelProto};

use super::data;
use super::error::LoadError;

/// The largest file: protobuf's own bound. What is larger keeps its tensors in files beside it.
const LARGEST: u64 = 2 << 30;

/// Reads the messages of a file.
///
/// # Errors
/// [`LoadError`] where it cannot be read, or is no ONNX model.
pub(super) fn read(path: &Path) -> Result<ModelProto, LoadError> {
    let failed = |error| LoadError::Read { path: path.to_owned(), error };
    let invalid = |problem: String| LoadError::Invalid { path: path.to_owned(), problem };
    let file = data::regular(path).and_then(File::open).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.len() > LARGEST {
        return Err(invalid(format!("it is larger than {LARGEST} bytes, which no ONNX file can be")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    let model = contained(|| ModelProto::parse_from_bytes(&bytes))
        .and_then(|parsed| parsed.map_err(|error| error.to_string()))
        .map_err(|error| invalid(format!("it is not an ONNX file, or not all of it: {error}")))?;
    if model.graph.node.is_empty() && model.graph.output.is_empty() {
        return Err(invalid("it is not an ONNX file: it holds no graph".to_owned()));
    }
    Ok(model)
}

/// The files beside this one that hold tensors of it, as it names them.
///
/// # Errors
/// As [`read`].
pub(crate) fn external_files(path: &Path) -> Result<Vec<String>, LoadError> {
    Ok(data::external_files(&read(path)?.graph.initializer))
}

/// Turns a panic into an error: a parser or a kernel that meets what nobody thought of must not end the process. All that
/// it could have left half done is thrown away with its result.
pub(super) fn contained<T>(function: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
        text.unwrap_or("it panicked").to_owned()
    })
}
