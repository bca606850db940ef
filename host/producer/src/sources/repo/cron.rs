//! Minutes named by the five fields of cron, in UTC.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Minutes, as cron names them: minute, hour, day of the month, month, day of the week, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(
    with = "String",
    description = "Minute, hour, day of the month, month, day of the week, in UTC: 0 * * * *, */15 8-18 * * MON-FRI, @daily",
    extend("format" = "cron")
)]
pub struct Cron {
    text: String,
    /// The values that fit, as bits.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Where both days are given, one of them has to fit.
    either: bool,
}

const SHORT: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const MONTHS: [&str; 13] = ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 8] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The 29th of February is a Monday once in 28 years, and at most 40 where a century leaves one out.
const DAYS: i32 = 366 * 40;

impl Cron {
    /// The first of its minutes after a time, both in milliseconds since 1970.
    pub(super) fn after(&self, ms: i64) -> Option<i64> {
        let begin = Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::UTC).date();
        let bits = |set: u64, most: i8| (0..most).filter(move |bit| set >> bit & 1 == 1);
        let mut days = (0..DAYS).map_while(|days| begin.checked_add(days.days()).ok()).filter(|day| self.has(*day));
        days.find_map(|day| {
            let minutes =
                bits(self.hours, 24).flat_map(|hour| bits(self.minutes, 60).map(move |minute| (hour, minute)));
            let mut times = minutes.filter_map(|(hour, minute)| {
                let time = day.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).ok()?;
                Some(time.timestamp().as_millisecond())
            });
            times.find(|time| *time > ms)
        })
    }

    fn has(&self, day: Date) -> bool {
        let fits = |set: u64, value: i8| set >> value & 1 == 1;
        let of_month = fits(self.days, day.day());
        let of_week = fits(self.weekdays, day.weekday().to_sunday_zero_offset());
        fits(self.months, day.month()) && if self.either { of_month || of_week } else { of_month && of_week }
    }
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` names no minutes: {why}; write it like `0 * * * *` or @daily");
        let short = SHORT.iter().find(|(short, _)| text.trim().eq_ignore_ascii_case(short));
        let fields: Vec<&str> = short.map_or(text, |(_, long)| long).split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(wrong(&format!("it has {} fields, not 5", fields.len())));
        };
        let set = |field: &str, range, names: &[&str]| values(field, range, names).map_err(|why| wrong(&why));
        let of_week = set(weekdays, (0, 7), &WEEKDAYS)?;
        let cron = Self {
            text: text.to_owned(),
            minutes: set(minutes, (0, 59), &[])?,
            hours: set(hours, (0, 23), &[])?,
            days: set(days, (1, 31), &[])?,
            months: set(months, (1, 12), &MONTHS)?,
            // Sunday is 0 and 7.
            weekdays: of_week | of_week >> 7,
            either: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        if cron.after(0).is_some() { Ok(cron) } else { Err(wrong("there is no such day")) }
    }
}

/// The values of a field as bits: `*`, `5`, `1-5`, each also `/2`, and several with commas.
fn values(field: &str, (least, most): (u32, u32), names: &[&str]) -> Result<u64, String> {
    let number = |text: &str| {
        let named = names.iter().position(|name| !name.is_empty() && text.eq_ignore_ascii_case(name));
        let value = named.and_then(|at| u32::try_from(at).ok()).or_else(|| text.parse().ok());
        let fits = value.filter(|value| (least..=most).contains(value));
        fits.ok_or_else(|| format!("`{text}` is not in {least}-{most}"))
    };
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (least, most),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            (one, None) => (number(one)?, if step.is_some() { most } else { number(one)? }),
        };
        let step = step.map_or(Ok(1), str::parse::<usize>).ok().filter(|step| *step > 0);
        let step = step.ok_or_else(|| format!("`{part}` has no step that is a number"))?;
        if from > to {
            return Err(format!("`{range}` ends before it begins"));
        }
        set |= (from..=to).step_by(step).fold(0, |set, value| set | 1 << value);
    }
    Ok(set)
}

impl TryFrom<String> for Cron {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_minute_is_the_first_that_all_fields_name() {
        let ms = |text: &str| format!("{text}Z").parse::<Timestamp>().unwrap().as_millisecond();
        let check = |cron: &str, after: &str, expected: &str| {
            assert_eq!(cron.parse::<Cron>().unwrap().after(ms(after)), Some(ms(expected)), "{cron} after {after}");
        };
        check("0 * * * *", "2026-11-26T15:00:00", "2026-11-26T16:00:00");
        check("0 * * * *", "2026-11-26T14:59:59.999", "2026-11-26T15:00:00");
        check("@daily", "2026-12-31T23:59:00", "2027-01-01T00:00:00");
        check("*/15 8-18 * * MON-FRI", "2026-11-27T18:45:00", "2026-11-30T08:00:00");
        check("5,35 0 1 JAN,jul *", "2026-11-26T00:00:00", "2027-01-01T00:05:00");
        check("0 0 13 * fri", "2026-11-26T00:00:00", "2026-11-27T00:00:00");
        check("0 0 * * 7", "2026-11-26T00:00:00", "2026-11-29T00:00:00");
        check("0 0 29 2 *", "2026-11-26T00:00:00", "2028-02-29T00:00:00");
        check("50/5 0 * * *", "2026-11-26T00:50:00", "2026-11-26T00:55:00");
    }

    #[test]
    fn what_names_no_minute_is_refused() {
        let check = |cron: &str, part: &str| {
            let why = cron.parse::<Cron>().unwrap_err();
            assert!(why.contains(part), "{cron}: {why}");
        };
        check("0 * * *", "4 fields");
        check("60 * * * *", "`60` is not in 0-59");
        check("0 0 31 2 *", "no such day");
        check("*/0 * * * *", "no step");
        check("5-1 * * * *", "ends before");
        check("@every 1h", "2 fields");
    }
}
