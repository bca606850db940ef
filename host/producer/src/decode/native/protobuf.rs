//! `protobuf`: one message of a type in a descriptor set.

use std::{panic, path::PathBuf, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
    prost::Message,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_codec::Coerce;
use spout_data::Messages;

use super::{DecoderKind, Opening};
use crate::{
    Error, SchemaText, UnknownFields,
    decode::{
        Native, Rows,
        cells::Cell,
        rows::{Parsed, Row, buildable},
    },
};

/// Settings of the native `protobuf` decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProtobufSpec {
    /// The descriptor set, as `protoc --include_imports --descriptor_set_out=events.pb` writes it: a path from the spec's
    /// directory, as in `events.pb`.
    pub descriptor: PathBuf,
    /// Full name of the message type, as in `shop.v1.Order`.
    pub message: String,
    /// The columns you want, as in `{id: int64, customer: {name: utf8}}`. Without it: all fields of the type.
    #[serde(default)]
    pub schema: Option<SchemaText>,
    /// What a field that the descriptor does not have does to its message.
    #[serde(default)]
    pub unknown: UnknownFields,
    /// The looser choices; of them `roundTimes` counts here: how times are rounded that are finer than their column.
    #[serde(default)]
    pub coerce: Coerce,
}

impl DecoderKind for ProtobufSpec {
    fn declared(&self) -> Option<&SchemaText> {
        self.schema.as_ref()
    }

    fn file(&self) -> Option<&PathBuf> {
        Some(&self.descriptor)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        opening.schema.as_deref().map(buildable).transpose()?;
        Ok(Box::new(Protobuf::new(self, opening.file.unwrap_or_default(), opening.schema.clone())?))
    }
}

/// A running `protobuf` decoder.
#[derive(Debug)]
struct Protobuf {
    message: MessageDescriptor,
    schema: SchemaRef,
    unknown: UnknownFields,
    coerce: Coerce,
}

impl Protobuf {
    fn new(spec: &ProtobufSpec, descriptor: &[u8], schema: Option<SchemaRef>) -> Result<Self, String> {
        let wrong = |error: String| {
            format!(
                "{} is not a descriptor set: {error}; write it with `protoc --include_imports --descriptor_set_out`",
                spec.descriptor.display()
            )
        };
        // The library is meant to return errors, and panics where it says of an option that is wrong to which of nothing it belongs.
        let pool = panic::catch_unwind(|| DescriptorPool::decode(descriptor).map_err(|error| error.to_string()));
        let pool = pool.unwrap_or_else(|_| Err("it contradicts itself".into())).map_err(wrong)?;
        let message = pool.get_message_by_name(spec.message.trim_start_matches('.')).ok_or_else(|| {
            let known: Vec<_> = pool
                .all_messages()
                .filter(|known| !known.is_map_entry())
                .take(20)
                .map(|known| known.full_name().to_owned())
                .collect();
            format!("the descriptor set has no message `{}`; it has {}", spec.message, known.join(", "))
        })?;
        Self::of(message, schema, spec.unknown, spec.coerce.clone())
    }

    fn of(
        message: MessageDescriptor,
        schema: Option<SchemaRef>,
        unknown: UnknownFields,
        coerce: Coerce,
    ) -> Result<Self, String> {
        let schema = schema.map_or_else(|| columns_of(&message), Ok)?;
        Ok(Self { message, schema, unknown, coerce })
    }

    fn row(&self, value: &[u8]) -> Result<Row, String> {
        let message = DynamicMessage::decode(self.message.clone(), value).map_err(|error| error.to_string())?;
        let mut within = vec![self.message.full_name().to_owned()];
        cells(&message, self.unknown == UnknownFields::Fail, &mut within)
    }
}

/// A decoder of `message`, for rows of `schema`, or of all fields.
///
/// # Errors
/// What no column can hold.
pub(super) fn decoder(
    message: MessageDescriptor,
    schema: Option<SchemaRef>,
    unknown: UnknownFields,
    coerce: Coerce,
) -> Result<Box<dyn Native>, String> {
    schema.as_deref().map(buildable).transpose()?;
    Ok(Box::new(Protobuf::of(message, schema, unknown, coerce)?))
}

/// The columns of `message`.
///
/// # Errors
/// They are too many.
pub(super) fn columns_of(message: &MessageDescriptor) -> Result<SchemaRef, String> {
    expands(message)?;
    Ok(Arc::new(Schema::new(columns(message, &mut Vec::new()))))
}

impl Native for Protobuf {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let parsed = Parsed::all(messages, |value| self.row(value).map_err(|reason| ("protobuf.syntax", reason)));
        parsed.fit("protobuf", &self.schema, "protobuf.type", &self.coerce)
    }
}

/// Well-known types that are one value.
#[derive(Clone, Copy, Debug)]
enum Known {
    Timestamp,
    /// A scalar that may be absent.
    Wrapper,
    /// JSON.
    Json,
}

fn known(message: &MessageDescriptor) -> Option<Known> {
    Some(match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => Known::Timestamp,
        "Struct" | "Value" | "ListValue" => Known::Json,
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value" | "BoolValue"
        | "StringValue" | "BytesValue" => Known::Wrapper,
        _ => return None,
    })
}

/// The columns of `message`; `within` are the types it is part of, so that one that contains itself comes to an end.
fn columns(message: &MessageDescriptor, within: &mut Vec<String>) -> Fields {
    within.push(message.full_name().to_owned());
    let columns = message.fields().map(|field| Field::new(field.name(), column(&field, within), true)).collect();
    within.pop();
    columns
}

fn column(field: &FieldDescriptor, within: &mut Vec<String>) -> DataType {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => spout_data::map_of(
            scalar(&entry.map_entry_key_field().kind(), within),
            scalar(&entry.map_entry_value_field().kind(), within),
        ),
        kind if field.cardinality() == Cardinality::Repeated => {
            DataType::List(Arc::new(Field::new_list_field(scalar(&kind, within), true)))
        }
        kind => scalar(&kind, within),
    }
}

fn scalar(kind: &Kind, within: &mut Vec<String>) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => DataType::Int32,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => DataType::Int64,
        Kind::Uint32 | Kind::Fixed32 => DataType::UInt32,
        Kind::Uint64 | Kind::Fixed64 => DataType::UInt64,
        Kind::Float => DataType::Float32,
        Kind::Double => DataType::Float64,
        Kind::String | Kind::Enum(_) => DataType::Utf8,
        Kind::Bytes => DataType::Binary,
        Kind::Message(message) => match known(message) {
            // Microseconds: nanoseconds would not reach the year 1, which is what senders mean by none.
            Some(Known::Timestamp) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Some(Known::Json) => DataType::Utf8,
            Some(Known::Wrapper) => {
                message.get_field_by_name("value").map_or(DataType::Binary, |value| scalar(&value.kind(), within))
            }
            None if encoded(message, within) => DataType::Binary,
            None => DataType::Struct(columns(message, within)),
        },
    }
}

/// Most columns of a message, with those of the messages in it, as often as they are.
const COLUMNS: usize = 4096;

/// Checks how many columns `message` has, counting up to the most: types that contain types double with each level.
fn expands(message: &MessageDescriptor) -> Result<(), String> {
    fn count(message: &MessageDescriptor, within: &mut Vec<String>, left: &mut usize) -> bool {
        within.push(message.full_name().to_owned());
        let fits = message.fields().all(|field| {
            let Some(less) = left.checked_sub(1) else { return false };
            *left = less;
            let inner = match field.kind() {
                Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
                kind => kind,
            };
            match inner {
                Kind::Message(inner) if known(&inner).is_none() && !encoded(&inner, within) => {
                    count(&inner, within, left)
                }
                _ => true,
            }
        });
        within.pop();
        fits
    }
    let mut left = COLUMNS;
    if count(message, &mut Vec::new(), &mut left) {
        return Ok(());
    }
    let name = message.full_name();
    Err(format!(
        "the message `{name}` has more than {COLUMNS} columns, with those of the messages in it; declare `schema` with the columns you want"
    ))
}

/// Whether a message stays as it is encoded: one that contains itself has no end, one without fields no column.
fn encoded(message: &MessageDescriptor, within: &[String]) -> bool {
    message.fields().len() == 0 || within.iter().any(|outer| outer == message.full_name())
}

fn cells(message: &DynamicMessage, strict: bool, within: &mut Vec<String>) -> Result<Vec<(String, Cell)>, String> {
    use prost_reflect::ReflectMessage;
    let descriptor = message.descriptor();
    if let (true, Some(unknown)) = (strict, message.unknown_fields().next()) {
        return Err(format!("{} has the unknown field {}", descriptor.full_name(), unknown.number()));
    }
    let cell = |field: FieldDescriptor| {
        let absent = field.supports_presence() && !message.has_field(&field);
        let cell = if absent { Cell::Null } else { of(&message.get_field(&field), &field.kind(), strict, within)? };
        Ok((field.name().to_owned(), cell))
    };
    descriptor.fields().map(cell).collect()
}

fn of(value: &Value, kind: &Kind, strict: bool, within: &mut Vec<String>) -> Result<Cell, String> {
    Ok(match value {
        Value::Bool(value) => Cell::Bool(*value),
        Value::I32(value) => Cell::Int((*value).into()),
        Value::I64(value) => Cell::Int((*value).into()),
        Value::U32(value) => Cell::Int((*value).into()),
        Value::U64(value) => Cell::Int((*value).into()),
        Value::F32(value) => Cell::Float((*value).into()),
        Value::F64(value) => Cell::Float(*value),
        Value::String(value) => Cell::Text(value.clone()),
        Value::Bytes(value) => Cell::Bytes(value.to_vec()),
        Value::EnumNumber(number) => {
            let named = kind.as_enum().and_then(|kind| kind.get_value(*number));
            Cell::Text(named.map_or_else(|| number.to_string(), |value| value.name().to_owned()))
        }
        Value::Message(message) => nested(message, strict, within)?,
        Value::List(items) => {
            Cell::List(items.iter().map(|item| of(item, kind, strict, within)).collect::<Result<_, _>>()?)
        }
        Value::Map(entries) => {
            let value = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
            let value = value.ok_or("a map has no type")?;
            let mut sorted: Vec<(&MapKey, &Value)> = entries.iter().collect();
            // A hash map has no order: the rows of a message must be the same each time.
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            let entry = |(key, of_key): (&MapKey, &Value)| Ok((map_key(key), of(of_key, &value, strict, within)?));
            Cell::Map(sorted.into_iter().map(entry).collect::<Result<_, String>>()?)
        }
    })
}

fn map_key(key: &MapKey) -> Cell {
    match key {
        MapKey::Bool(key) => Cell::Bool(*key),
        MapKey::I32(key) => Cell::Int((*key).into()),
        MapKey::I64(key) => Cell::Int((*key).into()),
        MapKey::U32(key) => Cell::Int((*key).into()),
        MapKey::U64(key) => Cell::Int((*key).into()),
        MapKey::String(key) => Cell::Text(key.clone()),
    }
}

fn nested(message: &DynamicMessage, strict: bool, within: &mut Vec<String>) -> Result<Cell, String> {
    use prost_reflect::ReflectMessage;
    let descriptor = message.descriptor();
    let part = |name: &str| message.get_field_by_name(name);
    Ok(match known(&descriptor) {
        Some(Known::Timestamp) => {
            let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
            let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
            Cell::Time(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
        }
        Some(Known::Wrapper) => match (part("value"), descriptor.get_field_by_name("value")) {
            (Some(value), Some(field)) => of(&value, &field.kind(), strict, within)?,
            _ => Cell::Null,
        },
        Some(Known::Json) => Cell::Text(json(message).to_string()),
        None if encoded(&descriptor, within) => Cell::Bytes(message.encode_to_vec()),
        None => {
            within.push(descriptor.full_name().to_owned());
            let row = cells(message, strict, within)?;
            within.pop();
            Cell::Struct(row)
        }
    })
}

/// `google.protobuf.Struct`, `Value` or `ListValue` as the JSON they stand for. Their depth is bounded: prost reads 100 levels.
fn json(message: &DynamicMessage) -> serde_json::Value {
    let of = |value: &Value| value.as_message().map_or(serde_json::Value::Null, json);
    let Some((field, value)) = message.fields().next() else {
        return known_empty(message).unwrap_or(serde_json::Value::Null);
    };
    match (field.name(), value) {
        ("fields", Value::Map(entries)) => {
            let key = |key: &MapKey| key.as_str().unwrap_or_default().to_owned();
            entries.iter().map(|(name, value)| (key(name), of(value))).collect::<serde_json::Map<_, _>>().into()
        }
        ("values", Value::List(items)) => items.iter().map(of).collect(),
        (_, Value::F64(number)) => (*number).into(),
        (_, Value::String(text)) => text.as_str().into(),
        (_, Value::Bool(value)) => (*value).into(),
        (_, inner @ Value::Message(_)) => of(inner),
        _ => serde_json::Value::Null,
    }
}

fn known_empty(message: &DynamicMessage) -> Option<serde_json::Value> {
    use prost_reflect::ReflectMessage;
    Some(match message.descriptor().name() {
        "Struct" => serde_json::json!({}),
        "ListValue" => serde_json::json!([]),
        _ => return None,
    })
}
