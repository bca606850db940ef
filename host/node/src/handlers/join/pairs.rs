//! The join of two sides: each pair of rows makes a row.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use serde_json::Value;
use spout_data::{Part, Period};

use super::{
    JoinKind, JoinSpec, SideSettings,
    output::{Output, Pair},
    side::{Row, Side},
};
use crate::{Error, EventTime, RowFault, Shape, expression::Expression, sequence::Steps, time::nanoseconds};

/// Things that happened, after which rows are made of them.
const MANY: usize = 8192;

/// What needs a condition, in errors.
const USER: &str = "`where`";

/// A running join of two sides.
#[derive(Debug)]
pub(super) struct Pairs {
    spec: JoinSpec,
    settings: Option<(SideSettings, SideSettings)>,
    kind: JoinKind,
    on: Vec<(String, String)>,
    /// How much earlier, and how much later, the right one may be.
    before: i64,
    after: i64,
    left: Side,
    right: Side,
    filter: Option<Expression>,
    time: Option<EventTime>,
    output: Option<(SchemaRef, Output)>,
    happened: Vec<Happened>,
}

/// What makes a row, or may.
#[derive(Clone, Copy, Debug)]
enum Happened {
    /// Two rows met.
    Met(u64, u64),
    /// A row of the left waits no more.
    LeftGone(u64),
    /// A row of the right waits no more.
    RightGone(u64),
}

impl Pairs {
    pub(super) fn new(spec: &JoinSpec, left: Option<SideSettings>, right: Option<SideSettings>) -> Self {
        let kind = spec.kind.unwrap_or(JoinKind::Inner);
        let on = spec.on.pairs();
        let span = |own: Option<Period>| own.or(spec.within).map_or(0, nanoseconds);
        let (before, after) = (span(spec.before), span(spec.after));
        let nothing = SideSettings { r#where: "false".into(), columns: super::Columns::default(), prefix: None };
        let left_on = on.iter().map(|(name, _)| name.clone()).collect();
        let right_on = on.iter().map(|(_, name)| name.clone()).collect();
        let side = |name: &str, settings: &Option<SideSettings>, on, wait, lonely| {
            Side::new(&spec.id, name, settings.as_ref().unwrap_or(&nothing), on, wait, lonely)
        };
        Self {
            left: side("left", &left, left_on, after, kind != JoinKind::Inner),
            right: side("right", &right, right_on, before, kind == JoinKind::Full),
            settings: left.zip(right),
            kind,
            on,
            before,
            after,
            filter: spec.r#where.as_ref().map(|sql| Expression::new(&spec.id, sql)),
            spec: spec.clone(),
            time: None,
            output: None,
            happened: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let spec = &self.spec;
        let wrong = if self.settings.is_none() {
            "it has only one side; set both `left` and `right`, or neither"
        } else if self.on.is_empty() {
            "`on` names no column; without a key every row would be paired with every other"
        } else if spec.side.is_some() || spec.tolerance.is_some() {
            "`side` and `tolerance` are for a join without `left` and `right`; use `within` here"
        } else if spec.within.is_none() && spec.before.is_none() && spec.after.is_none() {
            "set how far apart rows may be, as in `within: 10m`; rows are held for that long"
        } else {
            return Ok(());
        };
        Err(spec.refused(wrong))
    }

    /// Takes rows of another schema from here on.
    fn learn(&mut self, schema: &SchemaRef) -> Result<SchemaRef, Error> {
        if let Some((_, output)) = self.output.as_ref().filter(|(known, _)| known == schema) {
            return Ok(Arc::clone(&output.schema));
        }
        let (Some(time), Some((left, right))) = (&self.time, &self.settings) else {
            return Err(self.spec.refused("it needs the event time of rows"));
        };
        let left_columns = self.left.shape(schema, time.column())?;
        let right_columns = self.right.shape(schema, time.column())?;
        let prefix =
            |settings: &SideSettings, otherwise: &str| settings.prefix.clone().unwrap_or_else(|| otherwise.to_owned());
        let output = Output::new(
            &self.spec.id,
            (time, time.check(schema)?),
            &self.on,
            (&left_columns, &prefix(left, "")),
            (&right_columns, &prefix(right, "right_")),
        )?;
        if let Some(filter) = &mut self.filter {
            filter.condition(&output.schema, USER)?;
        }
        let columns = Arc::clone(&output.schema);
        self.output = Some((Arc::clone(schema), output));
        Ok(columns)
    }

    /// A row of the left meets those of the right that wait, and waits itself.
    fn match_left(&mut self, row: Row) {
        let partners = self.right.partners(row.key, row.time, self.before);
        self.happened.extend(partners.map(|partner| Happened::Met(row.id, partner.id)));
        self.left.wait(row);
    }

    fn match_right(&mut self, row: Row) {
        let partners = self.left.partners(row.key, row.time, self.after);
        self.happened.extend(partners.map(|partner| Happened::Met(partner.id, row.id)));
        self.right.wait(row);
    }

    /// Lets rows go that can find no partner at `time` or later: by the time when they could last, the left first.
    fn let_go(&mut self, time: i64) {
        loop {
            let gone = match (self.left.over(time), self.right.over(time)) {
                (Some(left), right) if right.is_none_or(|right| left <= right) => {
                    self.left.leave().map(|row| Happened::LeftGone(row.id))
                }
                (_, Some(_)) => self.right.leave().map(|row| Happened::RightGone(row.id)),
                (_, None) => None,
            };
            let Some(gone) = gone else { return };
            self.happened.push(gone);
        }
    }

    /// Makes rows of what happened.
    fn make(&mut self, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let happened = std::mem::take(&mut self.happened);
        let (Some((_, output)), false) = (&self.output, happened.is_empty()) else { return Ok(()) };
        let met = happened.iter().filter_map(|happened| match happened {
            Happened::Met(left, right) => Some((Some(*left), Some(*right))),
            Happened::LeftGone(_) | Happened::RightGone(_) => None,
        });
        let met: Vec<Pair> = met.collect();
        let mut passes = match &mut self.filter {
            Some(filter) if !met.is_empty() => {
                let value = filter.evaluate_each(&output.rows(&met, &self.left, &self.right)?)?;
                filter.mask(&value, USER)?.values().iter().collect()
            }
            _ => vec![true; met.len()],
        }
        .into_iter();
        let mut pairs: Vec<Pair> = Vec::with_capacity(met.len());
        for happened in &happened {
            match *happened {
                Happened::Met(left, right) if passes.next() == Some(true) => {
                    if self.kind != JoinKind::Inner {
                        self.left.store.mark(left);
                    }
                    if self.kind == JoinKind::Full {
                        self.right.store.mark(right);
                    }
                    pairs.push((Some(left), Some(right)));
                }
                Happened::LeftGone(row) if self.kind != JoinKind::Inner && !self.left.store.marked(row) => {
                    pairs.push((Some(row), None));
                }
                Happened::RightGone(row) if self.kind == JoinKind::Full && !self.right.store.marked(row) => {
                    pairs.push((None, Some(row)));
                }
                Happened::Met(..) | Happened::LeftGone(_) | Happened::RightGone(_) => {}
            }
        }
        if !pairs.is_empty() {
            out.push(output.rows(&pairs, &self.left, &self.right)?);
        }
        for happened in happened {
            match happened {
                Happened::LeftGone(row) => self.left.store.remove(row),
                Happened::RightGone(row) => self.right.store.remove(row),
                Happened::Met(..) => {}
            }
        }
        Ok(())
    }
}

impl Steps for Pairs {
    fn shape(&mut self, input: &Shape, time: &EventTime, _: &[String]) -> Result<Shape, Error> {
        self.check()?;
        self.time = Some(time.clone());
        let schema = match &input.schema {
            Some(schema) if self.output.is_none() => Some(self.learn(schema)?),
            Some(_) => self.output.as_ref().map(|(_, output)| Arc::clone(&output.schema)),
            None => None,
        };
        Ok(Shape { schema, group: Vec::new(), ..input.clone() })
    }

    /// Rows that found no partner come out that much later than they are.
    fn behind(&self) -> Duration {
        let wait = match self.kind {
            JoinKind::Inner => 0,
            JoinKind::Left => self.after,
            JoinKind::Full => self.after.max(self.before),
        };
        Duration::from_nanos(wait.unsigned_abs())
    }

    fn faults(&mut self, rows: &RecordBatch) -> Result<Vec<RowFault>, Error> {
        let mut faults = self.left.faults(rows)?;
        for fault in self.right.faults(rows)? {
            if faults.iter().all(|known| known.row != fault.row) {
                faults.push(fault);
            }
        }
        Ok(faults)
    }

    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        // What is over by now has the columns of before, also where it is given only now.
        if let Some(&time) = times.first() {
            self.let_go(time);
            self.make(out)?;
        }
        self.learn(&rows.schema())?;
        let (lefts, rights) = (self.left.mask(rows)?, self.right.mask(rows)?);
        let mut lefts = self.left.store(rows, times, &lefts)?.into_iter().peekable();
        let mut rights = self.right.store(rows, times, &rights)?.into_iter().peekable();
        for (place, &time) in times.iter().enumerate() {
            self.let_go(time);
            if let Some((_, row)) = lefts.next_if(|(at, _)| *at == place) {
                self.match_left(row);
            }
            if let Some((_, row)) = rights.next_if(|(at, _)| *at == place) {
                self.match_right(row);
            }
            if self.happened.len() >= MANY {
                self.make(out)?;
            }
        }
        self.make(out)
    }

    fn reached(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        self.let_go(time);
        self.make(out)
    }

    fn held(&self) -> (usize, usize) {
        (self.left.store.rows() + self.right.store.rows(), self.left.bytes() + self.right.bytes())
    }

    fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut parts = BTreeMap::new();
        self.left.snapshot(&mut parts)?;
        self.right.snapshot(&mut parts)?;
        Ok(parts)
    }

    fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.left.restore(&mut parts)?;
        self.right.restore(&mut parts)
    }

    fn config(&self) -> Value {
        self.spec.config()
    }
}
