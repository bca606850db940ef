//! Inferred types: what the values of a column have in common.
//!
//! Values are reduced to facts that add up the same in any order, and one rule turns them into a type:
//!
//! - `true` and `false`: boolean.
//! - Integers: int64; beyond it uint64, else decimal128(38, 0), else utf8. With fractions or exponents among them:
//!   float64 if every value keeps its digits, else utf8.
//! - Dates: date32. Times: timestamp(us, UTC) if all have a zone, timestamp(us) if none has; dates among them are their
//!   midnights. Times finer than microseconds: utf8.
//! - Everything else is utf8: digits after a leading zero or a `+`, `NaN` and `inf`, values with blanks around them,
//!   values of several kinds, and columns without any value.

use crate::{
    DataType, TimeUnit,
    number::{Grammar, Number},
    time::Moment,
};

/// What the values of one column have in common so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    text: bool,
    boolean: bool,
    /// Integers: how far they reach, as flags that are only ever set.
    whole: bool,
    negative: bool,
    beyond_i64: bool,
    beyond_u64: bool,
    beyond_decimal: bool,
    /// An integer beyond those that a float can tell apart.
    beyond_float: bool,
    /// Fractions and exponents.
    real: bool,
    date: bool,
    local_time: bool,
    zoned_time: bool,
}

impl Facts {
    /// Adds a value that is not null.
    pub(super) fn add(&mut self, value: &[u8]) {
        if self.text {
            return;
        }
        let Some(text) = std::str::from_utf8(value).ok().filter(|text| !text.is_empty()) else {
            self.text = true;
            return;
        };
        if let Ok(number) = Number::parse(text, Grammar::JSON) {
            self.add_number(text, &number);
        } else if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
            self.boolean = true;
        } else {
            match Moment::parse(value) {
                // What has no exact place in a column of microseconds stays as it is.
                Ok(moment) if moment.count(TimeUnit::Microsecond, None).is_ok() => match moment.zone {
                    _ if moment.date_only => self.date = true,
                    Some(_) => self.zoned_time = true,
                    None => self.local_time = true,
                },
                _ => self.text = true,
            }
        }
    }

    fn add_number(&mut self, text: &str, number: &Number<'_>) {
        if !number.is_plain() {
            self.real = true;
            self.text |= !keeps_its_digits(text);
            return;
        }
        self.whole = true;
        match number.integer() {
            Ok(value) => {
                self.negative |= value < 0;
                self.beyond_i64 |= i64::try_from(value).is_err();
                self.beyond_u64 |= value > i128::from(u64::MAX);
                self.beyond_decimal |= value.unsigned_abs() >= 10_u128.pow(38);
                self.beyond_float |= value.unsigned_abs() > 1 << 53;
            }
            Err(_) => self.beyond_decimal = true,
        }
    }

    /// The type that holds all values.
    pub(super) fn data_type(&self) -> DataType {
        let (numbers, times) = (self.whole || self.real, self.date || self.local_time || self.zoned_time);
        if self.text || u8::from(self.boolean) + u8::from(numbers) + u8::from(times) != 1 {
            return DataType::Utf8;
        }
        match () {
            () if self.boolean => DataType::Boolean,
            () if self.real => {
                if self.beyond_float || self.beyond_decimal {
                    DataType::Utf8
                } else {
                    DataType::Float64
                }
            }
            () if self.beyond_decimal => DataType::Utf8,
            () if self.whole && !self.beyond_i64 => DataType::Int64,
            () if self.whole && !self.beyond_u64 && !self.negative => DataType::UInt64,
            () if self.whole => DataType::Decimal128(38, 0),
            () if self.local_time && self.zoned_time => DataType::Utf8,
            () if self.zoned_time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            () if self.local_time => DataType::Timestamp(TimeUnit::Microsecond, None),
            () => DataType::Date32,
        }
    }
}

/// Whether the nearest float, when printed, has the digits of `text` again.
fn keeps_its_digits(text: &str) -> bool {
    // Any 15 digits are told apart.
    if text.bytes().filter(u8::is_ascii_digit).count() <= 15 && !text.contains(['e', 'E']) {
        return true;
    }
    let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) else { return false };
    digits(text) == digits(&format!("{value:e}"))
}

/// The digits of a number from the first to the last nonzero one, and the power of ten of the first.
fn digits(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let mantissa = mantissa.trim_start_matches('-');
    let point = mantissa.find('.').unwrap_or(mantissa.len());
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let leading = all.len() - all.trim_start_matches('0').len();
    if leading == all.len() {
        return Some((String::new(), 0));
    }
    let first = i64::try_from(point).ok()? - i64::try_from(leading).ok()?;
    Some((all.trim_matches('0').to_owned(), first.checked_add(exponent)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: &DataType) {
        let of = |values: &mut dyn Iterator<Item = &&str>| {
            let mut facts = Facts::default();
            values.for_each(|value| facts.add(value.as_bytes()));
            facts.data_type()
        };
        assert_eq!(of(&mut values.iter()), *expected, "{values:?}");
        assert_eq!(of(&mut values.iter().rev()), *expected, "{values:?}, the last first");
        let repeated: Vec<&str> = values.iter().chain(values).copied().collect();
        assert_eq!(of(&mut repeated.iter()), *expected, "{values:?}, twice");
    }

    #[test]
    fn numbers_lose_no_digit() {
        check(&["0", "-17", "9223372036854775807"], &DataType::Int64);
        check(&["14857091259186476033", "9223372036854775807", "12"], &DataType::UInt64);
        check(&["14857091259186476033", "-1"], &DataType::Decimal128(38, 0));
        check(&["18446744073709551616"], &DataType::Decimal128(38, 0));
        check(&[&"9".repeat(38)], &DataType::Decimal128(38, 0));
        check(&[&"9".repeat(39)], &DataType::Utf8);
        check(&[&"9".repeat(50), "1"], &DataType::Utf8);
        check(&["1", "2.5", "1e3", "-0.1"], &DataType::Float64);
        check(&["9007199254740992", "0.5"], &DataType::Float64);
        check(&["9007199254740993", "0.5"], &DataType::Utf8);
        check(&["0.30000000000000004", "1.7976931348623157e308", "5e-324"], &DataType::Float64);
        check(&["0.300000000000000040"], &DataType::Float64);
        check(&["12345678901234567.89"], &DataType::Utf8);
        check(&["1e400"], &DataType::Utf8);
        check(&["1e-400"], &DataType::Utf8);
        check(&["0e5", "0.000"], &DataType::Float64);
        check(&["1e99999999999999999999"], &DataType::Utf8);
    }

    #[test]
    fn what_looks_like_a_number_and_is_a_name_stays_text() {
        for text in [
            "00501",
            "-007",
            "+49301234",
            "NaN",
            "inf",
            "-Infinity",
            " 8 ",
            "1,000",
            "0x1f",
            "1_0",
            ".5",
            "5.",
            "",
            "-",
        ] {
            check(&[text], &DataType::Utf8);
            check(&["1", text], &DataType::Utf8);
            check(&["1.5", text], &DataType::Utf8);
        }
    }

    #[test]
    fn times_keep_their_precision() {
        let us = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        check(&["2023-01-18", "2024-02-29"], &DataType::Date32);
        check(&["2023-01-18 23:05:10", "2023-01-18T23:05:10.250"], &us(None));
        check(&["2023-01-18", "2023-01-19 01:02:03"], &us(None));
        check(&["2023-01-18T00:00:00Z", "2023-01-18T00:00:00.123456+02:00", "2023-01-18"], &us(Some("UTC")));
        check(&["2023-01-18T00:00:00Z", "2023-01-18 00:00:00"], &DataType::Utf8);
        check(&["2023-01-18T00:00:00.1234567Z"], &DataType::Utf8);
        check(&["2023-01-18T00:00:00.1234560Z"], &us(Some("UTC")));
        check(&["2023-02-29"], &DataType::Utf8);
        check(&["2023-01-18T23:59:60Z"], &DataType::Utf8);
        check(&["2023-01-18", "1"], &DataType::Utf8);
    }

    #[test]
    fn words_and_mixtures() {
        check(&["true", "FALSE"], &DataType::Boolean);
        check(&["true", "1"], &DataType::Utf8);
        check(&["yes"], &DataType::Utf8);
        check(&[], &DataType::Utf8);
    }
}
