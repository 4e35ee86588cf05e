//! How values lie in bytes: in a message where they are few, in shared memory where they are many.
//!
//! Tensors lie as they are, lists and JSON as their text. Whoever lays values out says where each lies; whoever picks them
//! up believes none of it before it has been checked.

use bytes::Bytes;
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use crate::value::gather::{self, Rows};
use crate::value::{Array, DType, Shape, Value, Values};

/// Bytes that travel in the message itself, at most.
pub(super) const INLINE: usize = 8 << 10;
/// Where values begin in memory is a multiple of this: a line of the cache, and the widest vector.
const ALIGN: usize = 64;

/// Values, on their way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Laid<'a> {
    items: Vec<Item>,
    /// Their bytes; `None` where they lie in shared memory.
    #[serde(borrow, with = "serde_bytes")]
    inline: Option<&'a [u8]>,
}

/// One value: what it is, and which bytes are its own.
#[derive(Debug, Serialize, Deserialize)]
struct Item {
    kind: Kind,
    start: u64,
    len: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    /// The dtype by its place in [`DType::ALL`].
    Tensor {
        dtype: u8,
        dims: Vec<u64>,
    },
    List,
    Json,
    Text,
    Bytes,
}

/// What will be laid out.
#[derive(Default)]
pub(super) struct Layout<'a> {
    items: Vec<Item>,
    pieces: Vec<Piece<'a>>,
    len: usize,
}

/// The bytes of one value.
enum Piece<'a> {
    /// Rows of arrays along a dimension, to be laid side by side.
    Rows(Vec<Rows<'a>>, usize),
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl<'a> Layout<'a> {
    /// Adds rows of arrays, which will be one array.
    ///
    /// # Errors
    /// If they do not fit together.
    pub(super) fn rows(&mut self, rows: Vec<Rows<'a>>, dim: usize) -> Result<(), String> {
        let shape = gather::shape(&rows, dim).ok_or("the inputs of a batch do not fit together")?;
        let dtype = rows.first().map_or(DType::F32, |(array, _)| array.dtype());
        let len = shape.elements().and_then(|elements| elements.checked_mul(dtype.size())).ok_or("it is too large")?;
        self.add(tensor(dtype, &shape), len, Piece::Rows(rows, dim));
        Ok(())
    }

    /// Adds the elements of a list.
    ///
    /// # Errors
    /// None in practice: JSON has a text.
    pub(super) fn list(&mut self, items: impl Iterator<Item = &'a serde_json::Value>) -> Result<(), String> {
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut text);
        let mut list = serializer.serialize_seq(None).map_err(|error| error.to_string())?;
        for item in items {
            list.serialize_element(item).map_err(|error| error.to_string())?;
        }
        list.end().map_err(|error| error.to_string())?;
        self.add(Kind::List, text.len(), Piece::Owned(text));
        Ok(())
    }

    /// Adds a value as a whole.
    ///
    /// # Errors
    /// None in practice: JSON has a text.
    pub(super) fn whole(&mut self, value: &'a Value) -> Result<(), String> {
        match value {
            Value::Tensor(array) => {
                let data = array.data();
                self.add(tensor(array.dtype(), array.shape()), data.len(), Piece::Borrowed(data));
            }
            Value::List(items) => self.list(items.iter())?,
            Value::Json(value) => {
                let text = serde_json::to_vec(value).map_err(|error| error.to_string())?;
                self.add(Kind::Json, text.len(), Piece::Owned(text));
            }
            Value::Text(text) => self.add(Kind::Text, text.len(), Piece::Borrowed(text.as_bytes())),
            Value::Bytes(bytes) => self.add(Kind::Bytes, bytes.len(), Piece::Borrowed(bytes)),
        }
        Ok(())
    }

    fn add(&mut self, kind: Kind, len: usize, piece: Piece<'a>) {
        let start = self.len.next_multiple_of(ALIGN);
        self.items.push(Item { kind, start: start as u64, len: len as u64 });
        self.pieces.push(piece);
        self.len = start + len;
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Lays it out in `inline`, if it is small.
    pub(super) fn inline(self, inline: &mut Vec<u8>) -> Laid<'_> {
        inline.clear();
        inline.resize(self.len, 0);
        self.write(inline);
        Laid { items: self.items, inline: Some(inline) }
    }

    /// Lays it out in shared memory, which must be large enough.
    pub(super) fn shared(self, memory: &mut [u8]) -> Laid<'static> {
        self.write(memory);
        Laid { items: self.items, inline: None }
    }

    fn write(&self, memory: &mut [u8]) {
        for (item, piece) in self.items.iter().zip(&self.pieces) {
            let start = item.start as usize;
            let Some(place) = memory.get_mut(start..start + item.len as usize) else { return };
            match piece {
                Piece::Rows(rows, dim) => gather::write(rows, *dim, place),
                Piece::Borrowed(bytes) => place.copy_from_slice(bytes),
                Piece::Owned(bytes) => place.copy_from_slice(bytes),
            }
        }
    }
}

fn tensor(dtype: DType, shape: &Shape) -> Kind {
    let dtype = DType::ALL.iter().position(|known| *known == dtype).unwrap_or_default();
    Kind::Tensor { dtype: dtype as u8, dims: shape.dims().iter().map(|&size| size as u64).collect() }
}

impl Laid<'_> {
    /// Picks the values up again: from the message, or from the shared memory that `shared` lends.
    ///
    /// # Errors
    /// What makes no sense: the other side may say anything.
    pub(super) fn pick_up(self, shared: impl FnOnce() -> Option<Bytes>) -> Result<Values, String> {
        let bytes = match self.inline {
            Some(inline) => Bytes::copy_from_slice(inline),
            None => shared().ok_or("values lie in memory that is not there")?,
        };
        self.items.into_iter().map(|item| item.pick_up(&bytes)).collect()
    }
}

impl Item {
    fn pick_up(self, bytes: &Bytes) -> Result<Value, String> {
        let range = usize::try_from(self.start).ok().zip(usize::try_from(self.len).ok());
        let range = range.and_then(|(start, len)| Some(start..start.checked_add(len)?));
        let range = range.filter(|range| range.end <= bytes.len()).ok_or("a value lies outside of its memory")?;
        Ok(match self.kind {
            Kind::Tensor { dtype, dims } => {
                let dtype = DType::ALL.get(usize::from(dtype)).ok_or("a tensor of an unknown dtype")?;
                let dims: Result<Vec<usize>, _> = dims.into_iter().map(usize::try_from).collect();
                let shape = Shape::new(&dims.map_err(|_| "a tensor of an impossible shape")?);
                let array = Array::from_bytes(*dtype, shape, bytes.slice(range));
                Value::Tensor(array.map_err(|error| error.to_string())?)
            }
            Kind::List => Value::List(json(&bytes[range])?),
            Kind::Json => Value::Json(json(&bytes[range])?),
            Kind::Text => {
                let text = std::str::from_utf8(&bytes[range]).map_err(|error| error.to_string())?;
                Value::Text(text.to_owned())
            }
            Kind::Bytes => Value::Bytes(bytes.slice(range)),
        })
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn there_and_back(values: &[Value], shared: bool) -> Values {
        let mut layout = Layout::default();
        values.iter().try_for_each(|value| layout.whole(value)).expect("it can be laid out");
        let mut memory = vec![0; layout.len()];
        let laid = if shared { layout.shared(&mut memory) } else { layout.inline(&mut memory) };
        let message = postcard::to_stdvec(&laid).expect("a message");
        let laid: Laid<'_> = postcard::from_bytes(&message).expect("the same message");
        laid.pick_up(|| shared.then(|| memory.into())).expect("the same values")
    }

    #[test]
    fn values_come_back_as_they_were() {
        let array = Array::new((0..6_i16).collect(), [3, 1, 2]).expect("it fits");
        let values = [
            Value::Bytes(Bytes::from_static(b"odd")),
            Value::Tensor(array),
            Value::Tensor(Array::from_bools(vec![true, false], [2]).expect("it fits")),
            Value::Tensor(Array::new(vec![0.5_f64], Shape::default()).expect("it fits")),
            Value::Tensor(Array::new(Vec::<f32>::new(), [0, 4]).expect("it fits")),
            Value::List(vec![json!("a"), json!({"b": [1, null]}), json!(0.1)]),
            Value::Json(json!([{"c": "\u{1f980}"}])),
            Value::Text("naïve".to_owned()),
        ];
        for shared in [false, true] {
            assert_eq!(there_and_back(&values, shared).as_slice(), values, "shared: {shared}");
        }
    }

    #[test]
    fn rows_are_laid_side_by_side() {
        let one = Array::new((0..8_u8).collect(), [2, 4]).expect("it fits");
        let other = Array::new((8..10_u8).collect(), [2, 1]).expect("it fits");
        let mut layout = Layout::default();
        layout.rows(vec![(&one, 1..3), (&other, 0..1)], 1).expect("they fit together");
        let mut inline = Vec::new();
        let values = layout.inline(&mut inline).pick_up(|| None).expect("it is inline");
        let expected = Array::new(vec![1_u8, 2, 8, 5, 6, 9], [2, 3]).expect("it fits");
        assert_eq!(values.as_slice(), [Value::Tensor(expected)]);
    }

    #[test]
    fn nothing_is_believed() {
        let check = |kind, start, len, problem: &str| {
            let laid = Laid { items: vec![Item { kind, start, len }], inline: Some(b"[1, \xff\x02]") };
            let error = laid.pick_up(|| None).expect_err("it makes no sense");
            assert!(error.contains(problem), "{error}");
        };
        check(Kind::Bytes, 0, 100, "outside");
        check(Kind::Bytes, u64::MAX, 2, "outside");
        check(Kind::Bytes, 5, u64::MAX - 2, "outside");
        check(Kind::Tensor { dtype: 13, dims: vec![1] }, 0, 1, "unknown dtype");
        check(Kind::Tensor { dtype: 1, dims: vec![3] }, 0, 2, "takes 3 bytes, found 2");
        check(Kind::Tensor { dtype: 4, dims: vec![u64::MAX, 8] }, 0, 2, "more elements than can be addressed");
        check(Kind::Tensor { dtype: 0, dims: vec![1] }, 5, 1, "neither 0 nor 1");
        check(Kind::Text, 4, 1, "utf-8");
        check(Kind::List, 0, 3, "EOF");
        check(Kind::Json, 0, 0, "EOF");
        let laid = Laid { items: Vec::new(), inline: None };
        laid.pick_up(|| None).expect_err("there is no such memory");
    }
}
