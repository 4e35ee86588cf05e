//! ONNX's tensors of the file, as host arrays.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use onnx_ir::TensorProto;

use super::limits::count;
use super::value::Strings;
use crate::value::{Array, DType, Shape};

/// A constant of the file.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Array(Array),
    Strings(Strings),
}

/// The dtype with this number in `TensorProto.DataType`; `None` for those that are not numbers, and for those of less than
/// eight bits.
pub(super) fn dtype(number: i32) -> Option<DType> {
    Some(match number {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        _ => return None,
    })
}

/// `TensorProto.DataType.STRING`.
pub(super) const STRING: i32 = 8;

/// What a dtype that has no [`DType`] is called, for messages.
pub(super) fn dtype_name(number: i32) -> String {
    match dtype(number) {
        Some(dtype) => dtype.to_string(),
        None => {
            let names = [
                (0, "undefined"),
                (8, "string"),
                (14, "complex64"),
                (15, "complex128"),
                (17, "float8e4m3fn"),
                (18, "float8e4m3fnuz"),
                (19, "float8e5m2"),
                (20, "float8e5m2fnuz"),
                (21, "uint4"),
                (22, "int4"),
                (23, "float4e2m1"),
                (24, "float8e8m0"),
                (25, "uint2"),
                (26, "int2"),
            ];
            let name = names.iter().find(|(known, _)| *known == number);
            name.map_or_else(|| format!("data type {number}"), |(_, name)| (*name).to_owned())
        }
    }
}

/// Where tensors lie that are not in the file itself: in its folder.
#[derive(Debug)]
pub(super) struct Externals {
    folder: PathBuf,
    files: HashMap<PathBuf, File>,
}

impl Externals {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: HashMap::new() }
    }

    fn read(&mut self, tensor: &TensorProto, expected: usize) -> Result<Vec<u8>, String> {
        let entry =
            |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
        let number = |key: &str| {
            let number = entry(key).map(|text| text.parse::<u64>().map_err(|_| format!("\"{text}\" is no {key}")));
            number.transpose()
        };
        let location = entry("location").ok_or("its external data has no location")?;
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let path = inside(&self.folder, location)?;
        let file = match self.files.entry(path.clone()) {
            std::collections::hash_map::Entry::Occupied(file) => file.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place
                .insert(regular(&path).and_then(File::open).map_err(|error| format!("{}: {error}", path.display()))?),
        };
        let size = file.metadata().map_err(|error| format!("{}: {error}", path.display()))?.len();
        let rest = size.checked_sub(offset).ok_or_else(|| format!("{} ends before byte {offset}", path.display()))?;
        let length = length.unwrap_or(expected as u64);
        if length != expected as u64 || length > rest {
            let found = rest.min(length);
            return Err(format!("it takes {expected} bytes, found {found} in {} from byte {offset}", path.display()));
        }
        let mut bytes = vec![0; expected];
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(bytes)
    }
}

/// The path, if it leads to a file: a pipe would be waited for.
pub(super) fn regular(path: &Path) -> io::Result<&Path> {
    let is_file = path.metadata()?.is_file();
    is_file.then_some(path).ok_or_else(|| io::Error::other("it is not a file"))
}

/// A file in `folder` or below, whatever links there are.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let path = folder.join(relative);
    let real = |path: &Path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display()));
    if !plain || !real(&path)?.starts_with(real(folder)?) {
        return Err(format!("its external data is in \"{location}\", which is not in the folder of the model"));
    }
    Ok(path)
}

/// Where the data of these tensors lies beside the file, each once, in order.
pub(super) fn external_files(tensors: &[TensorProto]) -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    for tensor in tensors.iter().filter(|tensor| is_external(tensor)) {
        let location = tensor.external_data.iter().find(|entry| entry.key == "location");
        if let Some(location) = location.map(|entry| entry.value.clone()).filter(|location| !files.contains(location)) {
            files.push(location);
        }
    }
    files
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location.value() == 1
}

/// The tensor as a host array.
///
/// # Errors
/// What is wrong with it, with its name.
pub(super) fn constant(tensor: &TensorProto, externals: &mut Externals) -> Result<Constant, String> {
    read(tensor, externals).map_err(|problem| format!("tensor \"{}\": {problem}", tensor.name))
}

fn read(tensor: &TensorProto, externals: &mut Externals) -> Result<Constant, String> {
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let dims = dims.ok_or_else(|| format!("its shape is {:?}", tensor.dims))?;
    let shape = Shape::new(&dims);
    let elements = count(&dims).map_err(|error| error.to_string())?;
    if tensor.data_type == STRING {
        if tensor.string_data.len() != elements {
            return Err(format!("shape {shape} has {elements} strings, found {}", tensor.string_data.len()));
        }
        let items = tensor.string_data.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        return Ok(Constant::Strings(Strings::new(items, dims)));
    }
    let Some(dtype) = dtype(tensor.data_type) else {
        return small_ints(tensor, &dims, elements, externals).map(Constant::Array);
    };
    let size = elements.checked_mul(dtype.size()).ok_or_else(|| format!("shape {shape} has too many elements"))?;
    let from_bytes = |bytes: Vec<u8>| from_bytes(dtype, shape.clone(), bytes);
    let array = if is_external(tensor) {
        from_bytes(externals.read(tensor, size)?)?
    } else if !tensor.raw_data.is_empty() || elements == 0 {
        from_bytes(tensor.raw_data.to_vec())?
    } else {
        typed(tensor, dtype, shape)?
    };
    Ok(Constant::Array(array))
}

/// Little-endian bytes, aligned for their elements.
fn from_bytes(dtype: DType, shape: Shape, bytes: Vec<u8>) -> Result<Array, String> {
    macro_rules! of {
        ($type:ty) => {{
            let size = size_of::<$type>();
            if bytes.len() % size != 0 {
                return Err(format!("{} bytes are no whole number of {dtype}", bytes.len()));
            }
            let chunks = bytes.chunks_exact(size);
            let elements: Vec<$type> =
                chunks.map(|chunk| <$type>::from_le_bytes(std::array::from_fn(|i| chunk[i]))).collect();
            Array::new(elements, shape)
        }};
    }
    let array = match dtype {
        DType::Bool => Array::from_bytes(
            dtype,
            shape,
            bytes.into_iter().map(|byte| u8::from(byte != 0)).collect::<Vec<_>>().into(),
        ),
        DType::U8 => Array::new(bytes, shape),
        DType::I8 => of!(i8),
        DType::U16 => of!(u16),
        DType::I16 => of!(i16),
        DType::U32 => of!(u32),
        DType::I32 => of!(i32),
        DType::U64 => of!(u64),
        DType::I64 => of!(i64),
        DType::F16 => of!(f16),
        DType::BF16 => of!(bf16),
        DType::F32 => of!(f32),
        DType::F64 => of!(f64),
    };
    array.map_err(|error| error.to_string())
}

/// Elements in the field of their type. The narrow ones stand in 32 bits each.
fn typed(tensor: &TensorProto, dtype: DType, shape: Shape) -> Result<Array, String> {
    let words = &tensor.int32_data;
    let array = match dtype {
        DType::F32 => Array::new(tensor.float_data.clone(), shape),
        DType::F64 => Array::new(tensor.double_data.clone(), shape),
        DType::I64 => Array::new(tensor.int64_data.clone(), shape),
        DType::U64 => Array::new(tensor.uint64_data.clone(), shape),
        DType::U32 => Array::new(tensor.uint64_data.iter().map(|&word| word as u32).collect(), shape),
        DType::I32 => Array::new(words.clone(), shape),
        DType::I16 => Array::new(words.iter().map(|&word| word as i16).collect(), shape),
        DType::U16 => Array::new(words.iter().map(|&word| word as u16).collect(), shape),
        DType::I8 => Array::new(words.iter().map(|&word| word as i8).collect(), shape),
        DType::U8 => Array::new(words.iter().map(|&word| word as u8).collect(), shape),
        DType::Bool => Array::from_bools(words.iter().map(|&word| word != 0).collect(), shape),
        DType::F16 => Array::new(words.iter().map(|&word| f16::from_bits(word as u16)).collect(), shape),
        DType::BF16 => Array::new(words.iter().map(|&word| bf16::from_bits(word as u16)).collect(), shape),
    };
    array.map_err(|error| error.to_string())
}

/// Integers of four bits, two in a byte, the lower half first: they become int8 and uint8.
fn small_ints(
    tensor: &TensorProto,
    dims: &[usize],
    elements: usize,
    externals: &mut Externals,
) -> Result<Array, String> {
    let signed = match tensor.data_type {
        21 => false,
        22 => true,
        other => return Err(format!("its dtype is {}, which is not supported", dtype_name(other))),
    };
    let size = elements.div_ceil(2);
    let packed = if is_external(tensor) {
        externals.read(tensor, size)?
    } else if tensor.raw_data.is_empty() {
        tensor.int32_data.iter().map(|&word| word as u8).collect()
    } else {
        tensor.raw_data.to_vec()
    };
    if packed.len() != size {
        return Err(format!("shape {dims:?} takes {size} bytes, found {}", packed.len()));
    }
    let halves = packed.iter().flat_map(|&byte| [byte & 15, byte >> 4]).take(elements);
    let array = if signed {
        Array::new(halves.map(|half| ((half << 4) as i8) >> 4).collect::<Vec<i8>>(), dims)
    } else {
        Array::new(halves.collect::<Vec<u8>>(), dims)
    };
    array.map_err(|error| error.to_string())
}
