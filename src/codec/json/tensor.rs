//! Nested arrays of numbers into one flat buffer.

use half::{bf16, f16};

use super::super::DecodeError;
use super::fault::Fault;
use super::nesting::Nesting;
use super::number::Leaf;
use super::scanner::Scanner;
use crate::value::{Array, DType, TensorSpec};

/// Reads the tensor that begins where `scanner` stands.
pub(crate) fn read(scanner: &mut Scanner<'_>, spec: &TensorSpec) -> Result<Array, DecodeError> {
    match spec.dtype() {
        DType::Bool => read_as::<bool>(scanner, spec),
        DType::U8 => read_as::<u8>(scanner, spec),
        DType::U16 => read_as::<u16>(scanner, spec),
        DType::U32 => read_as::<u32>(scanner, spec),
        DType::U64 => read_as::<u64>(scanner, spec),
        DType::I8 => read_as::<i8>(scanner, spec),
        DType::I16 => read_as::<i16>(scanner, spec),
        DType::I32 => read_as::<i32>(scanner, spec),
        DType::I64 => read_as::<i64>(scanner, spec),
        DType::F16 => read_as::<f16>(scanner, spec),
        DType::BF16 => read_as::<bf16>(scanner, spec),
        DType::F32 => read_as::<f32>(scanner, spec),
        DType::F64 => read_as::<f64>(scanner, spec),
    }
}

fn read_as<T: Leaf>(scanner: &mut Scanner<'_>, spec: &TensorSpec) -> Result<Array, DecodeError> {
    let mut nesting = Nesting::new(spec);
    let mut elements = Elements::new(scanner);
    if let Err(fault) = nested(scanner, &mut nesting, &mut elements) {
        return Err(fault.explain(scanner, &nesting, spec));
    }
    T::array(elements.taken, nesting.shape(spec))
        .map_err(|problem| DecodeError(format!("input \"{}\": {problem}", spec.name())))
}

/// Elements read so far.
struct Elements<T> {
    taken: Vec<T>,
    /// Where the tensor begins in the body.
    start: usize,
}

impl<T> Elements<T> {
    fn new(scanner: &Scanner<'_>) -> Self {
        let capacity = most(scanner).min(16);
        Self { taken: Vec::with_capacity(capacity), start: scanner.at }
    }

    #[inline]
    fn push(&mut self, element: T, scanner: &Scanner<'_>) {
        if self.taken.len() == self.taken.capacity() {
            self.grow(*scanner);
        }
        self.taken.push(element);
    }

    /// Makes room for the elements that the rest of the body would hold if it went on like this; never for more than it
    /// could hold, nor for a huge multiple of what has come.
    #[cold]
    fn grow(&mut self, scanner: Scanner<'_>) {
        let (taken, most) = (self.taken.len(), most(&scanner));
        let bytes_each = ((scanner.at - self.start) / taken.max(1)).max(2);
        let like_so_far = (scanner.body.len() - scanner.at) / bytes_each + 16;
        self.taken.reserve_exact(like_so_far.clamp(taken, 16 * taken.max(1)).min(most));
    }
}

/// Elements that what is left of the body can hold, at a digit and a separator each.
fn most(scanner: &Scanner<'_>) -> usize {
    scanner.rest().len() / 2 + 1
}

/// Reads arrays within arrays, iteratively. On a fault, `nesting` and `scanner` say where.
fn nested<T: Leaf>(scanner: &mut Scanner<'_>, nesting: &mut Nesting, elements: &mut Elements<T>) -> Result<(), Fault> {
    loop {
        scanner.skip_space();
        if scanner.peek() == b'[' {
            nesting.open()?;
            scanner.at += 1;
            scanner.skip_space();
            if scanner.peek() != b']' {
                continue;
            }
            nesting.close()?;
            scanner.at += 1;
        } else {
            nesting.leaf()?;
            if nesting.depth() == 0 {
                elements.push(T::scan(scanner)?, scanner);
                return Ok(());
            }
            let before = elements.taken.len();
            let mut cursor = *scanner;
            let outcome = row(&mut cursor, elements);
            *scanner = cursor;
            nesting.count(elements.taken.len() - before);
            outcome?;
            nesting.close()?;
            scanner.at += 1;
        }
        while nesting.depth() > 0 {
            scanner.skip_space();
            match scanner.peek() {
                b',' => {
                    scanner.at += 1;
                    break;
                }
                b']' => {
                    nesting.close()?;
                    scanner.at += 1;
                }
                _ => return Err(Fault::Separator),
            }
        }
        if nesting.depth() == 0 {
            return Ok(());
        }
    }
}

/// Reads the elements of one innermost array, up to its `]`.
#[inline]
fn row<T: Leaf>(scanner: &mut Scanner<'_>, elements: &mut Elements<T>) -> Result<(), Fault> {
    loop {
        let element = T::scan(scanner)?;
        elements.push(element, scanner);
        scanner.skip_space();
        match scanner.peek() {
            b',' => {
                scanner.at += 1;
                scanner.skip_space();
            }
            b']' => return Ok(()),
            _ => return Err(Fault::Separator),
        }
    }
}
