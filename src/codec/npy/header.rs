//! The header of a `.npy` file: a magic string, a version, and a Python dictionary as text.

use super::super::{EncodeError, MAX_RANK};
use super::{DType, Shape};

/// What a `.npy` file begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// The dtypes both sides know, by their kind and size.
const DTYPES: [(DType, &str); 12] = [
    (DType::Bool, "b1"),
    (DType::U8, "u1"),
    (DType::U16, "u2"),
    (DType::U32, "u4"),
    (DType::U64, "u8"),
    (DType::I8, "i1"),
    (DType::I16, "i2"),
    (DType::I32, "i4"),
    (DType::I64, "i8"),
    (DType::F16, "f2"),
    (DType::F32, "f4"),
    (DType::F64, "f8"),
];

/// The order of the bytes of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// This machine's.
    pub(super) const NATIVE: Self = if cfg!(target_endian = "little") { Self::Little } else { Self::Big };
}

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) dtype: DType,
    pub(super) order: Order,
    /// Whether the first index varies fastest.
    pub(super) fortran: bool,
    pub(super) shape: Shape,
}

/// Reads the header; also where the data begins.
pub(super) fn read(body: &[u8]) -> Result<(Header, usize), String> {
    let ends = || format!("the body ends within the header, after {} bytes", body.len());
    if !body.starts_with(MAGIC) {
        let found = body[..body.len().min(MAGIC.len())].escape_ascii();
        return Err(format!("expected a .npy body, which begins with \\x93NUMPY, found \"{found}\""));
    }
    let [major, minor, rest @ ..] = &body[MAGIC.len()..] else { return Err(ends()) };
    let (length, start) = match (major, minor, rest) {
        (1, 0, [a, b, ..]) => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        (2 | 3, 0, [a, b, c, d, ..]) => {
            (usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX), 12)
        }
        (1..=3, 0, _) => return Err(ends()),
        _ => return Err(format!("expected version 1.0, 2.0 or 3.0, found {major}.{minor}")),
    };
    let text = body[start..].get(..length).ok_or_else(ends)?;
    let text = std::str::from_utf8(text).map_err(|_| "the header is not UTF-8".to_owned())?;
    let header = Parser { text, at: 0 }.header().map_err(|problem| format!("in the header, {problem}"))?;
    Ok((header, start + length))
}

/// A header for data of `room` bytes, with as much capacity behind it.
pub(super) fn write(dtype: DType, shape: &Shape, room: usize) -> Result<Vec<u8>, EncodeError> {
    let (_, code) = DTYPES.iter().find(|(known, _)| *known == dtype).ok_or(EncodeError::NoDType(dtype))?;
    let order = if dtype.size() == 1 { '|' } else { '<' };
    let sizes: Vec<String> = shape.dims().iter().map(ToString::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    let text =
        format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({}{comma}), }}", sizes.join(", "));
    let before = MAGIC.len() + 4;
    let padded = (before + text.len() + 1).next_multiple_of(64);
    let length = u16::try_from(padded - before).map_err(|_| EncodeError::Rank(shape.rank()))?;
    let mut out = Vec::with_capacity(padded + room);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.resize(padded - 1, b' ');
    out.push(b'\n');
    Ok(out)
}

/// Reads a dictionary of three entries, in any order: strictly Python's syntax, but nothing that NumPy does not write.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn header(mut self) -> Result<Header, String> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.eat('}') {
            let key = self.string()?;
            self.expect(':')?;
            let again = match key {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(format!("expected 'descr', 'fortran_order' or 'shape', found '{}'", excerpt(key))),
            };
            if again {
                return Err(format!("'{key}' comes a second time"));
            }
            if !self.eat(',') {
                self.expect('}')?;
                break;
            }
        }
        if !self.rest().is_empty() {
            return Err(self.unexpected("its end"));
        }
        let missing = |key: &str| format!("'{key}' is missing");
        let (dtype, order) = descr.ok_or_else(|| missing("descr"))?;
        let fortran = fortran.ok_or_else(|| missing("fortran_order"))?;
        Ok(Header { dtype, order, fortran, shape: shape.ok_or_else(|| missing("shape"))? })
    }

    /// What comes next, without the whitespace before it.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn eat(&mut self, wanted: char) -> bool {
        let next = self.rest().starts_with(wanted);
        self.at += if next { wanted.len_utf8() } else { 0 };
        next
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.eat(wanted) { Ok(()) } else { Err(self.unexpected(&format!("`{wanted}`"))) }
    }

    fn unexpected(&mut self, wanted: &str) -> String {
        match self.rest().chars().next() {
            Some(found) => format!("expected {wanted} at byte {}, found {found:?}", self.at),
            None => format!("expected {wanted}, found its end"),
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
        let inner = quote.and_then(|quote| rest.get(1..)?.split_once(quote)).map(|(inner, _)| inner);
        let inner = inner.filter(|inner| !inner.contains('\\')).ok_or_else(|| self.unexpected("a plain string"))?;
        self.at += inner.len() + 2;
        Ok(inner)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        let (value, word) = if rest.starts_with("True") { (true, "True") } else { (false, "False") };
        if !rest.starts_with(word) {
            return Err(self.unexpected("True or False"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn descr(&mut self) -> Result<(DType, Order), String> {
        if self.rest().starts_with('[') {
            return Err("the dtype is structured: expected one of plain numbers".to_owned());
        }
        let descr = self.string()?;
        if let Some(found) = plain(descr) {
            return Ok(found);
        }
        Err(match descr.trim_start_matches(['|', '<', '>', '=']).chars().next() {
            Some('O') => format!("the dtype '{}' is Python objects: expected numbers", excerpt(descr)),
            _ => format!("the dtype '{}' is not supported: expected numbers, such as '<f4'", excerpt(descr)),
        })
    }

    fn shape(&mut self) -> Result<Shape, String> {
        let mut shape = Shape::default();
        self.expect('(')?;
        while !self.eat(')') {
            if shape.rank() == MAX_RANK {
                return Err(format!("the shape has more than {MAX_RANK} dimensions"));
            }
            shape.push(self.size()?);
            if !self.eat(',') {
                self.expect(')')?;
                if shape.rank() == 1 {
                    return Err("the shape is a number in parentheses: expected a tuple".to_owned());
                }
                break;
            }
        }
        Ok(shape)
    }

    fn size(&mut self) -> Result<usize, String> {
        let rest = self.rest();
        let digits = rest.find(|char: char| !char.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        if digits.is_empty() {
            return Err(self.unexpected("a size"));
        }
        let size = digits.parse().map_err(|_| format!("the size {} is absurd", excerpt(digits)))?;
        self.at += digits.len();
        Ok(size)
    }
}

/// The dtype and byte order of a `descr` such as `<f4`; single bytes have no order and may be written with any.
fn plain(descr: &str) -> Option<(DType, Order)> {
    let (order, code) = (descr.get(..1)?, descr.get(1..)?);
    let (dtype, _) = *DTYPES.iter().find(|(_, known)| *known == code)?;
    let order = match order {
        "<" => Order::Little,
        ">" => Order::Big,
        "|" if dtype.size() == 1 => Order::NATIVE,
        _ => return None,
    };
    Some((dtype, order))
}

/// At most 40 characters of a caller's text, for a message.
fn excerpt(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}
