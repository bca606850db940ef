//! Checks that an array has the layout of its field's type: kinds, widths and lengths, at a cost independent of the
//! number of rows.

use super::{Array, Data, DataType, Field};

/// How `array` fails to fit `field`, which must have `rows` rows; the message starts with the path of a nested field.
pub(super) fn misfit(field: &Field, array: &Array, rows: usize) -> Option<String> {
    // Within a struct that is null, or a list, a null may stand where the field has none: only the host looks at each.
    if !field.nullable && array.nulls() > 0 {
        return Some(format!("column `{}` has nulls, and its field may not have any", field.name));
    }
    check(field, array, rows).err().map(|Misfit { path, what }| {
        let path: Vec<&str> = path.iter().rev().copied().collect();
        format!("column `{}` {what}", path.join("."))
    })
}

/// What is wrong, and the fields down to it, innermost first.
struct Misfit<'a> {
    path: Vec<&'a str>,
    what: String,
}

fn check<'a>(field: &'a Field, array: &Array, rows: usize) -> Result<(), Misfit<'a>> {
    let inside = |mut misfit: Misfit<'a>| {
        misfit.path.push(&field.name);
        misfit
    };
    let wrong = |what: String| Misfit { path: vec![field.name.as_str()], what };
    if array.len() != rows {
        return Err(wrong(format!("has {} rows, not {rows}", array.len())));
    }
    match (&field.data_type, array.data()) {
        (DataType::List(item) | DataType::Map(item), Data::List { offsets, items, large: false })
        | (DataType::LargeList(item), Data::List { offsets, items, large: true }) => {
            let end = ends(offsets, rows).map_err(wrong)?;
            if end > items.len() {
                return Err(wrong(format!("has {} items, and its lists end after {end}", items.len())));
            }
            check(item, items, items.len()).map_err(inside)
        }
        (DataType::FixedSizeList(item, length), Data::FixedList { length: has, items }) if *length as usize == *has => {
            check(item, items, rows * has).map_err(inside)
        }
        (DataType::Struct(fields), Data::Struct(arrays)) if fields.len() == arrays.len() => {
            fields.iter().zip(arrays).try_for_each(|(field, array)| check(field, array, rows)).map_err(inside)
        }
        (kind, data) => flat(kind, data, rows).map_err(wrong),
    }
}

/// Types without children.
fn flat(kind: &DataType, data: &Data, rows: usize) -> Result<(), String> {
    use DataType as T;
    match (kind, data) {
        (T::Null, Data::Null) => Ok(()),
        (T::Boolean, Data::Bits(bits)) if bits.len() == rows => Ok(()),
        (T::Utf8 | T::Binary, Data::Bytes { offsets, bytes, large: false })
        | (T::LargeUtf8 | T::LargeBinary, Data::Bytes { offsets, bytes, large: true }) => match ends(offsets, rows)? {
            end if end <= bytes.len() => Ok(()),
            end => Err(format!("has {} bytes, and its values end after {end}", bytes.len())),
        },
        (kind, Data::Fixed { width, bytes }) if kind.width() == Some(*width) => {
            if bytes.len() == rows * width {
                Ok(())
            } else {
                Err(format!("has {} bytes, not {rows} times {width}", bytes.len()))
            }
        }
        (kind, data) => Err(format!("is {kind:?}, and its array holds {}", holds(data))),
    }
}

/// Where the last value ends.
fn ends(offsets: &[i32], rows: usize) -> Result<usize, String> {
    match (offsets.len() == rows + 1, offsets.last().map(|&end| usize::try_from(end))) {
        (true, Some(Ok(end))) => Ok(end),
        _ => Err(format!("has {} offsets for {rows} rows, which need one more than rows", offsets.len())),
    }
}

/// An array's layout, for humans.
fn holds(data: &Data) -> String {
    let large = |large: &bool| if *large { "large " } else { "" };
    match data {
        Data::Null => "nulls alone".into(),
        Data::Bits(bits) => format!("{} bits", bits.len()),
        Data::Fixed { width, .. } => format!("values of {width} bytes each"),
        Data::Bytes { large: l, .. } => format!("{}texts or binaries", large(l)),
        Data::List { large: l, .. } => format!("{}lists or maps", large(l)),
        Data::FixedList { length, .. } => format!("lists of {length} items each"),
        Data::Struct(fields) => format!("structs of {} fields", fields.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ArrayBuilder, Batch, Bits, Schema, TimeUnit};

    /// A field of every type of the plugin interface.
    fn every_type() -> Vec<Field> {
        use DataType as T;
        let field = |name: &str, kind| Field::new(name, kind);
        let unit = TimeUnit::Microsecond;
        let entry = T::Struct(vec![Field { nullable: false, ..field("key", T::Utf8) }, field("value", T::Int64)]);
        let kinds = [
            T::Null,
            T::Boolean,
            T::Int8,
            T::Int16,
            T::Int32,
            T::Int64,
            T::UInt8,
            T::UInt16,
            T::UInt32,
            T::UInt64,
            T::Float16,
            T::Float32,
            T::Float64,
            T::Decimal128(20, 2),
            T::Date32,
            T::Date64,
            T::Time32(TimeUnit::Second),
            T::Time64(unit),
            T::Timestamp(unit, Some("UTC".into())),
            T::Duration(unit),
            T::Utf8,
            T::LargeUtf8,
            T::Binary,
            T::LargeBinary,
            T::FixedSizeBinary(5),
            T::List(Box::new(field("item", T::Utf8))),
            T::LargeList(Box::new(field("item", T::Float64))),
            T::FixedSizeList(Box::new(field("item", T::Int32)), 3),
            T::Struct(vec![field("a", T::Int64), field("b", T::List(Box::new(field("item", T::Boolean))))]),
            T::Map(Box::new(Field { nullable: false, ..field("entries", entry) })),
        ];
        kinds.into_iter().enumerate().map(|(at, kind)| field(&format!("c{at}"), kind)).collect()
    }

    /// Nulls of that type, as a builder makes them.
    fn nulls(field: &Field, rows: usize) -> Array {
        let mut builder = ArrayBuilder::new(&field.data_type);
        (0..rows).for_each(|_| builder.push_null());
        builder.finish()
    }

    #[test]
    fn what_a_builder_makes_fits_its_type_and_no_other_layout() {
        let fields = every_type();
        let columns: Vec<Array> = fields.iter().map(|field| nulls(field, 3)).collect();
        Batch::new(Schema::new(fields.clone()), columns.clone(), 3).unwrap();
        for (at, field) in fields.iter().enumerate() {
            for (other, column) in columns.iter().enumerate() {
                let fits = misfit(field, column, 3).is_none();
                // Types of one layout, such as int64 and timestamp, cannot be told apart here.
                assert!(fits || at != other, "{field:?} does not fit its own array");
                let same = column.data().clone() == columns[at].data().clone();
                assert!(!fits || same || at == other, "{field:?} takes the array of {:?}", fields[other]);
            }
        }
    }

    fn check(field: Field, array: Array, expected: &str) {
        let error = Batch::new(Schema::new(vec![field]), vec![array], 2).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_column_that_does_not_fit_is_named_with_what_it_holds() {
        let field = |kind| Field::new("c", kind);
        let numbers = || [1_i32, 2].into_iter().collect::<Array>();
        let texts = || ["a", "b"].into_iter().collect::<Array>();
        check(field(DataType::Int64), numbers(), "column `c` is Int64, and its array holds values of 4 bytes each");
        check(field(DataType::Int64), texts(), "column `c` is Int64, and its array holds texts or binaries");
        check(field(DataType::LargeUtf8), texts(), "`c` is LargeUtf8");
        check(field(DataType::Utf8), ["a"].into_iter().collect(), "column `c` has 1 rows, not 2");
        check(Field { nullable: false, ..field(DataType::Utf8) }, [Some("a"), None].into_iter().collect(), "has nulls");
        let short = Array::new(2, None, Data::Fixed { width: 8, bytes: vec![0; 15] });
        check(field(DataType::Float64), short, "has 15 bytes, not 2 times 8");
        let beyond = Array::new(2, None, Data::Bytes { offsets: vec![0, 1, 9], bytes: vec![0; 3], large: false });
        check(field(DataType::Binary), beyond, "has 3 bytes, and its values end after 9");
        let few = Array::new(2, None, Data::Bytes { offsets: vec![0, 1], bytes: vec![0; 1], large: false });
        check(field(DataType::Binary), few, "has 2 offsets for 2 rows");
        let bits = Array::new(2, None, Data::Bits(Bits::from_bytes(vec![1], 1)));
        check(field(DataType::Boolean), bits, "is Boolean, and its array holds 1 bits");
    }

    #[test]
    fn a_nested_column_is_named_by_its_path() {
        let inner = Field::new("inner", DataType::Struct(vec![Field::new("n", DataType::Int64)]));
        let list = Field::new("list", DataType::List(Box::new(inner)));
        let items = Array::new(1, None, Data::Struct(vec![["x"].into_iter().collect()]));
        let array = Array::new(2, None, Data::List { offsets: vec![0, 1, 1], items: Box::new(items), large: false });
        check(list.clone(), array, "column `list.inner.n` is Int64");
        let items = Array::new(1, None, Data::Struct(vec![[7_i64].into_iter().collect()]));
        let array = Array::new(2, None, Data::List { offsets: vec![0, 1, 5], items: Box::new(items), large: false });
        check(list, array, "column `list` has 1 items, and its lists end after 5");
    }
}
