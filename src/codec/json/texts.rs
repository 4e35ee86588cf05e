//! Texts in arrays, nested or not, side by side.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::super::{DecodeError, MAX_RANK};
use super::scanner::Scanner;
use crate::value::Shape;

/// Reads the array of texts that begins where `scanner` stands, for the input of this name: the texts in row-major order, in
/// UTF-8, and the sizes of the arrays.
///
/// # Errors
/// Something is no text, or arrays of one level have different sizes.
pub(crate) fn texts(scanner: &mut Scanner<'_>, name: &str) -> Result<(Vec<Bytes>, Shape), DecodeError> {
    match scanner.serde::<Node>(|| format!("input \"{name}\""))? {
        Node::Text(text) => Ok((vec![text.into()], Shape::default())),
        Node::Array { texts, mut sizes } => {
            sizes.reverse();
            Ok((texts, Shape::new(&sizes)))
        }
    }
}

enum Node {
    Text(String),
    Array {
        texts: Vec<Bytes>,
        /// The innermost first.
        sizes: Vec<usize>,
    },
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or an array of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let (mut all, mut count) = (Vec::new(), 0_usize);
        let mut inner: Option<Vec<usize>> = None;
        while let Some(node) = seq.next_element::<Node>()? {
            let sizes = match node {
                Node::Text(text) => {
                    all.push(text.into());
                    Vec::new()
                }
                Node::Array { texts, sizes } => {
                    all.extend(texts);
                    sizes
                }
            };
            match &inner {
                Some(first) if *first != sizes => {
                    return Err(A::Error::custom("arrays of one level are of different sizes"));
                }
                Some(_) => {}
                None => inner = Some(sizes),
            }
            count += 1;
        }
        let mut sizes = inner.unwrap_or_default();
        if sizes.len() == MAX_RANK {
            return Err(A::Error::custom(format_args!("a tensor can have {MAX_RANK} dimensions")));
        }
        sizes.push(count);
        Ok(Node::Array { texts: all, sizes })
    }
}
