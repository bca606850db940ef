//! Reads with one schema what was written with another, as the Avro specification resolves them ("Schema Resolution"): the bytes of a
//! record of the writer's schema become those of a record of the reader's.
//!
//! What the specification leaves open is refused rather than guessed: logical types that differ, as milliseconds and microseconds, are
//! no match, because the value would be another one.

use super::{
    default::{encoded, place, put_varint},
    schema::{Field, Kind, Schema},
    shape::{blocks, index, length, take, varint},
};

/// How values of one type become values of another.
#[derive(Debug)]
enum Plan {
    Null,
    /// So many bytes as they are.
    Fixed(usize),
    /// A number as it is.
    Varint,
    /// A length and bytes as they are.
    Long,
    IntToFloat,
    IntToDouble,
    FloatToDouble,
    /// Symbols by their place, or what is wrong with them.
    Enum(Vec<Result<i64, String>>),
    Array(Box<Plan>),
    Map(Box<Plan>),
    /// What becomes of each of the writer's branches.
    Union(Vec<Result<Plan, String>>),
    /// The reader has a union, and this is the branch.
    Branch(i64, Box<Plan>),
    Record(Record),
}

#[derive(Debug)]
struct Record {
    /// In the writer's order: where a field goes, or what is passed over.
    written: Vec<Result<(usize, Plan), Schema>>,
    /// In the reader's order: defaults of fields that the writer has not.
    defaults: Vec<Option<Vec<u8>>>,
}

/// The resolution of a reader's schema with a writer's.
#[derive(Debug)]
pub(super) struct Resolution(Plan);

/// What may be written still.
struct Out<'a> {
    bytes: Vec<u8>,
    room: &'a mut u64,
}

impl Resolution {
    /// How records of `writer` are read as those of `reader`.
    ///
    /// # Errors
    /// What does not match.
    pub(super) fn new(writer: &Schema, reader: &Schema) -> Result<Self, String> {
        plan(writer, reader).map(Self)
    }

    /// The bytes of a record of the reader's schema, `room` at most.
    ///
    /// # Errors
    /// The bytes are no record of the writer's schema, or none that the reader's can hold.
    pub(super) fn resolve(&self, mut bytes: &[u8], mut room: u64) -> Result<Vec<u8>, String> {
        let mut out = Out { bytes: Vec::with_capacity(bytes.len()), room: &mut room };
        self.0.run(&mut bytes, &mut out)?;
        if !bytes.is_empty() {
            return Err(format!("there are {} bytes after the record", bytes.len()));
        }
        Ok(out.bytes)
    }
}

fn plan(writer: &Schema, reader: &Schema) -> Result<Plan, String> {
    if let Kind::Union(branches) = &writer.kind {
        let plans: Vec<_> = branches.iter().map(|branch| plan(branch, reader)).collect();
        return if plans.iter().all(Result::is_err) {
            plans.into_iter().find_map(Result::err).map_or(Ok(Plan::Union(Vec::new())), Err)
        } else {
            Ok(Plan::Union(plans))
        };
    }
    if let Kind::Union(branches) = &reader.kind {
        let mut why = None;
        for (index, branch) in branches.iter().enumerate() {
            match plan(writer, branch) {
                Ok(plan) => return Ok(Plan::Branch(i64::try_from(index).unwrap_or(i64::MAX), Box::new(plan))),
                Err(reason) => why = Some(reason),
            }
        }
        return Err(why.unwrap_or_else(|| mismatch(writer, reader)));
    }
    if let (Some(written), Some(read)) = (&writer.logical, &reader.logical)
        && written != read
    {
        return Err(format!("the reader's schema has {read} where the writer's has {written}"));
    }
    Ok(match (&writer.kind, &reader.kind) {
        (Kind::Null, Kind::Null) => Plan::Null,
        (Kind::Boolean, Kind::Boolean) => Plan::Fixed(1),
        (Kind::Int, Kind::Int | Kind::Long) | (Kind::Long, Kind::Long) => Plan::Varint,
        (Kind::Int | Kind::Long, Kind::Float) => Plan::IntToFloat,
        (Kind::Int | Kind::Long, Kind::Double) => Plan::IntToDouble,
        (Kind::Float, Kind::Double) => Plan::FloatToDouble,
        (Kind::Float, Kind::Float) => Plan::Fixed(4),
        (Kind::Double, Kind::Double) => Plan::Fixed(8),
        (Kind::Bytes | Kind::String, Kind::Bytes | Kind::String) => Plan::Long,
        (Kind::Fixed(written, size), Kind::Fixed(read, same)) if size == same && read.reads(written) => {
            Plan::Fixed(*size)
        }
        (Kind::Enum(written, from), Kind::Enum(read, to)) if read.reads(written) => {
            let symbol = |symbol: &String| {
                let default = || to.default.as_ref().and_then(|default| place(&to.all, default));
                place(&to.all, symbol)
                    .or_else(default)
                    .ok_or_else(|| format!("the reader's enum `{}` has no symbol `{symbol}` and no default", read.full))
            };
            Plan::Enum(from.all.iter().map(symbol).collect())
        }
        (Kind::Array(written), Kind::Array(read)) => Plan::Array(Box::new(plan(written, read)?)),
        (Kind::Map(written), Kind::Map(read)) => Plan::Map(Box::new(plan(written, read)?)),
        (Kind::Record(written, from), Kind::Record(read, to)) if read.reads(written) => Plan::Record(record(from, to)?),
        _ => return Err(mismatch(writer, reader)),
    })
}

fn mismatch(writer: &Schema, reader: &Schema) -> String {
    format!("the reader's schema has {} where the writer's has {}", reader.word(), writer.word())
}

fn record(from: &[Field], to: &[Field]) -> Result<Record, String> {
    let source = |field: &Field| {
        let named = |name: &str| from.iter().position(|written| written.name == name);
        named(&field.name).or_else(|| field.aliases.iter().find_map(|alias| named(alias)))
    };
    let sources: Vec<Option<usize>> = to.iter().map(source).collect();
    let mut written = Vec::with_capacity(from.len());
    for (index, field) in from.iter().enumerate() {
        let mut readers = sources.iter().enumerate().filter(|(_, source)| **source == Some(index));
        let Some((place, _)) = readers.next() else {
            written.push(Err(field.schema.clone()));
            continue;
        };
        if readers.next().is_some() {
            return Err(format!("two fields of the reader's schema are `{}` of the writer's", field.name));
        }
        let Some(read) = to.get(place) else { continue };
        let plan = plan(&field.schema, &read.schema).map_err(|why| format!("field `{}`: {why}", read.name))?;
        written.push(Ok((place, plan)));
    }
    let default = |(field, source): (&Field, &Option<usize>)| match (source, &field.default) {
        (Some(_), _) => Ok(None),
        (None, Some(value)) => {
            encoded(value, &field.schema).map(Some).map_err(|why| format!("field `{}`: {why}", field.name))
        }
        (None, None) => Err(format!("the writer's schema has no field `{}`, and the reader's no default", field.name)),
    };
    let defaults = to.iter().zip(&sources).map(default).collect::<Result<_, _>>()?;
    Ok(Record { written, defaults })
}

impl Plan {
    fn run(&self, bytes: &mut &[u8], out: &mut Out<'_>) -> Result<(), String> {
        match self {
            Self::Null => Ok(()),
            Self::Fixed(size) => out.put(take(bytes, *size)?),
            Self::Varint => out.number(varint(bytes)?),
            Self::Long => long(bytes, out),
            Self::IntToFloat => out.put(&(varint(bytes)? as f32).to_le_bytes()),
            Self::IntToDouble => out.put(&(varint(bytes)? as f64).to_le_bytes()),
            Self::FloatToDouble => {
                let float = take(bytes, 4)?.try_into().map_err(|_| "the message is cut short")?;
                out.put(&f64::from(f32::from_le_bytes(float)).to_le_bytes())
            }
            Self::Enum(symbols) => match symbols.get(index(bytes, symbols.len(), "symbol")?) {
                Some(Ok(place)) => out.number(*place),
                Some(Err(why)) => Err(why.clone()),
                None => Err("there is no such symbol".into()),
            },
            Self::Array(item) => out.blocks(bytes, |bytes, out| item.run(bytes, out)),
            Self::Map(value) => out.blocks(bytes, |bytes, out| {
                long(bytes, out)?;
                value.run(bytes, out)
            }),
            Self::Union(branches) => match branches.get(index(bytes, branches.len(), "branch")?) {
                Some(Ok(plan)) => plan.run(bytes, out),
                Some(Err(why)) => Err(why.clone()),
                None => Err("there is no such branch".into()),
            },
            Self::Branch(index, plan) => {
                out.number(*index)?;
                plan.run(bytes, out)
            }
            Self::Record(record) => record.run(bytes, out),
        }
    }
}

impl Record {
    fn run(&self, bytes: &mut &[u8], out: &mut Out<'_>) -> Result<(), String> {
        let mut read: Vec<Vec<u8>> = vec![Vec::new(); self.defaults.len()];
        for field in &self.written {
            match field {
                Err(schema) => schema.skip(bytes)?,
                Ok((place, plan)) => {
                    let mut part = Out { bytes: Vec::new(), room: &mut *out.room };
                    plan.run(bytes, &mut part)?;
                    if let Some(field) = read.get_mut(*place) {
                        *field = part.bytes;
                    }
                }
            }
        }
        for (read, default) in read.iter().zip(&self.defaults) {
            match default {
                // It was paid for where it was read.
                None => out.bytes.extend(read),
                Some(default) => out.put(default)?,
            }
        }
        Ok(())
    }
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        let left = self.room.checked_sub(bytes.len() as u64);
        *self.room = left.ok_or("its values take far more room than its bytes; send less at a time")?;
        self.bytes.extend(bytes);
        Ok(())
    }

    fn number(&mut self, number: i64) -> Result<(), String> {
        let mut bytes = Vec::with_capacity(10);
        put_varint(number, &mut bytes);
        self.put(&bytes)
    }

    /// Items of an array or map, each in a block of its own.
    fn blocks(
        &mut self,
        bytes: &mut &[u8],
        item: impl Fn(&mut &[u8], &mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        blocks(bytes, |bytes| {
            self.number(1)?;
            item(bytes, self)
        })?;
        self.put(&[0])
    }
}

fn long(bytes: &mut &[u8], out: &mut Out<'_>) -> Result<(), String> {
    let length = length(bytes)?;
    out.number(i64::try_from(length).unwrap_or(i64::MAX))?;
    out.put(take(bytes, length)?)
}
