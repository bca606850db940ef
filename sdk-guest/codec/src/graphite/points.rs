//! The points of one message.

use std::{borrow::Cow, collections::HashMap};

use super::{
    NUMBERS, SYNTAX,
    template::{Taken, Templates},
};
use crate::{
    columns::Fault,
    messages,
    number::{Number, NumberFault},
    reason::{Place, quote},
};

/// Most values of one message: each is held with all that is known of it until the last one is read.
const MOST_LINES: usize = 1 << 19;

/// One row under construction.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) time: Option<Time<'a>>,
    pub(super) measurement: Cow<'a, str>,
    pub(super) tags: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) fields: Vec<Field<'a>>,
    /// Where its first line begins.
    pub(super) place: Place,
}

/// A time, as written and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<'a> {
    /// Since 1970.
    pub(super) nanos: i128,
    pub(super) written: &'a str,
    pub(super) place: Place,
}

/// A value, with its name and location.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: &'a str,
    pub(super) place: Place,
}

/// One line.
#[derive(Debug)]
struct Line<'a> {
    taken: Taken<'a>,
    value: &'a str,
    value_place: Place,
    time: Option<Time<'a>>,
    place: Place,
}

/// The rows of one message, by time; lines with the same time, measurement and tags share one, except for repeated
/// fields.
///
/// # Errors
/// The first malformed line.
pub(super) fn points<'a>(
    templates: &'a Templates,
    value: &'a [u8],
    sent_ms: Option<i64>,
    parts: &mut Vec<&'a str>,
) -> Result<Vec<Point<'a>>, Fault> {
    let (text, start) = messages::text(value).map_err(|reason| (SYNTAX, reason))?;
    let mut points = Points::default();
    let mut at = start;
    for (index, line) in text.get(start..).unwrap_or_default().split('\n').enumerate() {
        let place = |byte: usize| if index == 0 { Place::Byte(at + byte) } else { Place::Line(index + 1, byte + 1) };
        if let Some(line) = take(line, templates, sent_ms, parts, &place).map_err(|reason| (SYNTAX, reason))? {
            points.add(line);
        }
        if points.lines > MOST_LINES {
            return Err((SYNTAX, format!("there are more than {MOST_LINES} values in one message,{}", place(0))));
        }
        at += line.len() + 1;
    }
    Ok(points.finish())
}

/// The contents of a line, unless it is blank.
fn take<'a>(
    line: &'a str,
    templates: &'a Templates,
    sent_ms: Option<i64>,
    parts: &mut Vec<&'a str>,
    place: &dyn Fn(usize) -> Place,
) -> Result<Option<Line<'a>>, String> {
    let blank = [' ', '\t', '\r'];
    let mut words = line.split(blank).filter(|word| !word.is_empty());
    let begins = |word: &str| place(word.as_ptr() as usize - line.as_ptr() as usize);
    let Some(path) = words.next() else { return Ok(None) };
    let (Some(value), time, None) = (words.next(), words.next(), words.next()) else {
        return Err(format!(
            "there must be `path value [time]`, not {},{}",
            quote(line.trim().as_bytes()),
            begins(path)
        ));
    };
    let own = time.map(|text| {
        seconds(text).map_err(|what| format!("the time {} {what},{}", quote(text.as_bytes()), begins(text)))
    });
    let time = match own.transpose()?.flatten() {
        Some(nanos) => time.map(|written| Time { nanos, written, place: begins(written) }),
        None => sent_ms.map(|ms| Time {
            nanos: i128::from(ms) * 1_000_000,
            written: "the time of the message",
            place: Place::Message,
        }),
    };
    let taken = templates.take(path, parts).map_err(|reason| format!("{reason},{}", begins(path)))?;
    let field = &*taken.field;
    if ["time", "measurement"].contains(&field) || taken.tags.iter().any(|(name, _)| *name == field) {
        let (field, place) = (quote(field.as_bytes()), begins(path));
        return Err(format!(
            "there are two values for the column {field}: a field and what the path has already,{place}"
        ));
    }
    Ok(Some(Line { taken, value, value_place: begins(value), time, place: begins(path) }))
}

/// A time in seconds, as nanoseconds; -1 means that the sender has none.
fn seconds(text: &str) -> Result<Option<i128>, &'static str> {
    let number = Number::parse(text, NUMBERS).map_err(|_| "is no number of seconds since 1970")?;
    if number.integer() == Ok(-1) {
        return Ok(None);
    }
    number.decimal(38, 9, None).map(Some).map_err(|fault| match fault {
        NumberFault::Digits => "is finer than a nanosecond",
        _ => "is out of range",
    })
}

type Key<'a> = (Option<i128>, Cow<'a, str>, Vec<(&'a str, Cow<'a, str>)>);

/// Rows in the order of their first line.
#[derive(Debug, Default)]
struct Points<'a> {
    rows: Vec<Point<'a>>,
    /// The first line, the only one of most messages: it needs no lookup.
    first: Option<Line<'a>>,
    /// The rows for each time, measurement and tags.
    known: HashMap<Key<'a>, usize>,
    of: Vec<Vec<usize>>,
    /// How often a field occurs among the rows of a point.
    counts: HashMap<(usize, Cow<'a, str>), usize>,
    lines: usize,
}

impl<'a> Points<'a> {
    fn add(&mut self, line: Line<'a>) {
        self.lines += 1;
        match (self.first.take(), self.rows.is_empty()) {
            (None, true) => self.first = Some(line),
            (None, false) => self.merge(line),
            (Some(first), _) => {
                self.merge(first);
                self.merge(line);
            }
        }
    }

    fn merge(&mut self, line: Line<'a>) {
        let Line { taken: Taken { measurement, tags, field }, value, value_place, time, place } = line;
        let key = (time.map(|time| time.nanos), measurement.clone(), tags.clone());
        let point = *self.known.entry(key).or_insert_with(|| {
            self.of.push(Vec::new());
            self.of.len() - 1
        });
        let count = self.counts.entry((point, field.clone())).or_default();
        let nth = *count;
        *count += 1;
        let Some(of) = self.of.get_mut(point) else { return };
        let at = of.get(nth).copied().unwrap_or_else(|| {
            of.push(self.rows.len());
            self.rows.push(Point { time, measurement, tags, fields: Vec::new(), place });
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(at) {
            row.fields.push(Field { name: field, value, place: value_place });
        }
    }

    fn finish(mut self) -> Vec<Point<'a>> {
        if let Some(Line { taken: Taken { measurement, tags, field }, value, value_place, time, place }) = self.first {
            let fields = vec![Field { name: field, value, place: value_place }];
            return vec![Point { time, measurement, tags, fields, place }];
        }
        self.rows.sort_by_key(|point| (point.time.is_none(), point.time.map(|time| time.nanos)));
        self.rows
    }
}
