//! Avro data measured against its schema before arrow-avro reads it: lengths, counts and depth come from strangers.

use std::collections::BTreeMap;

use serde_json::Value;

/// Deepest nesting of types.
const DEPTH: usize = 32;
/// Most types of a schema.
const TYPES: usize = 4096;

/// What a value takes as a row's, whatever it is: a null has a place in every column below it.
const PLACE: u64 = 16;

/// How many bytes a value has, by its type.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Null,
    Fixed(usize),
    /// An int or a long.
    Varint,
    /// Bytes or a string.
    Long,
    Enum(usize),
    Array(Box<Shape>),
    Map(Box<Shape>),
    /// Its branches, and what a null takes where it is one of two.
    Union(Vec<Shape>, u64),
    Record(Vec<Shape>),
}

impl Shape {
    /// The shape of values of `schema`, which must be a record.
    ///
    /// # Errors
    /// What the schema has that no column can hold, or that would make reading cost more than the data is worth.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let mut reading = Reading::default();
        match reading.shape(schema, "", 0)? {
            record @ Self::Record(_) => Ok(record),
            _ => Err("the Avro schema is not a record; only records have columns".into()),
        }
    }

    /// Moves `bytes` behind one value, which takes of `room` what it will take as a row's.
    ///
    /// # Errors
    /// The bytes are no value of this type, or there is no room for it.
    pub(super) fn skip(&self, bytes: &mut &[u8], room: &mut u64) -> Result<(), String> {
        match self {
            Self::Null => spend(room, PLACE),
            Self::Fixed(size) => {
                spend(room, PLACE.max(*size as u64))?;
                take(bytes, *size).map(|_| ())
            }
            Self::Varint => {
                spend(room, PLACE)?;
                varint(bytes).map(|_| ())
            }
            Self::Long => {
                let length = length(bytes)?;
                spend(room, PLACE.saturating_add(length as u64))?;
                take(bytes, length).map(|_| ())
            }
            Self::Enum(symbols) => {
                spend(room, PLACE)?;
                index(bytes, *symbols, "symbol").map(|_| ())
            }
            Self::Array(item) => {
                spend(room, PLACE)?;
                blocks(bytes, |bytes| item.skip(bytes, room))
            }
            Self::Map(value) => {
                spend(room, PLACE)?;
                blocks(bytes, |bytes| {
                    Self::Long.skip(bytes, room)?;
                    value.skip(bytes, room)
                })
            }
            Self::Union(branches, null) => match branches.get(index(bytes, branches.len(), "branch")?) {
                Some(Self::Null) | None => spend(room, *null),
                Some(branch) => branch.skip(bytes, room),
            },
            Self::Record(fields) => fields.iter().try_for_each(|field| field.skip(bytes, room)),
        }
    }

    /// What a null takes in its place.
    pub(super) fn null(&self) -> u64 {
        match self {
            Self::Fixed(size) => PLACE.max(*size as u64),
            Self::Union(_, null) => *null,
            Self::Record(fields) => fields.iter().map(Self::null).fold(0, u64::saturating_add),
            _ => PLACE,
        }
    }

    /// Whether a value may have no byte at all, so that any number of them costs nothing to claim.
    pub(super) fn weightless(&self) -> bool {
        match self {
            Self::Null | Self::Fixed(0) => true,
            Self::Record(fields) => fields.iter().all(Self::weightless),
            _ => false,
        }
    }
}

#[derive(Debug, Default)]
struct Reading {
    named: BTreeMap<String, Option<Shape>>,
    types: usize,
}

impl Reading {
    fn shape(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<Shape, String> {
        self.types += 1;
        if depth > DEPTH || self.types > TYPES {
            return Err(format!("the Avro schema has more than {TYPES} types, or types nested deeper than {DEPTH}"));
        }
        match schema {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.shape(branch, namespace, depth + 1));
                let branches = branches.collect::<Result<Vec<_>, _>>()?;
                let null = branches.iter().map(Shape::null).max().unwrap_or(PLACE);
                Ok(Shape::Union(branches, null))
            }
            Value::Object(object) => self.object(object, namespace, depth),
            other => Err(format!("the Avro schema has {other} where a type should be")),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<Shape, String> {
        Ok(match name {
            "null" => Shape::Null,
            "boolean" => Shape::Fixed(1),
            "int" | "long" => Shape::Varint,
            "float" => Shape::Fixed(4),
            "double" => Shape::Fixed(8),
            "bytes" | "string" => Shape::Long,
            name => match self.named.get(&full(name, namespace)).or_else(|| self.named.get(name)) {
                Some(Some(shape)) => {
                    self.types += size(shape);
                    shape.clone()
                }
                Some(None) => {
                    return Err(format!(
                        "the Avro type `{name}` contains itself, which no column can; write the inner values as text or bytes"
                    ));
                }
                None => return Err(format!("the Avro schema has no type `{name}`")),
            },
        })
    }

    fn object(
        &mut self,
        object: &serde_json::Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Shape, String> {
        let of = |key: &str| object.get(key).ok_or_else(|| format!("an Avro type has no `{key}`"));
        let kind = of("type")?;
        let Value::String(kind) = kind else { return self.shape(kind, namespace, depth + 1) };
        match kind.as_str() {
            "array" | "map" => {
                let inner = self.shape(of(if kind == "array" { "items" } else { "values" })?, namespace, depth + 1)?;
                match (kind.as_str(), inner.weightless()) {
                    ("array", true) => Err("an Avro array has items of zero bytes, which is not supported".into()),
                    ("array", false) => Ok(Shape::Array(Box::new(inner))),
                    _ => Ok(Shape::Map(Box::new(inner))),
                }
            }
            "record" | "error" | "enum" | "fixed" => {
                let name = of("name")?.as_str().unwrap_or_default();
                let inside = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let name = full(name, inside);
                let inside = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
                self.named.insert(name.clone(), None);
                let shape = match kind.as_str() {
                    "enum" => Shape::Enum(of("symbols")?.as_array().map_or(0, Vec::len)),
                    "fixed" => Shape::Fixed(
                        of("size")?
                            .as_u64()
                            .and_then(|size| usize::try_from(size).ok())
                            .ok_or("an Avro fixed has no size")?,
                    ),
                    _ => {
                        let fields = of("fields")?.as_array().ok_or("an Avro record has no fields")?;
                        if fields.is_empty() && depth > 0 {
                            return Err(format!(
                                "the Avro record `{name}` has no fields, so it cannot be a column; add a field, or leave it out"
                            ));
                        }
                        let field = |field: &Value| {
                            let data_type = field.get("type").ok_or("an Avro field has no type")?;
                            let shape = self.shape(data_type, &inside, depth + 1);
                            let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                            shape.map_err(|reason| format!("field `{name}`: {reason}"))
                        };
                        Shape::Record(fields.iter().map(field).collect::<Result<_, String>>()?)
                    }
                };
                self.named.insert(name, Some(shape.clone()));
                Ok(shape)
            }
            name => self.named(name, namespace),
        }
    }
}

fn size(shape: &Shape) -> usize {
    1 + match shape {
        Shape::Array(inner) | Shape::Map(inner) => size(inner),
        Shape::Union(inner, _) | Shape::Record(inner) => inner.iter().map(size).sum(),
        _ => 0,
    }
}

fn spend(room: &mut u64, bytes: u64) -> Result<(), String> {
    *room = room.checked_sub(bytes).ok_or("its values take far more room than its bytes; send less at a time")?;
    Ok(())
}

fn full(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// A zigzag number.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<i64, String> {
    let mut number = 0_u64;
    for index in 0..10 {
        let byte = take(bytes, 1)?[0];
        if index == 9 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    Err("a number has more than 64 bits".into())
}

/// The first `count` of `bytes`.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("the message is cut short")?;
    *bytes = rest;
    Ok(taken)
}

/// A length in front of bytes.
pub(super) fn length(bytes: &mut &[u8]) -> Result<usize, String> {
    usize::try_from(varint(bytes)?).map_err(|_| "a length is negative".into())
}

/// Which of so many it is.
pub(super) fn index(bytes: &mut &[u8], of: usize, what: &str) -> Result<usize, String> {
    let found = varint(bytes)?;
    usize::try_from(found).ok().filter(|&index| index < of).ok_or_else(|| format!("there is no {what} {found}"))
}

/// Each item of an array or map.
pub(super) fn blocks(bytes: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Result<(), String>) -> Result<(), String> {
    loop {
        let count = varint(bytes)?;
        if count < 0 {
            length(bytes)?;
        }
        // Each item has a byte or more, so that the bytes end before a count that is too high does.
        match count.unsigned_abs() {
            0 => return Ok(()),
            count => (0..count).try_for_each(|_| item(bytes))?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, bytes: &[u8], expected: Result<usize, &str>) {
        let record = format!(r#"{{"type":"record","name":"n.R","fields":[{{"name":"f","type":{schema}}}]}}"#);
        let mut rest = bytes;
        let result = Shape::of(&serde_json::from_str(&record).unwrap())
            .and_then(|shape| shape.skip(&mut rest, &mut { u64::MAX }));
        match (result, expected) {
            (Ok(()), Ok(left)) => assert_eq!(rest.len(), left, "{schema}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{schema}: {error}"),
            (got, _) => panic!("{schema}: {got:?}"),
        }
    }

    #[test]
    fn values_have_the_bytes_that_their_type_says() {
        check(r#""long""#, &[0x80, 0x01, 9], Ok(1));
        check(r#""string""#, b"\x04abc", Ok(1));
        check(r#"["null","double"]"#, &[0, 1], Ok(1));
        check(r#"{"type":"array","items":"int"}"#, &[4, 1, 2, 0, 7], Ok(1));
        check(r#"{"type":"map","values":"null"}"#, &[2, 2, b'k', 0], Ok(0));
        check(r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[0], Ok(0));
        check(
            r#"{"type":"record","name":"P","fields":[{"name":"x","type":{"type":"fixed","name":"F","size":2}},{"name":"y","type":"n.F"},{"name":"z","type":"F"}]}"#,
            &[0; 6],
            Ok(0),
        );
    }

    #[test]
    fn what_values_take_is_counted_also_where_they_have_hardly_a_byte() {
        let takes = |schema: &str, bytes: &[u8]| {
            let record = format!(r#"{{"type":"record","name":"n.R","fields":[{{"name":"f","type":{schema}}}]}}"#);
            let shape = Shape::of(&serde_json::from_str(&record).unwrap()).unwrap();
            let mut room = u64::MAX;
            shape.skip(&mut &*bytes, &mut room).unwrap();
            u64::MAX - room
        };
        assert_eq!(takes(r#""long""#, &[2]), PLACE);
        assert_eq!(takes(r#""string""#, b"\x04ab"), PLACE + 2);
        let large = r#"["null",{"type":"fixed","name":"F","size":2147483647}]"#;
        assert_eq!(takes(large, &[0]), 2_147_483_647);
        let wide =
            r#"["null",{"type":"record","name":"W","fields":[{"name":"a","type":"long"},{"name":"b","type":"long"}]}]"#;
        assert_eq!(takes(wide, &[0]), 2 * PLACE);
        assert_eq!(takes(&format!(r#"{{"type":"array","items":{wide}}}"#), &[6, 0, 0, 0, 0]), 7 * PLACE);
    }

    #[test]
    fn lies_are_found() {
        check(r#""string""#, &[0xff, 0xff, 0xff, 0xff, 0x0f], Err("negative"));
        check(r#""string""#, &[0xfe, 0xff, 0xff, 0xff, 0x0f], Err("cut short"));
        check(r#"["null"]"#, &[2], Err("no branch 1"));
        check(r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[2], Err("no symbol 1"));
        check(r#"{"type":"array","items":"null"}"#, &[2, 0], Err("zero bytes"));
        check(r#"["null","R"]"#, &[0], Err("contains itself"));
        check(r#""Q""#, &[0], Err("no type `Q`"));
        check(r#"{"type":"record","name":"E","fields":[]}"#, &[], Err("field `f`: the Avro record `n.E` has no field"));
        check(r#""long""#, &[0xff; 11], Err("more than 64 bits"));
    }
}
