//! Syslog times: RFC 3339's, and RFC 3164's, which have no year and no zone.

use crate::time::{Moment, TimeFault, days};

const DAY: i64 = 86_400;

/// A time as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// Complete, in nanoseconds since 1970.
    Moment(i128),
    /// Without a zone.
    Zoneless(Local),
    /// Without a zone or year.
    Yearless(Local),
}

/// A time by the sender's calendar and clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// 0 if unknown.
    year: u16,
    month: u8,
    day: u8,
    seconds: u32,
    nanos: u32,
}

/// What times may lack, and where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Missing {
    /// Seconds east of UTC.
    pub(super) zone: i32,
    /// The year, if set.
    pub(super) year: Option<u16>,
    /// The latest time at which the message or its file was written, in milliseconds since 1970.
    pub(super) written_ms: Option<i64>,
}

/// Why a time is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not in the calendar or on the clock.
    Calendar,
    LeapSecond,
    /// Its year is unknown.
    Year,
}

impl Wrong {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Calendar => "is in no calendar, or its year has no such day",
            Self::LeapSecond => "has second 60, which has no place in a column of times",
            Self::Year => {
                "has no year, and neither the message nor its file says when it was written; set `year` in the decoder"
            }
        }
    }
}

impl Stamp {
    /// Nanoseconds since 1970. Without a year, the newest one is taken in which the time is at most a day after the
    /// message or its file was written; so December's lines in a file from January belong to the year before, and
    /// February 29 to the last leap year.
    ///
    /// # Errors
    /// No such time exists, or its year is unknown.
    pub(super) fn resolve(self, missing: &Missing) -> Result<i128, Wrong> {
        let (local, year) = match self {
            Self::Moment(nanos) => return Ok(nanos),
            Self::Zoneless(local) => (local, Some(local.year)),
            Self::Yearless(local) => (local, missing.year),
        };
        let seconds = match (year, missing.written_ms) {
            (Some(year), _) => local.seconds_in(year.into(), missing.zone).ok_or(Wrong::Calendar)?,
            (None, Some(written)) => {
                let limit = written.div_euclid(1000) + DAY;
                // One too late at least; leap years are at most eight years apart.
                let newest = 1971 + limit.div_euclid(365 * DAY);
                let near = |year: i64| local.seconds_in(year, missing.zone).filter(|at| *at <= limit);
                (newest - 40..=newest).rev().find_map(near).ok_or(Wrong::Calendar)?
            }
            (None, None) => return Err(Wrong::Year),
        };
        Ok(i128::from(seconds) * 1_000_000_000 + i128::from(local.nanos))
    }
}

impl Local {
    fn seconds_in(self, year: i64, zone: i32) -> Option<i64> {
        let digit = |value: i64| u8::try_from(value.rem_euclid(10)).unwrap_or(0) + b'0';
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        if !(0..10_000).contains(&year) {
            return None;
        }
        let date = [
            digit(year / 1000),
            digit(year / 100),
            digit(year / 10),
            digit(year),
            b'-',
            digit(month / 10),
            digit(month),
            b'-',
            digit(day / 10),
            digit(day),
        ];
        Some(i64::from(days(&date)?) * DAY + i64::from(self.seconds) - i64::from(zone))
    }
}

/// The time at the start of `text`, and its length, if it looks like an RFC 3339 time.
pub(super) fn rfc3339(text: &str) -> Option<(Result<Stamp, Wrong>, usize)> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    if bytes.len() < shape.len() || !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    let mut end = shape.len() + fraction(bytes.get(shape.len()..)?)?;
    let zone = match bytes.get(end..)? {
        [b'Z', ..] => 1,
        [b'+' | b'-', a, b, b':', c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => 6,
        [b'+' | b'-', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => 5,
        _ => 0,
    };
    end += zone;
    let stamp = match Moment::parse(bytes.get(..end)?) {
        Ok(moment) if zone > 0 => {
            Ok(Stamp::Moment(i128::from(moment.seconds) * 1_000_000_000 + i128::from(moment.nanos)))
        }
        Ok(moment) => local(text, moment).map(Stamp::Zoneless).ok_or(Wrong::Calendar),
        Err(TimeFault::LeapSecond) => Err(Wrong::LeapSecond),
        Err(_) => Err(Wrong::Calendar),
    };
    Some((stamp, end))
}

fn local(text: &str, moment: Moment) -> Option<Local> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u16>().ok();
    Some(Local {
        year: number(0..4)?,
        month: u8::try_from(number(5..7)?).ok()?,
        day: u8::try_from(number(8..10)?).ok()?,
        seconds: u32::try_from(moment.seconds.rem_euclid(DAY)).ok()?,
        nanos: moment.nanos,
    })
}

/// Length of a fraction of one to nine digits; 0 if there is none.
fn fraction(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (1..=9).contains(&digits).then_some(digits + 1)
        }
        _ => Some(0),
    }
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The time at the start of `text`, and its length, if it looks like an RFC 3164 time, `Oct 11 22:14:15`: the day in
/// one or two digits, optionally a year, optionally a fraction.
pub(super) fn rfc3164(text: &str) -> Option<(Result<Stamp, Wrong>, usize)> {
    let bytes = text.as_bytes();
    let month = MONTHS.iter().position(|name| bytes.starts_with(*name))?;
    let mut at = 3 + blanks(bytes.get(3..)?, 2)?;
    let day = digits(bytes.get(at..)?, 1, 2)?;
    at += day.1;
    at += blanks(bytes.get(at..)?, 2)?;
    let year = digits(bytes.get(at..)?, 4, 4).filter(|year| bytes.get(at + year.1) == Some(&b' '));
    at += year.map_or(0, |year| year.1 + 1);
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = bytes.get(at..)? else { return None };
    let (hours, minutes, seconds) =
        (digits(&[*h1, *h2], 2, 2)?, digits(&[*m1, *m2], 2, 2)?, digits(&[*s1, *s2], 2, 2)?);
    at += 8;
    let length = fraction(rest)?;
    let nanos = match length {
        0 => 0,
        _ => digits(rest.get(1..length)?, 1, 9)?.0 * 10_u32.pow(u32::try_from(10 - length).ok()?),
    };
    at += length;
    let local = Local {
        year: year.map_or(Some(0), |year| u16::try_from(year.0).ok())?,
        month: u8::try_from(month + 1).ok()?,
        day: u8::try_from(day.0).ok()?,
        seconds: hours.0 * 3600 + minutes.0 * 60 + seconds.0,
        nanos,
    };
    // A year in which every day is, so that a day that no year has is told as such.
    let sound = local.seconds_in(year.map_or(2000, |year| year.0.into()), 0).is_some();
    let stamp = match (hours.0, minutes.0, seconds.0, sound) {
        (0..24, 0..60, 0..60, true) if year.is_some() => Ok(Stamp::Zoneless(local)),
        (0..24, 0..60, 0..60, true) => Ok(Stamp::Yearless(local)),
        (0..24, 0..60, 60, true) => Err(Wrong::LeapSecond),
        _ => Err(Wrong::Calendar),
    };
    Some((stamp, at))
}

/// One to `most` blanks.
fn blanks(bytes: &[u8], most: usize) -> Option<usize> {
    let count = bytes.iter().take_while(|byte| **byte == b' ').count();
    (1..=most).contains(&count).then_some(count)
}

/// The number of `least` to `most` digits at the start, and its length.
fn digits(bytes: &[u8], least: usize, most: usize) -> Option<(u32, usize)> {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = bytes.iter().take(count.min(9)).fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    (least..=most).contains(&count).then_some((value, count))
}

/// An offset such as `+02:00`, in seconds east of UTC.
pub(super) fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes() {
        b"Z" | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [a, b] => (digits(&[*a, *b], 2, 2)?.0, 0),
        [a, b, b':', c, d] | [a, b, c, d] => (digits(&[*a, *b], 2, 2)?.0, digits(&[*c, *d], 2, 2)?.0),
        _ => return None,
    };
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    (hours < 24 && minutes < 60).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i128 {
        match rfc3339(text) {
            Some((Ok(Stamp::Moment(nanos)), length)) if length == text.len() => nanos,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn times_of_rfc_3339_are_exact() {
        assert_eq!(at("1970-01-01T00:00:01.000000001Z"), 1_000_000_001);
        assert_eq!(at("1985-04-12T19:20:50.52-04:00"), at("1985-04-12T23:20:50.52Z"));
        assert_eq!(at("2023-10-11T22:14:15.123456789+0530"), at("2023-10-11T16:44:15.123456789Z"));
        for wrong in
            ["2023-10-11T22:14", "2023-10-11 22:14:15Z", "2023-10-11T22:14:15.Z", "2023-10-11T22:14:15.1234567890Z", ""]
        {
            assert_eq!(rfc3339(wrong), None, "{wrong}");
        }
        assert_eq!(rfc3339("2023-13-11T22:14:15Z").unwrap().0, Err(Wrong::Calendar));
        assert_eq!(rfc3339("2023-02-29T22:14:15Z").unwrap().0, Err(Wrong::Calendar));
        assert_eq!(rfc3339("2016-12-31T23:59:60Z").unwrap().0, Err(Wrong::LeapSecond));
        let (stamp, length) = rfc3339("2023-10-11T22:14:15 host").unwrap();
        let east = Missing { zone: 7200, ..Missing::default() };
        assert_eq!((stamp.unwrap().resolve(&east), length), (Ok(at("2023-10-11T20:14:15Z")), 19));
    }

    fn resolved(text: &str, missing: Missing) -> Result<i128, Wrong> {
        let (stamp, length) = rfc3164(text).unwrap();
        assert_eq!(length, text.len());
        stamp?.resolve(&missing)
    }

    #[test]
    fn a_year_comes_from_the_setting_or_from_when_it_was_written() {
        let ms = |text: &str| i64::try_from(at(text) / 1_000_000).unwrap();
        let written = |text: &str| Missing { written_ms: Some(ms(text)), ..Missing::default() };
        let check = |text: &str, missing: Missing, expected: &str| {
            assert_eq!(resolved(text, missing), Ok(at(expected)), "{text} {missing:?}");
        };
        check("Dec  8 16:48:11", written("2023-12-09T00:00:00Z"), "2023-12-08T16:48:11Z");
        check("Dec 8 16:48:11", written("2024-06-01T00:00:00Z"), "2023-12-08T16:48:11Z");
        check("Dec 31 23:59:59", written("2024-01-01T00:00:00Z"), "2023-12-31T23:59:59Z");
        check("Jan  1 00:00:01.5", written("2023-12-31T23:59:00Z"), "2024-01-01T00:00:01.5Z");
        check("Jan  1 23:59:00", written("2023-12-31T23:59:00Z"), "2024-01-01T23:59:00Z");
        check("Jan  1 23:59:01", written("2023-12-31T23:59:00Z"), "2023-01-01T23:59:01Z");
        check("Feb 29 12:00:00", written("2024-03-01T00:00:00Z"), "2024-02-29T12:00:00Z");
        check("Feb 29 12:00:00", written("2027-03-01T00:00:00Z"), "2024-02-29T12:00:00Z");
        check("Feb 29 12:00:00", written("1903-03-01T00:00:00Z"), "1896-02-29T12:00:00Z");
        check("Oct 11 2019 22:14:15", Missing::default(), "2019-10-11T22:14:15Z");
        let set = |year| Missing { year: Some(year), written_ms: Some(0), zone: -3600 };
        check("Oct 11 22:14:15", set(2001), "2001-10-11T23:14:15Z");
        assert_eq!(resolved("Feb 29 12:00:00", set(2001)), Err(Wrong::Calendar));
        assert_eq!(resolved("Oct 11 22:14:15", Missing::default()), Err(Wrong::Year));
        // The zone moves the limit too: half past midnight in the east is still the day before in UTC.
        let east = Missing { zone: 3600, ..written("2023-12-31T23:40:00Z") };
        check("Jan  1 00:30:00", east, "2023-12-31T23:30:00Z");
    }

    #[test]
    fn what_looks_like_a_time_and_is_none_is_told() {
        for wrong in [
            "Oct 32 22:14:15",
            "Feb 30 22:14:15",
            "Oct 11 24:14:15",
            "Oct 11 22:60:15",
            "Oct  0 22:14:15",
            "Feb 29 2023 00:00:00",
        ] {
            assert_eq!(rfc3164(wrong).unwrap().0, Err(Wrong::Calendar), "{wrong}");
        }
        assert_eq!(rfc3164("Oct 11 22:14:60").unwrap().0, Err(Wrong::LeapSecond));
        for none in [
            "Oct",
            "Oct 11",
            "Oct 11 22:14",
            "oct 11 22:14:15",
            "Oct   1 22:14:15",
            "Oct 111 22:14:15",
            "Oct 11 2:14:15",
            "Oct 11 22:14:15.",
        ] {
            assert_eq!(rfc3164(none), None, "{none}");
        }
    }

    #[test]
    fn offsets_are_hours_and_minutes() {
        let check = |text: &str, expected| assert_eq!(offset(text), expected, "{text}");
        check("+02:00", Some(7200));
        check("-0530", Some(-19_800));
        check("+01", Some(3600));
        check("Z", Some(0));
        for wrong in ["", "Mars", "+2", "+24:00", "+02:60", "02:00", "Europe/Berlin"] {
            check(wrong, None);
        }
    }
}
