//! Reads messages into the columns of a schema, in one pass.

mod aside;
mod value;

pub(super) use self::aside::Aside;
use super::{
    Settings,
    plan::{Found, Plan, Target},
    scan::Scanner,
    wrong::Wrong,
};
use crate::{
    ArrayBuilder, Batch, DataType, Error, Field, Result, Schema,
    budget::{Budget, RESERVED},
    time::Day,
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
            budget: Budget::default(),
            values: 0,
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

    /// What the columns of one call may take.
    pub(super) fn limit(&mut self, bytes: usize) {
        self.aside.budget = Budget::of(bytes);
    }

    /// Reserves space for this many rows.
    pub(super) fn reserve(&mut self, rows: usize) -> Result<()> {
        let rows = rows.min(RESERVED / self.builders.len().max(1));
        self.builders.iter_mut().try_for_each(|builder| builder.try_reserve(rows))
    }

    /// Reads the message at `from..to` of `all` as the next row; on an error, nothing of it is kept.
    pub(super) fn read(&mut self, all: &[u8], from: usize, to: usize) -> Read {
        if self.aside.budget.is_full() {
            return Ok(());
        }
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
        self.aside.values = 0;
        if let Err(error) = self.aside.budget.settle(&mut self.builders, rows) {
            drop(self.unknown());
            return Err(error);
        }
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
