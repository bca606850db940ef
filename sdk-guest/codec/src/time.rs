//! Times and dates by RFC 3339 and ISO 8601, exactly or not at all.
//!
//! Years are 1 to 9999, the calendar of SQL. A time without a zone is in UTC. A fraction finer than the unit is a fault
//! unless it is zero; so are a leap second (`:60`), which time columns cannot hold, and days that are not in the
//! calendar. Nothing is shifted.

use crate::{TimeUnit, coerce::Rounding};

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFault {
    /// It is not written like one, or is not in the calendar or on the clock.
    Syntax,
    /// It is second 60.
    LeapSecond,
    /// It has more digits than its column's unit keeps.
    Digits,
    /// It is outside the range of its column's unit.
    Range,
    /// It has no zone, and its column has one that is not UTC.
    Zoneless,
}

/// A parsed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970 in UTC.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
    /// Whether there are nonzero digits after the ninth.
    pub finer: bool,
    /// Seconds east of UTC, if given.
    pub zone: Option<i32>,
    /// Whether it is only a date.
    pub date_only: bool,
}

/// The day of the last time read.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    text: [u8; 10],
    days: i64,
}

impl Default for Day {
    fn default() -> Self {
        Self { text: *b"1970-01-01", days: 0 }
    }
}

/// A time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock {
    seconds: u32,
    nanos: u32,
    finer: bool,
}

type Read<T> = Result<T, TimeFault>;

impl Moment {
    /// `2026-01-31`, optionally `T12:00`, `:00`, a fraction, and `Z`, `UTC` or an offset such as `+02:00`.
    ///
    /// # Errors
    /// It is not written like that, or no such time exists.
    pub fn parse(text: &[u8]) -> Read<Self> {
        Self::parse_near(text, &mut Day::default())
    }

    /// The same, for a time probably on the same day as the last one.
    ///
    /// # Errors
    /// As for [`Moment::parse`].
    #[inline]
    pub fn parse_near(text: &[u8], last: &mut Day) -> Read<Self> {
        let (date, rest) = text.split_first_chunk::<10>().ok_or(TimeFault::Syntax)?;
        if last.text != *date {
            let days = i64::from(days(date).ok_or(TimeFault::Syntax)?);
            *last = Day { text: *date, days };
        }
        let days = last.days;
        let Some((separator, rest)) = rest.split_first() else {
            return Ok(Self { seconds: days * DAY, nanos: 0, finer: false, zone: None, date_only: true });
        };
        if !matches!(separator, b'T' | b't' | b' ') {
            return Err(TimeFault::Syntax);
        }
        let (clock, rest) = Clock::parse(rest)?;
        let zone = zone(rest).ok_or(TimeFault::Syntax)?;
        let seconds = days * DAY + i64::from(clock.seconds) - i64::from(zone.unwrap_or(0));
        Ok(Self { seconds, nanos: clock.nanos, finer: clock.finer, zone, date_only: false })
    }

    /// Units since 1970; anything finer than the unit is rounded if `rounding` says how.
    ///
    /// # Errors
    /// A digit would be lost, or the time is outside the unit's range.
    pub fn count(&self, unit: TimeUnit, rounding: Option<Rounding>) -> Read<i64> {
        let exact = |scale: i64, per_unit: u32| {
            let rest = self.nanos % per_unit;
            let in_calendar = (FIRST_DAY * DAY..(LAST_DAY + 1) * DAY).contains(&self.seconds);
            (rest == 0 && !self.finer && in_calendar)
                .then(|| self.seconds.checked_mul(scale)?.checked_add(i64::from(self.nanos / per_unit)))
                .flatten()
        };
        // Almost all times are exact; the divisors are constants in each arm.
        let count = match unit {
            TimeUnit::Second => exact(1, NANOS),
            TimeUnit::Millisecond => exact(1_000, 1_000_000),
            TimeUnit::Microsecond => exact(1_000_000, 1_000),
            TimeUnit::Nanosecond => exact(1_000_000_000, 1),
        };
        match count {
            Some(count) => Ok(count),
            None => self.count_far(unit, rounding),
        }
    }

    #[inline(never)]
    fn count_far(&self, unit: TimeUnit, rounding: Option<Rounding>) -> Read<i64> {
        let per_unit = nanos_of(unit);
        let (units, rest) = (self.nanos / per_unit, self.nanos % per_unit);
        let whole = i128::from(self.seconds) * i128::from(NANOS / per_unit) + i128::from(units);
        let up = match (rest, self.finer, rounding) {
            (0, false, _) | (_, _, Some(Rounding::Down)) => false,
            (_, _, None) => return Err(TimeFault::Digits),
            (rest, finer, Some(how)) => match (2 * u64::from(rest)).cmp(&u64::from(per_unit)) {
                std::cmp::Ordering::Greater => true,
                // Of what is finer than a nanosecond nothing is known but that it is there: it goes down.
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => finer || how == Rounding::HalfUp || whole % 2 != 0,
            },
        };
        let count = i64::try_from(whole + i128::from(up)).map_err(|_| TimeFault::Range)?;
        if has_calendar(count, unit) { Ok(count) } else { Err(TimeFault::Range) }
    }
}

/// Whether `count` units since 1970 are a time of the years 1 to 9999, which every reader can print.
#[must_use]
pub fn has_calendar(count: i64, unit: TimeUnit) -> bool {
    let seconds = count.div_euclid(i64::from(NANOS / nanos_of(unit)));
    (FIRST_DAY * DAY..(LAST_DAY + 1) * DAY).contains(&seconds)
}

/// Whether a number of days since 1970 is in the years 1 to 9999.
#[must_use]
pub fn has_calendar_day(days: i64) -> bool {
    (FIRST_DAY..=LAST_DAY).contains(&days)
}

impl Clock {
    /// A time of day, and what follows it.
    fn parse(text: &[u8]) -> Read<(Self, &[u8])> {
        let [a, b, b':', c, d, rest @ ..] = text else { return Err(TimeFault::Syntax) };
        let (hours, minutes) = (pair(*a, *b)?, pair(*c, *d)?);
        let (seconds, rest) = match rest {
            [b':', a, b, rest @ ..] => (pair(*a, *b)?, rest),
            rest => (0, rest),
        };
        match (hours, minutes, seconds) {
            (0..24, 0..60, 0..60) => {}
            (0..24, 0..60, 60) => return Err(TimeFault::LeapSecond),
            _ => return Err(TimeFault::Syntax),
        }
        let (nanos, finer, rest) = match rest {
            [b'.' | b',', fraction @ ..] => {
                let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (digits, rest) = fraction.split_at_checked(count).ok_or(TimeFault::Syntax)?;
                let (kept, finer) = digits.split_at(count.min(9));
                let value = kept.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
                let scale = 10_u32.pow(9 - u32::try_from(kept.len()).unwrap_or(9));
                match count {
                    0 => return Err(TimeFault::Syntax),
                    _ => (value * scale, finer.iter().any(|digit| *digit != b'0'), rest),
                }
            }
            rest => (0, false, rest),
        };
        Ok((Self { seconds: hours * 3600 + minutes * 60 + seconds, nanos, finer }, rest))
    }
}

const DAY: i64 = 86_400;
/// 0001-01-01.
const FIRST_DAY: i64 = -719_162;
/// 9999-12-31.
const LAST_DAY: i64 = 2_932_896;
const NANOS: u32 = 1_000_000_000;

/// Nanoseconds of one `unit`.
#[must_use]
pub fn nanos_of(unit: TimeUnit) -> u32 {
    match unit {
        TimeUnit::Second => NANOS,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// The number of `unit`s in a second, as a power of ten.
#[must_use]
pub fn digits_of(unit: TimeUnit) -> i8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// A time as [`Moment::parse`] reads it, in units since 1970.
///
/// # Errors
/// It is not a time, or would lose a digit.
pub fn timestamp(text: &[u8], unit: TimeUnit) -> Result<i64, TimeFault> {
    Moment::parse(text)?.count(unit, None)
}

/// A time of day, `12:00`, `12:00:00` or `12:00:00.123`, in units since midnight.
///
/// # Errors
/// It is not a time of day, or would lose a digit.
pub fn time_of_day(text: &[u8], unit: TimeUnit, rounding: Option<Rounding>) -> Result<i64, TimeFault> {
    let (clock, rest) = Clock::parse(text)?;
    if !rest.is_empty() {
        return Err(TimeFault::Syntax);
    }
    let Clock { seconds, nanos, finer } = clock;
    let day = DAY * i64::from(NANOS / nanos_of(unit));
    let count = Moment { seconds: seconds.into(), nanos, finer, zone: None, date_only: false }.count(unit, rounding)?;
    if count < day { Ok(count) } else { Err(TimeFault::Range) }
}

/// The days from 1970-01-01 to the date in `text`, written as in `2026-01-31`; `None` if it is not a date.
#[must_use]
pub fn days(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let two = |a: u8, b: u8| pair(a, b).ok().map(i64::from);
    let (year, month, day) = (two(*y1, *y2)? * 100 + two(*y3, *y4)?, two(*m1, *m2)?, two(*d1, *d2)?);
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

/// Seconds east of UTC, or `Some(None)` if no zone is written.
fn zone(text: &[u8]) -> Option<Option<i32>> {
    let text = text.strip_prefix(b" ").filter(|rest| !rest.is_empty()).unwrap_or(text);
    let (sign, rest) = match text {
        [] => return Some(None),
        [b'Z' | b'z'] | b"UTC" | b"GMT" => return Some(Some(0)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [a, b] => (pair(*a, *b).ok()?, 0),
        [a, b, b':', c, d] | [a, b, c, d] => (pair(*a, *b).ok()?, pair(*c, *d).ok()?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then(|| i32::try_from(hours * 3600 + minutes * 60).ok().map(|east| sign * east))
}

fn pair(tens: u8, ones: u8) -> Read<u32> {
    if tens.is_ascii_digit() && ones.is_ascii_digit() {
        Ok(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
    } else {
        Err(TimeFault::Syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_rfc_3339_says() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(timestamp(text.as_bytes(), TimeUnit::Millisecond).ok(), expected, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some(0));
        check("2021-07-21T06:00:00Z", Some(1_626_847_200_000));
        check("2021-07-21T06:00:00.123000Z", Some(1_626_847_200_123));
        check("2021-07-21 08:00:00+02:00", Some(1_626_847_200_000));
        check("2021-07-21 08:00:00 +0200", Some(1_626_847_200_000));
        check("2021-07-21 06:00:00 UTC", Some(1_626_847_200_000));
        check("2021-07-21T06:00", Some(1_626_847_200_000));
        check("2000-02-29", Some(951_782_400_000));
        check("1969-12-31T23:59:59Z", Some(-1000));
        check("0001-01-01T00:00:00Z", Some(-62_135_596_800_000));
        check("0000-12-31T23:59:59Z", None);
        check("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999));
        for wrong in [
            "1900-02-29",
            "2021-13-01",
            "2021-00-01",
            "2021-07-21T25:00:00Z",
            "2021-07-21T24:00:00Z",
            "soon",
            "",
            "2021-07-21T",
            "2021-07-21 ",
            "2021-07-21T06:00:00.Z",
            "2021-07-21T06:00:00+24:00",
            "2021-07-21T06:00:00+02:60",
            "2021-7-21",
            "\0\0\0\0\0\0\0\0\0\0",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2021-07-21X06:00:00",
            "2021-07-21T06:00:00Zulu",
            "+021-07-21",
            "2021-07-21T6:00:00",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_the_unit_does_not_keep_is_refused_or_rounded() {
        let at = |text: &str, unit, rounding| Moment::parse(text.as_bytes())?.count(unit, rounding);
        let fine = "1970-01-01T00:00:01.0015Z";
        assert_eq!(at(fine, TimeUnit::Millisecond, None), Err(TimeFault::Digits));
        assert_eq!(at(fine, TimeUnit::Microsecond, None), Ok(1_001_500));
        assert_eq!(at(fine, TimeUnit::Millisecond, Some(Rounding::HalfUp)), Ok(1_002));
        assert_eq!(at(fine, TimeUnit::Millisecond, Some(Rounding::Down)), Ok(1_001));
        assert_eq!(at("1969-12-31T23:59:59.9Z", TimeUnit::Second, Some(Rounding::Down)), Ok(-1));
        assert_eq!(at("1970-01-01T00:00:00.0000000001Z", TimeUnit::Nanosecond, None), Err(TimeFault::Digits));
        assert_eq!(at("1970-01-01T00:00:00.0000000010Z", TimeUnit::Nanosecond, None), Ok(1));
        assert_eq!(at("2262-04-11T23:47:16.854775807Z", TimeUnit::Nanosecond, None), Ok(i64::MAX));
        assert_eq!(at("2262-04-11T23:47:16.854775808Z", TimeUnit::Nanosecond, None), Err(TimeFault::Range));
        assert_eq!(at("1677-09-21T00:12:43.145224192Z", TimeUnit::Nanosecond, None), Ok(i64::MIN));
        assert_eq!(at("2016-12-31T23:59:60Z", TimeUnit::Second, None), Err(TimeFault::LeapSecond));
    }

    #[test]
    fn times_of_day_end_at_midnight() {
        let at = |text: &str, unit| time_of_day(text.as_bytes(), unit, None);
        assert_eq!(at("12:34:56.789", TimeUnit::Millisecond), Ok(45_296_789));
        assert_eq!(at("00:00", TimeUnit::Second), Ok(0));
        assert_eq!(at("23:59:59.999999999", TimeUnit::Nanosecond), Ok(86_399_999_999_999));
        assert_eq!(at("23:59:59.5", TimeUnit::Second), Err(TimeFault::Digits));
        assert_eq!(at("24:00:00", TimeUnit::Second), Err(TimeFault::Syntax));
        assert_eq!(at("12:00:00Z", TimeUnit::Second), Err(TimeFault::Syntax));
        let late = time_of_day(b"23:59:59.9", TimeUnit::Second, Some(Rounding::HalfUp));
        assert_eq!(late, Err(TimeFault::Range));
    }
}
