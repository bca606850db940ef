//! The schema that the first messages suggest.

use spout_guest::{DataType, Field, Messages, Schema};

use crate::{Wrong, scan::Scanner};

/// Messages looked at.
const SAMPLE: usize = 8192;

/// What the values of one field have been so far.
#[derive(Clone, Debug, Default, PartialEq)]
enum Seen {
    #[default]
    Nothing,
    Bool,
    Int,
    Float,
    Text,
    /// Kinds that do not go together: their JSON text is kept.
    Mixed,
    List(Box<Seen>),
    /// Fields in the order in which they appeared.
    Struct(Vec<(String, Seen)>),
}

/// The schema of `messages`; those that are not JSON objects are passed over.
pub(crate) fn schema(messages: &Messages) -> Schema {
    let mut seen = Seen::Struct(Vec::new());
    for index in 0..messages.len().min(SAMPLE) {
        let message = messages.value(index);
        let mut scanner = Scanner::new(message);
        if std::str::from_utf8(message).is_ok() && scanner.peek() == Some(b'{') && Scanner::new(message).skip().is_ok()
        {
            // The message was checked as a whole, so that a broken one leaves no trace.
            drop(look(&mut scanner, &mut seen));
        }
    }
    match seen {
        Seen::Struct(fields) => Schema::new(fields.into_iter().map(field).collect()),
        _ => Schema::default(),
    }
}

fn field((name, seen): (String, Seen)) -> Field {
    Field::new(name, data_type(seen))
}

fn data_type(seen: Seen) -> DataType {
    match seen {
        Seen::Bool => DataType::Boolean,
        Seen::Int => DataType::Int64,
        Seen::Float => DataType::Float64,
        Seen::List(item) => DataType::List(Box::new(Field::new("item", data_type(*item)))),
        Seen::Struct(fields) if !fields.is_empty() => DataType::Struct(fields.into_iter().map(field).collect()),
        // Nothing but nulls, or only empty objects: text takes whatever comes.
        Seen::Nothing | Seen::Text | Seen::Mixed | Seen::Struct(_) => DataType::Utf8,
    }
}

/// Takes the value that is next into account.
fn look(scanner: &mut Scanner<'_>, seen: &mut Seen) -> Result<(), Wrong> {
    match scanner.peek() {
        Some(b'{') => object(scanner, seen),
        Some(b'[') => list(scanner, seen),
        Some(b'"') => {
            seen.meet(Seen::Text);
            scanner.skip().map(drop)
        }
        Some(b't' | b'f') => {
            seen.meet(Seen::Bool);
            scanner.skip().map(drop)
        }
        Some(b'-' | b'0'..=b'9') => {
            let (text, whole) = scanner.number()?;
            seen.meet(if whole && text.parse::<i64>().is_ok() { Seen::Int } else { Seen::Float });
            Ok(())
        }
        _ => scanner.skip().map(drop),
    }
}

fn object(scanner: &mut Scanner<'_>, seen: &mut Seen) -> Result<(), Wrong> {
    seen.meet(Seen::Struct(Vec::new()));
    let Seen::Struct(fields) = seen else { return scanner.skip().map(drop) };
    scanner.at += 1;
    if scanner.take(b'}') {
        return Ok(());
    }
    loop {
        let (inside, _) = scanner.string()?;
        let mut name = Vec::new();
        scanner.unescape(inside, &mut name)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        scanner.take(b':');
        let at = match fields.iter().position(|(known, _)| *known == name) {
            Some(at) => at,
            None => {
                fields.push((name, Seen::Nothing));
                fields.len() - 1
            }
        };
        if let Some((_, field)) = fields.get_mut(at) {
            look(scanner, field)?;
        }
        if !scanner.more(b'}')? {
            return Ok(());
        }
    }
}

fn list(scanner: &mut Scanner<'_>, seen: &mut Seen) -> Result<(), Wrong> {
    seen.meet(Seen::List(Box::default()));
    let Seen::List(item) = seen else { return scanner.skip().map(drop) };
    scanner.at += 1;
    if scanner.take(b']') {
        return Ok(());
    }
    loop {
        look(scanner, item)?;
        if !scanner.more(b']')? {
            return Ok(());
        }
    }
}

impl Seen {
    /// Becomes what holds both.
    fn meet(&mut self, other: Self) {
        *self = match (std::mem::take(self), other) {
            (Self::Nothing, other) => other,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            // The parts of lists and structs meet one by one, as they are looked at.
            (Self::List(item), Self::List(_)) => Self::List(item),
            (Self::Struct(fields), Self::Struct(_)) => Self::Struct(fields),
            (same, other) if same == other => same,
            _ => Self::Mixed,
        };
    }
}
