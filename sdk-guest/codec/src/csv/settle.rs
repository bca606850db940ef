//! Undeclared columns: named by headers, typed by all values of the first messages.

use std::collections::{HashMap, HashSet};

use super::{
    Header, MAX_COLUMNS, Reader, Settings,
    infer::Facts,
    names::{Likeness, Names},
    record::{Attached, Failure, Shape, Texts, shape},
};
use crate::{DataType, Error, Field, Input, Result, Schema};

/// What is known of the columns so far, in the order they were named.
#[derive(Debug, Default)]
struct Suggestion {
    places: HashMap<String, usize>,
    columns: Vec<(String, Facts)>,
    /// Whether any record had as many values as its header.
    any: bool,
}

impl Suggestion {
    /// Where each of `names` is among the columns; adds new ones.
    fn places(&mut self, names: &Names) -> Vec<Option<usize>> {
        let place = |name: &str| match self.places.get(name) {
            Some(&place) => Some(place),
            // Each header keeps to the most columns, but many may come.
            None if self.columns.len() >= MAX_COLUMNS => None,
            None => {
                let place = self.columns.len();
                self.places.insert(name.to_owned(), place);
                self.columns.push((name.to_owned(), Facts::default()));
                Some(place)
            }
        };
        names.iter().map(place).collect()
    }

    /// The same for one header among others: adds new columns only to those of other headers. `None` if it names none
    /// of the existing columns, and so is a fault.
    fn places_of_header(&mut self, names: &Names, positional: bool) -> Option<Vec<Option<usize>>> {
        let known: Vec<Option<usize>> = names.iter().map(|name| self.places.get(name).copied()).collect();
        match self.columns.is_empty() || known.iter().any(Option::is_some) {
            true if positional => Some(known),
            true => Some(self.places(names)),
            false => None,
        }
    }

    fn add(&mut self, settings: &Settings<()>, reader: &Reader, bytes: &[u8], record: usize, places: &[Option<usize>]) {
        if reader.cells(record).len() != places.len() {
            return;
        }
        self.any = true;
        for (value, place) in reader.values(bytes, record).zip(places) {
            let column = place.and_then(|place| self.columns.get_mut(place));
            if let Some((_, facts)) = column.filter(|_| !settings.is_null(value)) {
                facts.add(value.bytes);
            }
        }
    }

    /// Adds the records of a document whose first record names its columns; returns the names, if any.
    fn add_document(
        &mut self,
        settings: &Settings<()>,
        reader: &Reader,
        bytes: &[u8],
        positional: bool,
    ) -> Option<Names> {
        let names = Names::read(reader.values(bytes, 0)).ok()?;
        let places = self.places_of_header(&names, positional)?;
        for record in 1..reader.len() {
            if names.likeness(reader.values(bytes, record)) == Likeness::Data {
                self.add(settings, reader, bytes, record, &places);
            }
        }
        Some(names)
    }

    fn schema(self) -> Schema {
        let any = self.any;
        let data_type = |facts: Facts| if any { facts.data_type() } else { DataType::Null };
        Schema::new(self.columns.into_iter().map(|(name, facts)| Field::new(name, data_type(facts))).collect())
    }
}

/// The columns of messages that come in several calls, however many: no value of theirs is lost in its column.
#[derive(Debug)]
pub struct Inference {
    settings: Settings<()>,
    reader: Reader,
    suggestion: Suggestion,
}

impl Inference {
    /// Before the first message.
    ///
    /// # Errors
    /// Delimiter or quote is not allowed.
    pub fn new<S>(settings: &Settings<S>) -> Result<Self> {
        let settings = settings.bare();
        Ok(Self { reader: Reader::new(settings.style()?), settings, suggestion: Suggestion::default() })
    }

    /// Takes the messages of `input` into account, each call's with their header in the attribute `header`.
    ///
    /// # Errors
    /// The header is unknown.
    pub fn add(&mut self, input: &Input<'_>) -> Result<()> {
        look(&mut self.suggestion, &self.settings, &mut self.reader, &Schema::default(), input)
    }

    /// The columns in the order they were named; of the type null if there were only headers.
    #[must_use]
    pub fn schema(self) -> Schema {
        self.suggestion.schema()
    }
}

/// The columns inferred from the messages of `input`, in addition to those of `open`; they have the type null as long
/// as there are only headers.
///
/// # Errors
/// The header is unknown.
pub(super) fn settle(settings: &Settings<()>, reader: &mut Reader, open: &Schema, input: &Input<'_>) -> Result<Schema> {
    let mut suggestion = Suggestion::default();
    look(&mut suggestion, settings, reader, open, input)?;
    Ok(suggestion.schema())
}

/// Adds what the messages of `input` reveal.
fn look(
    suggestion: &mut Suggestion,
    settings: &Settings<()>,
    reader: &mut Reader,
    open: &Schema,
    input: &Input<'_>,
) -> Result<()> {
    let named = Names::new(open.fields().iter().map(|field| field.name.clone()).collect());
    let mut positional = match &settings.header {
        Header::Names(names) => Some(Names::new(names.clone())),
        Header::Given(_) => Some(named).filter(|named| named.len() > 0),
    };
    if let Some(names) = &positional {
        suggestion.places(names);
    }
    let texts = Texts::new(input);
    let (mut headers, mut header_reader) = (Attached::new(input), Reader::new(settings.style()?));
    let (mut given, mut foreign) = (None, HashSet::new());
    for (message, from, to) in Texts::each(input) {
        if headers.at(message) && settings.header == Header::Given(true) {
            let names = match (headers.header(), headers.first(), &positional) {
                (Some(header), ..) => Attached::names(&mut header_reader, header).ok(),
                (None, Some(first), Some(names)) => {
                    Attached::lead(&mut header_reader, first, names).and_then(std::result::Result::ok)
                }
                _ => None,
            };
            given = names.and_then(|names| {
                let places = suggestion.places_of_header(&names, positional.is_some())?;
                Some((names, places))
            });
        }
        let header = headers.header();
        let text = texts.bytes.get(from..to).unwrap_or_default();
        let read = texts.read(reader, from, to);
        if let Err(failure) = read {
            if positional.is_none() && header.is_none() && settings.header == Header::Given(true) {
                torn_header(&failure, text)?;
            }
            continue;
        }
        let ends_line = text.ends_with(b"\n");
        let own = given.as_ref().map(|(names, _)| names);
        let names = own.or(positional.as_ref().filter(|_| header.is_none()));
        let shape = shape(&settings.header, reader, texts.bytes, ends_line, header.is_some(), names);
        if matches!(shape, Err(Failure::Reordered(_))) {
            foreign.extend(headers.key());
        }
        let Ok(shape) = shape else { continue };
        let named;
        let places = match shape {
            Shape::Nothing => continue,
            // What will be set aside suggests nothing.
            Shape::Positional | Shape::Attached if headers.key().is_some_and(|key| foreign.contains(key)) => continue,
            Shape::Attached | Shape::Positional => match &given {
                Some((_, places)) => places,
                None if shape == Shape::Attached => continue,
                None => {
                    let names = positional.get_or_insert_with(|| Names::numbered(reader.cells(0).len()));
                    named = suggestion.places(names);
                    &named
                }
            },
            Shape::Headed => {
                let names = suggestion.add_document(settings, reader, texts.bytes, positional.is_some());
                if let (1, Some(names)) = (reader.len(), names) {
                    positional.get_or_insert(names);
                }
                continue;
            }
        };
        for record in 0..reader.len() {
            let repeats =
                |(names, _): &(Names, _)| names.likeness(reader.values(texts.bytes, record)) != Likeness::Data;
            if reader.len() > 1 && given.as_ref().is_some_and(repeats) {
                continue;
            }
            suggestion.add(settings, reader, texts.bytes, record, places);
        }
    }
    Ok(())
}

/// A line that should be the header but ends inside quotes, or in a carriage return, stops everything: the next line would
/// name the columns for good.
fn torn_header(failure: &Failure, text: &[u8]) -> Result<()> {
    let ends_in_return = memchr::memchr(b'\r', text).is_some_and(|at| at + 1 == text.len());
    match failure {
        Failure::Torn(reason) | Failure::Fault(_, reason) if ends_in_return || is_torn(failure, text) => Err(
            Error::config(format!("the header cannot be read: {reason}; or name the columns: `header: [id, name]`")),
        ),
        _ => Ok(()),
    }
}

fn is_torn(failure: &Failure, text: &[u8]) -> bool {
    matches!(failure, Failure::Torn(_)) && !text.contains(&b'\n')
}
