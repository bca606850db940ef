//! The records of one message: read, validated, and matched with the names of their values.

use std::iter::Peekable;

use super::{
    Cell, Header, Reader, Value, WrongKind,
    names::{Likeness, Names},
    reader::Wrong,
};
use crate::{
    Attribute, Error, Input,
    reason::{Place, quote},
};

/// Why a message has no row, or why decoding stops.
#[derive(Debug)]
pub(super) enum Failure {
    /// A code and a reason.
    Fault(&'static str, String),
    /// The message ends inside quotes.
    Torn(String),
    /// It is a header whose columns do not match their positions.
    Reordered(String),
    /// Not about a single message.
    Stop(Error),
}

/// How to read the records of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// There are none, or only the known header.
    Nothing,
    /// Data by the header that came with the message.
    Attached,
    /// Data by position.
    Positional,
    /// The first record names the columns of those after it, if any.
    Headed,
}

/// The messages of one call.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    pub(super) bytes: &'a [u8],
    /// All of them as one string from `from` on, if that is UTF-8.
    all: Option<&'a str>,
    from: usize,
}

impl<'a> Texts<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        let [from, to] = [input.bounds.first(), input.bounds.last()].map(|at| at.map_or(0, |&at| at as usize));
        let all = input.bytes.get(from..to).unwrap_or_default();
        Self { bytes: input.bytes, all: simdutf8::basic::from_utf8(all).ok(), from }
    }

    /// A value of the last message read, as text.
    #[inline]
    pub(super) fn text<'v>(&self, cell: Cell, value: Value<'v>) -> Option<&'v str>
    where
        'a: 'v,
    {
        match (self.all, cell.place()) {
            (Some(all), Some((from, to))) => all.get(from.checked_sub(self.from)?..to.checked_sub(self.from)?),
            _ => std::str::from_utf8(value.bytes).ok(),
        }
    }

    /// The messages that are not null: index and bounds.
    pub(super) fn each(input: &Input<'a>) -> impl Iterator<Item = (u32, usize, usize)> + use<'a> {
        let mut nulls = input.nulls.iter().copied().peekable();
        let bounds = input.bounds.windows(2).zip(0_u32..).filter_map(|(bounds, index)| match bounds {
            [from, to] => Some((index, *from as usize, *to as usize)),
            _ => None,
        });
        bounds.filter(move |(index, ..)| nulls.next_if_eq(index).is_none())
    }

    /// Reads the message in `from..to`.
    pub(super) fn read(&self, reader: &mut Reader, from: usize, to: usize) -> Result<(), Failure> {
        // Where all bytes are sound, a message is if it does not begin or end within a character.
        let cut = |at: usize| self.bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        if self.all.is_none() || cut(from) || cut(to) {
            let message = self.bytes.get(from..to).unwrap_or_default();
            if let Err(error) = std::str::from_utf8(message) {
                let at = error.valid_up_to();
                let found = quote(message.get(at..).unwrap_or_default());
                let place = place(message, at);
                return Err(Failure::Fault("csv.utf8", format!("the message is not UTF-8: {found}{place}")));
            }
        }
        reader.read(self.bytes, from, to).map_err(|wrong| match wrong.kind {
            WrongKind::OpenQuote => Failure::Torn(self.syntax(wrong, from, to)),
            _ => Failure::Fault("csv.syntax", self.syntax(wrong, from, to)),
        })
    }

    #[cold]
    fn syntax(&self, wrong: Wrong, from: usize, to: usize) -> String {
        let message = self.bytes.get(from..to).unwrap_or_default();
        let shown = |at: usize| quote(self.bytes.get(at..to).unwrap_or_default());
        let (at, column) = (place(message, wrong.at - from), wrong.column + 1);
        match wrong.kind {
            WrongKind::OpenQuote => format!(
                "the quote of value {column} is not closed: {}{at}; records with line breaks in quotes need `framing: csv` or `whole: true`",
                shown(wrong.from)
            ),
            WrongKind::AfterQuote => {
                format!("{} follows the closing quote of value {column}, {}{at}", shown(wrong.at), shown(wrong.from))
            }
            WrongKind::LoneReturn => format!(
                "a carriage return without a line feed is in value {column}, {}{at}; it must be in quotes",
                shown(wrong.from)
            ),
        }
    }
}

/// The location of `at` in `message`: a line if it has several.
#[cold]
pub(super) fn place(message: &[u8], at: usize) -> Place {
    let before = message.get(..at).unwrap_or_default();
    let whole = message.strip_suffix(b"\n").unwrap_or(message);
    match memchr::memchr(b'\n', whole) {
        None => Place::Byte(at),
        Some(_) => {
            let line = memchr::memchr_iter(b'\n', before).count() + 1;
            Place::Line(line, at - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1) + 1)
        }
    }
}

/// How to read the records in `reader`, of a message that does or does not end with a line break; `positional` are the
/// names by position, if known.
pub(super) fn shape(
    header: &Header,
    reader: &Reader,
    bytes: &[u8],
    ends_line: bool,
    attached: bool,
    positional: Option<&Names>,
) -> Result<Shape, Failure> {
    if reader.is_empty() {
        return Ok(Shape::Nothing);
    }
    match (header, attached) {
        (Header::Given(false), true) => {
            return Err(Failure::Stop(Error::config(
                "the source takes the first record of each file for its header, and `header: false` says that there is none; set `header` alike in both",
            )));
        }
        (Header::Names(_), _) | (Header::Given(false), _) => return Ok(Shape::Positional),
        (Header::Given(true), true) => return Ok(Shape::Attached),
        (Header::Given(true), false) => {}
    }
    let Some(names) = positional.filter(|_| reader.len() == 1) else { return Ok(Shape::Headed) };
    match names.likeness(reader.values(bytes, 0)) {
        Likeness::Data => Ok(Shape::Positional),
        Likeness::Same => Ok(Shape::Nothing),
        // A document without rows: it puts none into the wrong column.
        Likeness::Other if ends_line => Ok(Shape::Headed),
        Likeness::Other => Err(Failure::Reordered(reordered(reader, bytes, 0, names))),
    }
}

/// The reason for a record that looks like a header of the same columns.
#[cold]
pub(super) fn reordered(reader: &Reader, bytes: &[u8], record: usize, names: &Names) -> String {
    let found =
        Names::read(reader.values(bytes, record)).map_or_else(|_| "other names".into(), |found| found.to_string());
    format!(
        "the record looks like a header, {found}, and by position the columns are {names}; with `framing: csv, header: true` in the settings of `files`, or `whole: true`, values go by the names of their file's header"
    )
}

/// The headers that came with messages, and the names of their files.
#[derive(Debug)]
pub(super) struct Attached<'a> {
    rest: Peekable<std::slice::Iter<'a, Attribute>>,
    current: Option<&'a [u8]>,
    file: Option<&'a [u8]>,
}

impl<'a> Attached<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        Self { rest: input.attributes.iter().peekable(), current: None, file: None }
    }

    /// The header of `message`, if it has one, and whether it differs from that of the message before.
    #[inline]
    pub(super) fn of(&mut self, message: u32) -> (Option<&'a [u8]>, bool) {
        let mut changed = false;
        while let Some(attribute) = self.rest.next_if(|attribute| attribute.first <= message) {
            let value = Some(attribute.value.as_slice()).filter(|value| !value.is_empty());
            match attribute.name.as_str() {
                "header" => (self.current, changed) = (value, true),
                "file" => self.file = value,
                _ => {}
            }
        }
        (self.current, changed)
    }

    /// The file of the last message asked for.
    pub(super) fn file(&self) -> Option<&'a [u8]> {
        self.file
    }

    /// The names in a header.
    pub(super) fn names(reader: &mut Reader, header: &[u8]) -> Result<Names, String> {
        if let Err(error) = std::str::from_utf8(header) {
            let at = error.valid_up_to();
            return Err(format!("the file's header is not UTF-8: {}", quote(header.get(at..).unwrap_or_default())));
        }
        match reader.read(header, 0, header.len()) {
            Ok(()) if reader.len() == 1 => Names::read(reader.values(header, 0)),
            Ok(()) => Err(format!("the file's header is not one record: {}", quote(header))),
            Err(wrong) => Err(format!("the file's header cannot be read at byte {}: {}", wrong.at, quote(header))),
        }
    }
}
