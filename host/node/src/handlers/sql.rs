//! `sql`: a query over each batch, each commit or each window.
//!
//! ```yaml
//! - {type: sql, query: "select host, busy_mean from input where busy_mean > level"}
//! - {type: sql, per: commit, query: "select host, count(*) as n from input group by host order by n desc"}
//! ```

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Builder, Error, Handled, Handler, Shape, Source, SourceEvent, Unit, groups,
    halving::{Halving, handled},
    query::{Query, Terms},
    spec::{Gap, HandlerSpec, Parts},
    units::{CommitRows, HoldSpec, Per, Way, way},
    written::Written,
};

/// Runs a SQL query over each unit of rows, which is the table `input`.
///
/// Over batches, only what works row by row is accepted: projections, filters, aliases, `unnest`. Everything that needs
/// several rows (aggregates, ORDER BY, JOIN, LIMIT, window functions) needs a unit that means something: a commit or a
/// window. Over batches, a row for which an expression has no value, such as an integer overflow, is set aside; over a
/// commit or a window the pipeline stops before it commits. Rows are in the order of the query's ORDER BY; where that leaves
/// the order open, they are sorted by all columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The query, as in `select host, max(load) as load from input group by host`.
    pub query: String,
    /// What it runs over: `batch`, `commit` or `window`. By default the windows of a `window` before it, otherwise batches.
    #[serde(default)]
    pub per: Option<Per>,
    /// Runs it for each group by itself, by these columns and those of `group` handlers before it, which the result must
    /// keep.
    #[serde(default, alias = "group_by")]
    pub group_by: Vec<String>,
    /// How much it may hold until a commit is cut, and again while the query runs, as in `{bytes: 1GiB}`.
    #[serde(default)]
    pub limits: HoldSpec,
}

#[async_trait]
impl HandlerSpec for SqlSpec {
    fn describe(&self) -> String {
        self.query.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn gap(&self) -> Option<Gap> {
        Gap::within("query", self.query.trim().is_empty(), "write a query over `input`")
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        vec![Written::query("query", &self.query)]
    }

    /// Without `per`, a handler before it says what a batch is, or it looks at each row alone.
    fn stateful(&self) -> bool {
        matches!(self.per, Some(Per::Commit | Per::Window))
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Sql::new(self)))
    }
}

/// A running `sql`.
#[derive(Debug)]
struct Sql {
    spec: SqlSpec,
    groups: Vec<String>,
    way: Way,
    query: Option<(SchemaRef, Query)>,
    held: CommitRows,
}

impl Sql {
    /// A query as `spec` says; it is planned when the columns are known.
    fn new(spec: &SqlSpec) -> Self {
        Self {
            groups: spec.group_by.clone(),
            way: Way::Piece,
            query: None,
            held: CommitRows::new(&spec.id, spec.limits.bytes),
            spec: spec.clone(),
        }
    }

    /// The query, planned for rows of `schema`.
    fn query(&mut self, schema: &SchemaRef) -> Result<&mut Query, Error> {
        let known = self.query.take().filter(|(known, _)| known == schema);
        let query = match known {
            Some((_, query)) => query,
            None => self.plan(schema)?,
        };
        Ok(&mut self.query.insert((Arc::clone(schema), query)).1)
    }

    fn plan(&self, schema: &SchemaRef) -> Result<Query, Error> {
        groups::check(&self.spec.id, schema, &self.groups)?;
        let terms = Terms { row_by_row: self.way == Way::Piece, memory: self.spec.limits.bytes };
        let query = Query::plan(&self.spec.id, &self.spec.query, schema, terms)?;
        match self.groups.iter().find(|column| query.output().field_with_name(column).is_err()) {
            None => Ok(query),
            Some(column) => Err(Error::spec(
                &self.spec.id,
                format!("rows are grouped by `{column}`, which the query leaves out; select it too"),
            )),
        }
    }

    /// The answers over a whole unit, one a group; those without rows are left out.
    async fn unit(&mut self, rows: &RecordBatch) -> Result<Handled, Error> {
        let split = groups::split(rows, &self.groups);
        let parts = split.map_err(Error::kernel(&self.spec.id, rows.num_rows()))?;
        let query = self.query(rows.schema_ref())?;
        let mut answers = Vec::new();
        for (part, _) in parts.into_iter().filter(|(part, _)| part.num_rows() > 0) {
            let answer = query.run(&part).await?;
            if answer.num_rows() > 0 {
                answers.push(answer);
            }
        }
        Ok(Handled::fresh(answers))
    }
}

#[async_trait]
impl Handler for Sql {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let way = way(&self.spec.id, self.spec.per, input)?;
        let groups = groups::nested(&input.group, &self.spec.group_by);
        if (way, &groups) != (self.way, &self.groups) {
            (self.way, self.groups, self.query) = (way, groups, None);
        }
        let schema = match &input.schema {
            Some(schema) => Some(Arc::clone(self.query(schema)?.output())),
            None => None,
        };
        let unit = if way == Way::Held { Unit::Commit } else { input.unit };
        Ok(Shape { schema, group: self.groups.clone(), unit, time: input.time.clone() })
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        match self.way {
            Way::Held => {
                self.query(batch.schema_ref())?;
                self.held.push(batch, from)?;
                Ok(Handled::default())
            }
            Way::Given => self.unit(&batch).await,
            Way::Piece => {
                let query = self.query(batch.schema_ref())?;
                let mut halving = Halving::of(batch.num_rows());
                let mut runs = Vec::new();
                while let Some(run) = halving.next() {
                    match query.run(&batch.slice(run.start, run.len())).await {
                        Ok(answer) => runs.push((run, answer)),
                        Err(error) => halving.failed(run, error)?,
                    }
                }
                if query.keeps_rows() {
                    handled(&self.spec.id, runs, halving.faults())
                } else {
                    Ok(Handled { faults: halving.faults(), ..Handled::fresh(runs.into_iter().map(|run| run.1)) })
                }
            }
        }
    }

    fn merges(&self) -> bool {
        self.way == Way::Held
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        if event != SourceEvent::Cut {
            return Ok(Handled::default());
        }
        match self.held.take()? {
            Some(rows) => self.unit(&rows).await,
            None => Ok(Handled::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::cuts::{Trial, lines, readings};

    fn sql(query: &str, per: &str) -> Sql {
        let per = if per.is_empty() { json!(null) } else { json!(per) };
        Sql::new(&serde_json::from_value(json!({"id": "q", "query": query, "per": per})).unwrap())
    }

    fn piece(unit: Unit) -> Shape {
        Shape { schema: Some(readings(1, 1).schema()), unit, ..Shape::default() }
    }

    fn refused(query: &str, per: &str, part: &str) {
        let error = sql(query, per).shape(&piece(Unit::Piece)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(part), "{query}: {text}");
    }

    #[test]
    fn what_cannot_be_exact_over_batches_is_refused_by_name() {
        refused("select count(*) from input", "batch", "an aggregate (GROUP BY)");
        refused("select n from input order by n", "", "ORDER BY");
        refused("select n from input limit 3", "", "LIMIT");
        refused("select distinct n from input", "", "DISTINCT");
        refused("select a.n from input a join input b on a.n = b.n", "", "JOIN");
        refused("select sum(n) over () as s from input", "", "OVER");
        refused("select n from input union all select n from input", "", "UNION");
        refused("select n from input where n in (select n from input)", "", "a subquery");
        refused("select 1 as one", "", "without FROM");
        refused("select n from input order by n", "window", "there is no window before it");
    }

    #[test]
    fn what_is_no_question_or_has_no_one_answer_is_refused() {
        refused("create table t as select 1", "commit", "DDL");
        refused("insert into input select * from input", "commit", "DML");
        refused("set a = 1", "commit", "not supported");
        refused("explain select n from input", "commit", "EXPLAIN");
        refused("select random() as r from input", "commit", "random()");
        refused("select n from input where time < now()", "batch", "now()");
        refused("select now() as t, count(*) as c from input", "commit", "now()");
        refused("select m from input", "batch", "its columns: time, host, value, n");
        refused("select n from elsewhere", "batch", "the only table is `input`");
        refused("select a.n, b.n from input a join input b on a.n = b.n", "commit", "two columns");
        refused(
            "with recursive t as (select 1 as a union all select a + 1 from t where a < 3) select * from t",
            "commit",
            "RECURSIVE",
        );
        let grouped = Shape { group: vec!["host".into()], ..piece(Unit::Piece) };
        let error = sql("select max(n) as n from input", "commit").shape(&grouped).unwrap_err();
        assert!(error.to_string().contains("`host`, which the query leaves out"), "{error}");
    }

    /// The answers over two windows, one after the other, with one plan.
    async fn windows(query: &str) -> Vec<Vec<String>> {
        let mut handler = sql(query, "window");
        let typed = handler.shape(&piece(Unit::Window)).unwrap().schema.unwrap();
        let mut answers = Vec::new();
        for (from, rows) in [(0, 4), (4, 3)] {
            let handled = handler.handle(readings(3, 7).slice(from, rows), Source::Merged).await.unwrap();
            handled.outputs.iter().for_each(|(records, _)| assert_eq!(records.schema(), typed));
            answers.push(handled.outputs.iter().flat_map(|(records, _)| lines(records)).collect());
        }
        answers
    }

    #[tokio::test]
    async fn one_plan_answers_every_unit_anew() {
        let counts = windows("select count(*) as c, min(n) as n from input").await;
        assert_eq!(counts, [vec!["c=4 n=3000"], vec!["c=3 n=3004"]]);
        for join in ["a.n = b.n", "a.n > b.n", "a.n + 0 = b.n and a.value >= b.value"] {
            let joined = windows(&format!("select count(*) as c from input a join input b on {join}")).await;
            let apart = windows(&format!("select count(*) as c from input a, input b where {join}")).await;
            assert_eq!(joined, apart);
        }
        let pairs = windows("select count(*) as c from input a cross join input b").await;
        assert_eq!(pairs, [vec!["c=16"], vec!["c=9"]]);
        let within = windows("select n from input where n = (select max(n) from input)").await;
        assert_eq!(within, [vec!["n=3003"], vec!["n=3006"]]);
        let top = windows("select n from input order by n desc limit 1").await;
        assert_eq!(top, [vec!["n=3003"], vec!["n=3006"]]);
        let numbered = windows("select n, row_number() over (order by n desc) as i from input").await;
        assert_eq!(numbered[1], ["n=3004 i=3", "n=3005 i=2", "n=3006 i=1"]);
        let in_list = windows("select n from input where n in (select n - 1 from input)").await;
        assert_eq!(in_list, [vec!["n=3000", "n=3001", "n=3002"], vec!["n=3004", "n=3005"]]);
    }

    #[tokio::test]
    async fn the_same_answers_under_any_cut() {
        let check = |node: serde_json::Value, commits_count: bool, ordered: bool| async move {
            let nodes = json!([node]);
            let rows = [readings(1, 40), readings(2, 30)];
            Trial { commits_count, ordered, ..Trial::new(nodes, &rows) }.same_under_any_cut(5).await.rows
        };
        let filtered = "select n, value * 2 as double from input where host = 'a'";
        assert!(!check(json!({"type": "sql", "query": filtered}), false, false).await.is_empty());
        let counted = "select host, count(*) as c, sum(value) as s from input group by host";
        assert_eq!(check(json!({"type": "sql", "query": counted, "per": "commit"}), true, true).await.len(), 8);
        let grouped = json!({"type": "sql", "query": "select host, n from input order by n desc limit 1",
            "per": "commit", "groupBy": ["host"]});
        assert_eq!(check(grouped, true, true).await.len(), 8, "the newest row of each host, twice");
    }

    #[tokio::test]
    async fn sums_widen_and_what_overflows_is_no_answer() {
        let column = Arc::new(arrow::array::Int64Array::from(vec![i64::MAX, 1, i64::MAX])) as arrow::array::ArrayRef;
        let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let shape = |unit| Shape { schema: Some(rows.schema()), unit, ..Shape::default() };
        let ask = async |query: &str, per: &str| {
            let mut handler = sql(query, per);
            handler.shape(&shape(if per == "window" { Unit::Window } else { Unit::Piece })).unwrap();
            let handled = handler.handle(rows.clone(), Source::Merged).await?;
            let lines: Vec<String> = handled.outputs.iter().flat_map(|(records, _)| lines(records)).collect();
            Ok::<_, Error>((lines, handled.faults.iter().map(|fault| fault.row).collect::<Vec<_>>()))
        };
        let total = ask("select sum(n) as s, avg(n) as a, sum(n) - sum(n) as o from input", "window").await.unwrap();
        assert_eq!(total.0, ["s=18446744073709551615 a=6.148914691236517e18 o=0"]);
        let running =
            ask("select sum(n) over (order by n rows 1 preceding) as s from input order by s", "window").await;
        assert_eq!(running.unwrap().0, ["s=1", "s=9223372036854775808", "s=18446744073709551614"]);
        let distinct = ask("select sum(distinct n) as s, avg(distinct n) as a from input", "window").await.unwrap();
        assert_eq!(distinct.0, ["s=9223372036854775808 a=4.611686018427388e18"]);
        assert_eq!(ask("select n + 1 as m from input", "batch").await.unwrap(), (vec!["m=2".into()], vec![0, 2]));
        assert_eq!(
            ask("select n from input where n * 2 > 0", "batch").await.unwrap(),
            (vec!["n=1".into()], vec![0, 2])
        );
        let error = ask("select max(n) + max(n) as m from input", "window").await.unwrap_err().to_string();
        assert!(
            error.contains("handler `q`") && error.contains("9223372036854775807 + 9223372036854775807"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_query_has_a_limit_of_memory() {
        let spec = json!({"id": "q", "per": "window", "query": "select n from input order by value", "limits": {"bytes": "1KiB"}});
        let mut handler = Sql::new(&serde_json::from_value(spec).unwrap());
        handler.shape(&piece(Unit::Window)).unwrap();
        let error = handler.handle(readings(1, 5000), Source::Merged).await.unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
}
