//! The schema settled by the first messages.

use std::collections::{BTreeMap, BTreeSet};

use super::{NUMBERS, points::points, template::Templates};
use crate::{
    DataType, Field, Input, Schema, TimeUnit,
    columns::{LONGEST_NAME, MOST_COLUMNS},
    messages,
    number::{Number, float_word},
};

/// What the values of a field have in common so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Whether one was not an integer.
    fraction: bool,
    /// Whether one is an integer with more digits than a float holds.
    long: bool,
    least: i128,
    most: i128,
}

impl Seen {
    fn add(&mut self, number: Option<Number<'_>>) {
        match number.filter(Number::is_plain).and_then(|number| number.integer().ok()) {
            Some(whole) => {
                self.long |= (whole as f64) as i128 != whole;
                self.least = self.least.min(whole);
                self.most = self.most.max(whole);
            }
            None => self.fraction = true,
        }
    }

    /// Whether a number has a fraction is chance, so integers become floats too, as long as no digit is lost.
    fn data_type(self) -> DataType {
        let within = |least: i128, most: i128| self.least >= least && self.most <= most;
        match self.long && !self.fraction {
            false => DataType::Float64,
            true if within(i64::MIN.into(), i64::MAX.into()) => DataType::Int64,
            true if within(0, u64::MAX.into()) => DataType::UInt64,
            true => DataType::Decimal128(38, 0),
        }
    }
}

/// The columns of all valid messages, tags before fields; `None` if there is no point.
pub(super) fn schema(input: &Input<'_>, templates: &Templates) -> Option<Schema> {
    let mut tags: BTreeSet<String> = templates.tags().map(str::to_owned).collect();
    let mut fields: BTreeMap<String, Seen> = BTreeMap::new();
    // Tags leave half of the columns to the fields.
    let fits = |name: &str, columns: usize| name.len() <= LONGEST_NAME && columns < MOST_COLUMNS;
    let mut finer = false;
    let mut parts = Vec::new();
    messages::each(input, |_, _, value| {
        let Ok(points) = points(templates, value, None, &mut parts) else { return };
        for point in points {
            finer |= point.time.is_some_and(|time| time.nanos % 1000 != 0);
            for (name, _) in &point.tags {
                if fits(name, 2 * tags.len()) && !tags.contains(*name) {
                    tags.insert((*name).to_owned());
                }
            }
            for field in &point.fields {
                let number = Number::parse(field.value, NUMBERS).ok();
                // What is no number settles nothing: one broken line does not make a column of texts.
                if number.is_none() && float_word(field.value).is_none() {
                    continue;
                }
                if !fields.contains_key(&*field.name) && fits(&field.name, tags.len() + fields.len()) {
                    fields.insert(field.name.to_string(), Seen::default());
                }
                if let Some(seen) = fields.get_mut(&*field.name) {
                    seen.add(number);
                }
            }
        }
    });
    if fields.is_empty() {
        return None;
    }
    fields.retain(|name, _| !tags.contains(name));
    let unit = if finer { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
    let mut columns = vec![
        Field::new("time", DataType::Timestamp(unit, Some("UTC".into()))),
        Field::new("measurement", DataType::Utf8),
    ];
    columns.extend(tags.into_iter().map(|tag| Field::new(tag, DataType::Utf8)));
    columns.extend(fields.into_iter().map(|(name, seen)| Field::new(name, seen.data_type())));
    Some(Schema::new(columns))
}
