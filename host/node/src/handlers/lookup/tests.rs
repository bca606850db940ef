//! What lookups give, and when they take a newer version of their table.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex},
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    json::ReaderBuilder,
};
use serde_json::{Value, json};
use spout_base::error::{Coded, Kind};
use spout_data::Upstream;
use thiserror::Error;

use super::*;
use crate::{
    Chain, NodeSpec, SourceEvent,
    tests::cuts::{Outcome, Trial, lines, readings},
};

/// What a table says when it is looked at.
#[derive(Clone, Debug)]
enum Look {
    /// It is at a version with these rows: all there are, or those that were added.
    At(&'static str, bool, RecordBatch),
    /// The same, but its rows cannot be read.
    Torn(&'static str),
    /// It is as it was.
    Same,
}

/// Tables by repo, each with what it says one look after the other.
#[derive(Clone, Debug, Default)]
struct Script(Arc<Mutex<BTreeMap<String, VecDeque<Look>>>>);

struct Scripted {
    repo: String,
    script: Script,
    rows: VecDeque<Result<RecordBatch, TableError>>,
}

#[derive(Debug, Error)]
#[error("torn")]
struct Torn(#[from] io::Error);

impl Coded for Torn {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }

    fn code(&self) -> &'static str {
        "E0501"
    }
}

impl TableStore for Script {
    fn table(&self, name: &TableName) -> Box<dyn TableReader> {
        Box::new(Scripted { repo: name.repo.clone(), script: self.clone(), rows: VecDeque::new() })
    }
}

impl TableReader for Scripted {
    fn newer(&mut self, wait: bool) -> TableFuture<'_, Option<TableVersion>> {
        let look = self.script.0.lock().unwrap().get_mut(&self.repo).map(VecDeque::pop_front);
        let at = |commit: &str| Upstream::looked_up(self.repo.clone(), "master".into(), commit.into());
        let said = match look {
            None => Err(TableError::Missing("there is no such repo".into())),
            Some(None) if wait => Err(TableError::Missing("nobody writes it".into())),
            Some(None | Some(Look::Same)) => Ok(None),
            Some(Some(Look::At(commit, whole, rows))) => {
                let version =
                    TableVersion { commit: at(commit), schema: rows.schema(), whole, rows: rows.num_rows() as u64 };
                // In pieces, as from files.
                self.rows = (0..rows.num_rows())
                    .step_by(3)
                    .map(|row| Ok(rows.slice(row, 3.min(rows.num_rows() - row))))
                    .collect();
                Ok(Some(version))
            }
            Some(Some(Look::Torn(commit))) => {
                let torn: Arc<dyn Coded> = Arc::new(Torn(io::Error::other("gone")));
                self.rows = [Err(TableError::Read(torn))].into();
                Ok(Some(TableVersion { commit: at(commit), schema: people(&[]).schema(), whole: true, rows: 1 }))
            }
        };
        Box::pin(async { said })
    }

    fn next<'a>(&'a mut self, columns: &'a SchemaRef) -> TableFuture<'a, Option<RecordBatch>> {
        let next = self.rows.pop_front().transpose().map(|rows| {
            rows.map(|rows| {
                let column = |field: &FieldRef| Arc::clone(rows.column_by_name(field.name()).unwrap());
                RecordBatch::try_new(Arc::clone(columns), columns.fields().iter().map(column).collect()).unwrap()
            })
        });
        Box::pin(async { next })
    }

    fn forget(&mut self) {
        self.rows.clear();
    }
}

fn tables(all: impl IntoIterator<Item = (&'static str, Vec<Look>)>) -> Tables {
    let all = all.into_iter().map(|(repo, looks)| (repo.to_owned(), looks.into()));
    Tables::new(Arc::new(Script(Arc::new(Mutex::new(all.collect())))))
}

/// A table `hosts` for [`readings`], which lacks one of their hosts.
pub(crate) fn hosts() -> Tables {
    let rows = records(
        r#"{"host":"a","place":"attic","n":1}{"host":"b","place":"barn","n":2}{"host":"b","place":"base","n":3}"#,
    );
    // Of each of several handlers.
    tables([("hosts", vec![Look::At("c1", true, rows); 8])])
}

/// Rows of JSON objects, their columns by name.
fn records(objects: &str) -> RecordBatch {
    let lines = objects.replace("}{", "}\n{");
    let (schema, _) = arrow::json::reader::infer_json_schema(lines.as_bytes(), None).unwrap();
    let mut fields: Vec<FieldRef> = schema.fields().to_vec();
    fields.sort_by_key(|field| field.name().clone());
    let mut reader = ReaderBuilder::new(Arc::new(Schema::new(fields))).build(lines.as_bytes()).unwrap();
    reader.next().unwrap().unwrap()
}

/// Rows of a table with the columns `id`, `name` and `tier`.
fn people(rows: &[(Option<i64>, &str, i32)]) -> RecordBatch {
    use arrow::array::{Int32Array, Int64Array, StringArray};
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>())),
        ("name", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>())),
        ("tier", Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int32Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

const PEOPLE: [(Option<i64>, &str, i32); 5] =
    [(Some(1), "ann", 1), (Some(2), "bob", 1), (None, "nobody", 0), (Some(1), "anna", 2), (Some(4), "dee", 3)];

fn node(more: Value) -> Value {
    let mut node = json!({"type": "lookup", "id": "who", "repo": "people", "on": "id"});
    for (name, value) in more.as_object().unwrap() {
        node[name] = value.clone();
    }
    node
}

async fn chain(nodes: Value, tables: &Tables) -> Result<Chain, Error> {
    let nodes: Vec<NodeSpec> = serde_json::from_value(nodes).unwrap();
    let builder = Builder { tables: tables.clone(), ..Builder::default() };
    builder.chain(&nodes, &mut BTreeMap::new()).await
}

fn shape(rows: &RecordBatch) -> Shape {
    Shape { schema: Some(rows.schema()), ..Shape::default() }
}

/// What comes of `rows`, or why not.
async fn looked_up(more: Value, rows: &str, looks: Vec<Look>) -> Result<Outcome, Error> {
    let (rows, tables) = (records(rows), tables([("people", looks)]));
    let mut chain = chain(json!([node(more)]), &tables).await?;
    chain.shape(shape(&rows))?;
    tables.load().await?;
    let handled = chain.rows(rows, Source::Merged).await?;
    Ok(Outcome {
        rows: handled.outputs.iter().flat_map(|(rows, _)| lines(rows)).collect(),
        dead: handled.faults.iter().map(|fault| format!("{} {}: {}", fault.row, fault.code, fault.reason)).collect(),
        filtered: handled.filtered,
        ..Outcome::default()
    })
}

#[tokio::test]
async fn rows_get_the_columns_of_the_row_with_their_key() {
    let rows = r#"{"id":4,"x":"a"}{"id":1,"x":"b"}{"id":3,"x":"c"}{"x":"d"}"#;
    let at = || vec![Look::At("c1", true, people(&PEOPLE))];
    let check = |more: Value, expected: &'static [&'static str]| async move {
        let outcome = looked_up(more.clone(), rows, at()).await.unwrap();
        assert_eq!(outcome.rows, expected, "{more}");
        assert_eq!(outcome.dead.len() + outcome.rows.len() + outcome.filtered as usize, 4, "{outcome:?}");
    };
    const KEPT: [&str; 4] = [
        "id=4 x=a name=dee tier=3",
        "id=1 x=b name=anna tier=2",
        "id=3 x=c name=null tier=null",
        "id=null x=d name=null tier=null",
    ];
    check(json!({}), &KEPT).await;
    check(json!({"unmatched": "drop", "columns": ["tier"]}), &["id=4 x=a tier=3", "id=1 x=b tier=2"]).await;
    check(json!({"unmatched": "drop", "columns": []}), &["id=4 x=a", "id=1 x=b"]).await;
    check(
        json!({"unmatched": "drop", "columns": {"rank": "tier", "same": "tier", "who": "id"}}),
        &["id=4 x=a rank=3 same=3 who=4", "id=1 x=b rank=2 same=2 who=1"],
    )
    .await;
    check(
        json!({"unmatched": "drop", "on": {"id": "tier"}, "columns": {"n": "name"}}),
        &["id=1 x=b n=bob", "id=3 x=c n=dee"],
    )
    .await;
    check(json!({"unmatched": "drop", "on": {"id": "id", "x": "name"}}), &[]).await;
    check(
        json!({"unmatched": "drop", "on": "id", "columns": {"x": "name"}, "prefix": "p_"}),
        &["id=4 x=a p_x=dee", "id=1 x=b p_x=anna"],
    )
    .await;
    let rejected = looked_up(json!({"unmatched": "reject", "columns": ["tier"]}), rows, at()).await.unwrap();
    assert_eq!(rejected.rows, ["id=4 x=a tier=3", "id=1 x=b tier=2"]);
    let reason = "lookup.unmatched: who: the table people@master has no row for";
    assert_eq!(rejected.dead, [format!("2 {reason} id = 3"), format!("3 {reason} id = null")]);
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_refused() {
    let check = |more: Value, table: Vec<Look>, code: &'static str, part: &'static str| async move {
        let error = looked_up(more, r#"{"id":1,"x":"b"}"#, table).await.unwrap_err();
        assert!(error.code() == code && error.to_string().contains(part), "{}: {error}", error.code());
    };
    let at = || vec![Look::At("c1", true, people(&PEOPLE))];
    check(json!({"on": {"y": "id"}}), at(), "E0402", "there is no column `y`; the columns are id, x").await;
    check(json!({"on": {"id": "y"}}), at(), "E0402", "people@master has no column `y`; its columns are id, name, tier")
        .await;
    check(json!({"columns": ["y"]}), at(), "E0402", "has no column `y`").await;
    check(
        json!({"on": {"x": "id"}}),
        at(),
        "E0402",
        "`x` of the rows, Utf8, with `id` of the table people@master, Int64",
    )
    .await;
    check(json!({"columns": {"x": "name"}}), at(), "E0402", "two columns would be called `x`; set a `prefix`").await;
    check(json!({"branch": "b", "at": "v1"}), at(), "E0402", "name one of them").await;
    check(json!({"repo": "person"}), at(), "E0412", "the table person@master").await;
    check(json!({}), vec![], "E0412", "nobody writes it").await;
    check(json!({"duplicates": "error"}), at(), "E0413", "two rows with id = 1").await;
    let large =
        "for 2 rows of the table people@master (3 of 5 rows read), which is more than its limit of 16B; name only";
    check(json!({"limits": {"bytes": "16B"}}), at(), "E0408", large).await;
}

/// One row with the id 1 through `chain`, as text.
async fn row(chain: &mut Chain) -> Result<String, Error> {
    let handled = chain.rows(records(r#"{"id":1}"#), Source::Merged).await?;
    Ok(handled.outputs.iter().flat_map(|(rows, _)| lines(rows)).collect::<Vec<_>>().join("; "))
}

#[tokio::test]
async fn a_version_holds_until_the_cut_which_names_it() {
    let ann = |name: &'static str| people(&[(Some(1), name, 1)]);
    let looks = vec![
        Look::At("c1", true, ann("one")),
        Look::At("c2", false, ann("two")),
        Look::Same,
        Look::At("c3", true, people(&[])),
        // What it consists of was collected, as there is a newer one.
        Look::Torn("c4"),
        Look::At("c5", true, ann("five")),
    ];
    let tables = tables([("people", looks)]);
    let nodes = json!([node(json!({"every": "0s", "columns": ["name"]}))]);
    let mut running = chain(nodes.clone(), &tables).await.unwrap();
    // A second chain of the same pipeline, as in a lane, has the same table.
    let mut other = chain(nodes, &tables).await.unwrap();
    tables.load().await.unwrap();
    assert!(tables.cut().await.is_empty(), "no row was looked up");
    for (name, commit) in [("two", "c2"), ("two", "c2"), ("null", "c3"), ("five", "c5")] {
        for chain in [&mut running, &mut other] {
            assert_eq!(row(chain).await.unwrap(), format!("id=1 name={name}"));
            chain.on_event(SourceEvent::Cut).await.unwrap();
        }
        let commits: Vec<String> = tables.cut().await.into_iter().map(|from| from.commit).collect();
        assert_eq!(commits, [commit]);
    }
}

#[tokio::test]
async fn a_table_is_looked_at_no_more_often_than_asked_and_a_pinned_one_once() {
    let ann = |name: &'static str| people(&[(Some(1), name, 1)]);
    for more in [json!({"every": "1h"}), json!({"every": "0s", "at": "v1"})] {
        let tables = tables([("people", vec![Look::At("c1", true, ann("one")), Look::At("c2", true, ann("two"))])]);
        let mut chain = chain(json!([node(more)]), &tables).await.unwrap();
        for _ in 0..3 {
            assert_eq!(row(&mut chain).await.unwrap(), "id=1 name=one tier=1");
            assert_eq!(tables.cut().await.len(), 1);
        }
    }
}

#[tokio::test]
async fn columns_stay_as_they_are_while_it_runs() {
    let check = |rows: RecordBatch, expected: Option<&'static str>| async move {
        let tables = tables([("people", vec![Look::At("c1", true, people(&PEOPLE)), Look::At("c2", true, rows)])]);
        let mut chain = chain(json!([node(json!({"every": "0s"}))]), &tables).await.unwrap();
        tables.load().await.unwrap();
        match (row(&mut chain).await, expected) {
            (Ok(row), None) => assert_eq!(row, "id=1 name=new tier=7"),
            (Err(error), Some(part)) => {
                assert!(error.code() == "E0414" && error.to_string().contains(part), "{error}");
            }
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    };
    check(people(&[(Some(1), "new", 7)]), None).await;
    check(records(r#"{"id":1,"name":"new"}"#), Some("column `tier` is gone")).await;
    check(records(r#"{"id":"1","name":"new","tier":7}"#), Some("column `id` is Utf8, and was Int64")).await;
}

#[tokio::test]
async fn rows_that_were_replaced_do_not_count_for_the_limit() {
    let version = |round: i64| {
        let rows: Vec<(Option<i64>, &str, i32)> =
            (0..50).map(|id| (Some(id), "the name of somebody", round as i32)).collect();
        people(&rows)
    };
    let looks = (0..40).map(|round| Look::At("c", round == 0, version(round))).collect();
    let tables = tables([("people", looks)]);
    let nodes = json!([node(json!({"every": "0s", "limits": {"bytes": "16KiB"}}))]);
    let mut chain = chain(nodes, &tables).await.unwrap();
    for _ in 0..39 {
        row(&mut chain).await.unwrap();
        tables.cut().await;
    }
    assert_eq!(row(&mut chain).await.unwrap(), "id=1 name=the name of somebody tier=39");
}

#[tokio::test]
async fn no_cut_changes_a_lookup() {
    for unmatched in ["keep", "drop", "reject"] {
        let lookup = json!({"type": "lookup", "id": "l", "repo": "hosts", "on": "host", "columns": ["place"], "unmatched": unmatched});
        let window = json!({"type": "window", "period": "5s", "groupBy": ["place"], "aggregate": {"sum": "sum(n)"}});
        let within = json!({"type": "dispatch", "groupBy": ["n"], "nodes": [lookup.clone()]});
        for nodes in [json!([lookup]), json!([lookup, window]), json!([within])] {
            let time = serde_json::from_value(json!({"column": "time", "lateness": "1s"})).unwrap();
            let trial =
                Trial { time: Some(time), ordered: false, ..Trial::new(nodes, &[readings(1, 60), readings(2, 40)]) };
            let outcome = trial.same_under_any_cut(8).await;
            assert!(outcome.rows.iter().any(|row| row.contains("place=base")), "{outcome:?}");
            assert_eq!(outcome.dead.len() > 10, unmatched == "reject", "{outcome:?}");
        }
    }
}
