//! One typed value from text: CSV cells, and words of line formats.

use crate::{
    ArrayBuilder, DataType, TimeUnit, binary,
    coerce::Coerce,
    number::{Number, float_word, short_integer},
    reason::Misfit,
    time::{self, Moment, TimeFault},
};

/// Whether text can be parsed as `data_type`: any type except null and nested ones.
#[must_use]
pub fn is_scalar(data_type: &DataType) -> bool {
    !matches!(
        data_type,
        DataType::Null
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::Struct(_)
            | DataType::Map(_)
    )
}

/// Parses `text` as the next row of `builder`, a column of `data_type`. The caller decides whether it means null.
///
/// # Errors
/// It does not fit the type exactly; nothing was pushed.
pub fn push(builder: &mut ArrayBuilder, data_type: &DataType, text: &str, coerce: &Coerce) -> Result<(), Misfit> {
    let trimmed = if coerce.trim { text.trim_matches([' ', '\t']) } else { text };
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => done(builder.push_bytes(text.as_bytes())),
        DataType::Boolean => boolean(trimmed, coerce).map_or(Err(Misfit::Type), |value| done(builder.push_bool(value))),
        DataType::Int64 if let Some(value) = short_integer(trimmed.as_bytes()) => {
            done(builder.push_fixed(value.to_le_bytes()))
        }
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => bytes(builder, text, coerce),
        DataType::Date32 | DataType::Date64 if let Some(days) = time::days(trimmed.as_bytes()) => {
            push_days(builder, data_type, days.into())
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            push_time_of_day(builder, time::time_of_day(trimmed.as_bytes(), *unit, coerce.round_times)?, *unit)
        }
        DataType::Timestamp(unit, zone) => match timestamp(trimmed, *unit, zone.as_deref(), coerce) {
            Ok(at) => done(builder.push_fixed(at.to_le_bytes())),
            Err(Misfit::Type) if coerce.epoch.is_some() => {
                push_number(builder, data_type, &Number::parse(trimmed, coerce.grammar())?, coerce)
            }
            Err(misfit) => Err(misfit),
        },
        DataType::Float16 | DataType::Float32 | DataType::Float64 if let Some(value) = float_word(trimmed) => {
            done(match data_type {
                DataType::Float16 => builder.push_fixed(half_word(value).to_le_bytes()),
                DataType::Float32 => builder.push_fixed((value as f32).to_le_bytes()),
                _ => builder.push_fixed(value.to_le_bytes()),
            })
        }
        DataType::Date32 | DataType::Date64 => Err(Misfit::Type),
        data_type if is_scalar(data_type) => {
            push_number(builder, data_type, &Number::parse(trimmed, coerce.grammar())?, coerce)
        }
        _ => Err(Misfit::Type),
    }
}

/// Adds `number` as the next row of `builder`, a column of `data_type`. In date and time columns it counts the column's
/// unit, or that of `coerce.epoch`.
///
/// # Errors
/// It does not fit the type exactly; nothing was pushed.
pub fn push_number(
    builder: &mut ArrayBuilder,
    data_type: &DataType,
    number: &Number<'_>,
    coerce: &Coerce,
) -> Result<(), Misfit> {
    macro_rules! whole {
        ($type:ty) => {
            match <$type>::try_from(number.integer()?) {
                Ok(value) => done(builder.push_fixed(value.to_le_bytes())),
                Err(_) => Err(Misfit::Range),
            }
        };
    }
    match data_type {
        DataType::Int8 => whole!(i8),
        DataType::Int16 => whole!(i16),
        DataType::Int32 => whole!(i32),
        DataType::Int64 | DataType::Duration(_) => whole!(i64),
        DataType::UInt8 => whole!(u8),
        DataType::UInt16 => whole!(u16),
        DataType::UInt32 => whole!(u32),
        DataType::UInt64 => whole!(u64),
        DataType::Float16 => done(builder.push_fixed(number.float16()?.to_le_bytes())),
        DataType::Float32 => done(builder.push_fixed(number.float32()?.to_le_bytes())),
        DataType::Float64 => done(builder.push_fixed(number.float64()?.to_le_bytes())),
        DataType::Decimal128(precision, scale) => {
            done(builder.push_fixed(number.decimal(*precision, *scale, coerce.round_decimals)?.to_le_bytes()))
        }
        DataType::Date32 => push_days(builder, data_type, narrow(number.integer()?)?),
        DataType::Date64 => match narrow(number.integer()?)? {
            at if at % DAY_MS == 0 => push_days(builder, data_type, at / DAY_MS),
            _ => Err(Misfit::Fraction),
        },
        DataType::Time32(unit) | DataType::Time64(unit) => push_time_of_day(builder, narrow(number.integer()?)?, *unit),
        DataType::Timestamp(unit, _) => {
            let count = match coerce.epoch {
                None => number.integer()?,
                Some(epoch) => {
                    let scale = time::digits_of(*unit) - epoch.digits();
                    let scaled = number.decimal(38, scale, coerce.round_times);
                    scaled.map_err(|fault| match Misfit::from(fault) {
                        Misfit::Digits => Misfit::TimeDigits,
                        other => other,
                    })?
                }
            };
            let count = narrow(count)?;
            if time::has_calendar(count, *unit) {
                done(builder.push_fixed(count.to_le_bytes()))
            } else {
                Err(Misfit::Range)
            }
        }
        _ => Err(Misfit::Type),
    }
}

/// `text` as a time in `unit`; `zone` is that of its column. Unless that is UTC or absent, the text must have a zone.
///
/// # Errors
/// It is not a time, or would lose a digit.
pub fn timestamp(text: &str, unit: TimeUnit, zone: Option<&str>, coerce: &Coerce) -> Result<i64, Misfit> {
    let moment = Moment::parse(text.as_bytes())?;
    if moment.zone.is_none() && !zone.is_none_or(is_utc) {
        return Err(TimeFault::Zoneless.into());
    }
    Ok(moment.count(unit, coerce.round_times)?)
}

const DAY_MS: i64 = 86_400_000;

/// Whether a column's zone is UTC, so that a time without a zone is in UTC.
#[must_use]
pub fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Z" | "+00:00" | "+00" | "+0000" | "GMT" | "Etc/UTC" | "utc")
}

fn done(pushed: bool) -> Result<(), Misfit> {
    if pushed { Ok(()) } else { Err(Misfit::Type) }
}

fn narrow(value: i128) -> Result<i64, Misfit> {
    i64::try_from(value).map_err(|_| Misfit::Range)
}

fn push_days(builder: &mut ArrayBuilder, data_type: &DataType, days: i64) -> Result<(), Misfit> {
    match (time::has_calendar_day(days), data_type, i32::try_from(days)) {
        (true, DataType::Date64, _) => done(builder.push_fixed((days * DAY_MS).to_le_bytes())),
        (true, _, Ok(days)) => done(builder.push_fixed(days.to_le_bytes())),
        _ => Err(Misfit::Range),
    }
}

fn push_time_of_day(builder: &mut ArrayBuilder, count: i64, unit: TimeUnit) -> Result<(), Misfit> {
    let end = 86_400 * i64::from(1_000_000_000 / time::nanos_of(unit));
    if (0..end).contains(&count) {
        done(match (unit, i32::try_from(count)) {
            (TimeUnit::Second | TimeUnit::Millisecond, Ok(count)) => builder.push_fixed(count.to_le_bytes()),
            _ => builder.push_fixed(count.to_le_bytes()),
        })
    } else {
        Err(Misfit::Range)
    }
}

/// The boolean that `text` names, if any.
#[must_use]
pub fn boolean(text: &str, coerce: &Coerce) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if is(&"true") || is(&"false") {
        return Some(is(&"true"));
    }
    if !coerce.boolean_words {
        return None;
    }
    match (["yes", "on", "y", "t", "1"].iter().any(is), ["no", "off", "n", "f", "0"].iter().any(is)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn bytes(builder: &mut ArrayBuilder, text: &str, coerce: &Coerce) -> Result<(), Misfit> {
    let how = coerce.binary.unwrap_or_default();
    let mut sound = false;
    let pushed = builder.write_bytes(|out| {
        sound = binary::decode(text.as_bytes(), how, out);
        sound
    });
    match (pushed, sound) {
        (true, _) => Ok(()),
        (false, true) => Err(Misfit::Length),
        (false, false) => Err(Misfit::Type),
    }
}

/// The bits of a float word as a 16-bit float.
fn half_word(value: f64) -> u16 {
    if value.is_nan() { 0x7e00 } else { 0x7c00 | u16::from(value < 0.0) << 15 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Array,
        coerce::{BinaryText, Epoch, Rounding},
    };

    fn read(data_type: &DataType, text: &str, coerce: &Coerce) -> Result<Array, Misfit> {
        let mut builder = ArrayBuilder::new(data_type);
        let read = push(&mut builder, data_type, text, coerce);
        assert_eq!(builder.len(), usize::from(read.is_ok()), "{data_type:?} {text}");
        read.map(|()| builder.finish())
    }

    fn strict(data_type: &DataType, text: &str) -> Result<Array, Misfit> {
        read(data_type, text, &Coerce::default())
    }

    #[test]
    fn integers_are_whole_and_in_range() {
        assert_eq!(strict(&DataType::Int8, "-128").unwrap().i8(0), Some(-128));
        assert_eq!(strict(&DataType::Int8, "128"), Err(Misfit::Range));
        assert_eq!(strict(&DataType::UInt64, "18446744073709551615").unwrap().u64(0), Some(u64::MAX));
        assert_eq!(strict(&DataType::UInt8, "-1"), Err(Misfit::Range));
        assert_eq!(strict(&DataType::Int64, "1e3").unwrap().i64(0), Some(1000));
        assert_eq!(strict(&DataType::Int64, "21.7"), Err(Misfit::Fraction));
        for text in ["+9", " 8 ", "007", "", "0x1f", "1,000", "n/a"] {
            assert_eq!(strict(&DataType::Int64, text), Err(Misfit::Type), "{text}");
        }
        let loose = Coerce { loose_numbers: true, trim: true, ..Coerce::default() };
        assert_eq!(read(&DataType::Int64, " +08 ", &loose).unwrap().i64(0), Some(8));
    }

    #[test]
    fn floats_have_words() {
        assert_eq!(strict(&DataType::Float64, "-inf").unwrap().f64(0), Some(f64::NEG_INFINITY));
        assert!(strict(&DataType::Float32, "NaN").unwrap().f32(0).unwrap().is_nan());
        assert_eq!(strict(&DataType::Float16, "Infinity").unwrap().u16(0), Some(0x7c00));
        assert_eq!(strict(&DataType::Float64, "1e999"), Err(Misfit::Range));
    }

    #[test]
    fn times_are_exact_or_rounded_by_name() {
        let ms = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        assert_eq!(strict(&ms, "1970-01-01T00:00:01.5Z").unwrap().i64(0), Some(1500));
        assert_eq!(strict(&ms, "1970-01-01T00:00:01.0005Z"), Err(Misfit::TimeDigits));
        assert_eq!(strict(&ms, "1700000000"), Err(Misfit::Type));
        let down = Coerce { round_times: Some(Rounding::Down), ..Coerce::default() };
        assert_eq!(read(&ms, "1970-01-01T00:00:01.0005Z", &down).unwrap().i64(0), Some(1000));
        let epoch = Coerce { epoch: Some(Epoch::Seconds), ..Coerce::default() };
        assert_eq!(read(&ms, "1700000000.125", &epoch).unwrap().i64(0), Some(1_700_000_000_125));
        assert_eq!(read(&ms, "1700000000.1255", &epoch), Err(Misfit::TimeDigits));
        let nanos = Coerce { epoch: Some(Epoch::Nanoseconds), ..Coerce::default() };
        assert_eq!(read(&ms, "1700000000125000000", &nanos).unwrap().i64(0), Some(1_700_000_000_125));
        assert_eq!(read(&ms, "1700000000125000001", &nanos), Err(Misfit::TimeDigits));
        let berlin = DataType::Timestamp(TimeUnit::Second, Some("Europe/Berlin".into()));
        assert_eq!(strict(&berlin, "2026-01-31T12:00:00"), Err(Misfit::Zoneless));
        assert_eq!(strict(&berlin, "1970-01-01T01:00:00+01:00").unwrap().i64(0), Some(0));
        assert_eq!(strict(&DataType::Time32(TimeUnit::Second), "00:01:00").unwrap().i32(0), Some(60));
        assert_eq!(strict(&DataType::Date32, "1970-01-02").unwrap().i32(0), Some(1));
        assert_eq!(strict(&DataType::Date64, "1970-01-02").unwrap().i64(0), Some(DAY_MS));
        assert_eq!(strict(&DataType::Date32, "1970-01-02T00:00:00Z"), Err(Misfit::Type));
        assert_eq!(strict(&DataType::Duration(TimeUnit::Second), "90").unwrap().i64(0), Some(90));
    }

    #[test]
    fn numbers_of_no_calendar_are_refused() {
        let far = Number::parse("9223372036854775807", crate::number::Grammar::JSON).unwrap();
        for (data_type, fits) in [
            (DataType::Timestamp(TimeUnit::Second, None), false),
            (DataType::Timestamp(TimeUnit::Microsecond, None), false),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), true),
            (DataType::Date32, false),
            (DataType::Date64, false),
            (DataType::Time64(TimeUnit::Nanosecond), false),
            (DataType::Duration(TimeUnit::Second), true),
        ] {
            let mut builder = ArrayBuilder::new(&data_type);
            let read = push_number(&mut builder, &data_type, &far, &Coerce::default());
            assert_eq!(read.is_ok(), fits, "{data_type:?}");
        }
    }

    #[test]
    fn bytes_and_booleans_have_their_texts() {
        assert_eq!(strict(&DataType::Binary, "00ff").unwrap().bytes(0), Some([0, 0xff].as_slice()));
        assert_eq!(strict(&DataType::Binary, "xy"), Err(Misfit::Type));
        assert_eq!(strict(&DataType::FixedSizeBinary(2), "00ff00"), Err(Misfit::Length));
        assert!(strict(&DataType::FixedSizeBinary(2), "00ff").is_ok());
        let utf8 = Coerce { binary: Some(BinaryText::Utf8), ..Coerce::default() };
        assert_eq!(read(&DataType::LargeBinary, "xy", &utf8).unwrap().bytes(0), Some(b"xy".as_slice()));
        assert_eq!(strict(&DataType::Boolean, "True").unwrap().bool(0), Some(true));
        assert_eq!(strict(&DataType::Boolean, "yes"), Err(Misfit::Type));
        let words = Coerce { boolean_words: true, ..Coerce::default() };
        assert_eq!(read(&DataType::Boolean, "Off", &words).unwrap().bool(0), Some(false));
    }
}
