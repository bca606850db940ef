//! `group`: names the columns that the handlers behind it group by.
//!
//! ```yaml
//! - {type: group, columns: [host, type]}
//! ```

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Builder, Error, Handled, Handler, Kept, Shape, Source, Unit, groups,
    spec::{Gap, HandlerSpec, Parts},
};

/// Groups rows by columns for the handlers after it; groups nest.
///
/// A window or commit is split into one batch per distinct tuple, ordered by value; null is a value. Elsewhere batches mean
/// nothing: rows pass unchanged, and the handlers after it keep the groups apart by their columns, so that the result does
/// not depend on batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The columns, as in `[host, type]`.
    pub columns: Vec<String>,
}

#[async_trait]
impl HandlerSpec for GroupSpec {
    fn describe(&self) -> String {
        format!("groups by {}", self.columns.join(", "))
    }

    fn gap(&self) -> Option<Gap> {
        Gap::within("columns", self.columns.is_empty(), "name a column")
    }

    fn row_by_row(&self) -> bool {
        true
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Group::new(self)))
    }
}

/// A running `group`.
#[derive(Debug)]
struct Group {
    spec: GroupSpec,
    /// All columns, those of the groups outside first.
    columns: Vec<String>,
    unit: Unit,
    checked: Option<SchemaRef>,
}

impl Group {
    /// A group as `spec` says.
    fn new(spec: &GroupSpec) -> Self {
        Self { spec: spec.clone(), columns: spec.columns.clone(), unit: Unit::Piece, checked: None }
    }
}

#[async_trait]
impl Handler for Group {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        self.unit = input.unit;
        self.columns = groups::nested(&input.group, &self.spec.columns);
        if let Some(schema) = &input.schema {
            groups::check(&self.spec.id, schema, &self.columns)?;
            self.checked = Some(schema.clone());
        }
        Ok(Shape { group: self.columns.clone(), ..input.clone() })
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        if self.checked.as_ref() != Some(batch.schema_ref()) {
            groups::check(&self.spec.id, batch.schema_ref(), &self.columns)?;
            self.checked = Some(batch.schema());
        }
        if self.unit == Unit::Piece {
            return Ok(Handled::one(batch, Kept::All));
        }
        let parts = groups::split(&batch, &self.columns).map_err(Error::kernel(&self.spec.id, batch.num_rows()))?;
        let outputs = parts.into_iter().map(|(part, rows)| (part, Kept::Rows(rows.values().to_vec()))).collect();
        Ok(Handled { outputs, ..Handled::default() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::cuts::{Trial, lines, readings};

    async fn batches(unit: Unit) -> Vec<usize> {
        let spec: GroupSpec = serde_json::from_value(json!({"id": "g", "columns": ["host"]})).unwrap();
        let mut group = Group::new(&spec);
        let rows = readings(1, 40);
        let input = Shape { schema: Some(rows.schema()), group: vec!["n".into()], unit, ..Shape::default() };
        let outer = Shape { group: Vec::new(), ..input.clone() };
        assert_eq!(group.shape(&input).unwrap().group, ["n", "host"]);
        assert_eq!(group.shape(&outer).unwrap().group, ["host"]);
        let handled = group.handle(rows.clone(), Source::Merged).await.unwrap();
        let mut all: Vec<String> = handled.outputs.iter().flat_map(|(part, _)| lines(part)).collect();
        let mut before = lines(&rows);
        assert!(unit != Unit::Piece || all == before, "the order of rows is left alone");
        all.sort();
        before.sort();
        assert_eq!(all, before);
        handled.outputs.iter().map(|(part, _)| part.num_rows()).collect()
    }

    #[tokio::test]
    async fn units_are_split_and_pieces_are_not() {
        assert_eq!(batches(Unit::Piece).await, [40]);
        assert_eq!(batches(Unit::Window).await.len(), 4, "three hosts and null");
        assert_eq!(batches(Unit::Commit).await.iter().sum::<usize>(), 40);
    }

    #[tokio::test]
    async fn the_same_rows_under_any_cut() {
        let trial = Trial::new(json!([{"type": "group", "columns": ["host"]}]), &[readings(1, 30)]);
        trial.same_under_any_cut(5).await;
    }
}
