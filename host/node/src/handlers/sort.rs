//! `sort`: orders the rows of a window or of a commit.
//!
//! ```yaml
//! - {type: sort, by: [time, {column: load, order: desc, nulls: first}], per: commit}
//! ```

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{SortOptions, take_record_batch},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    row::{RowConverter, SortField},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Builder, Error, Handled, Handler, Kept, Shape, Source, SourceEvent, Unit, columns, groups,
    sorting::stable_order,
    spec::{Gap, HandlerSpec, Parts},
    units::{CommitRows, HoldSpec, Per, Way, way},
};

/// Sorts rows by columns; equal rows keep their order, and rows with nulls are kept.
///
/// Only something whole can be sorted: each window after a `window`, each commit with `per: commit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SortSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The columns, the first one first, as in `[time, {column: load, order: desc}]`.
    pub by: Vec<KeySpec>,
    /// Sorts each group by itself, by these columns and those of `group` handlers before it. Groups come by value.
    #[serde(default, alias = "group_by")]
    pub group_by: Vec<String>,
    /// What is sorted: `window`, `commit`, or `batch`. After a window it can be left out. `batch` is cosmetic: it sorts what
    /// happens to be in one batch.
    #[serde(default)]
    pub per: Option<Per>,
    /// What it may hold until a commit is cut, as in `{bytes: 1GiB}`.
    #[serde(default)]
    pub limits: HoldSpec,
}

#[async_trait]
impl HandlerSpec for SortSpec {
    fn describe(&self) -> String {
        let key = |key: SortKey| key.column + if key.order == SortOrder::Desc { " desc" } else { "" };
        let keys: Vec<String> = self.by.iter().map(KeySpec::key).map(key).collect();
        format!("sorts by {}", keys.join(", "))
    }

    fn gap(&self) -> Option<Gap> {
        Gap::within("by", self.by.is_empty(), "name a column")
    }

    /// Without `per`, a handler before it says what a batch is.
    fn stateful(&self) -> bool {
        matches!(self.per, Some(Per::Commit | Per::Window))
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Sort::new(self)))
    }
}

/// A column to sort by: its name, or a map with more settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KeySpec {
    /// The name of the column: lowest first, nulls last.
    Column(String),
    /// The column and how.
    Key(SortKey),
}

impl KeySpec {
    fn key(&self) -> SortKey {
        match self {
            Self::Column(column) => {
                SortKey { column: column.clone(), order: SortOrder::default(), nulls: Nulls::default() }
            }
            Self::Key(key) => key.clone(),
        }
    }
}

/// A column to order by, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SortKey {
    /// Name of the column.
    pub column: String,
    /// `asc` or `desc`.
    #[serde(default)]
    pub order: SortOrder,
    /// Where nulls go: `first` or `last`.
    #[serde(default)]
    pub nulls: Nulls,
}

/// Which value comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// The lowest.
    #[default]
    Asc,
    /// The highest.
    Desc,
}

/// Where nulls go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nulls {
    /// Before all values.
    First,
    /// After all values.
    #[default]
    Last,
}

/// A running `sort`.
#[derive(Debug)]
struct Sort {
    id: String,
    keys: Vec<SortKey>,
    group_by: Vec<String>,
    groups: Vec<String>,
    per: Option<Per>,
    way: Way,
    checked: Option<SchemaRef>,
    held: CommitRows,
}

impl Sort {
    /// A sort as `spec` says.
    fn new(spec: &SortSpec) -> Self {
        Self {
            id: spec.id.clone(),
            keys: spec.by.iter().map(KeySpec::key).collect(),
            group_by: spec.group_by.clone(),
            groups: spec.group_by.clone(),
            per: spec.per,
            way: Way::Piece,
            checked: None,
            held: CommitRows::new(&spec.id, spec.limits.bytes),
        }
    }

    fn check(&mut self, schema: &SchemaRef) -> Result<(), Error> {
        if self.checked.as_ref() == Some(schema) {
            return Ok(());
        }
        groups::check(&self.id, schema, &self.groups)?;
        for key in &self.keys {
            let kind = columns::field(&self.id, schema, &key.column, "to sort by")?.data_type();
            let ordered = RowConverter::supports_fields(&[SortField::new(kind.clone())]);
            if !ordered || matches!(kind, DataType::Null) {
                return Err(Error::spec(&self.id, format!("column `{}` is {kind}, which has no order", key.column)));
            }
        }
        self.checked = Some(Arc::clone(schema));
        Ok(())
    }

    /// The groups of `batch` in order, the rows of each sorted, with their indices.
    fn sorted(&self, batch: &RecordBatch) -> Result<Vec<(RecordBatch, Vec<u32>)>, Error> {
        let sort = || -> Result<Vec<(RecordBatch, Vec<u32>)>, ArrowError> {
            if self.groups.is_empty() {
                let order = self.order(batch)?;
                return Ok(vec![(take_record_batch(batch, &order)?, order.values().to_vec())]);
            }
            let each = |(part, rows): (RecordBatch, UInt32Array)| {
                let order = self.order(&part)?;
                let rows = order.values().iter().map(|&row| rows.value(row as usize)).collect();
                Ok((take_record_batch(&part, &order)?, rows))
            };
            groups::split(batch, &self.groups)?.into_iter().map(each).collect()
        };
        sort().map_err(Error::kernel(&self.id, batch.num_rows()))
    }

    /// The order of these rows by the keys.
    fn order(&self, part: &RecordBatch) -> Result<UInt32Array, ArrowError> {
        let keys = self.keys.iter().filter_map(|key| {
            let options =
                SortOptions { descending: key.order == SortOrder::Desc, nulls_first: key.nulls == Nulls::First };
            Some((Arc::clone(part.column_by_name(&key.column)?), options))
        });
        stable_order(keys, part.num_rows())
    }
}

#[async_trait]
impl Handler for Sort {
    fn id(&self) -> &str {
        &self.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        if self.per.is_none() && input.unit == Unit::Piece {
            return Err(Error::spec(
                &self.id,
                "rows arrive in arbitrary batches, so there is nothing whole to sort; set `per: commit`, or put it after a `window`",
            ));
        }
        self.way = way(&self.id, self.per, input)?;
        self.groups = groups::nested(&input.group, &self.group_by);
        if let Some(schema) = &input.schema {
            self.check(schema)?;
        }
        let unit = if self.way == Way::Held { Unit::Commit } else { input.unit };
        Ok(Shape { group: self.groups.clone(), unit, ..input.clone() })
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        self.check(batch.schema_ref())?;
        if self.way == Way::Held {
            self.held.push(batch, from)?;
            return Ok(Handled::default());
        }
        let outputs = self.sorted(&batch)?.into_iter().map(|(part, rows)| (part, Kept::Rows(rows))).collect();
        Ok(Handled { outputs, ..Handled::default() })
    }

    fn merges(&self) -> bool {
        self.way == Way::Held
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        if event != SourceEvent::Cut {
            return Ok(Handled::default());
        }
        let Some(rows) = self.held.take()? else { return Ok(Handled::default()) };
        Ok(Handled::fresh(self.sorted(&rows)?.into_iter().map(|(part, _)| part)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use serde_json::json;

    use super::*;
    use crate::tests::cuts::{Trial, lines, readings};

    async fn check(spec: serde_json::Value, unit: Unit, expected: Result<&[&str], &str>) {
        let numbers = Int64Array::from(vec![Some(2), None, Some(1), Some(2)]);
        let texts = StringArray::from(vec!["a", "b", "b", "c"]);
        let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as _), ("s", Arc::new(texts) as _)]).unwrap();
        let mut sort = Sort::new(&serde_json::from_value(spec).unwrap());
        let shape = sort.shape(&Shape { schema: Some(batch.schema()), unit, ..Shape::default() });
        match (shape, expected) {
            (Ok(_), Ok(expected)) => {
                let handled = sort.handle(batch, Source::Merged).await.unwrap();
                let got: Vec<String> = handled.outputs.iter().flat_map(|(part, _)| lines(part)).collect();
                assert_eq!(got, expected);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[tokio::test]
    async fn rows_are_ordered_and_nulls_are_kept() {
        let window = Unit::Window;
        check(json!({"by": ["n"]}), window, Ok(&["n=1 s=b", "n=2 s=a", "n=2 s=c", "n=null s=b"])).await;
        let down =
            json!({"by": [{"column": "n", "order": "desc", "nulls": "first"}, {"column": "s", "order": "desc"}]});
        check(down, window, Ok(&["n=null s=b", "n=2 s=c", "n=2 s=a", "n=1 s=b"])).await;
        let groups = json!({"by": [{"column": "n", "nulls": "last"}], "groupBy": ["s"]});
        check(groups, window, Ok(&["n=2 s=a", "n=1 s=b", "n=null s=b", "n=2 s=c"])).await;
        check(json!({"by": ["n"], "per": "batch"}), Unit::Piece, Ok(&["n=1 s=b", "n=2 s=a", "n=2 s=c", "n=null s=b"]))
            .await;
        check(json!({"by": ["n"]}), Unit::Piece, Err("set `per: commit`")).await;
        check(json!({"by": ["n"], "per": "window"}), Unit::Piece, Err("there is no window before it")).await;
        check(json!({"by": ["m"]}), window, Err("no column `m` to sort by; the columns are n, s")).await;
    }

    #[tokio::test]
    async fn a_commit_is_sorted_whole_and_the_same_under_any_cut() {
        let nodes = json!([{"type": "sort", "by": ["host", "value"], "per": "commit"}]);
        let trial = Trial { commits_count: true, ..Trial::new(nodes, &[readings(1, 40), readings(2, 30)]) };
        assert_eq!(trial.same_under_any_cut(15).await.rows.len(), 70);
    }

    #[tokio::test]
    async fn what_is_held_has_a_limit() {
        let spec = json!({"id": "s", "by": ["n"], "per": "commit", "limits": {"bytes": "1KiB"}});
        let mut sort = Sort::new(&serde_json::from_value(spec).unwrap());
        let rows = readings(1, 500);
        sort.shape(&Shape { schema: Some(rows.schema()), ..Shape::default() }).unwrap();
        let error = sort.handle(rows, Source::Merged).await.unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
}
