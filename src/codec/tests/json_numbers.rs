use half::{bf16, f16};
use proptest::prelude::*;

use super::any_rank;
use crate::codec::json::decode;
use crate::value::{Element, Value};

/// Decodes one number.
fn sole<T: Element>(text: &str) -> Option<T> {
    match decode(text.as_bytes(), &any_rank(T::DTYPE)).ok()?.as_slice() {
        [Value::Tensor(array)] => array.to_vec::<T>()?.first().copied(),
        _ => None,
    }
}

/// Decodes a number for both, and compares with the standard library, which rounds correctly.
fn check_rounding(text: &str) {
    let finite = text.parse::<f64>().ok().filter(|value| value.is_finite());
    assert_eq!(sole::<f64>(text).map(f64::to_bits), finite.map(f64::to_bits), "{text}");
    let finite = text.parse::<f32>().ok().filter(|value| value.is_finite());
    assert_eq!(sole::<f32>(text).map(f32::to_bits), finite.map(f32::to_bits), "{text}");
}

#[test]
fn rounding_by_hand() {
    let digits = "1234567890".repeat(5);
    for text in [
        "0",
        "-0",
        "0.0",
        "-0.0e5",
        "0e999999999999999999999",
        "1e-999999999999999999999",
        "1e22",
        "1e23",
        "9007199254740993",
        "9007199254740991e22",
        "16777217",
        "16777217.0000001",
        "3.4028235e38",
        "3.4028235677973366e38",
        "1.1754943508222875e-38",
        "1e-45",
        "7e-46",
        "5e-324",
        "2e-324",
        "1.7976931348623157e308",
        "18446744073709551615",
        "18446744073709551616",
        "9999999999999999999",
        "0.000000000000000000000000000001",
        "123456789012345678901234567890e-25",
        &digits,
        &format!("0.{digits}"),
        &format!("0.{}1e40", "0".repeat(40)),
        &format!("1{}e-400", "0".repeat(400)),
    ] {
        check_rounding(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_round_correctly(text in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?") {
        check_rounding(&text);
    }

    /// The hard cases for `float32`: next to the middle between two of them.
    #[test]
    fn middles_round_correctly(bits in 0_u32..0x7f7f_ffff, off in -6_i64..=6, digits in 14_usize..22) {
        let middle = (f64::from(f32::from_bits(bits)) + f64::from(f32::from_bits(bits + 1))) / 2.0;
        let near = f64::from_bits(middle.to_bits().saturating_add_signed(off));
        check_rounding(&format!("{near}"));
        check_rounding(&format!("{near:e}"));
        check_rounding(&format!("{near:.digits$e}"));
    }

    /// Texts around the middle between two halves: rounding to `float32` in between would lose on which side they are.
    #[test]
    fn halves_round_once(bits in 0_u16..0x7bff, off in -2_i64..=2) {
        let (low, high) = (f16::from_bits(bits), f16::from_bits(bits + 1));
        let middle = f64::midpoint(low.to_f64(), high.to_f64());
        let even = if bits & 1 == 0 { low } else { high };
        let expected = match off.signum() { -1 => low, 0 => even, _ => high };
        let text = format!("{:e}", f64::from_bits(middle.to_bits().saturating_add_signed(off)));
        prop_assert_eq!(sole::<f16>(&text), Some(expected));
    }

    #[test]
    fn bfloats_round_once(bits in 0_u16..0x7f7f, off in -2_i64..=2) {
        let (low, high) = (bf16::from_bits(bits), bf16::from_bits(bits + 1));
        let middle = f64::midpoint(low.to_f64(), high.to_f64());
        let even = if bits & 1 == 0 { low } else { high };
        let expected = match off.signum() { -1 => low, 0 => even, _ => high };
        let text = format!("{:e}", f64::from_bits(middle.to_bits().saturating_add_signed(off)));
        prop_assert_eq!(sole::<bf16>(&text), Some(expected));
    }

    /// The same texts are JSON for serde_json and for us.
    #[test]
    fn grammar_agrees_with_serde_json(text in r"[-+0-9.eE ]{1,8}") {
        prop_assert_eq!(sole::<f64>(&text).is_some(), serde_json::from_str::<f64>(&text).is_ok(), "{}", text);
        // To serde_json a negative zero is a float.
        prop_assume!(text.trim() != "-0");
        prop_assert_eq!(sole::<i64>(&text).is_some(), serde_json::from_str::<i64>(&text).is_ok(), "{}", text);
    }
}
