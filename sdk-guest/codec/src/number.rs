//! Parses numbers from text: integers and decimals exactly, floats to the nearest value, all in linear time.
//!
//! A text is first split ([`Number::parse`]) by a [`Grammar`], then converted to a type. `1e3` and `4.0` are integers;
//! `21.7` is not, which is an error rather than a lost fraction.

use std::{cmp::Ordering, ops::Range};

use crate::coerce::Rounding;

/// What a number may look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grammar {
    /// `+5`, `007`, `.5` and `5.` are numbers.
    pub loose: bool,
    /// Blanks around it are allowed.
    pub blanks: bool,
    /// `NaN`, `inf` and `infinity` are floats, in any case and with a sign.
    pub words: bool,
}

impl Grammar {
    /// RFC 8259 numbers, and nothing else.
    pub const JSON: Self = Self { loose: false, blanks: false, words: false };
    /// Numbers in text formats: JSON's, and the floats that JSON lacks.
    pub const TEXT: Self = Self { loose: false, blanks: false, words: true };
}

/// Why a text has no value of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFault {
    /// It is not a number.
    Syntax,
    /// It has a fraction, and the type has none.
    Fraction,
    /// It is outside the type's range.
    Range,
    /// It has more digits after the point than the type keeps.
    Digits,
}

/// A number split into parts: `-12.50e1` is negative, `12`, `50` and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    text: &'a str,
    negative: bool,
    /// Digits before the point.
    whole: &'a [u8],
    /// Digits after it.
    fraction: &'a [u8],
    /// Power of ten; huge ones are clamped to beyond the range of every type.
    exponent: i64,
}

/// What is below the last digit kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    BelowHalf,
    Half,
    AboveHalf,
}

/// No type has a digit beyond this.
const HUGE: i64 = 1 << 40;

impl<'a> Number<'a> {
    /// Splits `text` into parts.
    ///
    /// # Errors
    /// It is not a number in `grammar`.
    pub fn parse(text: &'a str, grammar: Grammar) -> Result<Self, NumberFault> {
        let text = if grammar.blanks { text.trim_matches([' ', '\t']) } else { text };
        let bytes = text.as_bytes();
        let (negative, mut at) = match bytes.first() {
            Some(b'-') => (true, 1),
            Some(b'+') if grammar.loose => (false, 1),
            _ => (false, 0),
        };
        let part = |range: Range<usize>| bytes.get(range).unwrap_or_default();
        let digits = |from: usize| from + part(from..bytes.len()).iter().take_while(|b| b.is_ascii_digit()).count();
        let end = digits(at);
        let whole = part(at..end);
        at = end;
        let mut fraction: &[u8] = &[];
        let point = bytes.get(at) == Some(&b'.');
        if point {
            let end = digits(at + 1);
            fraction = part(at + 1..end);
            at = end;
        }
        let sound = if grammar.loose {
            !(whole.is_empty() && fraction.is_empty())
        } else {
            !whole.is_empty() && (whole.len() == 1 || whole.first() != Some(&b'0')) && point != fraction.is_empty()
        };
        let mut exponent = 0;
        if sound && let Some(b'e' | b'E') = bytes.get(at) {
            let (down, from) = match bytes.get(at + 1) {
                Some(b'-') => (true, at + 2),
                Some(b'+') => (false, at + 2),
                _ => (false, at + 1),
            };
            let end = digits(from);
            if end == from {
                return Err(NumberFault::Syntax);
            }
            let grow = |value: i64, digit: &u8| (value * 10 + i64::from(digit - b'0')).min(HUGE);
            exponent = part(from..end).iter().fold(0, grow);
            exponent = if down { -exponent } else { exponent };
            at = end;
        }
        if sound && at == bytes.len() {
            Ok(Self { text, negative, whole, fraction, exponent })
        } else {
            Err(NumberFault::Syntax)
        }
    }

    /// How it is written.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Whether it is written without point or exponent.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.fraction.is_empty() && self.text.len() == usize::from(self.negative) + self.whole.len()
    }

    /// The number as an integer.
    ///
    /// # Errors
    /// It has a fraction, or more digits than any type holds.
    pub fn integer(&self) -> Result<i128, NumberFault> {
        match self.scaled(0)? {
            (value, Rest::Nothing) => Ok(value),
            _ => Err(NumberFault::Fraction),
        }
    }

    /// The number times `10^scale`, if it then has at most `precision` digits and no fraction; otherwise rounded as
    /// `rounding` says, if given.
    ///
    /// # Errors
    /// A digit would be lost.
    pub fn decimal(&self, precision: u8, scale: i8, rounding: Option<Rounding>) -> Result<i128, NumberFault> {
        let (mut value, rest) = self.scaled(i64::from(scale))?;
        if rest != Rest::Nothing {
            let rounding = rounding.ok_or(NumberFault::Digits)?;
            let up = match rounding {
                Rounding::Down => false,
                Rounding::HalfUp => matches!(rest, Rest::Half | Rest::AboveHalf),
                Rounding::HalfEven => rest == Rest::AboveHalf || (rest == Rest::Half && value % 2 != 0),
            };
            value += if up { self.sign() } else { 0 };
        }
        let limit = 10_u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
        if value.unsigned_abs() < limit { Ok(value) } else { Err(NumberFault::Range) }
    }

    /// Digits before and after the point that a decimal needs to hold it; huge if it would need a huge one.
    #[must_use]
    pub fn width(&self) -> (usize, usize) {
        let digits = || self.whole.iter().chain(self.fraction);
        let leading = digits().take_while(|digit| **digit == b'0').count();
        let all = self.whole.len() + self.fraction.len();
        if leading == all {
            return (1, 0);
        }
        let trailing = digits().rev().take_while(|digit| **digit == b'0').count();
        let point = i64::try_from(self.whole.len()).unwrap_or(HUGE) + self.exponent;
        let size = |count: i64| usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        let at = |digit: usize| i64::try_from(digit).unwrap_or(HUGE);
        (size(point - at(leading)).max(1), size(at(all - trailing) - point))
    }

    /// The nearest float.
    ///
    /// # Errors
    /// It is beyond the largest one.
    pub fn float64(&self) -> Result<f64, NumberFault> {
        self.text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or(NumberFault::Range)
    }

    /// The nearest 32-bit float, without going through 64 bits.
    ///
    /// # Errors
    /// It is beyond the largest one.
    pub fn float32(&self) -> Result<f32, NumberFault> {
        self.text.parse::<f32>().ok().filter(|value| value.is_finite()).ok_or(NumberFault::Range)
    }

    /// The bits of the nearest 16-bit float, ties to even.
    ///
    /// # Errors
    /// It is beyond the largest one.
    pub fn float16(&self) -> Result<u16, NumberFault> {
        let value = self.float64()?.abs();
        // The steps of the grid around the value: 2^-24 below the normal numbers, 2^(exponent - 10) above.
        let exponent = i32::try_from((value.to_bits() >> 52) & 0x7ff).unwrap_or(0) - 1023;
        let step = 2_f64.powi(exponent.max(-14) - 10);
        let (steps, middle) = ((value / step).floor(), (value / step).fract());
        let up = if middle == 0.5 {
            // The text may lie beside the middle, closer than a float of 64 bits can say: the digits decide.
            let (exact, rest) = self.scaled(FLOAT16_DIGITS)?;
            let at = ((steps + middle) * step * 2_f64.powi(25)) as i128 * TEN_25_OVER_TWO_25;
            match exact.abs().cmp(&at) {
                Ordering::Equal if rest == Rest::Nothing => steps % 2.0 != 0.0,
                ordering => ordering.is_ge(),
            }
        } else {
            middle > 0.5
        };
        let rounded = (steps + f64::from(u8::from(up))) * step;
        if rounded > 65504.0 {
            return Err(NumberFault::Range);
        }
        Ok(half_bits(rounded) | u16::from(self.negative) << 15)
    }

    fn sign(&self) -> i128 {
        if self.negative { -1 } else { 1 }
    }

    /// The number times `10^scale` without its fraction, and how large the fraction was.
    fn scaled(&self, scale: i64) -> Result<(i128, Rest), NumberFault> {
        let wanted = i64::try_from(self.whole.len()).unwrap_or(HUGE) + self.exponent + scale;
        let mut digits = self.whole.iter().chain(self.fraction).map(|digit| digit - b'0');
        let mut value: i128 = 0;
        let mut taken: i64 = 0;
        while taken < wanted {
            let Some(digit) = digits.next() else { break };
            value = value.checked_mul(10).and_then(|v| v.checked_add(digit.into())).ok_or(NumberFault::Range)?;
            taken += 1;
        }
        // More zeros than a value can grow by end at once: it is zero, or out of range after 39 of them.
        while taken < wanted && value != 0 {
            value = value.checked_mul(10).ok_or(NumberFault::Range)?;
            taken += 1;
        }
        let first = if wanted < 0 { None } else { digits.next() };
        let more = digits.any(|digit| digit != 0);
        let rest = match (first.unwrap_or(0), more) {
            (0, false) => Rest::Nothing,
            (0..=4, _) => Rest::BelowHalf,
            (5, false) => Rest::Half,
            _ => Rest::AboveHalf,
        };
        Ok((value * self.sign(), rest))
    }
}

/// Digits after the point that distinguish all midpoints between 16-bit floats.
const FLOAT16_DIGITS: i64 = 25;
/// `10^25 / 2^25`.
const TEN_25_OVER_TWO_25: i128 = 5_i128.pow(25);

/// The bits of a value that is exactly a 16-bit float.
fn half_bits(value: f64) -> u16 {
    let exponent = i32::try_from((value.to_bits() >> 52) & 0x7ff).unwrap_or(0) - 1023;
    if value == 0.0 || exponent < -14 {
        return (value * 2_f64.powi(24)) as u16;
    }
    let mantissa = (value.to_bits() >> 42) & 0x3ff;
    u16::try_from((i64::from(exponent + 15) << 10) as u64 | mantissa).unwrap_or(u16::MAX)
}

/// The float that a word names, if any: `NaN`, `-inf`, `Infinity`.
#[must_use]
pub fn float_word(text: &str) -> Option<f64> {
    let (sign, word) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, text.get(1..)?),
        Some(b'+') => (1.0, text.get(1..)?),
        _ => (1.0, text),
    };
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if is("nan") {
        Some(f64::NAN)
    } else if is("inf") || is("infinity") {
        Some(sign * f64::INFINITY)
    } else {
        None
    }
}

/// A plain integer of at most 18 digits, the common case: no overflow or exponent to handle.
#[must_use]
#[inline]
pub fn short_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let sound = matches!(digits.len(), 1..=18) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if !sound {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// A number of at most 18 digits without an exponent, as the nearest float, if its digits and the power of ten are
/// exact floats: their quotient is then rounded once.
#[must_use]
#[inline]
pub fn short_float(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 18] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 19 || !matches!(digits, [b'0', b'.', _, ..] | [b'1'..=b'9', ..]) {
        return None;
    }
    let (mut value, mut places) = (0_u64, None);
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
        } else if *byte == b'.' && places.is_none() && at + 1 < digits.len() {
            places = Some(digits.len() - at - 1);
        } else {
            return None;
        }
    }
    let power = POWERS.get(places.unwrap_or(0)).filter(|_| value <= 1 << 53)?;
    let value = value as f64 / power;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOSE: Grammar = Grammar { loose: true, blanks: true, words: true };

    fn integer(text: &str) -> Result<i128, NumberFault> {
        Number::parse(text, Grammar::JSON)?.integer()
    }

    #[test]
    fn grammars_differ_in_what_they_say() {
        for sound in ["0", "-0", "10", "1.5", "1e3", "1E+3", "1e-3", "0.0", "-1.25e10"] {
            assert!(Number::parse(sound, Grammar::JSON).is_ok(), "{sound}");
        }
        for wrong in ["", "-", "+1", "01", "-01", ".5", "5.", "1e", "1e+", " 1", "1 ", "1.e3", "0x1", "1_0", "NaN", "١"]
        {
            assert_eq!(Number::parse(wrong, Grammar::JSON), Err(NumberFault::Syntax), "{wrong}");
        }
        for loose in ["+1", "007", ".5", "5.", " 8 ", "+.5e1", "1.e3"] {
            assert!(Number::parse(loose, LOOSE).is_ok(), "{loose}");
        }
        for wrong in ["", "+", ".", "+-1", "e5", "1 2", "--1"] {
            assert!(Number::parse(wrong, LOOSE).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        assert_eq!(integer("1e3"), Ok(1000));
        assert_eq!(integer("4.0"), Ok(4));
        assert_eq!(integer("1250e-1"), Ok(125));
        assert_eq!(integer("0.00125e5"), Ok(125));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN.into()));
        assert_eq!(integer("18446744073709551615"), Ok(u64::MAX.into()));
        assert_eq!(integer("0e999999999999999999999"), Ok(0));
        assert_eq!(integer("-0"), Ok(0));
        assert_eq!(integer("21.7"), Err(NumberFault::Fraction));
        assert_eq!(integer("-0.9"), Err(NumberFault::Fraction));
        assert_eq!(integer("1e-1"), Err(NumberFault::Fraction));
        assert_eq!(integer("1e-999999999999"), Err(NumberFault::Fraction));
        assert_eq!(integer("1e999999999999"), Err(NumberFault::Range));
        assert_eq!(integer(&"9".repeat(40)), Err(NumberFault::Range));
        assert_eq!(integer(&format!("1{}e-{}", "0".repeat(100_000), 100_000)), Ok(1));
    }

    #[test]
    fn decimals_lose_no_digit() {
        let decimal = |text: &str, rounding| Number::parse(text, Grammar::JSON)?.decimal(6, 2, rounding);
        assert_eq!(decimal("12.5", None), Ok(1250));
        assert_eq!(decimal("-12.50", None), Ok(-1250));
        assert_eq!(decimal("1.2e3", None), Ok(120_000));
        assert_eq!(decimal("9999.99", None), Ok(999_999));
        assert_eq!(decimal("10000", None), Err(NumberFault::Range));
        assert_eq!(decimal("0.001", None), Err(NumberFault::Digits));
        assert_eq!(decimal("0.005", Some(Rounding::HalfUp)), Ok(1));
        assert_eq!(decimal("-0.005", Some(Rounding::HalfUp)), Ok(-1));
        assert_eq!(decimal("0.005", Some(Rounding::HalfEven)), Ok(0));
        assert_eq!(decimal("0.0050001", Some(Rounding::HalfEven)), Ok(1));
        assert_eq!(decimal("0.009", Some(Rounding::Down)), Ok(0));
        assert_eq!(decimal("9999.995", Some(Rounding::HalfUp)), Err(NumberFault::Range));
        assert_eq!(decimal("5e-3", Some(Rounding::HalfUp)), Ok(1));
        assert_eq!(decimal("5e-4", Some(Rounding::HalfUp)), Ok(0));
        let thousands = Number::parse("1500", Grammar::JSON).unwrap();
        assert_eq!(thousands.decimal(5, -3, None), Err(NumberFault::Digits));
        assert_eq!(Number::parse("15000", Grammar::JSON).unwrap().decimal(5, -3, None), Ok(15));
        let widest = "9".repeat(38);
        assert_eq!(Number::parse(&widest, Grammar::JSON).unwrap().decimal(38, 0, None), Ok(10_i128.pow(38) - 1));
    }

    #[test]
    fn widths_are_what_a_decimal_needs() {
        let width = |text: &str| Number::parse(text, Grammar::JSON).unwrap().width();
        assert_eq!(width("12.50"), (2, 1));
        assert_eq!(width("0"), (1, 0));
        assert_eq!(width("1e3"), (4, 0));
        assert_eq!(width("0.001"), (1, 3));
        assert_eq!(width("18446744073709551616"), (20, 0));
    }

    #[test]
    fn floats_are_the_nearest() {
        let number = |text| Number::parse(text, Grammar::JSON).unwrap();
        assert_eq!(number("0.1").float64(), Ok(0.1));
        assert_eq!(number("1e309").float64(), Err(NumberFault::Range));
        assert_eq!(number("1e-400").float64(), Ok(0.0));
        assert_eq!(number("1e39").float32(), Err(NumberFault::Range));
        // Over 64 bits it would become 1.0000002.
        assert_eq!(number("1.00000017881393432617187499").float32(), Ok(1.000_000_1));
        assert_eq!(float_word("-Infinity"), Some(f64::NEG_INFINITY));
        assert!(float_word("NaN").unwrap().is_nan());
        assert_eq!(float_word("info"), None);
    }

    #[test]
    fn floats_of_16_bits_are_the_nearest() {
        let bits = |text| Number::parse(text, Grammar::JSON).unwrap().float16();
        assert_eq!(bits("0"), Ok(0));
        assert_eq!(bits("-0.0"), Ok(0x8000));
        assert_eq!(bits("1"), Ok(0x3c00));
        assert_eq!(bits("-2"), Ok(0xc000));
        assert_eq!(bits("65504"), Ok(0x7bff));
        assert_eq!(bits("65519.9"), Ok(0x7bff));
        assert_eq!(bits("65520"), Err(NumberFault::Range));
        assert_eq!(bits("0.000000059604644775390625"), Ok(1));
        assert_eq!(bits("0.00006103515625"), Ok(0x0400));
        // A middle goes to the even one; a digit beyond the reach of 64 bits tips it.
        assert_eq!(bits("1.00048828125"), Ok(0x3c00));
        assert_eq!(bits("1.00048828125000000000000000000000000001"), Ok(0x3c01));
        assert_eq!(bits("1.00146484375"), Ok(0x3c02));
        assert_eq!(bits("1.00146484374999999999999999999999999999"), Ok(0x3c01));
    }

    #[test]
    fn short_integers_take_the_short_way() {
        assert_eq!(short_integer(b"-17"), Some(-17));
        assert_eq!(short_integer(b"0"), Some(0));
        for other in ["", "-", "01", "1.0", "1e3", "1234567890123456789"] {
            assert_eq!(short_integer(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn short_floats_take_the_short_way() {
        for text in [
            "0.1",
            "-0.0",
            "1.5",
            "-12.25",
            "123456789012.345",
            "0.00000000000001",
            "9.99999999999999",
            "3.30",
            "1234567.1",
        ] {
            let short = short_float(text.as_bytes()).unwrap();
            assert_eq!(short.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        for text in ["17", "-5", "9007199254740992", "9007199.254740992", "0.00000000000000001"] {
            let short = short_float(text.as_bytes()).unwrap();
            assert_eq!(short.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        for other in [
            "",
            "-",
            "0",
            "1.",
            ".5",
            "01.5",
            "1.5e3",
            "1.2.3",
            "9007199.254740993",
            "1234567890123456789",
            "+1.5",
            "0x.1",
            "00.5",
        ] {
            assert_eq!(short_float(other.as_bytes()), None, "{other}");
        }
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let text = format!("{}.{:03}", dice % 10_u64.pow(1 + (dice >> 60) as u32 % 12), (dice >> 20) % 1000);
            assert_eq!(
                short_float(text.as_bytes()).unwrap().to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        }
    }
}
