//! `aggregate`: one row for each group of a window or a commit.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, RecordBatchOptions},
    compute::take_record_batch,
    datatypes::{DataType, FieldRef, Int64Type, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::common::utils::normalize_float_zero;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Columns,
    window::{END, START},
};
use crate::{
    Builder, Error, EventTime, Handled, Handler, Keys, LimitsSpec, Shape, Source, SourceEvent, TimeSettings, TimeSpec,
    Unit,
    aggregates::{Accumulators, Aggregates, Compiled, GroupIds, failed},
    arrival::NEVER,
    groups::by_key,
    halving::without,
    spec::{HandlerSpec, Parts},
    state::{Held, Limits, TIME, bare, concat, fields, in_order, wider},
    units::{CHANGED, CommitRows},
    written::Written,
};

/// Column of the last time of a group, while it is counted.
const LAST: &str = "__last";

/// What an `aggregate` makes one row of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// All rows of a commit.
    Commit,
}

/// Turns each group into one row: per window, after a `window`, or per commit.
///
/// A row for which an argument has no value, such as an integer overflow, is set aside; `sum` of integers is
/// `decimal(38, 0)`. Rows come out by group, nulls first, with the group's last event time, its columns, and the aggregates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AggregateSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// SQL aggregates by the name of their column, as in `{top: "max(price)", first: "first(price)", n: "count(*)"}`.
    /// `first` and `last` go by event time. `filter (where …)`, `distinct` and expressions around them are allowed.
    #[schemars(extend("x-also" = ["aggregate"]))]
    pub columns: Columns,
    /// Columns to group by, as in `[host]`; by default those that rows are already grouped by.
    #[serde(default, alias = "group_by")]
    pub group_by: Option<Vec<String>>,
    /// `commit`: a group has all rows of a commit. By default, those of a window.
    #[serde(default)]
    pub per: Option<Per>,
    /// The event time, as in `at`; by default that of the pipeline.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// Name of the column with the last event time of a group, as in `until`; by default that of the event time.
    #[serde(default, alias = "time_as")]
    pub time_as: Option<String>,
    /// How much may be held, as in `{groups: 100000, bytes: 256MiB}`.
    #[serde(default)]
    pub limits: LimitsSpec,
}

#[async_trait]
impl HandlerSpec for AggregateSpec {
    fn describe(&self) -> String {
        format!("aggregate {}", self.columns.names())
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        Written::columns("columns", &self.columns, Written::other)
    }

    fn keeps_keys_apart(&self, first: bool) -> bool {
        // It groups as the window before it does, whose keys are as they were.
        first && self.per.is_none() && self.group_by.is_none()
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Aggregate::new(self)))
    }
}

/// A running `aggregate`.
#[derive(Debug)]
struct Aggregate {
    spec: AggregateSpec,
    time: Option<(TimeSettings, EventTime)>,
    columns: Vec<String>,
    plan: Option<Arc<Plan>>,
    /// Rows of the commit that is open, where their order counts.
    held: CommitRows,
    /// What they add up to, where it does not.
    open: Option<Open>,
}

/// The aggregates for rows of one schema.
#[derive(Debug)]
struct Plan {
    input: SchemaRef,
    output: SchemaRef,
    columns: Vec<String>,
    keys: Vec<FieldRef>,
    compiled: Compiled,
    /// The type of the time column, where there is one.
    time: Option<DataType>,
}

/// What rows add up to so far.
#[derive(Debug)]
struct Open {
    plan: Arc<Plan>,
    /// The widest of all rows.
    schema: SchemaRef,
    /// Numbers rows, for what goes by their order.
    order: Held,
    ids: GroupIds,
    accumulators: Accumulators,
    /// How many groups there may be until their memory is looked at again.
    look: usize,
}

/// After so many new groups the memory they take is looked at again.
const LOOK: usize = 8192;

impl Open {
    fn start(plan: &Arc<Plan>, handler: &str) -> Result<Self, Error> {
        Ok(Self {
            plan: Arc::clone(plan),
            schema: Arc::clone(&plan.input),
            order: Held::new(handler, "rows"),
            ids: GroupIds::over(&plan.keys).map_err(|error| failed(handler, error, 0))?,
            accumulators: plan.compiled.start()?,
            look: LOOK,
        })
    }

    /// Goes on with rows for which `plan` was made.
    fn go_on(&mut self, plan: &Arc<Plan>, handler: &str) -> Result<(), Error> {
        if Arc::ptr_eq(&self.plan, plan) {
            return Ok(());
        }
        let alike =
            self.plan.keys == plan.keys && self.plan.compiled.state_fields()? == plan.compiled.state_fields()?;
        match wider(&self.schema, &plan.input).filter(|_| alike) {
            Some(wider) => self.schema = Arc::clone(wider),
            None => return Err(Error::spec(handler, CHANGED)),
        }
        self.plan = Arc::clone(plan);
        Ok(())
    }

    /// Adds rows that have the columns that the plan needs.
    fn add(&mut self, rows: &RecordBatch, handler: &str) -> Result<(), Error> {
        let plan = &self.plan;
        let keys = plan.columns.iter().filter_map(|name| rows.column_by_name(name).map(normalize_float_zero));
        let keys: Vec<ArrayRef> = keys.collect();
        self.ids.of(&keys, rows.num_rows()).map_err(|error| failed(handler, error, rows.num_rows()))?;
        plan.compiled.update(&mut self.accumulators, rows, self.ids.last(), self.ids.len())
    }

    fn within(&mut self, limits: &Limits) -> Result<(), Error> {
        limits.groups(self.ids.len())?;
        if self.ids.len() < self.look {
            return Ok(());
        }
        self.look = self.ids.len() + LOOK;
        limits.bytes(self.ids.bytes() + self.accumulators.bytes())
    }

    /// One row for each group, by key.
    fn finish(mut self, event: Option<&EventTime>, handler: &str) -> Result<RecordBatch, Error> {
        let (plan, groups) = (self.plan, self.ids.len());
        let failed = || Error::kernel(handler, groups);
        let keys = self.ids.take().map_err(|error| crate::aggregates::failed(handler, error, groups))?;
        let order = by_key(&keys, groups).map_err(failed())?;
        let mut values = plan.compiled.evaluate(&mut self.accumulators, &keys, groups)?;
        let mut columns: Vec<ArrayRef> = Vec::new();
        if let (Some(kind), Some(event)) = (&plan.time, event)
            && let Some(last) = values.pop()
        {
            let last = last.as_primitive::<Int64Type>().clone();
            columns.push(event.column_of(last, kind).map_err(failed())?);
        }
        columns.extend(keys.into_iter().chain(values));
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        RecordBatch::try_new_with_options(Arc::clone(&plan.output), columns, &options)
            .and_then(|batch| take_record_batch(&batch, &order))
            .map_err(failed())
    }
}

impl Aggregate {
    /// An aggregate as `spec` says.
    fn new(spec: &AggregateSpec) -> Self {
        Self {
            spec: spec.clone(),
            time: None,
            columns: spec.group_by.clone().unwrap_or_default(),
            plan: None,
            held: CommitRows::new(&spec.id, spec.limits.bytes),
            open: None,
        }
    }

    /// The name of the column with the last time, where rows have one.
    fn time_name(&self) -> Option<&str> {
        let own = self.time.as_ref().map(|(settings, _)| settings.column.as_str());
        own.map(|own| self.spec.time_as.as_deref().unwrap_or(own))
    }

    /// Gets ready for rows of `input`.
    fn learn(&mut self, input: &SchemaRef) -> Result<Arc<Plan>, Error> {
        let plan = match self.plan.take().filter(|plan| plan.input == *input) {
            Some(plan) => plan,
            None => Arc::new(self.compile(input)?),
        };
        Ok(Arc::clone(self.plan.insert(plan)))
    }

    fn compile(&self, input: &SchemaRef) -> Result<Plan, Error> {
        let handler = &self.spec.id;
        let time = self.time.as_ref().map(|(_, event)| event.check(input)).transpose()?;
        let name = self.time_name();
        let within = self.spec.per.is_none();
        let bounds = [START, END].into_iter().filter(|bound| within && input.field_with_name(bound).is_ok());
        let own =
            self.columns.iter().filter(|column| Some(column.as_str()) != self.time.as_ref().map(|(_, e)| e.column()));
        let mut columns: Vec<String> = bounds.map(str::to_owned).collect();
        columns.extend(own.filter(|column| ![START, END].contains(&column.as_str())).cloned());
        let keys = fields(handler, &columns, input)?;
        let mut wanted = self.spec.columns.0.clone();
        if wanted.is_empty() {
            return Err(Error::spec(&self.spec.id, "it has no aggregates; write `columns: {n: \"count(*)\"}`"));
        }
        if let Some(name) = name {
            if let Some((taken, _)) = wanted.iter().find(|(wanted, _)| wanted == name) {
                let reason = format!("`{taken}` is the column of the last time; rename one of them (`timeAs`)");
                return Err(Error::spec(&self.spec.id, reason));
            }
            wanted.push((LAST.to_owned(), format!("max({TIME})")));
        }
        let empty = RecordBatch::new_empty(Arc::clone(input));
        let marked = mark(handler, &empty, time.as_ref().and(self.time.as_ref()))?;
        let aggregates = Aggregates::new(handler, &Columns(wanted), time.is_some());
        let compiled = aggregates.compile(marked.schema_ref(), &keys)?;
        let last = time.as_ref().zip(name);
        let last = last.map(|(kind, name)| Arc::new(arrow::datatypes::Field::new(name, kind.clone(), true)));
        let made = compiled.fields().filter(|field| field.name() != LAST).cloned();
        let output: Vec<FieldRef> = last.into_iter().chain(keys.iter().cloned()).chain(made).collect();
        Ok(Plan { input: Arc::clone(input), output: Arc::new(Schema::new(output)), columns, keys, compiled, time })
    }

    /// One row for each group of these rows, which are in their order if that counts.
    fn rows(&mut self, marked: &RecordBatch, plan: &Arc<Plan>) -> Result<RecordBatch, Error> {
        let mut open = Open::start(plan, &self.spec.id)?;
        open.add(marked, &self.spec.id)?;
        open.within(&self.spec.limits.of(&self.spec.id))?;
        open.finish(self.event(), &self.spec.id)
    }

    fn event(&self) -> Option<&EventTime> {
        self.time.as_ref().map(|(_, event)| event)
    }

    /// Adds rows to those of the commit.
    fn add(&mut self, rows: &RecordBatch, plan: &Arc<Plan>, from: Source) -> Result<(), Error> {
        let handler = &self.spec.id;
        let times = times(rows, self.time.as_ref())?;
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::start(plan, handler)?),
        };
        open.go_on(plan, handler)?;
        let marked = open.order.mark_with(plan.compiled.marks(), rows, &times, from)?;
        open.add(&marked, handler)?;
        open.within(&self.spec.limits.of(handler))
    }

    /// The rows of the commit that ends.
    fn cut(&mut self) -> Result<Handled, Error> {
        if let Some(mut open) = self.open.take() {
            let schema = Arc::clone(&open.schema);
            open.plan = self.learn(&schema)?;
            return Ok(Handled::fresh([open.finish(self.event(), &self.spec.id)?]));
        }
        let Some(rows) = self.held.take()? else { return Ok(Handled::default()) };
        let marked = mark(&self.spec.id, &rows, self.time.as_ref())?;
        let rows = concat(&self.spec.id, in_order(&self.spec.id, vec![marked])?)?;
        let plan = self.learn(&bare(&rows).schema())?;
        Ok(Handled::fresh([self.rows(&rows, &plan)?]))
    }
}

/// Adds the columns that say in which order rows are; without an event time they are as they come.
fn mark(handler: &str, batch: &RecordBatch, time: Option<&(TimeSettings, EventTime)>) -> Result<RecordBatch, Error> {
    Held::new(handler, "rows").mark(batch, &times(batch, time)?, Source::Merged, &[])
}

/// Event times; rows without one come before all others.
fn times(batch: &RecordBatch, time: Option<&(TimeSettings, EventTime)>) -> Result<Int64Array, Error> {
    match time {
        None => Ok(Int64Array::from_value(NEVER, batch.num_rows())),
        Some((_, event)) => {
            let times = event.of(batch)?;
            Ok(match times.null_count() {
                0 => times,
                _ => times.iter().map(|time| Some(time.unwrap_or(NEVER))).collect(),
            })
        }
    }
}

#[async_trait]
impl Handler for Aggregate {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        if self.spec.per.is_none() && input.unit == Unit::Piece {
            return Err(Error::spec(
                &self.spec.id,
                "a batch is an arbitrary piece of the stream, so one row for it would mean nothing; put a `window` before it, or set \
                 `per: commit`",
            ));
        }
        let settings = self.spec.time.as_ref().or(input.time.as_ref()).map(TimeSpec::settings);
        self.time = settings.map(|settings| {
            let event = EventTime::new(&self.spec.id, &settings);
            (settings, event)
        });
        self.columns = self.spec.group_by.as_ref().unwrap_or(&input.group).clone();
        self.plan = None;
        let time = self.time.as_ref().map(|(settings, _)| {
            let column = self.time_name().unwrap_or(&settings.column).to_owned();
            TimeSpec::Settings(TimeSettings { column, ..settings.clone() })
        });
        let schema = match &input.schema {
            Some(schema) => Some(Arc::clone(&self.learn(schema)?.output)),
            None => None,
        };
        let group =
            self.columns.iter().filter(|column| Some(column.as_str()) != self.time.as_ref().map(|(_, e)| e.column()));
        let unit = if self.spec.per.is_some() { Unit::Commit } else { input.unit };
        Ok(Shape { schema, group: group.cloned().collect(), unit, time })
    }

    fn merges(&self) -> bool {
        self.spec.per.is_some()
    }

    fn keys(&self) -> Option<Keys> {
        self.spec.per.and_then(|_| Keys::over(&self.spec.id, &self.columns, None))
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        if batch.num_rows() == 0 {
            return Ok(Handled::default());
        }
        let plan = self.learn(batch.schema_ref())?;
        let faults = plan.compiled.faults(&batch)?;
        let (batch, _) = without(&batch, &faults).map_err(Error::kernel(&self.spec.id, batch.num_rows()))?;
        if batch.num_rows() == 0 {
            return Ok(Handled { faults, ..Handled::default() });
        }
        if self.spec.per.is_none() {
            let marked = mark(&self.spec.id, &batch, self.time.as_ref())?;
            return Ok(Handled { faults, ..Handled::fresh([self.rows(&marked, &plan)?]) });
        }
        if plan.compiled.order_free() {
            self.add(&batch, &plan, from)?;
        } else {
            self.held.push(batch, from)?;
        }
        Ok(Handled { faults, ..Handled::default() })
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        if event == SourceEvent::Cut { self.cut() } else { Ok(Handled::default()) }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::cuts::{Trial, lines, readings};

    fn rows() -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("time", Arc::new(Int64Array::from(vec![2, 1, 3]))),
            ("host", Arc::new(StringArray::from(vec![Some("b"), None, Some("b")]))),
            ("f", Arc::new(Float64Array::from(vec![Some(0.0), Some(5.0), Some(1.0)]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    async fn check(spec: Value, unit: Unit, expected: Result<&[&str], &str>) {
        let spec: AggregateSpec = serde_json::from_value(spec).unwrap();
        let mut handler = Aggregate::new(&spec);
        let time = Some(TimeSpec::Column("time".into()));
        let shape = Shape { schema: Some(rows().schema()), unit, time, ..Shape::default() };
        match (handler.shape(&shape), expected) {
            (Ok(shape), Ok(expected)) => {
                let mut handled = handler.handle(rows(), Source::Partition(0.into())).await.unwrap();
                handled.outputs.extend(handler.on_event(SourceEvent::Cut).await.unwrap().outputs);
                let batch = &handled.outputs[0].0;
                assert_eq!((handled.outputs.len(), batch.schema()), (1, shape.schema.unwrap()));
                assert_eq!(lines(batch), expected);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[tokio::test]
    async fn each_group_of_a_unit_gives_one_row() {
        let mean = json!({"columns": {"m": "mean(f)", "first": "first(f)"}, "groupBy": ["host"]});
        check(mean, Unit::Window, Ok(&["time=1 host=null first=5.0 m=5.0", "time=3 host=b first=0.0 m=0.5"])).await;
        let renamed = json!({"columns": {"n": "count(*)"}, "timeAs": "until", "groupBy": ["time"]});
        check(renamed, Unit::Commit, Ok(&["until=3 n=3"])).await;
        let per = json!({"columns": {"n": "count(f) filter (where f > 0)"}, "per": "commit"});
        check(per, Unit::Piece, Ok(&["time=3 n=2"])).await;
    }

    #[tokio::test]
    async fn what_has_no_meaning_is_refused_at_start() {
        check(json!({"columns": {"n": "count(*)"}}), Unit::Piece, Err("per: commit")).await;
        check(json!({"columns": {"n": "max(nope)"}}), Unit::Window, Err("columns: time, host, f")).await;
        check(json!({"columns": {"n": "max(f)"}, "groupBy": ["nope"]}), Unit::Window, Err("to group by")).await;
        check(json!({"columns": {"time": "max(f)"}}), Unit::Window, Err("timeAs")).await;
        check(json!({"columns": {}}), Unit::Window, Err("no aggregates")).await;
    }

    #[tokio::test]
    async fn any_cut_gives_the_same() {
        let columns = json!({"sum": "sum(value)", "dev": "stddev(value)", "last": "last(n)", "all": "array_agg(n)"});
        let per =
            json!([{"type": "aggregate", "per": "commit", "time": "time", "groupBy": ["host"], "columns": columns}]);
        let trial = Trial { commits_count: true, ..Trial::new(per, &[readings(1, 60), readings(2, 40)]) };
        assert_eq!(trial.same_under_any_cut(20).await.rows.len(), 8);
        let window = json!([
            {"type": "window", "period": "10s", "time": {"column": "time", "lateness": "2s"}, "groupBy": ["host"]},
            {"type": "aggregate", "columns": columns},
        ]);
        let trial = Trial::new(window, &[readings(1, 60), readings(2, 40)]);
        assert!(trial.same_under_any_cut(20).await.rows.len() > 20);
    }

    #[tokio::test]
    async fn what_needs_no_order_is_the_same_under_any_cut() {
        let columns = json!({"sum": "sum(value)", "dev": "stddev(value)", "last": "last(n)", "rows": "count(*)", "m": "max(time)"});
        for group in [json!(["host"]), json!(["n"]), json!(["host", "value"]), json!(["value"]), json!([])] {
            let per =
                json!([{"type": "aggregate", "per": "commit", "time": "time", "groupBy": group, "columns": columns}]);
            let trial = Trial { commits_count: true, ..Trial::new(per, &[readings(1, 50), readings(2, 30)]) };
            assert!(trial.same_under_any_cut(8).await.rows.len() > 1);
        }
    }

    #[tokio::test]
    async fn a_column_may_be_added_in_a_commit_and_no_other_may_change() {
        let narrow = rows().project(&[0, 1, 2]).unwrap();
        let extra: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let schema = narrow.schema();
        let fields = schema.fields().iter().cloned();
        let field = Arc::new(arrow::datatypes::Field::new("extra", DataType::Int64, true));
        let wide = Arc::new(Schema::new(fields.chain([field]).collect::<Vec<_>>()));
        let wide = RecordBatch::try_new(wide, narrow.columns().iter().cloned().chain([extra]).collect()).unwrap();
        let spec =
            json!({"id": "a", "per": "commit", "columns": {"n": "count(*)", "f": "sum(f)"}, "groupBy": ["host"]});
        let opened = |records: &RecordBatch| {
            let mut handler = Aggregate::new(&serde_json::from_value(spec.clone()).unwrap());
            let shape = Shape { schema: Some(records.schema()), ..Shape::default() };
            handler.shape(&shape).map(|_| handler).unwrap()
        };
        let mut handler = opened(&narrow);
        for records in [&narrow, &wide, &narrow] {
            handler.handle(records.clone(), Source::Merged).await.unwrap();
        }
        let cut = handler.on_event(SourceEvent::Cut).await.unwrap();
        assert_eq!(lines(&cut.outputs[0].0), ["host=null f=15.0 n=3", "host=b f=3.0 n=6"]);
        assert!(handler.on_event(SourceEvent::Cut).await.unwrap().outputs.is_empty());
        handler.handle(narrow.clone(), Source::Merged).await.unwrap();
        let other = narrow.project(&[1, 2]).unwrap();
        let error = handler.handle(other, Source::Merged).await.map(drop);
        assert!(error.is_ok(), "it has all columns but one, which nothing is made of");
        let renamed = wide.project(&[1, 2, 3]).unwrap();
        let error = handler.handle(renamed, Source::Merged).await.unwrap_err().to_string();
        assert!(error.contains("the columns changed"), "{error}");
    }

    #[tokio::test]
    async fn groups_of_a_commit_have_a_limit() {
        let spec = json!({"id": "a", "per": "commit", "columns": {"n": "count(*)"}, "groupBy": ["f"], "limits": {"groups": 2}});
        let mut handler = Aggregate::new(&serde_json::from_value(spec).unwrap());
        handler.shape(&Shape { schema: Some(rows().schema()), ..Shape::default() }).unwrap();
        let error = handler.handle(rows(), Source::Merged).await.unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }

    #[tokio::test]
    async fn sums_of_a_commit_are_exact_and_rows_that_overflow_are_set_aside() {
        let bytes = Int64Array::from(vec![i64::MAX, i64::MAX, 3]);
        let rows = RecordBatch::try_from_iter([("bytes", Arc::new(bytes) as ArrayRef)]).unwrap();
        let aggregated = async |columns: Value| {
            let spec = serde_json::from_value(json!({"id": "a", "per": "commit", "columns": columns})).unwrap();
            let mut handler = Aggregate::new(&spec);
            handler.shape(&Shape { schema: Some(rows.schema()), ..Shape::default() })?;
            let handled = handler.handle(rows.clone(), Source::Partition(0.into())).await?;
            let cut = handler.on_event(SourceEvent::Cut).await?;
            let lines: Vec<String> = cut.outputs.iter().flat_map(|(batch, _)| lines(batch)).collect();
            Ok::<_, Error>((lines, handled.faults.iter().map(|fault| fault.row).collect::<Vec<_>>()))
        };
        let sums =
            aggregated(json!({"s": "sum(bytes)", "d": "sum(distinct bytes)", "m": "mean(bytes)"})).await.unwrap();
        assert_eq!(sums.0, ["d=9223372036854775810 m=6.148914691236517e18 s=18446744073709551617"]);
        let (lines, aside) = aggregated(json!({"s": "sum(bytes + 1)", "n": "count(*)"})).await.unwrap();
        assert_eq!((lines, aside), (vec!["n=1 s=4".to_owned()], vec![0, 1]));
        let error = aggregated(json!({"x": "max(bytes) + count(*)"})).await.unwrap_err().to_string();
        assert!(error.contains("handler `a`") && error.contains("max(bytes) + count(*)"), "{error}");
    }
}
