//! Defaults of a reader's schema as Avro's bytes.

use serde_json::Value;

use super::schema::{Kind, Schema};

/// The bytes of `value`, as a default of `schema` is written in JSON.
///
/// # Errors
/// Why it is no value of that type.
pub(super) fn encoded(value: &Value, schema: &Schema) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    put(value, schema, &mut bytes)?;
    Ok(bytes)
}

/// A number as Avro writes it.
pub(super) fn put_varint(number: i64, into: &mut Vec<u8>) {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
}

fn put(value: &Value, schema: &Schema, into: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("{value} is no default of {}", schema.word());
    match (&schema.kind, value) {
        (Kind::Null, Value::Null) => {}
        (Kind::Boolean, Value::Bool(value)) => into.push(u8::from(*value)),
        (Kind::Int, Value::Number(number)) => {
            let number = number.as_i64().filter(|number| i32::try_from(*number).is_ok());
            put_varint(number.ok_or_else(wrong)?, into);
        }
        (Kind::Long, Value::Number(number)) => put_varint(number.as_i64().ok_or_else(wrong)?, into),
        (Kind::Float, Value::Number(number)) => {
            into.extend((number.as_f64().ok_or_else(wrong)? as f32).to_le_bytes());
        }
        (Kind::Double, Value::Number(number)) => into.extend(number.as_f64().ok_or_else(wrong)?.to_le_bytes()),
        (Kind::String, Value::String(text)) => sized(text.as_bytes(), into),
        (Kind::Bytes, Value::String(text)) => sized(&latin(text).ok_or_else(wrong)?, into),
        (Kind::Fixed(_, size), Value::String(text)) => {
            let bytes = latin(text).filter(|bytes| bytes.len() == *size);
            into.extend(bytes.ok_or_else(wrong)?);
        }
        (Kind::Enum(_, symbols), Value::String(symbol)) => {
            put_varint(place(&symbols.all, symbol).ok_or_else(wrong)?, into);
        }
        (Kind::Array(item), Value::Array(items)) => {
            begin(items.len(), into);
            items.iter().try_for_each(|value| put(value, item, into))?;
            into.push(0);
        }
        (Kind::Map(of), Value::Object(entries)) => {
            begin(entries.len(), into);
            for (key, value) in entries {
                sized(key.as_bytes(), into);
                put(value, of, into)?;
            }
            into.push(0);
        }
        // It is of the first branch, or, in newer schemas, of any.
        (Kind::Union(branches), value) => {
            let found = branches.iter().enumerate().find_map(|(index, branch)| {
                let index = i64::try_from(index).ok()?;
                encoded(value, branch).ok().map(|bytes| (index, bytes))
            });
            let (index, bytes) = found.ok_or_else(wrong)?;
            put_varint(index, into);
            into.extend(bytes);
        }
        (Kind::Record(_, fields), Value::Object(values)) => {
            for field in fields {
                let value = values.get(&field.name).or(field.default.as_ref()).ok_or_else(wrong)?;
                put(value, &field.schema, into)?;
            }
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

/// Where a symbol is.
pub(super) fn place(symbols: &[String], symbol: &str) -> Option<i64> {
    symbols.iter().position(|one| one == symbol).and_then(|place| i64::try_from(place).ok())
}

fn sized(bytes: &[u8], into: &mut Vec<u8>) {
    put_varint(i64::try_from(bytes.len()).unwrap_or(i64::MAX), into);
    into.extend(bytes);
}

/// The head of a block, if there is one.
fn begin(count: usize, into: &mut Vec<u8>) {
    if count > 0 {
        put_varint(i64::try_from(count).unwrap_or(i64::MAX), into);
    }
}

/// Bytes that are written as the characters of their numbers.
fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}
