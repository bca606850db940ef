//! Parses InfluxDB's line protocol, in one pass and by its specification.
//!
//! ```text
//! measurement[,tag=value…] field=value[,field=value…] [time]
//! ```
//!
//! A backslash is an escape only before what it can escape: `,` and a blank in measurements, these and `=` in names and
//! tag values, `"` and `\` in quoted strings. Any other backslash is literal, so `C:\temp` means what it looks like,
//! and `\\,` is a backslash and a comma. Anything that a name or value cannot hold unescaped makes the message a fault.

use std::borrow::Cow;

use crate::{
    number::{Grammar, Number},
    reason::{Place, quote},
};

/// One point. Names and values borrow from the message unless they had escapes.
#[derive(Debug, Default)]
pub(super) struct Point<'a> {
    pub(super) measurement: Text<'a>,
    pub(super) tags: Vec<(Text<'a>, Text<'a>)>,
    pub(super) fields: Vec<(Text<'a>, FieldValue<'a>)>,
    /// Without its unit, and its position.
    pub(super) time: Option<(i64, &'a str, Place)>,
}

/// A name or a text, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) place: Place,
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self { text: Cow::Borrowed(""), place: Place::Message }
    }
}

/// The value of a field, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct FieldValue<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) written: &'a str,
    pub(super) place: Place,
}

/// The kinds of field values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    Float(Number<'a>),
    Int(Number<'a>),
    UInt(Number<'a>),
    Bool(bool),
    Text(Cow<'a, str>),
}

/// Integers and floats as InfluxDB accepts them: `+1`, `007`, `.5` and `5.` too.
const NUMBERS: Grammar = Grammar { loose: true, blanks: false, words: false };

/// The points of one message.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
}

/// Most tags and fields of a point.
pub(super) const MOST_NAMES: usize = 1 << 17;

type Parsed<T> = Result<T, String>;

impl<'a> Lines<'a> {
    /// The points of `text`, from byte `at` on.
    pub(super) fn new((text, at): (&'a str, usize)) -> Self {
        Self { text, at, line: 1, line_start: 0 }
    }

    /// Reads the next point into `point`; false at the end of the message.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn next(&mut self, point: &mut Point<'a>) -> Parsed<bool> {
        loop {
            self.skip(|byte| matches!(byte, b' ' | b'\t'));
            match self.peek() {
                None => return Ok(false),
                Some(b'#') => self.skip(|byte| byte != b'\n'),
                Some(_) if self.at_end() => {}
                Some(_) => break,
            }
            self.end_line();
        }
        point.tags.clear();
        point.fields.clear();
        point.time = None;
        self.measurement(point)?;
        self.tags(point)?;
        self.fields(point)?;
        self.time(point)?;
        if self.at_end() {
            self.end_line()
        } else {
            return Err(self.wrong("after the time there must be nothing, not", self.at));
        }
        Ok(true)
    }

    /// The location of byte `at` of the current line.
    fn place(&self, at: usize) -> Place {
        match self.line {
            1 => Place::Byte(at),
            line => Place::Line(line, at.saturating_sub(self.line_start) + 1),
        }
    }

    fn measurement(&mut self, point: &mut Point<'a>) -> Parsed<()> {
        let from = self.at;
        let escaped = self.word(|byte| matches!(byte, b',' | b' '), |byte| matches!(byte, b',' | b' '));
        point.measurement = self.taken(from, escaped.then_some(b", "));
        if point.measurement.text.is_empty() {
            Err(self.wrong("the measurement has no name, at", from))
        } else {
            Ok(())
        }
    }

    fn tags(&mut self, point: &mut Point<'a>) -> Parsed<()> {
        while self.peek() == Some(b',') {
            self.at += 1;
            let name = self.name("tag")?;
            let from = self.at;
            let escaped = self.word(ends_name, ends_name);
            let value = self.taken(from, escaped.then_some(&ESCAPED));
            if self.peek() == Some(b'=') {
                let name = quote(name.text.as_bytes());
                return Err(
                    self.wrong(&format!("the value of tag {name} has a bare `=`; write it as `\\=`, near"), from)
                );
            }
            if value.text.is_empty() {
                return Err(self.wrong(&format!("tag {} has no value, near", quote(name.text.as_bytes())), from));
            }
            point.tags.push((name, value));
            self.within_bounds(point, from)?;
        }
        Ok(())
    }

    /// A point of more names than any table has columns costs more than it can bring.
    fn within_bounds(&self, point: &Point<'a>, at: usize) -> Parsed<()> {
        if point.tags.len() + point.fields.len() <= MOST_NAMES {
            return Ok(());
        }
        Err(self.wrong(&format!("a point has more than {MOST_NAMES} tags and fields, near"), at))
    }

    fn fields(&mut self, point: &mut Point<'a>) -> Parsed<()> {
        if self.peek() != Some(b' ') {
            return Err(self.wrong("behind measurement and tags there must be a field, not", self.at));
        }
        self.skip(|byte| byte == b' ');
        loop {
            let from = self.at;
            let name = self.name("field")?;
            let value = self.value(&name)?;
            point.fields.push((name, value));
            self.within_bounds(point, from)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return Ok(()),
            }
        }
    }

    /// A name and the `=` after it.
    fn name(&mut self, what: &str) -> Parsed<Text<'a>> {
        let from = self.at;
        let escaped = self.word(ends_name, ends_name);
        let name = self.taken(from, escaped.then_some(&ESCAPED));
        match (self.peek(), name.text.is_empty()) {
            (Some(b'='), false) => {
                self.at += 1;
                Ok(name)
            }
            (Some(b'='), true) => Err(self.wrong(&format!("a {what} has no name, at"), from)),
            _ => Err(self.wrong(&format!("there must be {what}=value, not"), from)),
        }
    }

    fn value(&mut self, name: &Text<'a>) -> Parsed<FieldValue<'a>> {
        let (at, place) = (self.at, self.place(self.at));
        if self.peek() == Some(b'"') {
            let kind = Kind::Text(self.quoted(name)?);
            return if self.at_end() || matches!(self.peek(), Some(b',' | b' ')) {
                Ok(FieldValue { kind, written: self.slice(at, self.at), place })
            } else {
                let name = quote(name.text.as_bytes());
                Err(self.wrong(&format!("behind the closing quote of field {name} there is"), self.at))
            };
        }
        while !self.at_end() && !matches!(self.peek(), Some(b',' | b' ')) {
            self.at += 1;
        }
        let written = self.slice(at, self.at);
        let kind = kind(written).map_err(|what| {
            let name = quote(name.text.as_bytes());
            format!("field {name} has {} as its value, {what},{place}", quote(written.as_bytes()))
        })?;
        Ok(FieldValue { kind, written, place })
    }

    /// A quoted string, which may span several lines.
    fn quoted(&mut self, name: &Text<'a>) -> Parsed<Cow<'a, str>> {
        let open = self.at;
        let place = self.place(open);
        let mut escaped = false;
        self.at += 1;
        loop {
            match (self.peek(), self.bytes().get(self.at + 1)) {
                (None, _) => {
                    let (name, value) = (quote(name.text.as_bytes()), quote(self.slice(open, self.at).as_bytes()));
                    return Err(format!("the quote that field {name} opens with {value} is never closed,{place}"));
                }
                (Some(b'"'), _) => break,
                (Some(b'\\'), Some(b'"' | b'\\')) => {
                    escaped = true;
                    self.at += 2;
                }
                (Some(b'\n'), _) => self.end_line(),
                _ => self.at += 1,
            }
        }
        let inner = self.slice(open + 1, self.at);
        self.at += 1;
        Ok(if escaped { Cow::Owned(unescape(inner, b"\"\\")) } else { Cow::Borrowed(inner) })
    }

    fn time(&mut self, point: &mut Point<'a>) -> Parsed<()> {
        self.skip(|byte| byte == b' ');
        if self.at_end() {
            return Ok(());
        }
        let from = self.at;
        while !self.at_end() && self.peek() != Some(b' ') {
            self.at += 1;
        }
        let written = self.slice(from, self.at);
        let digits = written.strip_prefix('-').unwrap_or(written);
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let time = written.parse().ok().filter(|_| whole);
        let time = time.ok_or_else(|| {
            let what = if whole { "is beyond 64 bits" } else { "is no whole number" };
            format!("the time {} {what},{}", quote(written.as_bytes()), self.place(from))
        })?;
        point.time = Some((time, written, self.place(from)));
        self.skip(|byte| byte == b' ');
        Ok(())
    }

    /// Advances to the first unescaped byte of `ends`, or the end of the line; returns whether there was an escape.
    fn word(&mut self, ends: fn(u8) -> bool, escapes: fn(u8) -> bool) -> bool {
        let mut escaped = false;
        while let Some(&byte) = self.bytes().get(self.at) {
            if byte == b'\\' && self.bytes().get(self.at + 1).is_some_and(|&next| escapes(next)) {
                escaped = true;
                self.at += 2;
            } else if ends(byte) || self.at_end() {
                break;
            } else {
                self.at += 1;
            }
        }
        escaped
    }

    /// The text from `from` to here; `escapes` are the bytes that backslashes escape, if there are any.
    fn taken(&self, from: usize, escapes: Option<&[u8]>) -> Text<'a> {
        let text = self.slice(from, self.at);
        let text = escapes.map_or(Cow::Borrowed(text), |escapes| Cow::Owned(unescape(text, escapes)));
        Text { text, place: self.place(from) }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    fn skip(&mut self, what: fn(u8) -> bool) {
        while self.peek().is_some_and(what) {
            self.at += 1;
        }
    }

    /// Whether the line ends here; a `\r` before its end belongs to the line break.
    fn at_end(&self) -> bool {
        matches!(self.bytes().get(self.at..), None | Some([] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..]))
    }

    /// Advances to the start of the next line.
    fn end_line(&mut self) {
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                self.line_start = self.at;
                break;
            }
        }
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    #[cold]
    fn wrong(&self, what: &str, at: usize) -> String {
        let rest = self.bytes().get(at..).unwrap_or_default();
        let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            format!("{what} the end of the line,{}", self.place(at))
        } else {
            format!("{what} {},{}", quote(line), self.place(at))
        }
    }
}

/// The bytes that end a name or a tag value unless a backslash escapes them.
fn ends_name(byte: u8) -> bool {
    matches!(byte, b',' | b'=' | b' ')
}

const ESCAPED: [u8; 3] = *b",= ";

/// `text` without the backslashes before one of `escapes`.
fn unescape(text: &str, escapes: &[u8]) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let skip = match from.as_bytes().get(1) {
            Some(next) if escapes.contains(next) => {
                plain.push(char::from(*next));
                2
            }
            _ => {
                plain.push('\\');
                1
            }
        };
        rest = from.get(skip..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// The type of `written`, by its last letter or as a word.
fn kind(written: &str) -> Result<Kind<'_>, &'static str> {
    let whole = |digits: &'static str, text| {
        let number =
            Number::parse(text, NUMBERS).ok().filter(|_| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-')));
        number.ok_or(digits)
    };
    match written {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Kind::Bool(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    if let Some(digits) = written.strip_suffix('i') {
        let number = whole("which is no whole number", digits)?;
        let fits = number.integer().is_ok_and(|value| i64::try_from(value).is_ok());
        return if fits { Ok(Kind::Int(number)) } else { Err("which is beyond 64 bits") };
    }
    if let Some(digits) = written.strip_suffix('u') {
        let number = whole("which is no whole number", digits)?;
        let fits = number.integer().is_ok_and(|value| u64::try_from(value).is_ok());
        return if fits { Ok(Kind::UInt(number)) } else { Err("which is negative or beyond 64 bits") };
    }
    match Number::parse(written, NUMBERS) {
        Ok(number) if number.float64().is_ok() => Ok(Kind::Float(number)),
        Ok(_) => Err("which is beyond the largest float"),
        Err(_) => Err("which is no number, boolean or text in quotes"),
    }
}
