//! The records of one message: read, validated, and matched with the names of their values.

use std::iter::Peekable;

use super::{
    Cell, Header, Reader, Value, WrongKind,
    names::{Lead, Likeness, Names},
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
            WrongKind::OpenQuote => {
                // Only a message without line breaks may have been cut at one.
                let advice =
                    if message.contains(&b'\n') { "" } else { "; a value with line breaks needs `framing: csv`" };
                format!("the quote of value {column} is not closed: {}{at}{advice}", shown(wrong.from))
            }
            WrongKind::AfterQuote => {
                format!("{} follows the closing quote of value {column}, {}{at}", shown(wrong.at), shown(wrong.from))
            }
            WrongKind::LoneReturn => format!(
                "a carriage return outside quotes has no line feed behind it, in value {column}, {}{at}",
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

/// How to read the records in `reader`, of a message that does or does not end with a line break; `names` are those that
/// records without a header have, if known.
pub(super) fn shape(
    header: &Header,
    reader: &Reader,
    bytes: &[u8],
    ends_line: bool,
    attached: bool,
    names: Option<&Names>,
) -> Result<Shape, Failure> {
    if reader.is_empty() {
        return Ok(Shape::Nothing);
    }
    let unless_header = match (header, attached) {
        (Header::Given(false), true) => {
            return Err(Failure::Stop(Error::config(
                "the source takes the first record of each file as its header, but `header: false` says there is none; set `header` to the same value in both",
            )));
        }
        (Header::Names(_), _) | (Header::Given(false), _) => return Ok(Shape::Positional),
        (Header::Given(true), true) => Shape::Attached,
        (Header::Given(true), false) => Shape::Positional,
    };
    let Some(names) = names.filter(|_| reader.len() == 1) else {
        return Ok(if attached { Shape::Attached } else { Shape::Headed });
    };
    match names.likeness(reader.values(bytes, 0)) {
        Likeness::Data => Ok(unless_header),
        Likeness::Same => Ok(Shape::Nothing),
        // A document without rows: it puts none into the wrong column.
        Likeness::Other if ends_line && !attached => Ok(Shape::Headed),
        Likeness::Other => Err(Failure::Reordered(reordered(reader, bytes, 0, names))),
    }
}

/// The reason for a record that looks like a header of the same columns.
#[cold]
pub(super) fn reordered(reader: &Reader, bytes: &[u8], record: usize, names: &Names) -> String {
    let found =
        Names::read(reader.values(bytes, record)).map_or_else(|_| "other names".into(), |found| found.to_string());
    format!(
        "the record looks like a header, {found}, and the columns of the records around it are {names}; a header stands at the start of a file, body or stream"
    )
}

/// The headers that came with messages, the first records of their files, bodies or streams, and the names of their files.
#[derive(Debug)]
pub(super) struct Attached<'a> {
    rest: Peekable<std::slice::Iter<'a, Attribute>>,
    header: Option<&'a [u8]>,
    first: Option<&'a [u8]>,
    file: Option<&'a [u8]>,
}

impl<'a> Attached<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        Self { rest: input.attributes.iter().peekable(), header: None, first: None, file: None }
    }

    /// Goes on to `message`; whether what names its columns may differ from that of the message before.
    #[inline]
    pub(super) fn at(&mut self, message: u32) -> bool {
        let mut changed = false;
        while let Some(attribute) = self.rest.next_if(|attribute| attribute.first <= message) {
            let value = Some(attribute.value.as_slice()).filter(|value| !value.is_empty());
            match attribute.name.as_str() {
                "header" => (self.header, changed) = (value, true),
                "first" => (self.first, changed) = (value, true),
                "file" => self.file = value,
                _ => {}
            }
        }
        changed
    }

    /// The header that came with the message.
    pub(super) fn header(&self) -> Option<&'a [u8]> {
        self.header
    }

    /// The first record of its file, body or stream, where no header came with it.
    pub(super) fn first(&self) -> Option<&'a [u8]> {
        self.first.filter(|_| self.header.is_none())
    }

    /// What it belongs to: its file, else what begins like its stream.
    pub(super) fn key(&self) -> Option<&'a [u8]> {
        self.file.or(self.first)
    }

    /// The names in a first record, if it names columns that are not `names` in their order; or what is wrong with it.
    pub(super) fn lead(reader: &mut Reader, first: &[u8], names: &Names) -> Option<Result<Names, String>> {
        // What cannot be read is no header, and a fault as a message.
        let read =
            std::str::from_utf8(first).is_ok() && reader.read(first, 0, first.len()).is_ok() && reader.len() == 1;
        let lead = if read { names.lead(reader.values(first, 0)) } else { Lead::Nothing };
        match lead {
            Lead::Nothing => None,
            Lead::Named => Some(Names::read(reader.values(first, 0))),
            Lead::Loose => Some(Err(format!(
                "the first record, {}, names columns that differ from {names} in blanks or case; write them alike",
                quote(first)
            ))),
        }
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
