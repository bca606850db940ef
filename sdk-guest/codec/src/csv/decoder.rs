//! Messages into rows.

use std::collections::BTreeSet;

use super::{
    Header, Reader, Settings,
    names::{Likeness, Names},
    record::{Attached, Failure, Shape, Texts, place, reordered, shape},
    settle::settle,
    table::{Layout, Table, Unfit},
};
use crate::{DataType, Decode, Decoded, Error, Field, Input, Result, RowFault, Schema, Unknown, reason::quote};

/// A running `csv` decoder.
#[derive(Debug)]
pub struct Csv {
    settings: Settings<()>,
    reader: Reader,
    header_reader: Reader,
    table: Table,
    /// How to read records without a header at hand, once known.
    positional: Option<Layout>,
    /// The header of the last document: the next one often has the same.
    document: Option<Layout>,
    torn: Torn,
    /// Files and streams in which another header stands among the records, so that those behind it would land in the wrong
    /// columns.
    foreign: BTreeSet<Vec<u8>>,
    /// What the columns of one call may take.
    most: usize,
}

/// Whether messages ended inside quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Torn {
    Never,
    Untold,
    Told,
}

/// What names the columns of a message, apart from their position.
#[derive(Debug, Default)]
struct Heading {
    /// The header that came with it.
    attached: Option<std::result::Result<Layout, String>>,
    /// The first record of its file, body or stream, where that names columns in another way.
    led: Option<std::result::Result<Layout, String>>,
}

/// The result of the messages of one call, apart from the columns.
#[derive(Debug)]
struct Rows {
    origins: Vec<u32>,
    faults: Vec<RowFault>,
    /// Whether no message has more than one row.
    single: bool,
}

/// Whether columns are named but not yet typed: in batches they have the type null.
#[must_use]
pub fn is_open(schema: &Schema) -> bool {
    schema.fields().is_empty() || schema.fields().iter().any(|field| field.data_type == DataType::Null)
}

impl Csv {
    /// A decoder for `settings`: with the declared columns, else those settled earlier, else those inferred from the
    /// first messages.
    ///
    /// # Errors
    /// Invalid settings, or settings that conflict with the declared columns.
    pub fn new<S>(settings: &Settings<S>, declared: Option<Schema>, settled: Option<Schema>) -> Result<Self> {
        settings.check(declared.as_ref())?;
        let null = |field: &&Field| field.data_type == DataType::Null;
        if let Some(field) = declared.as_ref().and_then(|schema| schema.fields().iter().find(null)) {
            let what = format!("column `{}` has the type null, which says nothing; choose another", field.name);
            return Err(Error::config(what));
        }
        let settings = settings.bare();
        let style = settings.style()?;
        let mut csv = Self {
            settings,
            reader: Reader::new(style),
            header_reader: Reader::new(style),
            table: Table::new(Schema::default(), None),
            positional: None,
            document: None,
            torn: Torn::Never,
            foreign: BTreeSet::new(),
            most: usize::MAX,
        };
        if let Some(schema) = declared.or(settled) {
            csv.take(schema)?;
        }
        Ok(csv)
    }

    /// Makes `schema` the schema of the rows.
    fn take(&mut self, schema: Schema) -> Result<()> {
        let captures = self.settings.unknown == Unknown::Capture && !is_open(&schema);
        let table = Table::new(schema, captures.then_some(self.settings.unknown_column.as_str()));
        let names = match &self.settings.header {
            Header::Names(names) => Names::new(names.clone()),
            Header::Given(_) => table.names(),
        };
        self.table = table;
        self.document = None;
        self.positional = if self.table.schema().fields().is_empty() {
            None
        } else {
            Some(self.table.layout(names, self.settings.unknown).map_err(Error::Config)?)
        };
        Ok(())
    }

    /// Adds the rows of the message in `from..to`, all of them or none.
    fn message(
        &mut self,
        texts: &Texts<'_>,
        (from, to): (usize, usize),
        heading: &Heading,
        key: Option<&[u8]>,
    ) -> std::result::Result<(), Failure> {
        texts.read(&mut self.reader, from, to)?;
        let (bytes, text) = (texts.bytes, texts.bytes.get(from..to).unwrap_or_default());
        let refused = |reason: String| Failure::Fault("csv.header", reason);
        if let (Some(Err(reason)), 1) = (&heading.led, self.reader.len()) {
            return Err(refused(reason.clone()));
        }
        let given = heading.attached.as_ref().or(heading.led.as_ref()).and_then(|given| given.as_ref().ok());
        let positional = given.or(self.positional.as_ref().filter(|_| heading.attached.is_none()));
        let (names, attached) = (positional.map(|layout| &layout.names), heading.attached.is_some());
        let ends_line = text.last() == Some(&b'\n');
        let shape = shape(&self.settings.header, &self.reader, bytes, ends_line, attached, names)?;
        if let Some(key) = key.filter(|key| !self.foreign.is_empty() && self.foreign.contains(*key)) {
            match shape {
                Shape::Positional | Shape::Attached => return Err(refused(foreign(names))),
                Shape::Nothing if !self.reader.is_empty() => {
                    self.foreign.remove(key);
                }
                _ => {}
            }
        }
        let (layout, headed) = match (shape, &heading.attached) {
            (Shape::Nothing, _) => return Ok(()),
            (Shape::Attached, Some(Ok(layout))) => (layout, false),
            (Shape::Attached, Some(Err(reason))) => return Err(refused(reason.clone())),
            (Shape::Headed, _) => {
                let names = Names::read(self.reader.values(bytes, 0)).map_err(refused)?;
                let known = self.document.take().filter(|known| known.names.iter().eq(names.iter()));
                let layout = known.map_or_else(|| self.table.layout(names, self.settings.unknown), Ok);
                (&*self.document.insert(layout.map_err(refused)?), true)
            }
            (Shape::Positional | Shape::Attached, _) => match positional {
                Some(layout) => (layout, false),
                None => return Ok(()),
            },
        };
        let before = self.table.rows();
        for record in usize::from(headed)..self.reader.len() {
            let likeness = if headed || attached && self.reader.len() > 1 {
                layout.names.likeness(self.reader.values(bytes, record))
            } else {
                Likeness::Data
            };
            let added = match likeness {
                Likeness::Same => continue,
                Likeness::Other => Err(refused(reordered(&self.reader, bytes, record, &layout.names))),
                Likeness::Data => add(&mut self.table, &self.settings, &self.reader, texts, layout, record, (from, to)),
            };
            if let Err(failure) = added {
                self.table.undo(before);
                return Err(failure);
            }
        }
        if self.table.rows() > before {
            self.table.count_unknown(layout);
        }
        Ok(())
    }

    /// What names the columns of the messages from here on, apart from their position.
    fn heading(&mut self, headers: &Attached<'_>) -> Heading {
        let unknown = self.settings.unknown;
        let (reader, table) = (&mut self.header_reader, &mut self.table);
        let named = matches!(self.settings.header, Header::Names(_));
        let attached = headers
            .header()
            .filter(|_| !named)
            .map(|header| Attached::names(reader, header).and_then(|names| table.layout(names, unknown)));
        let known = self.positional.as_ref().filter(|_| self.settings.header == Header::Given(true));
        let led = headers.first().zip(known).and_then(|(first, known)| Attached::lead(reader, first, &known.names));
        Heading { attached, led: led.map(|names| table.layout(names?, unknown)) }
    }

    fn decode_all(&mut self, input: &Input<'_>) -> Result<Rows> {
        let texts = Texts::new(input);
        self.table.limit(self.most);
        self.table.try_reserve(input.len())?;
        let mut rows = Rows { origins: Vec::with_capacity(input.len()), faults: Vec::new(), single: true };
        let mut headers = Attached::new(input);
        let mut heading = Heading::default();
        for (message, from, to) in Texts::each(input) {
            if headers.at(message) {
                heading = self.heading(&headers);
            }
            let before = self.table.rows();
            let key = headers.key();
            match self.message(&texts, (from, to), &heading, key) {
                Ok(()) => {
                    let added = self.table.rows() - before;
                    rows.single &= added <= 1;
                    rows.origins.extend(std::iter::repeat_n(message, added));
                }
                Err(failure) => {
                    let (code, reason) = match failure {
                        Failure::Fault(code, reason) => (code, reason),
                        Failure::Reordered(reason) => {
                            if self.foreign.len() >= FOREIGN {
                                self.foreign.pop_first();
                            }
                            self.foreign.extend(key.map(<[u8]>::to_vec));
                            ("csv.header", reason)
                        }
                        Failure::Torn(reason) => {
                            let is_line = !texts.bytes.get(from..to).unwrap_or_default().contains(&b'\n');
                            if is_line && self.torn == Torn::Never {
                                self.torn = Torn::Untold;
                            }
                            ("csv.syntax", reason)
                        }
                        Failure::Stop(error) => return Err(error),
                    };
                    rows.faults.push(RowFault { message, code: code.into(), reason });
                }
            }
        }
        Ok(rows)
    }
}

impl Decode for Csv {
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded> {
        if is_open(self.table.schema()) {
            let schema = settle(&self.settings, &mut self.reader, self.table.schema(), input)?;
            self.take(schema)?;
        }
        let Rows { mut origins, faults, single } = self.decode_all(input).inspect_err(|_| self.table.undo(0))?;
        if single && origins.len() + faults.len() == input.len() {
            // Nothing was left out: rows and faults alone say which row is of which message.
            origins.clear();
        }
        let (batch, unknown) = self.table.finish()?;
        Ok(Decoded { batch, origins, faults, unknown })
    }

    fn limit(&mut self, bytes: usize) {
        self.most = bytes;
    }

    fn schema(&self) -> Option<&Schema> {
        Some(self.table.schema()).filter(|schema| !schema.fields().is_empty())
    }

    fn take_advice(&mut self) -> Option<&'static str> {
        if self.torn != Torn::Untold {
            return None;
        }
        self.torn = Torn::Told;
        Some(
            "messages end inside quotes, so that values seem to have line breaks, and lines of them may be taken for records: set `framing: csv` in the settings of `files` (`framing: {type: csv}` in other producers)",
        )
    }
}

/// Most files and streams that are remembered.
const FOREIGN: usize = 4096;

/// The reason for a record behind another header.
#[cold]
fn foreign(names: Option<&Names>) -> String {
    let names = names.cloned().unwrap_or_default();
    format!(
        "a different header precedes this record in its file or stream, so that its values could end up in the wrong columns ({names}); a header must be at the start of a file, body or stream"
    )
}

/// Adds a record of the message in `from..to` as a row.
fn add(
    table: &mut Table,
    settings: &Settings<()>,
    reader: &Reader,
    texts: &Texts<'_>,
    layout: &Layout,
    record: usize,
    within: (usize, usize),
) -> std::result::Result<(), Failure> {
    let pushed = table.push(layout, settings, reader, texts, record);
    pushed.map_err(|unfit| unfitting(&unfit, layout, table.schema(), reader, texts.bytes, within, record))
}

/// The reason for a record that became no row.
#[cold]
fn unfitting(
    unfit: &Unfit,
    layout: &Layout,
    schema: &Schema,
    reader: &Reader,
    bytes: &[u8],
    (from, to): (usize, usize),
    record: usize,
) -> Failure {
    let message = bytes.get(from..to).unwrap_or_default();
    let start = |cell: usize| reader.start(record, cell).map_or(0, |start| start.saturating_sub(from));
    match unfit {
        Unfit::Width(values) => {
            let at = start(0);
            Failure::Fault(
                "csv.width",
                format!(
                    "the record has {values} value{}, and there are {} columns, {}: {}{}",
                    if *values == 1 { "" } else { "s" },
                    layout.names.len(),
                    layout.names,
                    quote(message.get(at..).unwrap_or_default()),
                    place(message, at)
                ),
            )
        }
        Unfit::Value { cell, column, misfit } => {
            let value = reader.values(bytes, record).nth(*cell);
            let Some((field, value)) = schema.fields().get(*column).zip(value) else {
                return Failure::Fault("csv.type", "the record does not fit the columns".into());
            };
            let at = place(message, start(*cell));
            Failure::Fault("csv.type", misfit.reason(&field.name, &field.data_type, value.bytes, at))
        }
    }
}
