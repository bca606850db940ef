//! Reads messages into the columns of a schema, in one pass.

use super::{
    Settings,
    plan::{Column, Found, Kind, Node, Plan, Target},
    scan::{Scanner, Text},
    settings::Duplicates,
    wrong::Wrong,
};
use crate::{
    ArrayBuilder, Batch, Coerce, DataType, Error, Field, Result, Schema, TimeUnit,
    number::{Grammar, Number},
    reason::Misfit,
    text,
    time::{Day, Moment, has_calendar},
    unknown::{Counter, Unknown},
};

pub(super) type Read = std::result::Result<(), Wrong>;

/// A table under construction.
#[derive(Debug)]
pub(super) struct Rows {
    schema: Schema,
    plan: Plan,
    builders: Vec<ArrayBuilder>,
    rows: usize,
    aside: Aside,
    depth: usize,
}

/// What reading needs in addition to the plan.
#[derive(Debug)]
pub(super) struct Aside {
    /// Number of the current message, counted from one over all calls.
    pub(super) message: u64,
    coerce: Coerce,
    pub(super) duplicates: Duplicates,
    unknown: Unknown,
    /// Fields outside the schema.
    counter: Counter,
    /// The column that captures them.
    capture: Option<usize>,
    /// Those of the current message, as JSON.
    captured: Vec<u8>,
    /// The current path as JSON text, each name with its dot; only kept if unknown fields are captured.
    path: Vec<u8>,
    /// Strings with their escapes resolved.
    room: Vec<u8>,
    /// The day of the last time read.
    day: Day,
}

impl Rows {
    /// Reads rows of `schema`, or only its `wanted` columns.
    pub(super) fn new(schema: Schema, settings: &Settings<()>, wanted: Option<&[String]>) -> Result<Self> {
        let mut fields = schema.fields().to_vec();
        let name = &settings.unknown_column;
        let captures = settings.unknown == Unknown::Capture;
        if captures && !fields.iter().any(|field| field.name == *name) {
            fields.push(Field::new(name.clone(), DataType::Utf8));
        }
        let captured = fields.iter().find(|field| captures && field.name == *name);
        if let Some(field) = captured.filter(|field| field.data_type != DataType::Utf8) {
            let what = format!("column `{}` captures unknown fields and must be utf8", field.name);
            return Err(Error::config(what));
        }
        let is_wanted = |field: &Field| wanted.is_none_or(|wanted| wanted.contains(&field.name));
        let mut plan = Plan::new(&fields, is_wanted, String::new())?;
        fields.retain(is_wanted);
        let capture = fields.iter().position(|field| captures && field.name == *name);
        if captures {
            plan.forget(name);
        }
        let aside = Aside {
            message: 0,
            coerce: settings.coerce.clone(),
            duplicates: settings.duplicates,
            unknown: settings.unknown,
            counter: Counter::default(),
            capture,
            captured: Vec::new(),
            path: Vec::new(),
            room: Vec::new(),
            day: Day::default(),
        };
        let builders = ArrayBuilder::all(&fields);
        Ok(Self { plan, builders, schema: Schema::new(fields), rows: 0, aside, depth: settings.depth as usize })
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Fields outside the schema since the last call.
    pub(super) fn unknown(&mut self) -> Vec<crate::UnknownField> {
        self.aside.counter.take()
    }

    /// Reserves space for this many rows.
    pub(super) fn reserve(&mut self, rows: usize) -> Result<()> {
        self.builders.iter_mut().try_for_each(|builder| builder.try_reserve(rows))
    }

    /// Reads the message at `from..to` of `all` as the next row; on an error, nothing of it is kept.
    pub(super) fn read(&mut self, all: &[u8], from: usize, to: usize) -> Read {
        let mut scanner = Scanner::new(all, from, to, self.depth);
        self.aside.message += 1;
        let read = self.message(&mut scanner);
        self.aside.counter.end(read.is_ok());
        match read {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(wrong) => {
                self.take_back();
                // Whether it is JSON at all comes first, also where a value before the place does not fit.
                if wrong.is_value() {
                    whole(&mut Scanner::new(all, from, to, self.depth)).and(Err(wrong))
                } else {
                    Err(wrong)
                }
            }
        }
    }

    #[cold]
    fn take_back(&mut self) {
        self.builders.iter_mut().for_each(|builder| builder.truncate(self.rows));
        self.aside.captured.clear();
        self.aside.path.clear();
    }

    fn message(&mut self, scanner: &mut Scanner<'_>) -> Read {
        if scanner.peek() != b'{' {
            let at = scanner.at;
            let text = if scanner.is_done() { scanner.wrong("the message is empty")? } else { scanner.skip(0)? };
            return Err(Wrong::no_object(text, scanner.offset(at)));
        }
        object(&mut self.plan, scanner, &mut self.builders, self.rows, 0, &mut self.aside)?;
        end(scanner)?;
        let Aside { capture, captured, .. } = &mut self.aside;
        if !captured.is_empty()
            && let Some(builder) = capture.and_then(|at| self.builders.get_mut(at))
        {
            captured.push(b'}');
            builder.fill(self.rows);
            let pushed = builder.push_bytes(captured);
            captured.clear();
            return if pushed { Ok(()) } else { scanner.wrong("unknown fields are too long to be captured") };
        }
        Ok(())
    }

    /// The rows since the last call.
    pub(super) fn finish(&mut self) -> Result<Batch> {
        let rows = std::mem::take(&mut self.rows);
        let column = |builder: &mut ArrayBuilder| {
            builder.fill(rows);
            builder.finish()
        };
        let columns = self.builders.iter_mut().map(column).collect();
        Batch::new(self.schema.clone(), columns, rows)
    }
}

/// Skips a message whose schema does not matter.
pub(super) fn whole(scanner: &mut Scanner<'_>) -> Read {
    if scanner.is_done() {
        return scanner.wrong("the message is empty");
    }
    scanner.skip(0)?;
    end(scanner)
}

/// Nothing may follow the object of a message.
fn end(scanner: &mut Scanner<'_>) -> Read {
    match scanner.peek() {
        0 if scanner.is_done() => Ok(()),
        b'{' | b'[' => scanner.wrong("several values stand on one line; send one a message, or a line"),
        _ => scanner.wrong("something follows the value"),
    }
}

/// Reads the next object into row `row` of `builders`.
fn object(
    plan: &mut Plan,
    scanner: &mut Scanner<'_>,
    builders: &mut [ArrayBuilder],
    row: usize,
    level: usize,
    aside: &mut Aside,
) -> Read {
    scanner.enter(level)?;
    if !scanner.take(b'}') {
        let mut before: Option<Found> = None;
        loop {
            let found = plan.key(scanner, before.as_ref(), &mut aside.counter, aside.unknown)?;
            match found.target {
                Target::Column(at) => {
                    if let (Some(column), Some(builder)) =
                        (plan.columns.get_mut(at as usize), builders.get_mut(at as usize))
                    {
                        column.read(scanner, builder, row, level + 1, aside)?;
                    }
                }
                Target::Passed(at) => {
                    if let Some(passed) = plan.passed.get_mut(at as usize) {
                        passed.check(scanner, level + 1, aside)?;
                    }
                }
                Target::Unknown(slot) => {
                    aside.counter.touch(slot);
                    let text = scanner.skip(level + 1)?;
                    aside.capture(scanner.at(&found.written), text);
                }
            }
            if !scanner.more(b'}')? {
                break;
            }
            before = Some(found);
        }
    }
    for target in &plan.required {
        let missing = match *target {
            Target::Column(at) => {
                let late = builders.get(at as usize).is_some_and(|builder| builder.len() <= row);
                plan.columns.get(at as usize).filter(|_| late)
            }
            Target::Passed(at) => {
                let passed = plan.passed.get(at as usize).filter(|passed| !passed.is_in(aside.message));
                passed.map(|passed| &passed.column)
            }
            Target::Unknown(_) => None,
        };
        if let Some(column) = missing {
            return Err(Wrong::missing(scanner.offset(scanner.at)).within(&column.name));
        }
    }
    Ok(())
}

/// Writes a name, as JSON has it, into a path: a dot, bracket or backslash of its own gets a backslash, so that no two paths are
/// the same.
fn write_name(name: &[u8], to: &mut Vec<u8>) {
    let mut rest = name;
    loop {
        rest = match rest {
            [b'\\', b'\\', after @ ..] => {
                to.extend_from_slice(br"\\\\");
                after
            }
            [b'\\', other, after @ ..] => {
                to.extend_from_slice(&[b'\\', *other]);
                after
            }
            [own @ (b'.' | b'['), after @ ..] => {
                to.extend_from_slice(&[b'\\', b'\\', *own]);
                after
            }
            [other, after @ ..] => {
                to.push(*other);
                after
            }
            [] => return,
        };
    }
}

impl Aside {
    /// Captures a field outside the schema, if configured.
    fn capture(&mut self, key: &[u8], value: &[u8]) {
        if self.capture.is_some() {
            self.captured.extend_from_slice(if self.captured.is_empty() { b"{\"" } else { b",\"" });
            self.captured.extend_from_slice(&self.path);
            write_name(key, &mut self.captured);
            self.captured.extend_from_slice(b"\":");
            self.captured.extend_from_slice(value);
        }
    }

    /// Enters a field or item; returns the previous path.
    fn descend(&mut self, into: &[u8], item: Option<usize>) -> usize {
        let before = self.path.len();
        if self.capture.is_some() {
            match item {
                None => write_name(into, &mut self.path),
                Some(index) => {
                    self.path.pop();
                    self.path.extend_from_slice(format!("[{index}]").as_bytes());
                }
            }
            self.path.push(b'.');
        }
        before
    }

    /// Restores the previous path.
    fn ascend(&mut self, before: usize) {
        self.path.truncate(before);
        if let Some(dot) = self.path.last_mut() {
            *dot = b'.';
        }
    }
}

impl Column {
    #[inline(always)]
    pub(super) fn read(
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
