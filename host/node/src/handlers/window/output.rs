//! What a window gives when it closes.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions},
    compute::interleave_record_batch,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
};
use spout_data::Period;

use super::{
    WindowSpec,
    held::{Closed, Closing},
    pane::Plan,
    partial::Sums,
    sessions::Ended,
    times,
};
use crate::{
    Error, EventTime, Handled, TimeSettings, TimeSpec,
    aggregates::Aggregates,
    arrival::{Arrivals, Arrived, NEVER},
    state::{TIME, bare, by_schema, column, concat, level, one_schema},
};

/// Column of the start of a window.
pub(crate) const START: &str = "window_start";
/// Column of its end, which is the first time that is no longer in it.
pub(crate) const END: &str = "window_end";

/// Makes batches of closed windows.
#[derive(Debug)]
pub(super) struct Output {
    handler: String,
    columns: Vec<String>,
    aggregates: Option<Aggregates>,
    names: Vec<String>,
    bounds: bool,
    length: Option<Period>,
    plan: Option<Arc<Plan>>,
}

impl Output {
    pub(super) fn new(spec: &WindowSpec) -> Self {
        let aggregate = !spec.aggregate.0.is_empty();
        Self {
            handler: spec.id.clone(),
            columns: spec.group_by.clone().unwrap_or_default(),
            aggregates: aggregate.then(|| Aggregates::new(&spec.id, &spec.aggregate, true)),
            names: spec.aggregate.0.iter().map(|(name, _)| name.clone()).collect(),
            bounds: spec.bounds,
            length: spec.period,
            plan: None,
        }
    }

    /// Whether windows come as their rows.
    pub(super) fn is_plain(&self) -> bool {
        self.aggregates.is_none()
    }

    /// Columns that windows are apart by.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn group_by(&mut self, columns: &[String]) {
        if self.columns != columns {
            (self.columns, self.plan) = (columns.to_vec(), None);
        }
    }

    /// The columns of what comes out when rows of `input` go in.
    pub(super) fn schema(&mut self, event: &EventTime, input: &SchemaRef) -> Result<SchemaRef, Error> {
        let kind = event.check(input)?;
        if self.aggregates.is_some() {
            let plan = self.plan(input)?;
            return Ok(Arc::new(Schema::new(self.fields(&kind, &plan))));
        }
        crate::state::fields(&self.handler, &self.columns, input)?;
        let mut fields: Vec<FieldRef> = input.fields().to_vec();
        if self.bounds {
            if let Some(taken) = fields.iter().find(|field| [START, END].contains(&field.name().as_str())) {
                return Err(Error::spec(
                    &self.handler,
                    format!(
                        "`bounds` adds a column `{}`, but there is one already; rename it with a map",
                        taken.name()
                    ),
                ));
            }
            fields.extend(bound_fields(&kind));
        }
        Ok(Arc::new(Schema::new_with_metadata(fields, input.metadata().clone())))
    }

    /// The event time of what comes out, before its columns are known.
    pub(super) fn time(&self, settings: &TimeSettings) -> Option<TimeSpec> {
        self.time_in(settings, None)
    }

    /// The event time of what comes out: of aggregates the column of that name if there is one, otherwise the start of the window,
    /// or the end of a session, for these rise from batch to batch.
    pub(super) fn time_in(&self, settings: &TimeSettings, schema: Option<&SchemaRef>) -> Option<TimeSpec> {
        // Rows of windows that overlap come again; none is further back than a whole window.
        let lateness = self.length.unwrap_or(settings.lateness);
        let own = TimeSettings { lateness, ..settings.clone() };
        if self.aggregates.is_none() {
            return Some(TimeSpec::Settings(own));
        }
        let is_time =
            |field: &Field| matches!(field.data_type(), DataType::Timestamp(..)) || field.data_type().is_integer();
        let field = schema.and_then(|schema| schema.field_with_name(&settings.column).ok());
        if self.names.contains(&settings.column) && field.is_none_or(is_time) {
            return Some(TimeSpec::Settings(own));
        }
        let column = if self.length.is_some() { START } else { END }.to_owned();
        let lateness = Period(std::time::Duration::ZERO);
        Some(TimeSpec::Settings(TimeSettings { column, lateness, ..settings.clone() }))
    }

    /// Makes faults of the rows of which an argument of an aggregate has no value.
    pub(super) fn set_aside(&mut self, arrived: &mut Arrived) -> Result<(), Error> {
        if self.aggregates.is_none() || arrived.records.num_rows() == 0 {
            return Ok(());
        }
        let faults = self.plan(&arrived.records.schema())?.compiled.faults(&arrived.records)?;
        let rows = arrived.records.num_rows();
        arrived.set_aside(faults).map_err(Error::kernel(&self.handler, rows))
    }

    /// Batches of windows whose rows were held.
    pub(super) fn held(&mut self, event: &EventTime, closing: Closing) -> Result<Vec<RecordBatch>, Error> {
        if !closing.whole.is_empty() {
            return self.whole(event, closing.whole);
        }
        if closing.windows.is_empty() {
            return Ok(Vec::new());
        }
        if self.aggregates.is_some() { self.aggregated(event, closing) } else { self.plain(event, closing) }
    }

    /// One batch of sums for all groups of a window.
    pub(super) fn sums(&self, event: &EventTime, plan: &Plan, period: i64, sums: Sums) -> Result<RecordBatch, Error> {
        let bounds = Closed { start: sums.end.saturating_sub(period), end: sums.end, rows: sums.groups };
        let kind = event.check(plan.input())?;
        self.rows(event, &kind, plan, &[bounds], sums.keys, sums.values)
    }

    /// One batch for each window whose rows are in order already; several where rows are of several schemas.
    fn whole(&self, event: &EventTime, windows: Vec<(Closed, Vec<RecordBatch>)>) -> Result<Vec<RecordBatch>, Error> {
        let mut made = Vec::new();
        for (window, batches) in windows {
            let batches = batches.iter().map(bare).collect();
            let batches = level(batches).map_err(Error::kernel(&self.handler, window.rows))?;
            for (_, like) in by_schema(batches) {
                made.push(self.bounded(event, concat(&self.handler, like)?, &window)?);
            }
        }
        Ok(made)
    }

    /// One batch for each window and group; several where rows are of several schemas.
    fn plain(&self, event: &EventTime, mut closing: Closing) -> Result<Vec<RecordBatch>, Error> {
        // A window has rows of before and after columns were added, and is still one.
        let batches =
            level(std::mem::take(&mut closing.batches)).map_err(Error::kernel(&self.handler, closing.places.len()))?;
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        let schemas = Schemas::of(&batches);
        let whole = match schemas.kinds.len() {
            1 => Some(self.interleave(&batches, &closing.places)?),
            _ => None,
        };
        let (mut made, mut from) = (Vec::new(), 0);
        for window in &closing.windows {
            let places = &closing.places[from..from + window.rows];
            match &whole {
                Some(whole) => made.push(self.bounded(event, whole.slice(from, window.rows), window)?),
                None => {
                    for places in schemas.split(places) {
                        made.push(self.bounded(event, self.interleave(&batches, &places)?, window)?);
                    }
                }
            }
            from += window.rows;
        }
        Ok(made)
    }

    fn bounded(&self, event: &EventTime, rows: RecordBatch, window: &Closed) -> Result<RecordBatch, Error> {
        let rows = bare(&rows);
        if !self.bounds {
            return Ok(rows);
        }
        let kind = event.check(rows.schema_ref())?;
        let bounds = [window.start, window.end].map(|time| Int64Array::from_value(time, rows.num_rows()));
        let failed = || Error::kernel(&self.handler, rows.num_rows());
        let mut columns = rows.columns().to_vec();
        for bound in bounds {
            columns.push(event.column_of(bound, &kind).map_err(failed())?);
        }
        let fields: Vec<FieldRef> = rows.schema().fields().iter().cloned().chain(bound_fields(&kind)).collect();
        let schema = Schema::new_with_metadata(fields, rows.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), columns).map_err(failed())
    }

    /// One batch for each window, a row for each group.
    fn aggregated(&mut self, event: &EventTime, closing: Closing) -> Result<Vec<RecordBatch>, Error> {
        let Closing { batches, windows, places, keys, .. } = closing;
        let marked = one_schema(&self.handler, &batches)?;
        let rows = self.interleave(&marked.iter().collect::<Vec<_>>(), &places)?;
        let plan = self.plan(&bare(&rows).schema())?;
        let groups: Vec<usize> =
            windows.iter().enumerate().flat_map(|(number, window)| std::iter::repeat_n(number, window.rows)).collect();
        let mut accumulators = plan.compiled.start()?;
        plan.compiled.update(&mut accumulators, &rows, &groups, windows.len())?;
        let values = plan.compiled.evaluate(&mut accumulators, &keys, windows.len())?;
        let kind = event.check(rows.schema_ref())?;
        let bounds: Vec<Closed> = windows.iter().map(|window| Closed { rows: 1, ..*window }).collect();
        let whole = self.rows(event, &kind, &plan, &bounds, keys, values)?;
        Ok(by_end(&whole, &bounds))
    }

    /// One batch for each end of sessions, a row for each session.
    pub(super) fn sessions(&self, event: &EventTime, plan: &Plan, ended: Ended) -> Result<Vec<RecordBatch>, Error> {
        if ended.sessions.is_empty() {
            return Ok(Vec::new());
        }
        let kind = event.check(plan.input())?;
        let whole = self.rows(event, &kind, plan, &ended.sessions, ended.keys, ended.values)?;
        Ok(by_end(&whole, &ended.sessions))
    }

    fn rows(
        &self,
        event: &EventTime,
        kind: &DataType,
        plan: &Plan,
        windows: &[Closed],
        keys: Vec<ArrayRef>,
        values: Vec<ArrayRef>,
    ) -> Result<RecordBatch, Error> {
        let rows = windows.iter().map(|window| window.rows).sum();
        let failed = || Error::kernel(&self.handler, rows);
        let each = |bound: fn(&Closed) -> i64| {
            times(windows.iter().flat_map(|window| std::iter::repeat_n(bound(window), window.rows)))
        };
        let starts = event.column_of(each(|window| window.start), kind).map_err(failed())?;
        let ends = event.column_of(each(|window| window.end), kind).map_err(failed())?;
        let columns = [starts, ends].into_iter().chain(keys).chain(values).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::new(Schema::new(self.fields(kind, plan)));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(failed())
    }

    fn fields(&self, kind: &DataType, plan: &Plan) -> Vec<FieldRef> {
        bound_fields(kind)
            .into_iter()
            .chain(plan.keys().iter().cloned())
            .chain(plan.compiled.fields().cloned())
            .collect()
    }

    fn plan(&mut self, input: &SchemaRef) -> Result<Arc<Plan>, Error> {
        if let Some(plan) = self.plan.as_ref().filter(|plan| plan.input() == input) {
            return Ok(Arc::clone(plan));
        }
        let none = Aggregates::new(&self.handler, &super::Columns::default(), true);
        let aggregates = self.aggregates.as_ref().unwrap_or(&none);
        let plan = Arc::new(Plan::new(&self.handler, aggregates, &self.columns, input)?);
        if let Some(name) = self.names.iter().find(|name| [START, END].contains(&name.as_str())) {
            return Err(Error::spec(
                &self.handler,
                format!("`{name}` is the window's own column; give the aggregate another name"),
            ));
        }
        self.plan = Some(Arc::clone(&plan));
        Ok(plan)
    }

    /// The rows at these places, which are of one schema.
    fn interleave(&self, batches: &[&RecordBatch], places: &[(usize, usize)]) -> Result<RecordBatch, Error> {
        let mut own: Vec<&RecordBatch> = Vec::new();
        let mut moved = vec![usize::MAX; batches.len()];
        let places = places.iter().map(|&(batch, row)| {
            if moved[batch] == usize::MAX {
                moved[batch] = own.len();
                own.push(batches[batch]);
            }
            (moved[batch], row)
        });
        let places: Vec<(usize, usize)> = places.collect();
        interleave_record_batch(&own, &places).map_err(Error::kernel(&self.handler, places.len()))
    }
}

/// Sets aside rows of which it turned out that they are late.
pub(super) fn late(arrivals: &Arrivals, rows: &RecordBatch, handled: &mut Handled) -> Result<(), Error> {
    let time = column(rows, TIME).values().first().copied().unwrap_or(NEVER);
    arrivals.set_aside(handled, bare(rows), time)
}

/// A batch for each end of windows of which each is a row.
fn by_end(whole: &RecordBatch, windows: &[Closed]) -> Vec<RecordBatch> {
    let mut from = 0;
    let cut = windows.chunk_by(|one, other| one.end == other.end).map(|windows| {
        let batch = whole.slice(from, windows.len());
        from += windows.len();
        batch
    });
    cut.collect()
}

fn bound_fields(kind: &DataType) -> [FieldRef; 2] {
    [START, END].map(|name| Arc::new(Field::new(name, kind.clone(), true)))
}

/// Which batches are of which schema.
struct Schemas {
    kinds: Vec<SchemaRef>,
    of: Vec<usize>,
}

impl Schemas {
    fn of(batches: &[&RecordBatch]) -> Self {
        let mut kinds: Vec<SchemaRef> = Vec::new();
        let of = batches.iter().map(|batch| {
            let known = kinds.iter().position(|known| *known == batch.schema());
            known.unwrap_or_else(|| {
                kinds.push(batch.schema());
                kinds.len() - 1
            })
        });
        let of = of.collect();
        Self { kinds, of }
    }

    /// The places by schema, that of the first row first.
    fn split(&self, places: &[(usize, usize)]) -> Vec<Vec<(usize, usize)>> {
        let mut split: Vec<(usize, Vec<(usize, usize)>)> = Vec::new();
        for &place in places {
            let schema = self.of[place.0];
            match split.iter_mut().find(|(known, _)| *known == schema) {
                Some((_, like)) => like.push(place),
                None => split.push((schema, vec![place])),
            }
        }
        split.into_iter().map(|(_, like)| like).collect()
    }
}
