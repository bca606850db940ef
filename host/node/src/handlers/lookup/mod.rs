//! `lookup`: gives rows the columns of a table that another pipeline, or `spout put file`, keeps in a repo.
//!
//! [`source`] is what is asked of whoever knows repos, [`table`] holds one version of a table from one cut to the next, and
//! [`keyed`] finds its rows.
//!
//! **Invariant**: the version changes only at a cut, where partitions meet; so all rows of a commit meet the same one, which the
//! commit names.

mod keyed;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{FieldRef, Schema, SchemaRef},
    util::display::{ArrayFormatter, FormatOptions},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::Period;

#[cfg(test)]
pub(crate) use self::tests::hosts;
use self::{keyed::Keyed, table::Table};
pub use self::{
    source::{TableError, TableFuture, TableName, TableReader, TableStore, TableVersion},
    table::Tables,
};
use super::{Columns, filter::set_rows};
use crate::{
    Builder, Error, Handled, Handler, Kept, RowFault, Shape, Source, columns,
    keys::{self, KeySide, On},
    spec::{Gap, HandlerSpec, Parts},
    units::HoldSpec,
};

/// Gives rows the columns of the row of a table that has the same key.
///
/// The table is what the files of a branch hold, as a pipeline or `spout put file` writes them. It is read at the start, and
/// again when a commit begins and the branch has a newer one: all rows of a commit meet one version, which the commit names.
///
/// Of several rows with the same key the last one counts: files in the order of their paths, and within a file the oldest first.
/// A key with a null matches nothing, on either side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LookupSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// The repo that holds the table, as in `customers`; a pipeline writes the repo of its own name.
    pub repo: String,
    /// Its branch, as in `master`, which is the default.
    #[serde(default)]
    pub branch: Option<String>,
    /// Instead of a branch that is followed: a commit id, a tag or a branch, as in `v1`, which is read once, at the start.
    #[serde(default)]
    pub at: Option<String>,
    /// Files that the table is made of: a directory as in `/clean/`, or a pattern as in `/clean/**/*.parquet`. Without it, all but
    /// those below `/dead-letter/` and `/late/`.
    #[serde(default)]
    pub path: Option<String>,
    /// The columns of the key, as in `id` or `[shop, id]`, or where rows and table call them differently, `{customer_id: id}`: the
    /// column of the rows first.
    pub on: On,
    /// The columns of the table that rows get, as in `[name, tier]`, or under other names, `{customer: name}`; all but those of the
    /// key by default.
    #[serde(default)]
    pub columns: Picked,
    /// What stands before the names of columns that the rows have, too, as in `customer_`. Without it such a name is an error.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What becomes of rows whose key the table does not have, as in `drop`.
    #[serde(default)]
    pub unmatched: Unmatched,
    /// What several rows of the table with one key mean, as in `error`.
    #[serde(default)]
    pub duplicates: Duplicates,
    /// How often the branch is looked at, at most, as in `1s`: when a commit begins sooner, it keeps the version of the one before.
    #[serde(default = "every")]
    pub every: Period,
    /// How much of the table it may hold.
    #[serde(default)]
    pub limits: HoldSpec,
}

fn every() -> Period {
    Period(Duration::from_secs(1))
}

/// Which columns of a table rows get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Picked {
    /// All but those of the key.
    #[default]
    All,
    /// These.
    Some(Vec<String>),
    /// These, by the names that they get.
    Renamed(Columns),
}

impl Picked {
    /// The columns by the name that they get, each with its name in the table.
    fn of(&self, schema: &Schema, keys: &[String]) -> Vec<(String, String)> {
        let same = |name: &String| (name.clone(), name.clone());
        match self {
            Self::All => {
                let names = schema.fields().iter().map(|field| field.name());
                names.filter(|name| !keys.contains(name)).map(same).collect()
            }
            Self::Some(names) => names.iter().map(same).collect(),
            Self::Renamed(Columns(names)) => names.clone(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::All => "all columns".into(),
            Self::Some(names) if names.is_empty() => "no column".into(),
            Self::Some(names) => names.join(", "),
            Self::Renamed(columns) => columns.names(),
        }
    }
}

/// What becomes of rows whose key the table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unmatched {
    /// They pass, with nulls in the columns of the table.
    #[default]
    Keep,
    /// They are left out, and counted.
    Drop,
    /// They become dead letters.
    Reject,
}

/// What several rows of a table with one key mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The last one takes the place of the others.
    #[default]
    Last,
    /// The table is wrong: the pipeline stops.
    Error,
}

impl LookupSpec {
    /// The table that it looks in.
    fn table(&self) -> TableName {
        let (repo, path) = (self.repo.clone(), self.path.clone());
        match &self.at {
            Some(at) => TableName { repo, point: at.clone(), pinned: true, path },
            None => {
                let point = self.branch.clone().unwrap_or_else(|| "master".to_owned());
                TableName { repo, point, pinned: false, path }
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.branch.is_some() && self.at.is_some() {
            let reason = "`branch` is followed and `at` stays as it is; name one of them";
            return Err(Error::spec(&self.id, reason));
        }
        Ok(())
    }
}

#[async_trait]
impl HandlerSpec for LookupSpec {
    fn describe(&self) -> String {
        format!("{} of {} by {}", self.columns.describe(), LookupSpec::table(self), self.on.describe())
    }

    fn gap(&self) -> Option<Gap> {
        let repo = Gap::within("repo", self.repo.trim().is_empty(), "name the repo that holds the table");
        repo.or_else(|| Gap::within("on", self.on.pairs().is_empty(), "name the columns of the key"))
    }

    fn row_by_row(&self) -> bool {
        true
    }

    /// A version that may change has to change for all partitions at once; one that does not is looked up in every lane.
    fn stateful(&self) -> bool {
        self.at.is_none()
    }

    fn table(&self) -> Option<TableName> {
        Some(LookupSpec::table(self))
    }

    async fn open(&self, builder: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        self.check()?;
        let table = builder.tables.open(self).await?;
        Ok(Box::new(Lookup { spec: self.clone(), on: self.on.pairs(), table, output: None }))
    }
}

/// A running `lookup`.
#[derive(Debug)]
struct Lookup {
    spec: LookupSpec,
    on: Vec<(String, String)>,
    table: Arc<Table>,
    /// The columns that come in, and those that go out.
    output: Option<(SchemaRef, SchemaRef)>,
}

impl Lookup {
    /// The columns that go out where those of `input` come in; nothing as long as the table is not known.
    fn output(&mut self, input: &SchemaRef) -> Result<Option<SchemaRef>, Error> {
        if let Some((_, output)) = self.output.as_ref().filter(|(known, _)| known == input) {
            return Ok(Some(Arc::clone(output)));
        }
        self.on.iter().try_for_each(|(ours, _)| columns::at(&self.spec.id, input, ours).map(drop))?;
        let Some(table) = self.table.columns() else { return Ok(None) };
        let name = format!("of the table {}", LookupSpec::table(&self.spec));
        let sides = (KeySide { schema: input, name: "of the rows" }, KeySide { schema: &table.read, name: &name });
        keys::check(&self.spec.id, &self.on, sides.0, sides.1, "cast the one of the rows with a `map` before it")?;
        let mut fields: Vec<FieldRef> = input.fields().to_vec();
        for field in table.given.fields() {
            let field = self.named(field, input);
            if fields.iter().any(|known| known.name() == field.name()) {
                let reason = format!(
                    "two columns would be called `{}`; set a `prefix` for those of the table, or name its `columns`",
                    field.name()
                );
                return Err(Error::spec(&self.spec.id, reason));
            }
            fields.push(field);
        }
        let output: SchemaRef = Schema::new_with_metadata(fields, input.metadata().clone()).into();
        self.output = Some((Arc::clone(input), Arc::clone(&output)));
        Ok(Some(output))
    }

    fn named(&self, field: &FieldRef, input: &Schema) -> FieldRef {
        match &self.spec.prefix {
            Some(prefix) if input.index_of(field.name()).is_ok() => {
                Arc::new(field.as_ref().clone().with_name(format!("{prefix}{}", field.name())))
            }
            _ => Arc::clone(field),
        }
    }

    fn look_up(&self, batch: RecordBatch, table: &Keyed, output: SchemaRef) -> Result<Handled, Error> {
        let failed = Error::kernel(&self.spec.id, batch.num_rows());
        let together = |batch: &RecordBatch, given: Vec<ArrayRef>| {
            let columns = batch.columns().iter().cloned().chain(given).collect();
            RecordBatch::try_new(output, columns).map_err(failed)
        };
        let found = table.find(&keys::digests(&self.spec.id, &batch, self.on.iter().map(|(ours, _)| ours))?);
        if self.spec.unmatched == Unmatched::Keep || found.iter().all(Option::is_some) {
            return Ok(Handled::one(together(&batch, table.values(&found)?)?, Kept::All));
        }
        let mask: BooleanArray = found.iter().map(|row| Some(row.is_some())).collect();
        let kept = filter_record_batch(&batch, &mask).map_err(failed)?;
        let matched: Vec<Option<u64>> = found.iter().copied().filter(Option::is_some).collect();
        let records = together(&kept, table.values(&matched)?)?;
        let faults = if self.spec.unmatched == Unmatched::Reject {
            let missing = found.iter().enumerate().filter(|(_, row)| row.is_none());
            missing.map(|(row, _)| self.unmatched(&batch, row)).collect()
        } else {
            Vec::new()
        };
        Ok(Handled { faults, ..Handled::one(records, Kept::Rows(set_rows(&mask))) })
    }

    fn unmatched(&self, rows: &RecordBatch, row: usize) -> RowFault {
        let keys: Vec<String> = self.on.iter().map(|(ours, _)| ours.clone()).collect();
        RowFault {
            row: u32::try_from(row).unwrap_or(u32::MAX),
            code: "lookup.unmatched".into(),
            reason: format!(
                "the table {} has no row for {}",
                LookupSpec::table(&self.spec),
                describe_key(rows, &keys, row)
            ),
        }
    }
}

#[async_trait]
impl Handler for Lookup {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let schema = input.schema.as_ref().map(|schema| self.output(schema)).transpose()?;
        Ok(input.with_schema(schema.flatten()))
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        if batch.num_rows() == 0 {
            let output = self.output(batch.schema_ref())?;
            return Ok(
                output.map_or_else(Handled::default, |output| Handled::one(RecordBatch::new_empty(output), Kept::All))
            );
        }
        let table = self.table.current().await?;
        let Some(output) = self.output(batch.schema_ref())? else { return Ok(Handled::default()) };
        self.look_up(batch, &table, output)
    }
}

/// The key of a row, for people.
fn describe_key(rows: &RecordBatch, keys: &[String], row: usize) -> String {
    let value = |name: &String| {
        let column = rows.column_by_name(name)?;
        let shown = ArrayFormatter::try_new(column, &FormatOptions::default().with_null("null")).ok()?;
        Some(format!("{name} = {}", shown.value(row)))
    };
    keys.iter().filter_map(value).collect::<Vec<_>>().join(", ")
}
