//! How wide, deep and long a schema from outside may be: every row and every commit of its branch pays for it.

use arrow::datatypes::{DataType, FieldRef, Schema};

/// Most columns, nested ones included.
const COLUMNS: usize = 4096;
/// Deepest nesting.
const DEPTH: usize = 32;
/// Bytes of values of fixed size in a row, and items of lists of fixed length: they are there where it is null, too.
const FIXED: u64 = 1 << 20;
/// Longest name, in bytes.
const NAME: usize = 1024;

/// Checks that `schema` is within the limits.
///
/// # Errors
/// Which limit it exceeds, and where.
pub fn within_limits(schema: &Schema) -> Result<(), String> {
    // Without recursion, which a sender could drive.
    let mut left: Vec<(usize, u64, &FieldRef)> = schema.fields().iter().map(|field| (1, 1, field)).collect();
    let (mut count, mut fixed) = (0, 0_u64);
    while let Some((depth, times, field)) = left.pop() {
        count += 1;
        let shown = || field.name().chars().take(40).collect::<String>();
        if field.name().len() > NAME {
            return Err(format!("column `{}…` has a name of more than {NAME} bytes", shown()));
        }
        if depth > DEPTH {
            return Err(format!("column `{}` is nested deeper than {DEPTH}", shown()));
        }
        if count + left.len() > COLUMNS {
            return Err(format!("there are more than {COLUMNS} columns, nested ones included, at `{}`", shown()));
        }
        // What a row takes of these also where it is null.
        let times = match field.data_type() {
            DataType::FixedSizeBinary(width) => {
                fixed = fixed.saturating_add(times.saturating_mul(u64::from(width.unsigned_abs())));
                times
            }
            DataType::FixedSizeList(_, length) => {
                let times = times.saturating_mul(u64::from(length.unsigned_abs()));
                fixed = fixed.saturating_add(times);
                times
            }
            _ => times,
        };
        if fixed > FIXED {
            return Err(format!(
                "column `{}` has values of fixed size, of which a row takes more than {FIXED} bytes",
                shown()
            ));
        }
        let children: Vec<&FieldRef> = match field.data_type() {
            DataType::Struct(fields) => fields.iter().collect(),
            DataType::Union(fields, _) => fields.iter().map(|(_, field)| field).collect(),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _) => vec![item],
            DataType::RunEndEncoded(_, values) => vec![values],
            _ => Vec::new(),
        };
        left.extend(children.into_iter().map(|child| (depth + 1, times, child)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn a_schema_has_an_end_in_each_direction() {
        let field = |name: &str, kind| Field::new(name, kind, true);
        let nested = |depth: usize| {
            (1..depth).fold(field("x", DataType::Int8), |inner, _| field("s", DataType::Struct(vec![inner].into())))
        };
        let check = |fields: Vec<Field>, expected: Option<&str>| match (within_limits(&Schema::new(fields)), expected) {
            (Ok(()), None) => {}
            (Err(said), Some(part)) => assert!(said.contains(part), "{said}"),
            (got, _) => panic!("{got:?}"),
        };
        check(vec![field("a", DataType::Utf8); 4096], None);
        check(vec![field("a", DataType::Utf8); 4097], Some("more than 4096 columns"));
        check(vec![nested(32)], None);
        check(vec![nested(33)], Some("nested deeper than 32"));
        let list = |inner| DataType::List(Arc::new(inner));
        check(vec![field("f", DataType::FixedSizeBinary(1 << 20))], None);
        check(vec![field("f", DataType::FixedSizeBinary(i32::MAX))], Some("of fixed size"));
        check(vec![field("f", DataType::FixedSizeBinary(1 << 10)); 1025], Some("of fixed size"));
        let vector = |length, inner| DataType::FixedSizeList(Arc::new(inner), length);
        check(vec![field("v", vector(4096, field("item", DataType::Float64)))], None);
        let bomb = vector(1 << 15, field("item", vector(1 << 15, field("item", DataType::Int8))));
        check(vec![field("v", bomb)], Some("of fixed size"));
        check(
            vec![field("l", list(field("item", DataType::Struct(vec![field("a", DataType::Utf8); 4096].into()))))],
            Some("more than 4096"),
        );
        check(vec![field(&"n".repeat(1025), DataType::Int8)], Some("more than 1024 bytes"));
    }
}
