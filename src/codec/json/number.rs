//! The elements of a tensor: JSON's numbers and booleans, straight to their type.
//!
//! JSON's grammar, strictly: no `+1`, `01`, `.5` or `1.`. Floats are rounded to the nearest, ties to even, in their own
//! type (`float16` and `bfloat16` from the nearest `float64`); those too small become zero, those too large are faults.
//!
//! All of the hot path is inlined by force: a function that took the scanner by reference would keep its position in
//! memory, and each digit would wait for the one before to be stored and loaded again. It costs a quarter more.

use half::{bf16, f16};

use super::fault::Fault;
use super::scanner::Scanner;
use crate::value::{Array, ArrayError, Shape};

/// An element that a scanner can read. On a fault, the scanner stands where it is to be reported.
pub(super) trait Leaf: Sized {
    fn scan(scanner: &mut Scanner<'_>) -> Result<Self, Fault>;
    fn array(elements: Vec<Self>, shape: Shape) -> Result<Array, ArrayError>;
}

impl Leaf for bool {
    #[inline]
    fn scan(scanner: &mut Scanner<'_>) -> Result<Self, Fault> {
        let rest = scanner.rest();
        let (value, length) = if rest.starts_with(b"true") {
            (true, 4)
        } else if rest.starts_with(b"false") {
            (false, 5)
        } else {
            return Err(Fault::Element);
        };
        scanner.at += length;
        Ok(value)
    }

    fn array(elements: Vec<Self>, shape: Shape) -> Result<Array, ArrayError> {
        Array::from_bools(elements, shape)
    }
}

macro_rules! integers {
    ($($type:ty),+) => {
        $(impl Leaf for $type {
            #[inline(always)]
            fn scan(scanner: &mut Scanner<'_>) -> Result<Self, Fault> {
                let start = scanner.at;
                let (negative, magnitude) = integer(scanner)?;
                let value = if negative {
                    0_i64.checked_sub_unsigned(magnitude).and_then(|value| Self::try_from(value).ok())
                } else {
                    Self::try_from(magnitude).ok()
                };
                value.ok_or_else(|| {
                    scanner.at = start;
                    Fault::Range
                })
            }

            fn array(elements: Vec<Self>, shape: Shape) -> Result<Array, ArrayError> {
                Array::new(elements, shape)
            }
        })+
    };
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);

macro_rules! floats {
    ($($type:ty => $convert:expr),+ $(,)?) => {
        $(impl Leaf for $type {
            #[inline(always)]
            fn scan(scanner: &mut Scanner<'_>) -> Result<Self, Fault> {
                let start = scanner.at;
                let decimal = decimal(scanner)?;
                let convert: fn(&Decimal, &[u8]) -> Option<Self> = $convert;
                let value = convert(&decimal, &scanner.body[start..scanner.at]).filter(|value| value.is_finite());
                value.ok_or_else(|| {
                    scanner.at = start;
                    Fault::Range
                })
            }

            fn array(elements: Vec<Self>, shape: Shape) -> Result<Array, ArrayError> {
                Array::new(elements, shape)
            }
        })+
    };
}

floats! {
    f16 => |decimal, text| to_f64(decimal, text).map(|value| f16::from_f32(to_odd(value))),
    bf16 => |decimal, text| to_f64(decimal, text).map(|value| bf16::from_f32(to_odd(value))),
    f32 => to_f32,
    f64 => to_f64,
}

/// A number as it is written: `±mantissa × 10^exponent`.
struct Decimal {
    negative: bool,
    /// All digits, modulo 2⁶⁴ where there are too many.
    mantissa: u64,
    /// Without what of it is beyond ±[`MOST_EXPONENT`].
    exponent: i64,
    /// Whether `mantissa` holds all digits.
    exact: bool,
}

/// Where written exponents end to matter: no `f64` needs nearly as large a one, whatever the body's length.
const MOST_EXPONENT: i64 = 1 << 40;

/// Digits that always fit a `u64`.
const U64_DIGITS: usize = 19;

/// The powers of ten that are exact in `f64`.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Takes decimal digits, appended to `value` modulo 2⁶⁴.
#[inline(always)]
fn digits(scanner: &mut Scanner<'_>, mut value: u64) -> u64 {
    loop {
        let digit = scanner.peek().wrapping_sub(b'0');
        if digit > 9 {
            return value;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        scanner.at += 1;
    }
}

/// As [`digits`], by up to eight digits at a time: the faster the more digits come.
#[inline(always)]
fn many_digits(scanner: &mut Scanner<'_>, mut value: u64) -> u64 {
    const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    while let Some(&eight) = scanner.rest().first_chunk::<8>() {
        // Digits become their values; of the other bytes, the first has its highest bit set in `others`.
        let values = u64::from_le_bytes(eight) ^ (EACH * 0x30);
        let others = (values.wrapping_add(EACH * 0x76) | values) & (EACH * 0x80);
        if others == 0 {
            // A branch, since the processor then goes on with the next eight before it knows these.
            value = value.wrapping_mul(100_000_000).wrapping_add(eight_digits(values));
            scanner.at += 8;
            continue;
        }
        let count = (others.trailing_zeros() / 8) as usize;
        if count > 0 {
            // Moved up, with zeros in front: eight digits again.
            value = value.wrapping_mul(POWERS[count]).wrapping_add(eight_digits(values << (64 - 8 * count)));
            scanner.at += count;
        }
        return value;
    }
    digits(scanner, value)
}

/// The number that eight digits make, one in each byte, the first in the lowest.
#[inline(always)]
fn eight_digits(values: u64) -> u64 {
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// Takes the integer part of a number, and how many digits it has, 0 for a lone zero.
#[inline(always)]
fn whole(scanner: &mut Scanner<'_>) -> Result<(u64, usize), Fault> {
    let first = scanner.at;
    match scanner.peek() {
        b'0' => {
            scanner.at += 1;
            if scanner.peek().is_ascii_digit() { Err(Fault::LeadingZero) } else { Ok((0, 0)) }
        }
        b'1'..=b'9' => {
            let value = digits(scanner, 0);
            Ok((value, scanner.at - first))
        }
        _ => Err(Fault::Element),
    }
}

/// Takes at least one digit; how many.
#[inline(always)]
fn some_digits(scanner: &mut Scanner<'_>, value: &mut u64) -> Result<usize, Fault> {
    let first = scanner.at;
    *value = many_digits(scanner, *value);
    if scanner.at == first { Err(Fault::Digit) } else { Ok(scanner.at - first) }
}

#[inline(always)]
fn decimal(scanner: &mut Scanner<'_>) -> Result<Decimal, Fault> {
    let start = scanner.at;
    let negative = scanner.eat(b'-');
    let (mut mantissa, mut length) = whole(scanner).map_err(|fault| back_to(scanner, start, fault))?;
    let mut exponent = 0;
    if scanner.eat(b'.') {
        let fraction = some_digits(scanner, &mut mantissa)?;
        length += fraction;
        exponent = -i64::try_from(fraction).unwrap_or(i64::MAX);
    }
    if matches!(scanner.peek(), b'e' | b'E') {
        let (value, at) = written_exponent(Scanner { at: scanner.at + 1, ..*scanner });
        scanner.at = at;
        exponent += value.ok_or(Fault::Digit)?;
    }
    Ok(Decimal { negative, mantissa, exponent, exact: length <= U64_DIGITS })
}

/// Reads what follows the `e` of a number, if it has a digit; and where it ends.
#[inline(never)]
fn written_exponent(mut scanner: Scanner<'_>) -> (Option<i64>, usize) {
    let negative = scanner.eat(b'-');
    if !negative {
        scanner.eat(b'+');
    }
    let mut value: i64 = 0;
    let first = scanner.at;
    while scanner.peek().is_ascii_digit() {
        value = (value * 10 + i64::from(scanner.peek() - b'0')).min(MOST_EXPONENT);
        scanner.at += 1;
    }
    let value = if negative { -value } else { value };
    ((scanner.at > first).then_some(value), scanner.at)
}

/// Takes an integer: whether it has a minus sign, and its magnitude.
#[inline(always)]
fn integer(scanner: &mut Scanner<'_>) -> Result<(bool, u64), Fault> {
    let start = scanner.at;
    let negative = scanner.eat(b'-');
    let first = scanner.at;
    let (mut value, length) = whole(scanner).map_err(|fault| back_to(scanner, start, fault))?;
    if matches!(scanner.peek(), b'.' | b'e' | b'E') {
        return Err(back_to(scanner, start, Fault::Fraction));
    }
    if length > U64_DIGITS {
        value = std::str::from_utf8(&scanner.body[first..scanner.at])
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| back_to(scanner, start, Fault::Range))?;
    }
    Ok((negative, value))
}

/// Puts the scanner back to the start of a number, for all faults but one that is to be reported further on.
#[inline(always)]
fn back_to(scanner: &mut Scanner<'_>, start: usize, fault: Fault) -> Fault {
    if !matches!(fault, Fault::LeadingZero) {
        scanner.at = start;
    }
    fault
}

/// `mantissa × 10^exponent` with two roundings at most, one of them only where the mantissa exceeds 2⁵³.
/// `None` where the power of ten is not exact.
#[inline(always)]
fn scaled(decimal: &Decimal) -> Option<f64> {
    if !decimal.exact {
        return None;
    }
    // The first of the two roundings.
    let mantissa = decimal.mantissa as f64;
    let power = POWERS.get(usize::try_from(decimal.exponent.unsigned_abs()).ok()?)?;
    Some(if decimal.exponent < 0 { mantissa / power } else { mantissa * power })
}

/// Clinger's fast path where both factors are exact, the standard library elsewhere.
#[inline(always)]
fn to_f64(decimal: &Decimal, text: &[u8]) -> Option<f64> {
    match scaled(decimal).filter(|_| decimal.mantissa <= 1 << f64::MANTISSA_DIGITS) {
        Some(value) => Some(if decimal.negative { -value } else { value }),
        None => slow(text),
    }
}

/// The fast path of `f64` reaches further here: its result is less than 4 units in the last place off, so unless it is
/// that near to the middle between two `f32`, it rounds as the exact value does. (It is 10⁻²² at least, or zero: no
/// subnormal `f32`, whose middles are elsewhere.)
#[inline(always)]
fn to_f32(decimal: &Decimal, text: &[u8]) -> Option<f32> {
    const DROPPED: u32 = f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS;
    let sure = |value: &f64| (value.to_bits() & ((1 << DROPPED) - 1)).abs_diff(1 << (DROPPED - 1)) > 4;
    match scaled(decimal).filter(sure) {
        Some(value) => Some(if decimal.negative { -value } else { value } as f32),
        None => slow(text),
    }
}

/// The standard library's correctly rounded conversion.
#[inline(never)]
fn slow<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Rounds to odd: the inexact results have an odd last bit, so that rounding them again to a narrower type gives what
/// rounding once would (`half` rounds an `f64` twice).
fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    if back == value || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    let bits = nearest.to_bits();
    f32::from_bits(if back.abs() > value.abs() { bits - 1 } else { bits + 1 })
}
