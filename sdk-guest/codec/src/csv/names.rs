//! Column names: taken from a header, and detected among data.

use std::collections::HashSet;

use super::{MAX_COLUMNS, MAX_NAME, Reader, Style, Value, record::Attached};
use crate::reason::quote;

/// The names of a record's values, in order; unique and not empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    /// The names in lower case.
    lower: HashSet<String>,
    /// First bytes of names in any case, one bit each.
    first: [u64; 4],
}

/// The column names in the header `record`: an empty or repeated one gets a number.
///
/// # Errors
/// It is not one record, not UTF-8, or names too many columns or too long ones.
pub fn names(record: &[u8], style: Style) -> Result<Vec<String>, String> {
    Attached::names(&mut Reader::new(style), record).map(|names| names.names)
}

/// How a record compares with the header of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Data.
    Data,
    /// The header again.
    Same,
    /// A header of the same columns in another order, with more or fewer of them, or in another case.
    Other,
}

/// What the first record of a file, body or stream says of the records behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// Nothing: it is data, or these names in this order.
    Nothing,
    /// It names their columns.
    Named,
    /// It names columns, and some of them differ from ours only in blanks or case.
    Loose,
}

impl Names {
    pub(super) fn new(names: Vec<String>) -> Self {
        let lower: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let mut first = [0; 4];
        for name in names.iter().flat_map(|name| [name.clone(), name.to_lowercase(), name.to_uppercase()]) {
            let byte = usize::from(name.bytes().next().unwrap_or(b' '));
            if let Some(bits) = first.get_mut(byte / 64) {
                *bits |= 1_u64 << (byte % 64);
            }
        }
        Self { names, lower, first }
    }

    /// Whether a record that looks like a header can begin with this value.
    #[inline]
    fn begins_with(&self, value: &[u8]) -> bool {
        let known = |byte: usize| self.first.get(byte / 64).is_some_and(|bits| bits >> (byte % 64) & 1 == 1);
        value.first().is_none_or(|&byte| byte == b' ' || known(byte.into()))
    }

    /// `column_1` and so on.
    pub(super) fn numbered(count: usize) -> Self {
        Self::new((1..=count).map(|number| format!("column_{number}")).collect())
    }

    /// The names in a header: an empty or repeated one gets a number.
    ///
    /// # Errors
    /// There are too many names, or one is too long.
    pub(super) fn read<'a>(values: impl Iterator<Item = Value<'a>>) -> Result<Self, String> {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for (index, value) in values.enumerate() {
            if index == MAX_COLUMNS {
                return Err(format!("the header names more than {MAX_COLUMNS} columns"));
            }
            if value.bytes.len() > MAX_NAME {
                return Err(format!("the header has a name of more than {MAX_NAME} bytes: {}", quote(value.bytes)));
            }
            let text = String::from_utf8_lossy(value.bytes);
            let mut name = if text.is_empty() { format!("column_{}", index + 1) } else { text.into_owned() };
            while !seen.insert(name.clone()) {
                name = format!("{name}_{}", index + 1);
            }
            names.push(name);
        }
        Ok(Self::new(names))
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        self.names.get(index).map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether the record `values` repeats these names, or has names of the same columns in other positions.
    pub(super) fn likeness<'a>(&self, values: impl Iterator<Item = Value<'a>> + Clone) -> Likeness {
        // The first value tells almost all records from a header, at no cost.
        if !values.clone().next().is_some_and(|first| self.begins_with(first.bytes)) {
            return Likeness::Data;
        }
        let text = |value: Value<'a>| String::from_utf8_lossy(value.bytes);
        let count = values.clone().count();
        if count == self.len()
            && let Ok(read) = Self::read(values.clone())
            && read.names == self.names
        {
            return Likeness::Same;
        }
        let mut known = HashSet::new();
        let mut all_known = true;
        for value in values {
            let name = text(value).trim().to_lowercase();
            match self.lower.get(&name) {
                Some(name) => all_known &= known.insert(name.as_str()),
                None => all_known = false,
            }
        }
        // One name alone says little: it may well be data.
        let other = known.len() > 1 && (all_known || known.len() == self.lower.len());
        if other { Likeness::Other } else { Likeness::Data }
    }

    /// What `values`, the first record of a file, body or stream, says of the records behind it. It is a header if it has
    /// two of these names, or one in its own place: rather than any other record, the first one is expected to be.
    pub(super) fn lead<'a>(&self, values: impl Iterator<Item = Value<'a>> + Clone) -> Lead {
        if self.likeness(values.clone()) == Likeness::Same {
            return Lead::Nothing;
        }
        let exact: HashSet<&[u8]> = self.iter().map(str::as_bytes).collect();
        let (mut known, mut loose, mut in_place) = (HashSet::new(), false, false);
        for (index, value) in values.enumerate() {
            let name = String::from_utf8_lossy(value.bytes).trim().to_lowercase();
            let is_exact = exact.contains(value.bytes);
            if is_exact || self.lower.contains(&name) {
                loose |= !is_exact;
                known.insert(name);
            }
            in_place |= self.get(index).is_some_and(|own| own.as_bytes() == value.bytes);
        }
        if known.len() <= 1 && !in_place {
            Lead::Nothing
        } else if loose {
            Lead::Loose
        } else {
            Lead::Named
        }
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 20;
        let shown: Vec<String> = self.iter().take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
        write!(f, "{}{}", shown.join(", "), if self.len() > SHOWN { ", …" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = Value<'a>> + Clone {
        texts.iter().map(|text| Value { bytes: text.as_bytes(), quoted: false })
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let names = Names::read(values(&["a", "", "a", "a_3", "column_2"])).unwrap();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["a", "column_2", "a_3", "a_3_4", "column_2_5"]);
        assert!(Names::read(values(&vec![""; MAX_COLUMNS])).is_ok());
        assert!(Names::read(values(&vec![""; MAX_COLUMNS + 1])).unwrap_err().contains("more than"));
        assert!(Names::read(values(&[&"x".repeat(MAX_NAME + 1)])).is_err());
    }

    #[test]
    fn headers_are_known_among_data() {
        let check = |header: &[&str], record: &[&str], expected| {
            let names = Names::read(values(header)).unwrap();
            assert_eq!(names.likeness(values(record)), expected, "{header:?} {record:?}");
        };
        check(&["a", "b"], &["a", "b"], Likeness::Same);
        check(&["a", ""], &["a", ""], Likeness::Same);
        check(&["a", "b"], &["b", "a"], Likeness::Other);
        check(&["a", "b"], &["a", "b", "c"], Likeness::Other);
        check(&["a", "b", "c"], &["c", "a"], Likeness::Other);
        check(&["Id", "Name"], &["id", " NAME"], Likeness::Other);
        check(&["ärger", "b"], &["ÄRGER", "B"], Likeness::Other);
        check(&["a", "b"], &["a", "x"], Likeness::Data);
        check(&["a", "b"], &["a", "a"], Likeness::Data);
        check(&["a", "b"], &["b"], Likeness::Data);
        check(&["a"], &["A"], Likeness::Data);
        check(&["a"], &["a"], Likeness::Same);
        check(&["a", "b"], &["1", "b"], Likeness::Data);
        check(&["a", "b"], &["", ""], Likeness::Data);
    }

    #[test]
    fn the_first_record_names_columns_or_none() {
        let check = |header: &[&str], record: &[&str], expected| {
            let names = Names::read(values(header)).unwrap();
            assert_eq!(names.lead(values(record)), expected, "{header:?} {record:?}");
        };
        check(&["a", "b"], &["a", "b"], Lead::Nothing);
        check(&["a", "b"], &["1", "x"], Lead::Nothing);
        check(&["a", "b"], &["x", "a"], Lead::Nothing);
        check(&["a", "b"], &["b", "a"], Lead::Named);
        check(&["a", "b"], &["x", "b", "a"], Lead::Named);
        check(&["a", "b", "c"], &["a", "b", "x"], Lead::Named);
        check(&["id", "name"], &["id", "city"], Lead::Named);
        check(&["a", "b"], &["b", " a"], Lead::Loose);
        check(&["a", "b"], &["A", "B"], Lead::Loose);
    }
}
