//! Schemas as users write them: `{id: int64, at: "timestamp(ms, UTC)", user: {name: utf8}, tags: [utf8]}`.

use std::{borrow::Cow, fmt, sync::Arc};

use arrow::{
    array::timezone::Tz,
    datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, Fields, Schema, TimeUnit},
};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Columns and their types, in the order they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaText(Vec<(String, TypeText)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum TypeText {
    Name(String),
    Struct(SchemaText),
    List(Vec<TypeText>),
}

impl SchemaText {
    /// The part of a commit's state that holds the columns which the decoder of its pipeline keeps to.
    pub const PART: &str = "decoder/schema";

    /// The schema that such a part holds.
    ///
    /// # Errors
    /// A text that is none.
    pub fn stored(text: &[u8]) -> Result<Schema, String> {
        let text: Self =
            serde_json::from_slice(text).map_err(|error| format!("cannot read the stored schema: {error}"))?;
        text.parse()
    }

    /// The schema it describes; every field is nullable.
    ///
    /// # Errors
    /// What is wrong, naming the field.
    pub fn parse(&self) -> Result<Schema, String> {
        Ok(Schema::new(fields(self, "")?))
    }

    /// `schema` in these words.
    ///
    /// # Errors
    /// A type that the words do not cover.
    pub fn print(schema: &Schema) -> Result<Self, String> {
        let field = |field: &Arc<Field>| Ok((field.name().clone(), print_type(field.data_type())?));
        schema.fields().iter().map(field).collect::<Result<_, _>>().map(Self)
    }

    /// The first columns of `schema` on one line, as `id int64, note utf8`, and how many more there are.
    #[must_use]
    pub fn brief(schema: &Schema) -> String {
        let fields = schema.fields();
        let column = |field: &Arc<Field>| format!("{} {}", cut(field.name()), brief_type(field.data_type()));
        let shown: Vec<String> = fields.iter().take(SHOWN).map(column).collect();
        match fields.len() - shown.len() {
            0 => shown.join(", "),
            more => format!("{}, and {more} more", shown.join(", ")),
        }
    }
}

/// Columns that are shown on a line, and letters of a name or a type.
const SHOWN: usize = 20;
const LETTERS: usize = 60;

fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// A type in a few words, whatever it holds.
fn brief_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(fields) => format!("struct of {}", fields.len()),
        DataType::List(item) => format!("list of {}", brief_type(item.data_type())),
        other => match print_type(other) {
            Ok(TypeText::Name(name)) => cut(&name),
            _ => cut(&other.to_string()),
        },
    }
}

impl fmt::Display for SchemaText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn fields(written: &SchemaText, under: &str) -> Result<Fields, String> {
    let field = |(name, value): &(String, TypeText)| {
        let path = if under.is_empty() { name.clone() } else { format!("{under}.{name}") };
        Ok(Field::new(name, parse_type(value, &path)?, true))
    };
    written.0.iter().map(field).collect()
}

fn parse_type(written: &TypeText, path: &str) -> Result<DataType, String> {
    match written {
        TypeText::Name(name) => {
            let data_type = scalar(name).ok_or_else(|| {
                format!("field `{path}` has the unknown type `{name}`; use boolean, int8…int64, uint8…uint64, float16…float64, decimal128(p, s), utf8, binary, fixed-binary(n), date32, date64, time(unit), timestamp(s|ms|us|ns[, zone]), duration(unit) or map(key, value), {{…}} for a struct and […] for a list")
            })?;
            possible(&data_type).map_err(|why| format!("field `{path}` has the type `{name}`, {why}"))?;
            Ok(data_type)
        }
        TypeText::Struct(inner) => Ok(DataType::Struct(fields(inner, path)?)),
        TypeText::List(items) => match items.as_slice() {
            [item] => Ok(DataType::List(Arc::new(Field::new_list_field(parse_type(item, path)?, true)))),
            _ => Err(format!("field `{path}` is a list; write the type of its items and nothing else, as in [utf8]")),
        },
    }
}

/// # Errors
/// No column can be of this type: why, and what to write.
fn possible(data_type: &DataType) -> Result<(), String> {
    let digits = |precision: u8, scale: i8, most: u8| {
        if !(1..=most).contains(&precision) {
            Err(format!("but precision is 1 to {most}"))
        } else if i16::from(scale) < 0 || i16::from(scale) > i16::from(precision) {
            Err(format!("but its scale is 0 to its precision, {precision}"))
        } else {
            Ok(())
        }
    };
    match data_type {
        DataType::Timestamp(_, Some(zone)) => match zone.parse::<Tz>() {
            Ok(_) => Ok(()),
            Err(_) => Err(
                "but no such time zone is known; write UTC, an offset such as +02:00 or a name such as Europe/Berlin"
                    .into(),
            ),
        },
        DataType::Decimal128(precision, scale) => digits(*precision, *scale, DECIMAL128_MAX_PRECISION),
        DataType::Decimal256(precision, scale) => digits(*precision, *scale, DECIMAL256_MAX_PRECISION),
        DataType::FixedSizeBinary(width) if *width < 1 => Err("but its width is at least 1".into()),
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) => fields.iter().try_for_each(|field| possible(field.data_type())),
            _ => Ok(()),
        },
        DataType::Struct(fields) => fields.iter().try_for_each(|field| possible(field.data_type())),
        DataType::List(item) => possible(item.data_type()),
        _ => Ok(()),
    }
}

fn scalar(name: &str) -> Option<DataType> {
    let name = name.trim();
    if let Some(inner) = name.strip_prefix("timestamp") {
        let inner = inner.trim().strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or("ms");
        let (unit, zone) = inner.split_once(',').map_or((inner, None), |(unit, zone)| (unit, Some(zone.trim().into())));
        return Some(DataType::Timestamp(time_unit(unit.trim())?, zone));
    }
    let within = |word: &str| name.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')');
    let decimal = |inner: &str| {
        let (precision, scale) = inner.split_once(',')?;
        Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
    };
    if let Some((precision, scale)) = within("decimal128").and_then(decimal) {
        return Some(DataType::Decimal128(precision, scale));
    }
    if let Some((precision, scale)) = within("decimal256").and_then(decimal) {
        return Some(DataType::Decimal256(precision, scale));
    }
    if let Some(unit) = within("time").and_then(|unit| time_unit(unit.trim())) {
        return Some(match unit {
            TimeUnit::Second | TimeUnit::Millisecond => DataType::Time32(unit),
            TimeUnit::Microsecond | TimeUnit::Nanosecond => DataType::Time64(unit),
        });
    }
    if let Some(unit) = within("duration") {
        return Some(DataType::Duration(time_unit(unit.trim())?));
    }
    if let Some(width) = within("fixed-binary") {
        return Some(DataType::FixedSizeBinary(width.trim().parse().ok()?));
    }
    if let Some((key, value)) = within("map").and_then(|inner| inner.split_once(',')) {
        // What is no word is written as in JSON: `map(utf8, {"a":"int64"})`.
        let value = match scalar(value) {
            Some(value) => value,
            None => parse_type(&serde_json::from_str(value).ok()?, "value").ok()?,
        };
        return Some(map_of(scalar(key)?, value));
    }
    SCALARS.iter().find(|(known, _)| *known == name).map(|(_, data_type)| data_type.clone())
}

const SCALARS: [(&str, DataType); 21] = [
    ("null", DataType::Null),
    ("boolean", DataType::Boolean),
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float16", DataType::Float16),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("utf8", DataType::Utf8),
    ("string", DataType::Utf8),
    ("large-utf8", DataType::LargeUtf8),
    ("binary", DataType::Binary),
    ("large-binary", DataType::LargeBinary),
    ("date32", DataType::Date32),
    ("date64", DataType::Date64),
];

fn time_unit(text: &str) -> Option<TimeUnit> {
    Some(match text {
        "s" | "second" => TimeUnit::Second,
        "ms" | "millisecond" => TimeUnit::Millisecond,
        "us" | "microsecond" => TimeUnit::Microsecond,
        "ns" | "nanosecond" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

fn print_type(data_type: &DataType) -> Result<TypeText, String> {
    Ok(match data_type {
        DataType::Struct(inner) => TypeText::Struct(SchemaText::print(&Schema::new(inner.clone()))?),
        DataType::List(item) => TypeText::List(vec![print_type(item.data_type())?]),
        DataType::Timestamp(unit, zone) => {
            let unit = unit_word(*unit);
            TypeText::Name(
                zone.as_ref().map_or(format!("timestamp({unit})"), |zone| format!("timestamp({unit}, {zone})")),
            )
        }
        DataType::Decimal128(precision, scale) => TypeText::Name(format!("decimal128({precision}, {scale})")),
        DataType::Decimal256(precision, scale) => TypeText::Name(format!("decimal256({precision}, {scale})")),
        DataType::Time32(unit) | DataType::Time64(unit) => TypeText::Name(format!("time({})", unit_word(*unit))),
        DataType::Duration(unit) => TypeText::Name(format!("duration({})", unit_word(*unit))),
        DataType::FixedSizeBinary(width) => TypeText::Name(format!("fixed-binary({width})")),
        DataType::Map(entry, _) => print_map(entry)?,
        other => {
            let known = SCALARS.iter().find(|(_, data_type)| data_type == other).map(|(name, _)| (*name).to_owned());
            TypeText::Name(known.ok_or_else(|| format!("the type {other} cannot be pinned"))?)
        }
    })
}

fn unit_word(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn print_map(entry: &Field) -> Result<TypeText, String> {
    let inner = |field: &Arc<Field>| match print_type(field.data_type())? {
        TypeText::Name(name) => Ok(name),
        nested => serde_json::to_string(&nested).map_err(|error| error.to_string()),
    };
    match entry.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => {
            Ok(TypeText::Name(format!("map({}, {})", inner(&fields[0])?, inner(&fields[1])?)))
        }
        other => Err(format!("the type map of {other} cannot be pinned")),
    }
}

impl Serialize for SchemaText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, written)| (name, written)))
    }
}

impl Serialize for TypeText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => to.serialize_str(name),
            Self::Struct(inner) => inner.serialize(to),
            Self::List(items) => to.collect_seq(items),
        }
    }
}

impl<'de> Deserialize<'de> for SchemaText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match TypeText::deserialize(from)? {
            TypeText::Struct(inner) => Ok(inner),
            _ => Err(serde::de::Error::custom("a schema is a map of column names to types")),
        }
    }
}

impl<'de> Deserialize<'de> for TypeText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = TypeText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type name, a map of fields to types, or a list of one type")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<TypeText, E> {
        Ok(TypeText::Name(name.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TypeText, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(TypeText::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TypeText, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(TypeText::Struct(SchemaText(fields)))
    }
}

/// The type of a map.
#[must_use]
pub fn map_of(key: DataType, value: DataType) -> DataType {
    let fields = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

impl JsonSchema for SchemaText {
    fn schema_name() -> Cow<'static, str> {
        "Schema".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object", "description": "Columns and their types, in order."})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), &str>) {
        let written: Result<SchemaText, _> = serde_json::from_str(text);
        match (written.map_err(|error| error.to_string()).and_then(|written| written.parse()), expected) {
            (Ok(schema), Ok(())) => assert_eq!(SchemaText::print(&schema).unwrap().to_string(), text),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn many_columns_are_a_line_all_the_same() {
        let item = DataType::Struct(vec![Field::new("x", DataType::Int8, true)].into());
        let list = DataType::List(Arc::new(Field::new_list_field(item, true)));
        let mut fields = vec![Field::new("id", DataType::Int64, true), Field::new("l", list, true)];
        assert_eq!(SchemaText::brief(&Schema::new(fields.clone())), "id int64, l list of struct of 1");
        fields.extend((0..400).map(|n| Field::new(format!("{n}{}", "x".repeat(1000)), DataType::Utf8, true)));
        let brief = SchemaText::brief(&Schema::new(fields));
        assert!(brief.len() < 2000 && brief.ends_with(" utf8, and 382 more"), "{brief}");
    }

    #[test]
    fn what_is_written_is_what_is_printed() {
        check(r#"{"id":"int64","at":"timestamp(ms, UTC)","user":{"name":"utf8"},"tags":["utf8"]}"#, Ok(()));
        check(r#"{"price":"decimal128(10, 2)","deep":[{"a":["boolean"]}]}"#, Ok(()));
        check(r#"{"t":"time(us)","id":"fixed-binary(16)","big":"decimal256(60, 2)","m":"map(utf8, int64)"}"#, Ok(()));
        check(r#"{"m":"map(utf8, {\"a\":[\"timestamp(ms, UTC)\"]})"}"#, Ok(()));
        check(r#"{"a":{"b":"int65"}}"#, Err("`a.b` has the unknown type `int65`"));
        check(r#"{"a":["utf8","utf8"]}"#, Err("is a list"));
        check(r#"{"a":7}"#, Err("a type name"));
        check(r#"{"d":"duration(ms)","h":"float16"}"#, Ok(()));
    }

    #[test]
    fn types_that_no_column_can_have_are_refused() {
        for zone in ["UTC", "+02:00", "-0330", "Europe/Berlin"] {
            check(&format!(r#"{{"at":"timestamp(us, {zone})"}}"#), Ok(()));
        }
        for zone in ["Mars/Phobos", "+25:00", "UTC+2"] {
            check(&format!(r#"{{"at":"timestamp(us, {zone})"}}"#), Err("no such time zone is known"));
        }
        check(r#"{"a":"fixed-binary(0)"}"#, Err("`a` has the type `fixed-binary(0)`, but its width is at least 1"));
        check(r#"{"a":"fixed-binary(-1)"}"#, Err("at least 1"));
        check(r#"{"a":"decimal128(5,7)"}"#, Err("scale is 0 to its precision, 5"));
        check(r#"{"a":"decimal128(39, 0)"}"#, Err("precision is 1 to 38"));
        check(r#"{"a":{"b":["map(utf8, fixed-binary(0))"]}}"#, Err("`a.b`"));
    }
}
