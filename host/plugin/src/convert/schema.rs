//! Schemas across the boundary: fields in pre-order, each followed by its children.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::timezone::Tz,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit},
};

use crate::{LimitsSpec, bindings::spout::plugin::types as wit};

/// `schema` as a guest sees it.
///
/// # Errors
/// A column whose type the interface has no word for.
pub(crate) fn lower(schema: &Schema) -> Result<Vec<wit::Field>, String> {
    let mut out = Vec::new();
    for field in schema.fields() {
        lower_field(field, &mut out)?;
    }
    Ok(out)
}

fn lower_field(field: &Field, out: &mut Vec<wit::Field>) -> Result<(), String> {
    let children: Vec<&FieldRef> = match field.data_type() {
        DataType::Struct(fields) => fields.iter().collect(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item],
        _ => Vec::new(),
    };
    out.push(wit::Field {
        name: field.name().clone(),
        type_: lower_type(field.name(), field.data_type())?,
        nullable: field.is_nullable(),
        children: u32::try_from(children.len()).unwrap_or(u32::MAX),
        metadata: field.metadata().clone().into_iter().collect(),
    });
    children.into_iter().try_for_each(|child| lower_field(child, out))
}

fn lower_type(name: &str, data_type: &DataType) -> Result<wit::DataType, String> {
    use wit::DataType as W;
    Ok(match data_type {
        DataType::Null => W::Null,
        DataType::Boolean => W::Boolean,
        DataType::Int8 => W::Int8,
        DataType::Int16 => W::Int16,
        DataType::Int32 => W::Int32,
        DataType::Int64 => W::Int64,
        DataType::UInt8 => W::Uint8,
        DataType::UInt16 => W::Uint16,
        DataType::UInt32 => W::Uint32,
        DataType::UInt64 => W::Uint64,
        DataType::Float16 => W::Float16,
        DataType::Float32 => W::Float32,
        DataType::Float64 => W::Float64,
        DataType::Decimal128(precision, scale) => W::Decimal128((*precision, *scale)),
        DataType::Date32 => W::Date32,
        DataType::Date64 => W::Date64,
        DataType::Time32(unit) => W::Time32(lower_unit(*unit)),
        DataType::Time64(unit) => W::Time64(lower_unit(*unit)),
        DataType::Timestamp(unit, zone) => W::Timestamp((lower_unit(*unit), zone.as_ref().map(ToString::to_string))),
        DataType::Duration(unit) => W::Duration(lower_unit(*unit)),
        // Views and dictionaries are cast to the plain type before they cross.
        DataType::Utf8 | DataType::Utf8View => W::Utf8,
        DataType::LargeUtf8 => W::LargeUtf8,
        DataType::Binary | DataType::BinaryView => W::Binary,
        DataType::LargeBinary => W::LargeBinary,
        DataType::FixedSizeBinary(width) => W::FixedSizeBinary(u32::try_from(*width).unwrap_or(0)),
        DataType::List(_) => W::List,
        DataType::LargeList(_) => W::LargeList,
        DataType::FixedSizeList(_, length) => W::FixedSizeList(u32::try_from(*length).unwrap_or(0)),
        DataType::Struct(_) => W::Struct,
        DataType::Map(_, _) => W::Map,
        DataType::Dictionary(_, values) if !values.is_nested() => lower_type(name, values)?,
        other => {
            return Err(format!(
                "column `{name}` has the type {other}, which plugins cannot read; cast it with a map before the plugin"
            ));
        }
    })
}

/// Bytes that the name of a column may have, and its metadata together.
const NAME: usize = 1024;
const METADATA: usize = 64 << 10;

/// What a guest says is a schema, checked.
pub(crate) fn raise(told: &[wit::Field], limits: &LimitsSpec) -> Result<Schema, String> {
    if told.len() > limits.columns as usize {
        return Err(format!("a schema of {} columns, more than `limits.columns` ({})", told.len(), limits.columns));
    }
    // Names and metadata stand in every commit that has such rows.
    for field in told {
        let metadata: usize = field.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if field.name.len() > NAME || metadata > METADATA {
            let name: String = field.name.chars().take(40).collect();
            return Err(format!(
                "column `{name}` has a name of {} bytes and metadata of {metadata}; a name may have {NAME}, and metadata {METADATA}",
                field.name.len()
            ));
        }
    }
    let mut rest = told.iter();
    let mut fields = Vec::new();
    while let Some(first) = rest.next() {
        fields.push(raise_field(first, &mut rest, limits.depth)?);
    }
    let mut names = std::collections::BTreeSet::new();
    match fields.iter().find(|field| !names.insert(field.name().clone())) {
        Some(twice) => Err(format!("two columns are named `{}`", twice.name())),
        None => Ok(Schema::new(fields)),
    }
}

/// Whether an answer has the columns that were declared: names and types, in order.
///
/// # Errors
/// The first that differs.
pub(crate) fn same_columns(declared: &Schema, answered: &Schema) -> Result<(), String> {
    let column = |schema: &Schema, at: usize| {
        let field = schema.fields().get(at)?;
        Some(format!("`{}` ({})", field.name(), field.data_type()))
    };
    let same = |(a, b): (&FieldRef, &FieldRef)| a.name() == b.name() && a.data_type() == b.data_type();
    let (many, few) = (declared.fields().len(), answered.fields().len());
    let first = declared.fields().iter().zip(answered.fields()).position(|pair| !same(pair));
    match first.or((many != few).then_some(many.min(few))) {
        None => Ok(()),
        Some(at) => {
            let none = || "none".to_owned();
            let (said, found) = (column(declared, at).unwrap_or_else(none), column(answered, at).unwrap_or_else(none));
            Err(format!("`output` declared {said} as column {}, but the rows have {found}", at + 1))
        }
    }
}

fn raise_field<'a>(
    told: &wit::Field,
    rest: &mut impl Iterator<Item = &'a wit::Field>,
    depth: u32,
) -> Result<FieldRef, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("column `{}` is nested deeper than `limits.depth`", told.name));
    };
    let mut children = Vec::new();
    for _ in 0..told.children {
        let child = rest
            .next()
            .ok_or_else(|| format!("column `{}` lacks some of its {} children", told.name, told.children))?;
        children.push(raise_field(child, rest, depth)?);
    }
    let data_type = raise_type(told, children)?;
    let metadata: HashMap<String, String> = told.metadata.iter().cloned().collect();
    Ok(Arc::new(Field::new(&told.name, data_type, told.nullable).with_metadata(metadata)))
}

fn raise_type(told: &wit::Field, children: Vec<FieldRef>) -> Result<DataType, String> {
    use wit::DataType as W;
    let name = &told.name;
    let count = children.len();
    let one = || match children.as_slice() {
        [only] => Ok(Arc::clone(only)),
        _ => Err(format!("column `{name}` needs one child and has {count}")),
    };
    let width = |width: u32| match i32::try_from(width) {
        Ok(width) if width > 0 && width <= 1 << 20 => Ok(width),
        _ => Err(format!("column `{name}` has the fixed size {width}")),
    };
    let nested = matches!(told.type_, W::Struct | W::List | W::LargeList | W::FixedSizeList(_) | W::Map);
    if !nested && count > 0 {
        return Err(format!("column `{name}` is not nested and has {count} children"));
    }
    Ok(match &told.type_ {
        W::Null => DataType::Null,
        W::Boolean => DataType::Boolean,
        W::Int8 => DataType::Int8,
        W::Int16 => DataType::Int16,
        W::Int32 => DataType::Int32,
        W::Int64 => DataType::Int64,
        W::Uint8 => DataType::UInt8,
        W::Uint16 => DataType::UInt16,
        W::Uint32 => DataType::UInt32,
        W::Uint64 => DataType::UInt64,
        W::Float16 => DataType::Float16,
        W::Float32 => DataType::Float32,
        W::Float64 => DataType::Float64,
        W::Decimal128((precision, scale)) => {
            let sound = (1..=38).contains(precision) && scale.unsigned_abs() <= *precision;
            sound
                .then_some(DataType::Decimal128(*precision, *scale))
                .ok_or_else(|| format!("column `{name}` is decimal128({precision}, {scale})"))?
        }
        W::Date32 => DataType::Date32,
        W::Date64 => DataType::Date64,
        W::Time32(unit @ (wit::TimeUnit::Second | wit::TimeUnit::Millisecond)) => DataType::Time32(raise_unit(*unit)),
        W::Time64(unit @ (wit::TimeUnit::Microsecond | wit::TimeUnit::Nanosecond)) => {
            DataType::Time64(raise_unit(*unit))
        }
        W::Time32(unit) | W::Time64(unit) => {
            return Err(format!("column `{name}` has a time of day in {unit:?}, which does not fit its width"));
        }
        W::Timestamp((_, Some(zone))) if zone.parse::<Tz>().is_err() => {
            return Err(format!(
                "column `{name}` has times of the zone {zone:?}, which is not known; it is UTC, an offset such as +02:00 or a name such as Europe/Berlin"
            ));
        }
        W::Timestamp((unit, zone)) => DataType::Timestamp(raise_unit(*unit), zone.as_deref().map(Into::into)),
        W::Duration(unit) => DataType::Duration(raise_unit(*unit)),
        W::Utf8 => DataType::Utf8,
        W::LargeUtf8 => DataType::LargeUtf8,
        W::Binary => DataType::Binary,
        W::LargeBinary => DataType::LargeBinary,
        W::FixedSizeBinary(size) => DataType::FixedSizeBinary(width(*size)?),
        W::List => DataType::List(one()?),
        W::LargeList => DataType::LargeList(one()?),
        W::FixedSizeList(size) => DataType::FixedSizeList(one()?, width(*size)?),
        W::Struct => DataType::Struct(Fields::from(children)),
        W::Map => {
            let entries = one()?;
            match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 && !entries.is_nullable() && !pair[0].is_nullable() => {
                    DataType::Map(entries, false)
                }
                _ => {
                    return Err(format!(
                        "column `{name}` is a map, so its child must be a non-null struct of a non-null key and a value"
                    ));
                }
            }
        }
    })
}

fn lower_unit(unit: TimeUnit) -> wit::TimeUnit {
    match unit {
        TimeUnit::Second => wit::TimeUnit::Second,
        TimeUnit::Millisecond => wit::TimeUnit::Millisecond,
        TimeUnit::Microsecond => wit::TimeUnit::Microsecond,
        TimeUnit::Nanosecond => wit::TimeUnit::Nanosecond,
    }
}

fn raise_unit(unit: wit::TimeUnit) -> TimeUnit {
    match unit {
        wit::TimeUnit::Second => TimeUnit::Second,
        wit::TimeUnit::Millisecond => TimeUnit::Millisecond,
        wit::TimeUnit::Microsecond => TimeUnit::Microsecond,
        wit::TimeUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, type_: wit::DataType, children: u32) -> wit::Field {
        wit::Field { name: name.into(), type_, nullable: true, children, metadata: Vec::new() }
    }

    fn check(told: &[wit::Field], expected: Result<usize, &str>) {
        match (raise(told, &LimitsSpec::default()), expected) {
            (Ok(schema), Ok(columns)) => assert_eq!(schema.fields().len(), columns),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn a_schema_is_a_tree_within_limits() {
        use wit::DataType as W;
        check(&[], Ok(0));
        check(
            &[field("s", W::Struct, 2), field("a", W::Int8, 0), field("b", W::Utf8, 0), field("c", W::Null, 0)],
            Ok(2),
        );
        check(&[field("s", W::Struct, 2), field("a", W::Int8, 0)], Err("lacks some of its 2 children"));
        check(&[field("l", W::List, 0)], Err("needs one child"));
        check(&[field("i", W::Int8, 1), field("a", W::Int8, 0)], Err("not nested"));
        check(&[field("a", W::Int8, 0), field("a", W::Int8, 0)], Err("two columns"));
        check(&[field("t", W::Time32(wit::TimeUnit::Nanosecond), 0)], Err("time of day"));
        let mars = W::Timestamp((wit::TimeUnit::Second, Some("Mars/Olympus".into())));
        check(&[field("t", mars, 0)], Err("the zone \"Mars/Olympus\", which is not known"));
        check(&[field("b", W::FixedSizeBinary(0), 0)], Err("has the fixed size 0"));
        check(&[field("m", W::Map, 1), field("e", W::Int8, 0)], Err("is a map"));
        let deep: Vec<_> = (0..40).map(|_| field("d", W::List, 1)).chain([field("i", W::Int8, 0)]).collect();
        check(&deep, Err("limits.depth"));
        check(&vec![field("x", W::Null, 0); 5000], Err("limits.columns"));
        check(&[field(&"n".repeat(1025), W::Null, 0)], Err("a name of 1025 bytes"));
        let metadata = vec![("k".to_owned(), "m".repeat(64 << 10))];
        check(&[wit::Field { metadata, ..field("a", W::Null, 0) }], Err("metadata of 65537"));
    }
}
