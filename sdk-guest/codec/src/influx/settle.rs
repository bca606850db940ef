//! The schema settled by the first messages.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Names, Precision,
    line::{Kind, Lines, Point},
};
use crate::{
    DataType, Field, Input, Schema, TimeUnit,
    columns::{LONGEST_NAME, MOST_COLUMNS},
    messages,
};

/// What the values of a field have in common so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Bool,
    Int,
    UInt,
    /// Both kinds of integers: no 64-bit type holds all values of both.
    Whole,
    Float,
    Text,
}

impl Seen {
    fn of(kind: &Kind<'_>) -> Self {
        match kind {
            Kind::Float(_) => Self::Float,
            Kind::Int(_) => Self::Int,
            Kind::UInt(_) => Self::UInt,
            Kind::Bool(_) => Self::Bool,
            Kind::Text(_) => Self::Text,
        }
    }

    /// Numbers widen, in either order. If kinds have nothing in common, the first stays, and values of the other are
    /// faults.
    fn join(self, other: Self) -> Self {
        let whole = |seen| matches!(seen, Self::Int | Self::UInt | Self::Whole);
        match (self, other) {
            (a, b) if a == b => a,
            (a, Self::Float) | (Self::Float, a) if whole(a) => Self::Float,
            (a, b) if whole(a) && whole(b) => Self::Whole,
            (first, _) => first,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::UInt => DataType::UInt64,
            Self::Whole => DataType::Decimal128(20, 0),
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
        }
    }
}

/// The columns of all valid messages; `None` if there is no point.
pub(super) fn schema(input: &Input<'_>, precision: Precision, names: &mut Names) -> Option<Schema> {
    let (mut tags, mut fields) = (BTreeSet::new(), BTreeMap::new());
    // Tags leave half of the columns to the fields.
    let fits = |name: &str, columns: usize| name.len() <= LONGEST_NAME && columns < MOST_COLUMNS;
    let mut point = Point::default();
    messages::each(input, |_, _, value| {
        let Ok(text) = messages::text(value) else { return };
        let mut sound = Lines::new(text);
        loop {
            match sound.next(&mut point) {
                Ok(true) if names.check(&point).is_ok() => {}
                Ok(false) => break,
                _ => return,
            }
        }
        let mut lines = Lines::new(text);
        while lines.next(&mut point) == Ok(true) {
            for (name, _) in &point.tags {
                if fits(&name.text, 2 * tags.len()) && !tags.contains(&*name.text) {
                    tags.insert(name.text.to_string());
                }
            }
            for (name, value) in &point.fields {
                let seen = Seen::of(&value.kind);
                let fits = fits(&name.text, tags.len() + fields.len());
                match fields.get_mut(&*name.text) {
                    None if !fits => {}
                    None => drop(fields.insert(name.text.to_string(), seen)),
                    Some(known) => *known = Seen::join(*known, seen),
                }
            }
        }
    });
    if fields.is_empty() {
        return None;
    }
    let unit = match precision {
        Precision::Ns => TimeUnit::Nanosecond,
        Precision::Us | Precision::Ms | Precision::S => TimeUnit::Microsecond,
    };
    let mut columns = vec![
        Field::new("time", DataType::Timestamp(unit, Some("UTC".into()))),
        Field::new("measurement", DataType::Utf8),
    ];
    fields.retain(|name, _| !tags.contains(name));
    columns.extend(tags.into_iter().map(|tag| Field::new(tag, DataType::Utf8)));
    columns.extend(fields.into_iter().map(|(name, seen)| Field::new(name, seen.data_type())));
    Some(Schema::new(columns))
}
