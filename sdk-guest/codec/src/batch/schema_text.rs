//! Schemas as text: `{"id":"int64","at":"timestamp(ms, UTC)","user":{"name":"utf8"},"tags":["utf8"]}`.
//!
//! The same syntax as in a spec. Fields keep their order; nested objects are structs, a list of one type is a list.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::{DataType, Field, Schema, TimeUnit};
use crate::{Error, Result};

/// The schema that `text` describes.
///
/// # Errors
/// The error names the field.
pub fn parse(text: &str) -> Result<Schema> {
    let wrong = |what: String| Error::config(format!("setting `schema`: {what}"));
    let written: Written = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    match written {
        Written::Struct(fields) => Ok(Schema::new(all(fields).map_err(wrong)?)),
        _ => Err(wrong("a schema is a map of column names to types".into())),
    }
}

enum Written {
    Name(String),
    Struct(Vec<(String, Written)>),
    List(Vec<Written>),
}

fn all(fields: Vec<(String, Written)>) -> std::result::Result<Vec<Field>, String> {
    fields.into_iter().map(|(name, written)| Ok(Field::new(name.clone(), data_type(written, &name)?))).collect()
}

fn data_type(written: Written, path: &str) -> std::result::Result<DataType, String> {
    match written {
        Written::Name(name) => scalar(&name).ok_or_else(|| format!("field `{path}` has the unknown type `{name}`")),
        Written::Struct(fields) => Ok(DataType::Struct(all(fields)?)),
        Written::List(mut items) => match (items.pop(), items.is_empty()) {
            (Some(item), true) => Ok(DataType::List(Box::new(Field::new("item", data_type(item, path)?)))),
            _ => Err(format!("field `{path}` is a list; write the type of its items and nothing else")),
        },
    }
}

fn scalar(name: &str) -> Option<DataType> {
    let name = name.trim();
    if let Some(inner) = name.strip_prefix("timestamp") {
        let inner = inner.trim().strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or("ms");
        let (unit, zone) =
            inner.split_once(',').map_or((inner, None), |(unit, zone)| (unit, Some(zone.trim().to_owned())));
        return Some(DataType::Timestamp(time_unit(unit)?, zone));
    }
    let within = |word: &str| name.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(inner) = within("decimal128") {
        let (precision, scale) = inner.split_once(',')?;
        let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        let possible = (1..=38).contains(&precision) && (0..=i16::from(precision)).contains(&i16::from(scale));
        return possible.then_some(DataType::Decimal128(precision, scale));
    }
    if let Some(inner) = within("time") {
        return Some(match time_unit(inner)? {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(unit),
            unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond) => DataType::Time64(unit),
        });
    }
    if let Some(inner) = within("duration") {
        return Some(DataType::Duration(time_unit(inner)?));
    }
    if let Some(inner) = within("fixed-binary") {
        return inner.trim().parse().ok().filter(|width| *width > 0).map(DataType::FixedSizeBinary);
    }
    if let Some((key, value)) = within("map").and_then(|inner| inner.split_once(',')) {
        return map(key, value);
    }
    Some(match name {
        "null" => DataType::Null,
        "boolean" | "bool" => DataType::Boolean,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "uint8" => DataType::UInt8,
        "uint16" => DataType::UInt16,
        "uint32" => DataType::UInt32,
        "uint64" => DataType::UInt64,
        "float16" => DataType::Float16,
        "float32" => DataType::Float32,
        "float64" => DataType::Float64,
        "utf8" | "string" => DataType::Utf8,
        "large-utf8" => DataType::LargeUtf8,
        "binary" => DataType::Binary,
        "large-binary" => DataType::LargeBinary,
        "date32" => DataType::Date32,
        "date64" => DataType::Date64,
        _ => return None,
    })
}

fn time_unit(text: &str) -> Option<TimeUnit> {
    Some(match text.trim() {
        "s" | "second" => TimeUnit::Second,
        "ms" | "millisecond" => TimeUnit::Millisecond,
        "us" | "microsecond" => TimeUnit::Microsecond,
        "ns" | "nanosecond" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

/// A map; types that are not words are written as in JSON: `map(utf8, {"a":"int64"})`.
fn map(key: &str, value: &str) -> Option<DataType> {
    let value = match scalar(value) {
        Some(value) => value,
        None => data_type(serde_json::from_str(value).ok()?, "value").ok()?,
    };
    let key = Field { name: "key".into(), data_type: scalar(key)?, nullable: false };
    let entry = DataType::Struct(vec![key, Field::new("value", value)]);
    Some(DataType::Map(Box::new(Field { name: "entries".into(), data_type: entry, nullable: false })))
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type name, a map of fields to types, or a list of one type")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<Written, E> {
                Ok(Written::Name(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Written, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Written::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Written, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Written::Struct(fields))
            }
        }

        from.deserialize_any(Reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order() {
        let schema = parse(r#"{"z":"int64","a":{"y":"utf8","b":["float64"]},"at":"timestamp(ms, UTC)"}"#).unwrap();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "at"]);
        assert_eq!(schema.fields()[2].data_type, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
        assert!(parse(r#"{"a":"int65"}"#).unwrap_err().to_string().contains("`a`"));
        assert!(parse("[]").is_err());
        for none in ["fixed-binary(0)", "fixed-binary(-1)", "decimal128(5, 7)", "decimal128(39, 0)", "decimal128(0, 0)"]
        {
            assert!(parse(&format!(r#"{{"a":"{none}"}}"#)).is_err(), "{none}");
        }
    }
}
