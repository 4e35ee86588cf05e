//! `BYTES` elements as bytes: the length of each as a little-endian `u32`, and then the element.

use bytes::{BufMut, Bytes};

/// The bytes that an element's length takes.
const PREFIX: usize = size_of::<u32>();

/// Takes elements apart, which share `data`'s memory. There must be `count`.
///
/// # Errors
/// Which element is cut off, or how many there are instead.
pub fn split(data: &Bytes, count: usize) -> Result<Vec<Bytes>, String> {
    // Each element takes its length at least.
    let mut elements = Vec::with_capacity(count.min(data.len() / PREFIX));
    let mut at = 0;
    while at < data.len() {
        let index = elements.len();
        if index == count {
            return Err(format!("its {} bytes go on after {count} elements, at byte {at}", data.len()));
        }
        let rest = data.get(at..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else {
            return Err(format!(
                "element {index} is cut off: its length takes {PREFIX} bytes, {} are left",
                rest.len()
            ));
        };
        let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(format!("element {index} is cut off: it takes {length} bytes, {} are left", rest.len()));
        }
        let start = at + PREFIX;
        at = start + length;
        elements.push(data.slice(start..at));
    }
    if elements.len() == count { Ok(elements) } else { Err(format!("it has {} elements, not {count}", elements.len())) }
}

/// How many bytes the elements take together.
pub(super) fn joined_length(elements: &[Bytes]) -> usize {
    elements.iter().map(|element| PREFIX + element.len()).sum()
}

/// Writes elements behind one another.
///
/// # Errors
/// Which element is longer than a `u32` counts.
pub fn join(elements: &[Bytes], out: &mut Vec<u8>) -> Result<(), String> {
    out.reserve(joined_length(elements));
    for (index, element) in elements.iter().enumerate() {
        let length = u32::try_from(element.len()).map_err(|_| format!("element {index} is longer than 4 GiB"))?;
        out.put_u32_le(length);
        out.extend_from_slice(element);
    }
    Ok(())
}
