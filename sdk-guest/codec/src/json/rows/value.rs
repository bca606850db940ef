//! Reads the next value into its column: the common ones at once, the others by their rules.

use super::{Aside, Read, object};
use crate::{
    ArrayBuilder, Coerce, DataType, TimeUnit,
    json::{
        plan::{Column, Kind, Node},
        scan::{Scanner, Text},
        settings::Duplicates,
        wrong::Wrong,
    },
    number::{Grammar, Number},
    reason::Misfit,
    text,
    time::{Moment, has_calendar},
};

impl Column {
    #[inline(always)]
    pub(in crate::json) fn read(
        &mut self,
        scanner: &mut Scanner<'_>,
        builder: &mut ArrayBuilder,
        row: usize,
        level: usize,
        aside: &mut Aside,
    ) -> Read {
        if builder.len() > row {
            if aside.duplicates == Duplicates::Fail {
                return Err(Wrong::twice(scanner.offset(scanner.at)).within(&self.name));
            }
            builder.truncate(row);
        }
        builder.fill(row);
        let before = if self.node.nests() { aside.descend(&self.written, None) } else { 0 };
        let read = self.node.read(scanner, builder, level, aside);
        if self.node.nests() {
            aside.ascend(before);
        }
        read.map_err(|wrong| wrong.within(&self.name))
    }
}

impl Node {
    #[inline(always)]
    fn nests(&self) -> bool {
        matches!(self.kind, Kind::List(_) | Kind::FixedList(..) | Kind::Struct(_) | Kind::Map(..))
    }

    /// Reads the next value as the next row of `builder`.
    #[inline(always)]
    fn read(&mut self, scanner: &mut Scanner<'_>, builder: &mut ArrayBuilder, level: usize, aside: &mut Aside) -> Read {
        let first = scanner.peek();
        let pushed = match &mut self.kind {
            Kind::Text if first == b'"' => {
                let text = scanner.string()?;
                push_text(scanner, builder, text)
            }
            Kind::Int64 if let Some(value) = scanner.short_integer() => builder.push_fixed(value.to_le_bytes()),
            Kind::Float64 if let Some(value) = scanner.short_float() => builder.push_fixed(value.to_le_bytes()),
            Kind::Bool if first == b't' && scanner.take_all(b"true") => builder.push_bool(true),
            Kind::Bool if first == b'f' && scanner.take_all(b"false") => builder.push_bool(false),
            Kind::Timestamp(unit, zoned) if first == b'"' => {
                let at = scanner.at;
                match timestamp(scanner.string()?, *unit, *zoned, aside) {
                    Some(count) => builder.push_fixed(count.to_le_bytes()),
                    None => {
                        scanner.at = at;
                        false
                    }
                }
            }
            Kind::Struct(plan) if first == b'{' => {
                let row = builder.len();
                if let Some(fields) = builder.late_fields() {
                    object(plan, scanner, fields, row, level, aside)?;
                }
                builder.end_struct();
                true
            }
            Kind::List(item) if first == b'[' => {
                list(item, scanner, builder, level, aside)?;
                true
            }
            _ => false,
        };
        if pushed { Ok(()) } else { self.read_far(scanner, builder, first, level, aside) }
    }

    /// The uncommon cases: nulls, coercions, misfits.
    #[inline(never)]
    fn read_far(
        &mut self,
        scanner: &mut Scanner<'_>,
        builder: &mut ArrayBuilder,
        first: u8,
        level: usize,
        aside: &mut Aside,
    ) -> Read {
        if first == b'n' && self.nullable && scanner.take_all(b"null") {
            builder.push_null();
            return Ok(());
        }
        let from = scanner.at;
        let misfit = match (&mut self.kind, first) {
            (Kind::Text, b'"') => Misfit::Range,
            (Kind::Text, b'n') => Misfit::Type,
            (Kind::Text, _) => {
                let text = scanner.skip(level)?;
                // A copy of what was read is as long as offsets reach, or the message is at fault.
                if builder.push_bytes(text) {
                    return Ok(());
                }
                Misfit::Range
            }
            (Kind::FixedList(item, length), b'[') => {
                return fixed_list(item, *length, &self.data_type, scanner, builder, level, aside);
            }
            (Kind::Map(key, value), b'{') => return map(key, value, scanner, builder, level, aside),
            (Kind::List(_) | Kind::FixedList(..) | Kind::Struct(_) | Kind::Map(..), _) => Misfit::Type,
            (_, b'"') => {
                let text = scanner.string()?.plain(&mut aside.room);
                match string(builder, &self.data_type, std::str::from_utf8(text).unwrap_or_default(), &aside.coerce) {
                    Ok(()) => return Ok(()),
                    Err(misfit) => misfit,
                }
            }
            (kind, b'-' | b'0'..=b'9') => {
                match number(builder, kind, &self.data_type, scanner.number()?, &aside.coerce) {
                    Ok(()) => return Ok(()),
                    Err(misfit) => misfit,
                }
            }
            _ => Misfit::Type,
        };
        scanner.at = from;
        let text = scanner.skip(level)?;
        Err(Wrong::misfit(misfit, &self.data_type, text, scanner.offset(from)))
    }
}

#[inline(always)]
fn push_text(scanner: &Scanner<'_>, builder: &mut ArrayBuilder, text: Text<'_>) -> bool {
    match text.escaped {
        // Its closing quote was the byte before.
        false => builder.push_start(scanner.wide(scanner.at - 1 - text.inside.len()), text.inside.len()),
        true => builder.write_bytes(|bytes| {
            text.unescape(bytes);
            true
        }),
    }
}

/// A time without escapes, the common case.
#[inline(always)]
fn timestamp(text: Text<'_>, unit: TimeUnit, zoned: bool, aside: &mut Aside) -> Option<i64> {
    let moment =
        Moment::parse_near(text.inside, &mut aside.day).ok().filter(|moment| moment.zone.is_some() || !zoned)?;
    moment.count(unit, aside.coerce.round_times).ok()
}

/// A string in a column that is not utf8.
fn string(
    builder: &mut ArrayBuilder,
    data_type: &DataType,
    value: &str,
    coerce: &Coerce,
) -> std::result::Result<(), Misfit> {
    let of_texts = matches!(
        data_type,
        DataType::Timestamp(..)
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::FixedSizeBinary(_)
    );
    if of_texts || coerce.numbers_from_strings {
        return text::push(builder, data_type, value, coerce);
    }
    let reads = value == "true" || value == "false" || Number::parse(value, coerce.grammar()).is_ok();
    Err(if reads { Misfit::InText } else { Misfit::Type })
}

fn number(
    builder: &mut ArrayBuilder,
    kind: &Kind,
    data_type: &DataType,
    value: &str,
    coerce: &Coerce,
) -> std::result::Result<(), Misfit> {
    match kind {
        Kind::Bool => match text::boolean(value, coerce) {
            Some(value) if builder.push_bool(value) => Ok(()),
            _ => Err(Misfit::Type),
        },
        Kind::Timestamp(unit, _) if coerce.epoch.is_none() => {
            let short = crate::number::short_integer(value.as_bytes()).filter(|count| has_calendar(*count, *unit));
            match short {
                Some(count) if builder.push_fixed(count.to_le_bytes()) => Ok(()),
                _ => text::push_number(builder, data_type, &Number::parse(value, Grammar::JSON)?, coerce),
            }
        }
        _ => text::push_number(builder, data_type, &Number::parse(value, Grammar::JSON)?, coerce),
    }
}

fn list(
    item: &mut Node,
    scanner: &mut Scanner<'_>,
    builder: &mut ArrayBuilder,
    level: usize,
    aside: &mut Aside,
) -> Read {
    if let Some(items) = builder.items() {
        read_items(item, scanner, items, level, aside)?;
    }
    builder.end_list();
    Ok(())
}

/// Reads the items of the next list; returns how many there are.
fn read_items(
    item: &mut Node,
    scanner: &mut Scanner<'_>,
    items: &mut ArrayBuilder,
    level: usize,
    aside: &mut Aside,
) -> std::result::Result<usize, Wrong> {
    scanner.enter(level)?;
    let mut index = 0;
    if !scanner.take(b']') {
        loop {
            // Fields that an item lacks take as much room as those that it has.
            aside.values += item.width;
            if !aside.budget.admits(aside.values) {
                return scanner.wrong("its lists stand for too many values");
            }
            let before = if item.nests() { aside.descend(b"", Some(index)) } else { 0 };
            item.read(scanner, items, level + 1, aside).map_err(|wrong| wrong.item(index))?;
            if item.nests() {
                aside.ascend(before);
            }
            index += 1;
            if !scanner.more(b']')? {
                break;
            }
        }
    }
    Ok(index)
}

fn fixed_list(
    item: &mut Node,
    length: usize,
    data_type: &DataType,
    scanner: &mut Scanner<'_>,
    builder: &mut ArrayBuilder,
    level: usize,
    aside: &mut Aside,
) -> Read {
    let from = scanner.at;
    let count = match builder.items() {
        Some(items) => read_items(item, scanner, items, level, aside)?,
        None => 0,
    };
    if count != length {
        return Err(Wrong::misfit(Misfit::Length, data_type, scanner.since(from), scanner.offset(from)));
    }
    builder.end_list();
    Ok(())
}

fn map(
    key_type: &DataType,
    value: &mut Node,
    scanner: &mut Scanner<'_>,
    builder: &mut ArrayBuilder,
    level: usize,
    aside: &mut Aside,
) -> Read {
    let from = scanner.at;
    scanner.enter(level)?;
    let mut names: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    if let Some(entries) = builder.items()
        && !scanner.take(b'}')
    {
        loop {
            let at = scanner.at;
            let written = scanner.key()?;
            let name = written.plain(&mut aside.room).to_vec();
            let text = std::str::from_utf8(&name).unwrap_or_default();
            // Two keys are one if their values are, however they are written: `1` and `1.0`.
            let mut stored = Vec::new();
            if let Some([keys, values]) = entries.fields() {
                let row = keys.len();
                text::push(keys, key_type, text, &aside.coerce)
                    .map_err(|misfit| Wrong::misfit(misfit, key_type, &name, scanner.offset(at)))?;
                stored.extend_from_slice(keys.bytes(row));
                let before = if value.nests() { aside.descend(written.inside, None) } else { 0 };
                value.read(scanner, values, level + 1, aside).map_err(|wrong| wrong.within(text))?;
                if value.nests() {
                    aside.ascend(before);
                }
            }
            entries.end_struct();
            names.push((if stored.is_empty() { name.clone() } else { stored }, name));
            if !scanner.more(b'}')? {
                break;
            }
        }
    }
    builder.end_list();
    names.sort_unstable();
    match names.windows(2).find(|pair| matches!(pair, [one, other] if one.0 == other.0)) {
        Some([_, (_, twice)]) => Err(Wrong::twice(scanner.offset(from)).within(&String::from_utf8_lossy(twice))),
        _ => Ok(()),
    }
}
