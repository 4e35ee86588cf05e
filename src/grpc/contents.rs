//! Elements that come in lists of their type, in place of raw bytes.

use bytes::Bytes;

use super::inference::InferTensorContents;
use crate::oip::{Data, Datatype};
use crate::value::DType;

/// The elements of a tensor of this datatype.
///
/// # Errors
/// Elements that are in another list, or too large for the datatype; a datatype that has no list.
pub(super) fn data(datatype: Datatype, contents: InferTensorContents) -> Result<Data, String> {
    if let Some(found) = other_list(datatype, &contents) {
        return Err(match list(datatype) {
            Some(expected) => format!("elements of {datatype} are {expected}, found {found}"),
            None => no_list(datatype),
        });
    }
    let Datatype::Of(dtype) = datatype else { return Ok(Data::Elements(contents.bytes_contents)) };
    let raw = match dtype {
        DType::Bool => contents.bool_contents.into_iter().map(u8::from).collect(),
        DType::I8 => narrow(datatype, &contents.int_contents, |number| i8::try_from(number).map(i8::to_le_bytes))?,
        DType::I16 => narrow(datatype, &contents.int_contents, |number| i16::try_from(number).map(i16::to_le_bytes))?,
        DType::I32 => wide(&contents.int_contents, i32::to_le_bytes),
        DType::I64 => wide(&contents.int64_contents, i64::to_le_bytes),
        DType::U8 => narrow(datatype, &contents.uint_contents, |number| u8::try_from(number).map(u8::to_le_bytes))?,
        DType::U16 => narrow(datatype, &contents.uint_contents, |number| u16::try_from(number).map(u16::to_le_bytes))?,
        DType::U32 => wide(&contents.uint_contents, u32::to_le_bytes),
        DType::U64 => wide(&contents.uint64_contents, u64::to_le_bytes),
        DType::F32 => wide(&contents.fp32_contents, f32::to_le_bytes),
        DType::F64 => wide(&contents.fp64_contents, f64::to_le_bytes),
        DType::F16 | DType::BF16 => return Err(no_list(datatype)),
    };
    Ok(Data::Raw(Bytes::from(raw)))
}

/// The bytes that they take in memory: up to eight times as many as in their message.
pub(super) fn memory(contents: &InferTensorContents) -> usize {
    let texts: usize = contents.bytes_contents.iter().map(|text| size_of::<Bytes>() + text.len()).sum();
    size_of_val(&contents.bool_contents[..])
        + size_of_val(&contents.int_contents[..])
        + size_of_val(&contents.int64_contents[..])
        + size_of_val(&contents.uint_contents[..])
        + size_of_val(&contents.uint64_contents[..])
        + size_of_val(&contents.fp32_contents[..])
        + size_of_val(&contents.fp64_contents[..])
        + texts
}

fn no_list(datatype: Datatype) -> String {
    format!("{datatype} has no list in contents; send its elements in raw_input_contents")
}

/// Where the protocol has elements of a datatype.
fn list(datatype: Datatype) -> Option<&'static str> {
    let Datatype::Of(dtype) = datatype else { return Some("bytes_contents") };
    Some(match dtype {
        DType::Bool => "bool_contents",
        DType::I8 | DType::I16 | DType::I32 => "int_contents",
        DType::I64 => "int64_contents",
        DType::U8 | DType::U16 | DType::U32 => "uint_contents",
        DType::U64 => "uint64_contents",
        DType::F32 => "fp32_contents",
        DType::F64 => "fp64_contents",
        DType::F16 | DType::BF16 => return None,
    })
}

/// A list that is not the datatype's, and not empty.
fn other_list(datatype: Datatype, contents: &InferTensorContents) -> Option<&'static str> {
    let lists = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    let own = list(datatype);
    lists.into_iter().find(|&(name, length)| length > 0 && Some(name) != own).map(|(name, _)| name)
}

fn wide<T: Copy, const N: usize>(numbers: &[T], bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|&number| bytes(number)).collect()
}

fn narrow<T: Copy + std::fmt::Display, E, const N: usize>(
    datatype: Datatype,
    numbers: &[T],
    bytes: impl Fn(T) -> Result<[u8; N], E>,
) -> Result<Vec<u8>, String> {
    let mut raw = Vec::with_capacity(numbers.len() * N);
    for (at, &number) in numbers.iter().enumerate() {
        raw.extend(bytes(number).map_err(|_| format!("element {at} is {number}, which is no {datatype}"))?);
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(datatype: &str, contents: InferTensorContents, expected: Result<&[u8], &str>) {
        let datatype = Datatype::of_name(datatype).expect("a datatype");
        let raw = |data: Data| match data {
            Data::Raw(raw) => raw.to_vec(),
            Data::Elements(elements) => elements.join(&b'|'),
        };
        let found = data(datatype, contents).map(raw);
        assert_eq!(found, expected.map(<[u8]>::to_vec).map_err(str::to_owned), "{datatype}");
    }

    #[test]
    fn what_elements_take_in_memory_is_not_what_they_took_in_the_message() {
        let numbers =
            InferTensorContents { int64_contents: vec![1; 10], bool_contents: vec![true; 3], ..Default::default() };
        assert_eq!(memory(&numbers), 83);
        let texts = InferTensorContents { bytes_contents: vec![Bytes::from_static(b"ab"); 2], ..Default::default() };
        assert_eq!(memory(&texts), 2 * (size_of::<Bytes>() + 2));
    }

    #[test]
    fn elements_are_taken_from_the_list_of_their_type() {
        let none = InferTensorContents::default;
        check("BOOL", InferTensorContents { bool_contents: vec![true, false], ..none() }, Ok(&[1, 0]));
        let ints = |numbers: &[i32]| InferTensorContents { int_contents: numbers.to_vec(), ..none() };
        check("INT8", ints(&[-1, 127]), Ok(&[255, 127]));
        check("INT16", ints(&[-2]), Ok(&[254, 255]));
        check("INT32", ints(&[-2]), Ok(&[254, 255, 255, 255]));
        check("INT8", ints(&[0, 128]), Err("element 1 is 128, which is no INT8"));
        check("INT16", ints(&[-32_769]), Err("element 0 is -32769, which is no INT16"));
        let uints = |numbers: &[u32]| InferTensorContents { uint_contents: numbers.to_vec(), ..none() };
        check("UINT8", uints(&[255]), Ok(&[255]));
        check("UINT16", uints(&[258]), Ok(&[2, 1]));
        check("UINT32", uints(&[258]), Ok(&[2, 1, 0, 0]));
        check("UINT8", uints(&[256]), Err("element 0 is 256, which is no UINT8"));
        check("INT64", InferTensorContents { int64_contents: vec![-1], ..none() }, Ok(&[255; 8]));
        check("UINT64", InferTensorContents { uint64_contents: vec![u64::MAX], ..none() }, Ok(&[255; 8]));
        check("FP32", InferTensorContents { fp32_contents: vec![1.0], ..none() }, Ok(&[0, 0, 128, 63]));
        check("FP64", InferTensorContents { fp64_contents: vec![1.0], ..none() }, Ok(&[0, 0, 0, 0, 0, 0, 240, 63]));
        let texts = vec![Bytes::from("a"), Bytes::from("bc")];
        check("BYTES", InferTensorContents { bytes_contents: texts, ..none() }, Ok(b"a|bc"));
        check("FP32", none(), Ok(&[]));
    }

    #[test]
    fn elements_of_another_list_are_refused() {
        let floats = || InferTensorContents { fp32_contents: vec![1.0], ..InferTensorContents::default() };
        check("INT32", floats(), Err("elements of INT32 are int_contents, found fp32_contents"));
        check("BYTES", floats(), Err("elements of BYTES are bytes_contents, found fp32_contents"));
        let raw = "FP16 has no list in contents; send its elements in raw_input_contents";
        check("FP16", floats(), Err(raw));
        check("FP16", InferTensorContents::default(), Err(raw));
    }
}
