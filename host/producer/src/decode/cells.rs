//! Values whose type a message itself states (or leaves open), and the columns made of them.

use std::{fmt, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, LargeBinaryArray, LargeStringArray, ListArray,
        MapArray, PrimitiveArray, StringArray, StructArray, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{
        ArrowPrimitiveType, DataType, Field, FieldRef, Fields, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
    error::ArrowError,
};
use spout_codec::{Coerce, Rounding};
use spout_data::within_an_array;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Nanoseconds since 1970.
    Time(i128),
    List(Vec<Cell>),
    Struct(Vec<(String, Cell)>),
    Map(Vec<(Cell, Cell)>),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "the boolean {value}"),
            Self::Int(value) => write!(f, "the whole number {value}"),
            Self::Float(value) => write!(f, "the number {value}"),
            Self::Text(value) => write!(f, "the text \"{}\"", value.escape_debug()),
            Self::Bytes(value) => write!(f, "{} bytes", value.len()),
            Self::Time(_) => f.write_str("a time"),
            Self::List(_) => f.write_str("a list"),
            Self::Struct(_) => f.write_str("a struct"),
            Self::Map(_) => f.write_str("a map"),
        }
    }
}

/// `cell` as a value of type `to`; `at` names the column.
///
/// # Errors
/// Which value cannot be of which type, or not exactly.
pub(super) fn fit(cell: Cell, to: &DataType, at: &str, coerce: &Coerce) -> Result<Cell, String> {
    let clash = |cell: &Cell| Err(format!("column `{at}` is {to}, but the message has {cell}"));
    Ok(match (cell, to) {
        (Cell::Null, _) => Cell::Null,
        (cell @ Cell::Bool(_), DataType::Boolean)
        | (cell @ Cell::Text(_), DataType::Utf8 | DataType::LargeUtf8)
        | (cell @ Cell::Bytes(_), DataType::Binary | DataType::LargeBinary)
        | (cell @ Cell::Float(_), DataType::Float64) => cell,
        (Cell::Float(number), DataType::Float32)
            if number.is_infinite() || (number as f32).is_finite() || number.is_nan() =>
        {
            Cell::Float(number)
        }
        (Cell::Int(number), DataType::Float64) if (number as f64) as i128 == number => Cell::Float(number as f64),
        (Cell::Int(number), DataType::Float32) if (number as f32) as i128 == number => Cell::Float(number as f64),
        (Cell::Int(number), _) if range(to).is_some_and(|(least, most)| (least..=most).contains(&number)) => {
            Cell::Int(number)
        }
        (Cell::Time(time), DataType::Timestamp(unit, _)) => match in_unit(time, nanos(*unit), coerce.round_times) {
            Some(count) => Cell::Int(count.into()),
            None => {
                return Err(format!(
                    "column `{at}` is {to}, but the message has a time that is finer or out of range; choose another unit, or \
                     `coerce: {{roundTimes: …}}`"
                ));
            }
        },
        (Cell::List(items), DataType::List(item)) => {
            let fit = |cell| fit(cell, item.data_type(), at, coerce);
            Cell::List(items.into_iter().map(fit).collect::<Result<_, _>>()?)
        }
        (Cell::Struct(cells), DataType::Struct(fields)) => Cell::Struct(named(cells, fields, at, coerce)?),
        (Cell::Map(entries), DataType::Map(entry, _)) => {
            let DataType::Struct(fields) = entry.data_type() else { return clash(&Cell::Map(entries)) };
            let [key, value] = &**fields else { return clash(&Cell::Map(entries)) };
            let fit = |(k, v)| Ok((fit(k, key.data_type(), at, coerce)?, fit(v, value.data_type(), at, coerce)?));
            Cell::Map(entries.into_iter().map(fit).collect::<Result<_, String>>()?)
        }
        (cell, _) => return clash(&cell),
    })
}

/// `cells` in the order of `fields`, with null for those that are not there.
pub(super) fn named(
    cells: Vec<(String, Cell)>,
    fields: &Fields,
    at: &str,
    coerce: &Coerce,
) -> Result<Vec<(String, Cell)>, String> {
    let mut row: Vec<(String, Cell)> = fields.iter().map(|field| (field.name().clone(), Cell::Null)).collect();
    for (name, cell) in cells {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        if let Some((index, field)) = fields.find(&name) {
            row[index].1 = fit(cell, field.data_type(), &path, coerce)?;
        }
    }
    Ok(row)
}

fn range(of: &DataType) -> Option<(i128, i128)> {
    Some(match of {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        DataType::UInt64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// A time in a unit of so many nanoseconds, exactly or as `rounding` says.
fn in_unit(time: i128, unit: i128, rounding: Option<Rounding>) -> Option<i64> {
    // The years 0000 to 9999: of others readers make nothing.
    if !(-62_167_219_200..253_402_300_800).contains(&time.div_euclid(1_000_000_000)) {
        return None;
    }
    let (count, rest) = (time.div_euclid(unit), time.rem_euclid(unit));
    let up = match (rest, rounding) {
        (0, _) | (_, Some(Rounding::Down)) => false,
        (_, None) => return None,
        (rest, Some(Rounding::HalfUp)) => 2 * rest >= unit,
        (rest, Some(Rounding::HalfEven)) => 2 * rest > unit || (2 * rest == unit && count % 2 != 0),
    };
    i64::try_from(count + i128::from(up)).ok()
}

fn nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Whether [`array`] can make a column of `data_type`.
pub(super) fn can_build(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => can_build(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| can_build(field.data_type())),
        DataType::Map(entry, _) => can_build(entry.data_type()),
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(..) => true,
        other => range(other).is_some(),
    }
}

/// A column of `cells`, which were made to [`fit`].
pub(super) fn array(data_type: &DataType, cells: &[Cell]) -> Result<ArrayRef, ArrowError> {
    let text = cells.iter().map(|cell| if let Cell::Text(text) = cell { Some(text.as_str()) } else { None });
    let bytes = cells.iter().map(|cell| if let Cell::Bytes(bytes) = cell { Some(bytes.as_slice()) } else { None });
    let float = |cell: &Cell| if let Cell::Float(number) = cell { Some(*number) } else { None };
    let bool = |cell: &Cell| if let Cell::Bool(value) = cell { Some(*value) } else { None };
    Ok(match data_type {
        DataType::Boolean => Arc::new(cells.iter().map(bool).collect::<BooleanArray>()),
        DataType::Int8 => whole::<Int8Type>(cells),
        DataType::Int16 => whole::<Int16Type>(cells),
        DataType::Int32 => whole::<Int32Type>(cells),
        DataType::Int64 => whole::<Int64Type>(cells),
        DataType::UInt8 => whole::<UInt8Type>(cells),
        DataType::UInt16 => whole::<UInt16Type>(cells),
        DataType::UInt32 => whole::<UInt32Type>(cells),
        DataType::UInt64 => whole::<UInt64Type>(cells),
        DataType::Float32 => Arc::new(cells.iter().map(|cell| Some(float(cell)? as f32)).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(cells.iter().map(float).collect::<Float64Array>()),
        DataType::Utf8 => {
            within_an_array(text.clone().flatten().map(str::len))?;
            Arc::new(text.collect::<StringArray>())
        }
        DataType::LargeUtf8 => Arc::new(text.collect::<LargeStringArray>()),
        DataType::Binary => {
            within_an_array(bytes.clone().flatten().map(<[u8]>::len))?;
            Arc::new(bytes.collect::<BinaryArray>())
        }
        DataType::LargeBinary => Arc::new(bytes.collect::<LargeBinaryArray>()),
        DataType::Timestamp(unit, zone) => {
            let times = match unit {
                TimeUnit::Second => whole::<TimestampSecondType>(cells),
                TimeUnit::Millisecond => whole::<TimestampMillisecondType>(cells),
                TimeUnit::Microsecond => whole::<TimestampMicrosecondType>(cells),
                TimeUnit::Nanosecond => whole::<TimestampNanosecondType>(cells),
            };
            match zone {
                Some(_) => arrow::compute::cast(&times, data_type)?,
                None => times,
            }
        }
        DataType::List(item) => list(item, cells)?,
        DataType::Struct(fields) => {
            let rows = cells.iter().map(|cell| if let Cell::Struct(row) = cell { Some(row.as_slice()) } else { None });
            Arc::new(structs(fields, rows.collect())?)
        }
        DataType::Map(entry, _) => map(entry, cells)?,
        other => new_null_array(other, cells.len()),
    })
}

fn whole<T: ArrowPrimitiveType>(cells: &[Cell]) -> ArrayRef
where
    T::Native: TryFrom<i128>,
{
    let number = |cell: &Cell| if let Cell::Int(number) = cell { T::Native::try_from(*number).ok() } else { None };
    Arc::new(cells.iter().map(number).collect::<PrimitiveArray<T>>())
}

fn list(item: &FieldRef, cells: &[Cell]) -> Result<ArrayRef, ArrowError> {
    let items = |cell: &Cell| if let Cell::List(items) = cell { Some(items.clone()) } else { None };
    let lists: Vec<Option<Vec<Cell>>> = cells.iter().map(items).collect();
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
    within_an_array(lists.iter().flatten().map(Vec::len))?;
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.as_ref().map_or(0, Vec::len)));
    let values: Vec<Cell> = lists.into_iter().flatten().flatten().collect();
    let values = array(item.data_type(), &values)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, Some(nulls))?))
}

fn structs(fields: &Fields, rows: Vec<Option<&[(String, Cell)]>>) -> Result<StructArray, ArrowError> {
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect();
    if fields.is_empty() {
        return Ok(StructArray::new_empty_fields(rows.len(), Some(nulls)));
    }
    let column = |(index, field): (usize, &Arc<Field>)| {
        let cell = |row: &Option<&[(String, Cell)]>| row.and_then(|row| row.get(index)).map(|(_, cell)| cell.clone());
        let cells: Vec<Cell> = rows.iter().map(|row| cell(row).unwrap_or(Cell::Null)).collect();
        array(field.data_type(), &cells)
    };
    let columns = fields.iter().enumerate().map(column).collect::<Result<_, _>>()?;
    StructArray::try_new(fields.clone(), columns, Some(nulls))
}

fn map(entry: &FieldRef, cells: &[Cell]) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = entry.data_type() else {
        return Err(ArrowError::SchemaError("the entries of a map are not a struct".into()));
    };
    let [key, value] = &**fields else {
        return Err(ArrowError::SchemaError("the entries of a map have no key and value".into()));
    };
    let entries = |cell: &Cell| if let Cell::Map(entries) = cell { Some(entries.clone()) } else { None };
    let maps: Vec<Option<Vec<(Cell, Cell)>>> = cells.iter().map(entries).collect();
    let nulls: NullBuffer = maps.iter().map(Option::is_some).collect();
    within_an_array(maps.iter().flatten().map(Vec::len))?;
    let offsets = OffsetBuffer::from_lengths(maps.iter().map(|map| map.as_ref().map_or(0, Vec::len)));
    let (keys, values): (Vec<Cell>, Vec<Cell>) = maps.into_iter().flatten().flatten().unzip();
    let columns = vec![array(key.data_type(), &keys)?, array(value.data_type(), &values)?];
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entry), offsets, entries, Some(nulls), false)?))
}

#[cfg(test)]
mod tests {
    use spout_data::map_of;

    use super::*;

    fn check(cell: Cell, to: DataType, expected: Result<Cell, &str>) {
        match (fit(cell, &to, "x", &Coerce::default()), expected) {
            (Ok(got), Ok(expected)) => {
                assert_eq!(got, expected);
                assert_eq!(array(&to, &[got, Cell::Null]).unwrap().null_count(), 1);
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, _) => panic!("{to}: {got:?}"),
        }
    }

    #[test]
    fn values_fit_types_that_lose_nothing() {
        check(Cell::Int(3), DataType::Float64, Ok(Cell::Float(3.0)));
        check(Cell::Int((1 << 53) + 1), DataType::Float64, Err("the whole number 9007199254740993"));
        check(Cell::Int((1 << 24) + 1), DataType::Float32, Err("the whole number 16777217"));
        check(Cell::Float(1e300), DataType::Float32, Err("the number 1"));
        check(Cell::Float(f64::INFINITY), DataType::Float32, Ok(Cell::Float(f64::INFINITY)));
        check(Cell::Float(3.5), DataType::Int64, Err("the number 3.5"));
        check(Cell::Int(256), DataType::UInt8, Err("the whole number 256"));
        check(Cell::Text("1".into()), DataType::Int64, Err("the text"));
        let at = |unit| DataType::Timestamp(unit, Some("UTC".into()));
        check(Cell::Time(-1_000_000_000), at(TimeUnit::Second), Ok(Cell::Int(-1)));
        check(Cell::Time(-1), at(TimeUnit::Second), Err("roundTimes"));
        check(Cell::Time(i128::from(i64::MAX) + 1), at(TimeUnit::Nanosecond), Err("a time"));
        check(Cell::Time(253_402_300_800_000_000_000), at(TimeUnit::Second), Err("a time"));
        let rounded = |time, rounding| in_unit(time, 1000, Some(rounding));
        assert_eq!(rounded(-1, Rounding::Down), Some(-1));
        assert_eq!((rounded(500, Rounding::HalfUp), rounded(500, Rounding::HalfEven)), (Some(1), Some(0)));
    }

    #[test]
    fn values_nest() {
        let point = DataType::Struct(Fields::from(vec![Field::new("x", DataType::Int64, true)]));
        let of = |name: &str| Cell::Struct(vec![(name.into(), Cell::Int(1))]);
        check(of("x"), point.clone(), Ok(of("x")));
        check(of("y"), point.clone(), Ok(Cell::Struct(vec![("x".into(), Cell::Null)])));
        let points = DataType::List(Arc::new(Field::new_list_field(point, true)));
        check(Cell::List(vec![of("x"), Cell::Null]), points, Ok(Cell::List(vec![of("x"), Cell::Null])));
        let entries = Cell::Map(vec![(Cell::Text("a".into()), Cell::Int(1))]);
        check(entries.clone(), map_of(DataType::Utf8, DataType::Int32), Ok(entries));
    }
}
