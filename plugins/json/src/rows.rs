//! Reads messages into columns, as a schema says, in one pass.

use spout_guest::{ArrayBuilder, Batch, DataType, Field, Result, Schema, TimeUnit, time};

use crate::{Unknown, Wrong, scan::Scanner};

type Read = std::result::Result<(), Wrong>;

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: Schema,
    plan: Plan,
    builders: Vec<ArrayBuilder>,
    rows: usize,
}

/// What the fields of one object are, ready for reading.
#[derive(Clone, Debug)]
struct Plan {
    columns: Vec<Column>,
    unknown: Unknown,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// `"name":` as it most often stands in a message.
    key: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Null,
    Bool,
    /// Bytes of the number, and whether it may be negative.
    Int(u8, bool),
    Float(u8),
    Text,
    Timestamp(TimeUnit),
    Date32,
    List(Box<Kind>),
    Struct(Plan),
    /// A type that JSON has no value for.
    Other(String),
}

impl Rows {
    pub(crate) fn new(schema: Schema, unknown: Unknown) -> Self {
        let builders = ArrayBuilder::all(schema.fields());
        Self { plan: Plan::new(schema.fields(), unknown), schema, builders, rows: 0 }
    }

    /// Reads one message as the next row; if it is wrong, nothing of it stays.
    pub(crate) fn read(&mut self, message: &[u8]) -> Read {
        let read = self.object(message);
        match read {
            Ok(()) => self.rows += 1,
            Err(_) => self.builders.iter_mut().for_each(|builder| builder.truncate(self.rows)),
        }
        read
    }

    /// The rows since the last call.
    pub(crate) fn finish(&mut self) -> Result<Batch> {
        let columns = self.builders.iter_mut().map(ArrayBuilder::finish).collect();
        Ok(Batch::new(self.schema.clone(), columns, std::mem::take(&mut self.rows))?)
    }

    fn object(&mut self, message: &[u8]) -> Read {
        if std::str::from_utf8(message).is_err() {
            return Err(Wrong::Syntax("not UTF-8", 0));
        }
        let mut scanner = Scanner::new(message);
        match scanner.peek() {
            Some(b'{') => self.plan.object(&mut scanner, &mut self.builders, self.rows)?,
            _ => {
                scanner.skip()?;
                return Err(Wrong::Type("the message is not a JSON object".into()));
            }
        }
        match scanner.peek() {
            None => Ok(()),
            Some(_) => scanner.wrong("something follows the object"),
        }
    }
}

impl Plan {
    fn new(fields: &[Field], unknown: Unknown) -> Self {
        let column = |field: &Field| Column {
            name: field.name.clone(),
            key: format!("\"{}\":", field.name).into_bytes(),
            kind: Kind::new(&field.data_type, unknown),
        };
        Self { columns: fields.iter().map(column).collect(), unknown }
    }

    /// Reads the object that is next into row `row` of `builders`.
    fn object(&self, scanner: &mut Scanner<'_>, builders: &mut [ArrayBuilder], row: usize) -> Read {
        scanner.at += 1;
        // Objects of one kind mostly have their fields in one order: the field after the last one is tried first.
        let mut next = 0;
        if !scanner.take(b'}') {
            loop {
                scanner.peek();
                let expected = self.columns.get(next).filter(|column| scanner.take_all(&column.key));
                let found = match expected {
                    Some(_) => Some(next),
                    None => self.find(scanner)?,
                };
                match found.and_then(|at| Some((at, self.columns.get(at)?, builders.get_mut(at)?))) {
                    Some((at, column, builder)) => {
                        if builder.len() > row {
                            // The same field twice: the last one counts.
                            builder.truncate(row);
                        }
                        column.kind.value(scanner, builder).map_err(|wrong| wrong.within(&column.name))?;
                        next = at + 1;
                    }
                    None => drop(scanner.skip()?),
                }
                if !scanner.more(b'}')? {
                    break;
                }
            }
        }
        for builder in builders {
            if builder.len() == row {
                builder.push_null();
            }
        }
        Ok(())
    }

    /// The column of the key that is next; takes key and colon.
    fn find(&self, scanner: &mut Scanner<'_>) -> std::result::Result<Option<usize>, Wrong> {
        let (inside, escaped) = scanner.string()?;
        let mut plain = Vec::new();
        let name = match escaped {
            true => {
                scanner.unescape(inside, &mut plain)?;
                plain.as_slice()
            }
            false => inside,
        };
        if !scanner.take(b':') {
            return scanner.wrong("expected a colon");
        }
        let found = self.columns.iter().position(|column| column.name.as_bytes() == name);
        match (found, self.unknown) {
            (None, Unknown::Fail) => {
                Err(Wrong::Type(format!("the field `{}` is not in the schema", String::from_utf8_lossy(name))))
            }
            (found, _) => Ok(found),
        }
    }
}

impl Wrong {
    /// Names the field that a type error is in.
    fn within(self, name: &str) -> Self {
        match self {
            Self::Type(what) if what.starts_with('`') => Self::Type(format!("`{name}.{}", &what[1..])),
            Self::Type(what) => Self::Type(format!("`{name}` {what}")),
            syntax => syntax,
        }
    }
}

impl Kind {
    fn new(data_type: &DataType, unknown: Unknown) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool,
            DataType::Int8 => Self::Int(1, true),
            DataType::Int16 => Self::Int(2, true),
            DataType::Int32 => Self::Int(4, true),
            DataType::Int64 => Self::Int(8, true),
            DataType::UInt8 => Self::Int(1, false),
            DataType::UInt16 => Self::Int(2, false),
            DataType::UInt32 => Self::Int(4, false),
            DataType::UInt64 => Self::Int(8, false),
            DataType::Float32 => Self::Float(4),
            DataType::Float64 => Self::Float(8),
            DataType::Utf8 | DataType::LargeUtf8 => Self::Text,
            DataType::Timestamp(unit, _) => Self::Timestamp(*unit),
            DataType::Date32 => Self::Date32,
            DataType::List(item) => Self::List(Box::new(Self::new(&item.data_type, unknown))),
            DataType::Struct(fields) => Self::Struct(Plan::new(fields, unknown)),
            other => Self::Other(format!("{other:?}")),
        }
    }

    /// Reads the value that is next as the next row of `builder`.
    #[inline]
    fn value(&self, scanner: &mut Scanner<'_>, builder: &mut ArrayBuilder) -> Read {
        let first = scanner.peek();
        if first == Some(b'n') && scanner.take_all(b"null") {
            builder.push_null();
            return Ok(());
        }
        let taken = match (self, first) {
            (Self::Text, Some(b'"')) => {
                let (inside, escaped) = scanner.string()?;
                match escaped {
                    false => builder.push_bytes(inside),
                    true => {
                        let mut read = Ok(());
                        builder.write_bytes(|bytes| {
                            read = scanner.unescape(inside, bytes);
                            read.is_ok()
                        });
                        return read;
                    }
                }
            }
            (Self::Text, _) => builder.push_bytes(scanner.skip()?),
            (Self::Int(width, signed), Some(b'-' | b'0'..=b'9')) => whole(scanner, builder, *width, *signed)?,
            (Self::Float(width), Some(b'-' | b'0'..=b'9')) => {
                let (text, _) = scanner.number()?;
                match width {
                    4 => text.parse().is_ok_and(|value: f32| builder.push_fixed(value.to_le_bytes())),
                    _ => text.parse().is_ok_and(|value: f64| builder.push_fixed(value.to_le_bytes())),
                }
            }
            (Self::Bool, Some(b't')) if scanner.take_all(b"true") => builder.push_bool(true),
            (Self::Bool, Some(b'f')) if scanner.take_all(b"false") => builder.push_bool(false),
            (Self::Timestamp(unit), Some(b'"')) => {
                let (inside, _) = scanner.string()?;
                time::timestamp(inside, *unit).is_some_and(|at| builder.push_fixed(at.to_le_bytes()))
            }
            (Self::Timestamp(_), Some(b'-' | b'0'..=b'9')) => whole(scanner, builder, 8, true)?,
            (Self::Date32, Some(b'"')) => {
                let (inside, _) = scanner.string()?;
                time::days(inside).is_some_and(|days| builder.push_fixed(days.to_le_bytes()))
            }
            (Self::List(item), Some(b'[')) => return list(item, scanner, builder),
            (Self::Struct(plan), Some(b'{')) => {
                let row = builder.len();
                if let Some(fields) = builder.fields() {
                    plan.object(scanner, fields, row)?;
                }
                builder.end_struct();
                return Ok(());
            }
            _ => false,
        };
        if taken { Ok(()) } else { self.misfit(scanner) }
    }

    /// Why the value that is next, or was just read, does not fit.
    #[cold]
    fn misfit(&self, scanner: &mut Scanner<'_>) -> Read {
        let at = scanner.at;
        let text = match scanner.skip() {
            Ok(text) => String::from_utf8_lossy(text.get(..40).unwrap_or(text)).into_owned(),
            // The value was read already and is what stands before.
            Err(_) => {
                String::from_utf8_lossy(scanner.bytes.get(at.saturating_sub(24)..at).unwrap_or_default()).into_owned()
            }
        };
        let wanted = match self {
            Self::Null => "null".into(),
            Self::Bool => "true or false".into(),
            Self::Int(width, true) => format!("a whole number of {} bits", u32::from(*width) * 8),
            Self::Int(width, false) => format!("a whole number of {} bits, not negative", u32::from(*width) * 8),
            Self::Float(_) => "a number".into(),
            Self::Text => "a text".into(),
            Self::Timestamp(_) => "a time, as in 2026-01-31T12:00:00Z".into(),
            Self::Date32 => "a date, as in 2026-01-31".into(),
            Self::List(_) => "a list".into(),
            Self::Struct(_) => "an object".into(),
            Self::Other(name) => format!("{name}, which JSON has no value for"),
        };
        Err(Wrong::Type(format!("must be {wanted}, near {text}")))
    }
}

fn list(item: &Kind, scanner: &mut Scanner<'_>, builder: &mut ArrayBuilder) -> Read {
    scanner.at += 1;
    if let Some(items) = builder.items()
        && !scanner.take(b']')
    {
        loop {
            item.value(scanner, items)?;
            if !scanner.more(b']')? {
                break;
            }
        }
    }
    builder.end_list();
    Ok(())
}

/// A whole number of `width` bytes; false if it does not fit.
#[inline]
fn whole(
    scanner: &mut Scanner<'_>,
    builder: &mut ArrayBuilder,
    width: u8,
    signed: bool,
) -> std::result::Result<bool, Wrong> {
    let (text, is_whole) = scanner.number()?;
    if !is_whole {
        return Ok(false);
    }
    Ok(match (width, signed) {
        (8, true) => int(text).is_some_and(|value| builder.push_fixed(value.to_le_bytes())),
        (4, true) => text.parse().is_ok_and(|value: i32| builder.push_fixed(value.to_le_bytes())),
        (2, true) => text.parse().is_ok_and(|value: i16| builder.push_fixed(value.to_le_bytes())),
        (_, true) => text.parse().is_ok_and(|value: i8| builder.push_fixed(value.to_le_bytes())),
        (8, false) => text.parse().is_ok_and(|value: u64| builder.push_fixed(value.to_le_bytes())),
        (4, false) => text.parse().is_ok_and(|value: u32| builder.push_fixed(value.to_le_bytes())),
        (2, false) => text.parse().is_ok_and(|value: u16| builder.push_fixed(value.to_le_bytes())),
        (_, false) => text.parse().is_ok_and(|value: u8| builder.push_fixed(value.to_le_bytes())),
    })
}

/// A 64-bit number; short ones, which almost all are, need no check for overflow.
#[inline]
fn int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    if digits.len() > 18 {
        return text.parse().ok();
    }
    let value = digits.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if digits.len() == text.len() { value } else { -value })
}
