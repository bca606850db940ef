//! What the keys of one object mean, and which one is likely next.
//!
//! Objects of one kind usually have their keys in one order. Each key remembers the one that followed it last time, so
//! the next key is compared in place, as `"name":`, before it is looked up. The result never depends on it.

use std::{cell::Cell, collections::HashMap, ops::Range};

use super::{
    passed::Passed,
    scan::{Likely, Scanner},
    wrong::Wrong,
};
use crate::{
    DataType, Error, Field, Result, TimeUnit, text,
    unknown::{Counter, Unknown},
};

/// No key.
const NONE: u32 = u32::MAX;
/// Most items in one row of nested fixed-size lists: a null costs as many.
const FIXED_ITEMS: u64 = 1 << 16;

/// The keys of one object.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) columns: Vec<Column>,
    /// Unwanted columns.
    pub(super) passed: Vec<Passed>,
    keys: Vec<Key>,
    index: HashMap<Box<[u8]>, u32>,
    /// The key an object likely begins with.
    first: Cell<u32>,
    /// Columns without nulls, in the schema's order.
    pub(super) required: Vec<Target>,
    /// Names of the enclosing objects, each with its dot.
    prefix: String,
}

/// A column, or a field of a struct.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The name as written in JSON, without quotes.
    pub(super) written: Vec<u8>,
    pub(super) node: Node,
}

/// A value's type, and how it is read.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) data_type: DataType,
    pub(super) nullable: bool,
    /// How many values one of it has at least, those of the fields of a struct counted each.
    pub(super) width: usize,
}

/// How values are read. The common ones come first and have their own paths.
#[derive(Debug)]
pub(super) enum Kind {
    Int64,
    Float64,
    Text,
    Bool,
    /// Unit, and whether a string must have a zone.
    Timestamp(TimeUnit, bool),
    /// Any other scalar type.
    Scalar,
    List(Box<Node>),
    /// And its length.
    FixedList(Box<Node>, usize),
    Struct(Box<Plan>),
    /// Type of the key, and the value.
    Map(DataType, Box<Node>),
}

/// Fills a cache line, since wide objects have many.
#[derive(Debug)]
#[repr(align(64))]
struct Key {
    likely: Likely,
    target: Target,
    next: Cell<u32>,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Into this column.
    Column(u32),
    /// Nowhere: the column is unwanted.
    Passed(u32),
    /// Not in the schema; counted in this slot.
    Unknown(u32),
}

/// A key that was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) target: Target,
    key: u32,
    /// Where the key stands, without quotes.
    pub(super) written: Range<usize>,
}

impl Plan {
    /// A plan of `fields`; those not in `wanted` are checked but not built.
    pub(super) fn new(fields: &[Field], wanted: impl Fn(&Field) -> bool, prefix: String) -> Result<Self> {
        let mut plan = Self {
            columns: Vec::with_capacity(fields.len()),
            passed: Vec::new(),
            keys: Vec::new(),
            index: HashMap::new(),
            first: Cell::new(0),
            required: Vec::new(),
            prefix,
        };
        let place = |at: usize| u32::try_from(at).unwrap_or(NONE);
        for field in fields {
            let path = format!("{}{}", plan.prefix, field.name);
            if plan.index.contains_key(field.name.as_bytes()) {
                return Err(Error::config(format!("column `{path}` stands twice in the schema")));
            }
            let (written, node) = (written(&field.name), Node::new(field, &path)?);
            let column = Column { name: field.name.clone(), written, node };
            let target = if wanted(field) {
                plan.columns.push(column);
                Target::Column(place(plan.columns.len() - 1))
            } else {
                plan.passed.push(Passed::new(column));
                Target::Passed(place(plan.passed.len() - 1))
            };
            plan.add(field.name.as_bytes(), target);
            if !field.nullable {
                plan.required.push(target);
            }
        }
        Ok(plan)
    }

    /// The value of this key does not fit the column.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(key) = self.index.remove(name.as_bytes())
            && let Some(key) = self.keys.get_mut(key as usize)
        {
            key.likely.forget();
        }
    }

    fn add(&mut self, name: &[u8], target: Target) -> u32 {
        let key = u32::try_from(self.keys.len()).unwrap_or(NONE);
        let next = Cell::new(key.saturating_add(1));
        self.keys.push(Key { likely: Likely::new(name), target, next });
        self.index.insert(name.into(), key);
        key
    }

    /// Reads the next key and its colon; `before` is the previous key.
    #[inline(always)]
    pub(super) fn key(
        &mut self,
        scanner: &mut Scanner<'_>,
        before: Option<&Found>,
        counter: &mut Counter,
        unknown: Unknown,
    ) -> std::result::Result<Found, Wrong> {
        scanner.peek();
        let likely = self.after(before).get();
        if let Some(found) = self.try_key(scanner, likely) {
            return Ok(found);
        }
        self.look_up(scanner, before, counter, unknown)
    }

    /// Reads this key and its colon, if they are next.
    #[inline(always)]
    fn try_key(&self, scanner: &mut Scanner<'_>, likely: u32) -> Option<Found> {
        let from = scanner.at + 1;
        let key = self.keys.get(likely as usize)?;
        if !scanner.take_key(&key.likely) {
            return None;
        }
        Some(Found { target: key.target, key: likely, written: from..scanner.at - 2 })
    }

    #[inline(always)]
    fn after(&self, before: Option<&Found>) -> &Cell<u32> {
        before.and_then(|found| self.keys.get(found.key as usize)).map_or(&self.first, |key| &key.next)
    }

    #[inline(never)]
    fn look_up(
        &mut self,
        scanner: &mut Scanner<'_>,
        before: Option<&Found>,
        counter: &mut Counter,
        unknown: Unknown,
    ) -> std::result::Result<Found, Wrong> {
        // One key may be missing here that is mostly there.
        let from = scanner.at;
        let skipped = self.keys.get(self.after(before).get() as usize).map_or(NONE, |key| key.next.get());
        if let Some(found) = self.try_key(scanner, skipped) {
            return Ok(found);
        }
        scanner.peek();
        let begin = scanner.at + 1;
        let text = scanner.key()?;
        let written = begin..begin + text.inside.len();
        let mut room = Vec::new();
        let name = text.plain(&mut room);
        let known = self.index.get(name).copied();
        let (key, target) = match known.and_then(|key| Some((key, self.keys.get(key as usize)?.target))) {
            Some(found) => found,
            None if unknown == Unknown::Fail => {
                let name = String::from_utf8_lossy(name);
                return Err(Wrong::unknown(scanner.offset(from)).within(&name));
            }
            None => {
                let slot = counter.slot(format!("{}{}", self.prefix, String::from_utf8_lossy(name)));
                let target = Target::Unknown(slot);
                (if counter.learns(name) { self.add(name, target) } else { NONE }, target)
            }
        };
        if key != NONE {
            self.after(before).set(key);
        }
        Ok(Found { target, key, written })
    }
}

impl Node {
    pub(super) fn new(field: &Field, path: &str) -> Result<Self> {
        let refused = |what: &str| Err(Error::config(format!("column `{path}` {what}")));
        let child = |item: &Field| Self::new(item, path).map(Box::new);
        let kind = match &field.data_type {
            DataType::Null => return refused("has the type null, which says nothing; choose another"),
            DataType::Int64 => Kind::Int64,
            DataType::Float64 => Kind::Float64,
            DataType::Utf8 | DataType::LargeUtf8 => Kind::Text,
            DataType::Boolean => Kind::Bool,
            DataType::Timestamp(unit, zone) => Kind::Timestamp(*unit, !zone.as_deref().is_none_or(text::is_utc)),
            DataType::Decimal128(precision, scale) if !(1..=38).contains(precision) || scale.unsigned_abs() > 38 => {
                return refused("is a decimal of more than 38 digits, or of none");
            }
            DataType::Struct(fields) => Kind::Struct(Box::new(Plan::new(fields, |_| true, format!("{path}."))?)),
            DataType::List(item) | DataType::LargeList(item) => Kind::List(child(item)?),
            DataType::FixedSizeList(item, length) if fixed_items(&field.data_type) <= FIXED_ITEMS => {
                Kind::FixedList(child(item)?, *length as usize)
            }
            DataType::FixedSizeList(..) => {
                return refused("has more items in a row than a list of one length may have");
            }
            DataType::Map(entry) => match &entry.data_type {
                DataType::Struct(fields) => match fields.as_slice() {
                    [key, value] if text::is_scalar(&key.data_type) => Kind::Map(key.data_type.clone(), child(value)?),
                    _ => return refused("is a map whose keys are no texts, numbers or times"),
                },
                _ => return refused("is a map whose entries are no struct"),
            },
            _ => Kind::Scalar,
        };
        Ok(Self { kind, data_type: field.data_type.clone(), nullable: field.nullable, width: width(&field.data_type) })
    }
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, length) => width(&item.data_type).saturating_mul(*length as usize),
        DataType::Struct(fields) => fields.iter().map(|field| width(&field.data_type)).fold(0, usize::saturating_add),
        DataType::Map(_) => 2,
        _ => 1,
    }
}

fn fixed_items(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeList(item, length) => u64::from(*length).saturating_mul(fixed_items(&item.data_type)),
        DataType::Struct(fields) => {
            fields.iter().map(|field| fixed_items(&field.data_type)).fold(1, u64::saturating_add)
        }
        _ => 1,
    }
}

/// A name as JSON writes it, without the quotes.
fn written(name: &str) -> Vec<u8> {
    let quoted = serde_json::to_string(name).unwrap_or_default();
    quoted.as_bytes().get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec()
}
