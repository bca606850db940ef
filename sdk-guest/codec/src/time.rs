//! Times and dates as ISO 8601 writes them.

use crate::TimeUnit;

/// `2026-01-31`, optionally `T12:00:00`, a fraction, and `Z` or an offset; without one it is UTC. Units since 1970.
#[must_use]
pub fn timestamp(text: &[u8], unit: TimeUnit) -> Option<i64> {
    let days = i64::from(days(text.get(..10)?)?);
    let rest = text.get(10..)?;
    let (seconds, nanos, rest) = match rest.first() {
        None => (0, 0, rest),
        Some(b'T' | b't' | b' ') => clock(rest.get(1..)?)?,
        Some(_) => return None,
    };
    let seconds = days * 86_400 + seconds - zone(rest)?;
    let scaled = |per_second: i64| seconds.checked_mul(per_second)?.checked_add(nanos / (1_000_000_000 / per_second));
    match unit {
        TimeUnit::Second => Some(seconds),
        TimeUnit::Millisecond => scaled(1_000),
        TimeUnit::Microsecond => scaled(1_000_000),
        TimeUnit::Nanosecond => scaled(1_000_000_000),
    }
}

/// Days from 1970-01-01 to `2026-01-31`.
#[must_use]
pub fn days(text: &[u8]) -> Option<i32> {
    let [_, _, _, _, b'-', _, _, b'-', _, _] = text else { return None };
    let (year, month, day) = (number(text.get(..4)?)?, number(text.get(5..7)?)?, number(text.get(8..10)?)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    // Howard Hinnant's days_from_civil: years begin in March, so that the leap day is the last one.
    let years = if month <= 2 { year - 1 } else { year };
    let era = years.div_euclid(400);
    let year_of_era = years.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// Seconds of the day, nanoseconds, and what follows.
fn clock(text: &[u8]) -> Option<(i64, i64, &[u8])> {
    let [_, _, b':', _, _, rest @ ..] = text else { return None };
    let (hours, minutes) = (number(text.get(..2)?)?, number(text.get(3..5)?)?);
    let (seconds, rest) = match rest {
        [b':', a, b, rest @ ..] => (number(&[*a, *b])?, rest),
        rest => (0, rest),
    };
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let (nanos, rest) = match rest {
        [b'.' | b',', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let kept = fraction.get(..digits.min(9)).filter(|kept| !kept.is_empty())?;
            (number(kept)? * 10_i64.pow(9 - u32::try_from(kept.len()).ok()?), fraction.get(digits..)?)
        }
        rest => (0, rest),
    };
    Some((hours * 3600 + minutes * 60 + seconds, nanos, rest))
}

/// Seconds east of UTC.
fn zone(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let minutes = match rest {
        [_, _] => number(rest)? * 60,
        [_, _, b':', _, _] => number(rest.get(..2)?)? * 60 + number(rest.get(3..)?)?,
        [_, _, _, _] => number(rest.get(..2)?)? * 60 + number(rest.get(2..)?)?,
        _ => return None,
    };
    Some(sign * minutes * 60)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_iso_8601_says() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(timestamp(text.as_bytes(), TimeUnit::Millisecond), expected, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some(0));
        check("2021-07-21T06:00:00Z", Some(1_626_847_200_000));
        check("2021-07-21T06:00:00.123456Z", Some(1_626_847_200_123));
        check("2021-07-21 08:00:00+02:00", Some(1_626_847_200_000));
        check("2000-02-29", Some(951_782_400_000));
        check("1969-12-31T23:59:59Z", Some(-1000));
        check("1900-02-29", None);
        check("2021-13-01", None);
        check("2021-07-21T25:00:00Z", None);
        check("soon", None);
    }
}
