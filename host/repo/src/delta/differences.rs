//! How a Delta table differs from the columns that its files were given, said before anything is written.

use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimeUnit};
use spout_format::{Format, Stored, nanos_name};

use super::schema::Shape;

/// What a table lacks of a file with these columns, or has as something else, each with the reason; for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Columns that are not in the table, with their types.
    pub left_out: Vec<String>,
    /// Columns that are there as another type.
    pub as_other: Vec<String>,
}

/// How a Delta table of files with the columns of `schema` differs from them.
#[must_use]
pub fn differences(schema: &SchemaRef) -> Differences {
    let Ok(stored) = Stored::new(Format::Parquet, schema) else { return Differences::default() };
    let (fields, left_out) = Shape::of_file(schema, true).columns(&[]);
    let there = |name: &str| fields.iter().any(|field| field.name == name);
    let given = schema.fields().iter().enumerate().zip(stored.in_file().fields());
    let changed = given.filter(|((_, given), in_file)| given.data_type() != in_file.data_type() && there(given.name()));
    let worded = |((index, given), in_file): ((usize, &FieldRef), &FieldRef)| match given.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            format!(
                "{} to the microsecond, with the nanoseconds beyond it in {}",
                given.name(),
                nanos_name(schema, index)
            )
        }
        _ => format!("{} as {}", given.name(), Shape::of(in_file.data_type()).words()),
    };
    Differences { left_out, as_other: changed.map(worded).collect() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn what_readers_will_see_is_known_from_the_columns() {
        let zone = || Some(Arc::from("UTC"));
        let columns = [
            ("n", DataType::Int64),
            ("u", DataType::UInt64),
            ("at", DataType::Timestamp(TimeUnit::Nanosecond, zone())),
            ("s", DataType::Timestamp(TimeUnit::Second, zone())),
            ("Id", DataType::Utf8),
            ("id", DataType::Utf8),
            ("huge", DataType::Decimal256(50, 2)),
            ("none", DataType::Null),
            ("empty", DataType::Struct(Default::default())),
        ];
        let fields: Vec<_> = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
        let Differences { left_out, as_other } = differences(&Schema::new(fields).into());
        assert_eq!(
            left_out,
            [
                "Id (its name differs from that of id only by case)",
                "huge (Decimal256(50, 2))",
                "none (nothing but nulls)",
                "empty (a struct without fields)",
            ]
        );
        assert_eq!(
            as_other,
            [
                "u as decimal(20,0)",
                "at to the microsecond, with the nanoseconds beyond it in at__nanos",
                "s as timestamp",
            ]
        );
    }
}
