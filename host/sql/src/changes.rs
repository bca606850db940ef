//! `diff('repo@a', 'repo@b')`: the rows that one commit has and the other has not.
//!
//! **Invariant**: a piece that both commits have is not read; rows that were only rewritten, into other files, are no
//! difference, and a row that is there twice in one and once in the other is one.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    catalog::{TableProvider, view::ViewTable},
    datasource::provider_as_source,
    error::Result as DataFusionResult,
    functions::math::expr_fn::abs,
    functions_nested::expr_fn::array_repeat,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, ident, lit, when},
    scalar::ScalarValue,
};
use spout_arithmetic::sum;
use spout_format::{Clash, merge};
use spout_repo::{FileEntry, Reference, Repo, Store, Tree, path};

use super::Error;
use super::{
    Verify, failed,
    names::rows,
    partitions::Partitions,
    pieces::{Pieces, TablePiece},
    table::{RepoTable, with_partitions},
};

/// Says what became of a row.
const CHANGE: &str = "_change";
const INSERT: &str = "insert";
const DELETE: &str = "delete";
/// Columns of the plan alone; no table of people's is likely to have them.
const WEIGHT: &str = "__spout_weight";
const COPIES: &str = "__spout_copies";

/// One of the two commits.
struct Side {
    reference: Reference,
    repo: Repo,
    tree: Tree,
    files: Vec<FileEntry>,
}

impl Side {
    async fn read(store: &Store, reference: &Reference, below: Option<&str>) -> Result<Self, Error> {
        let (repo, commit) = store.recorded(reference).await?;
        let mut tree = repo.tree(&commit).await?;
        let files = rows(&mut tree, below.or(reference.path.as_deref()));
        Ok(Self { reference: reference.clone(), repo, tree, files })
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }
}

/// The rows of `after` that `before` has not as `insert`, and those of `before` that `after` has not as `delete`.
///
/// # Errors
/// [`Error::NoTable`] if neither holds a table, [`Error::ChangeColumn`], and [`Error::Repo`] if they do not
/// fit or cannot be read.
pub(super) async fn table(
    store: &Store,
    before: &Reference,
    after: &Reference,
    directory: Option<&str>,
    verify: Verify,
) -> Result<Arc<dyn TableProvider>, Error> {
    let directory = directory.map(directory_path).transpose()?;
    let before = Side::read(store, before, directory.as_deref()).await?;
    let after = Side::read(store, after, directory.as_deref()).await?;
    if before.files.is_empty() && after.files.is_empty() {
        return Err(Error::NoTable { reference: after.reference.to_string() });
    }
    let schema = schema(&before, &after)?;
    let partitions = Partitions::of(before.paths().chain(after.paths()), &schema);
    let schema = with_partitions(&schema, &partitions);
    if schema.column_with_name(CHANGE).is_some() {
        return Err(Error::ChangeColumn { reference: after.reference.to_string(), column: CHANGE });
    }
    let [mut before, mut after] =
        [before, after].map(|side| Pieces::of(side.repo, side.tree, side.files, partitions.clone(), verify));
    leave_out_common(&mut before.list, &mut after.list);
    let [before, after] = [before, after].map(|pieces| Arc::new(RepoTable::of(SchemaRef::clone(&schema), pieces)));
    let plan = plan(&schema, before, after).map_err(failed)?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn directory_path(text: &str) -> Result<String, Error> {
    match text.trim_matches('/') {
        "" => Ok("/".to_owned()),
        _ => Ok(path::file_path(text.strip_suffix('/').unwrap_or(text))?),
    }
}

/// The columns that hold the rows of both.
fn schema(before: &Side, after: &Side) -> Result<SchemaRef, Error> {
    let (left, right) = (before.tree.columns(&before.files)?, after.tree.columns(&after.files)?);
    if left == right || before.files.is_empty() {
        return Ok(right);
    }
    if after.files.is_empty() {
        return Ok(left);
    }
    let merged = merge(&left, &right).map_err(|Clash { column, left, right }| spout_repo::Error::MixedTypes {
        column,
        left: left.to_string(),
        left_file: before.reference.to_string(),
        right: right.to_string(),
        right_file: after.reference.to_string(),
    })?;
    Ok(merged.into())
}

/// What two pieces have in common if they give the same rows: bytes, columns, and the values in their paths.
type Identity = (String, u64, String, Vec<ScalarValue>);

fn identity(piece: &TablePiece) -> Identity {
    let blob = &piece.piece.blob;
    (blob.sha256.clone(), blob.size, piece.info.schema.clone(), piece.values.clone())
}

/// Each piece of the one takes away one of the other.
fn leave_out_common(before: &mut Vec<TablePiece>, after: &mut Vec<TablePiece>) {
    let mut counts: HashMap<Identity, usize> = HashMap::new();
    for piece in before.iter() {
        *counts.entry(identity(piece)).or_default() += 1;
    }
    let mut common: HashMap<Identity, usize> = HashMap::new();
    after.retain(|piece| {
        let identity = identity(piece);
        let Some(left) = counts.get_mut(&identity).filter(|left| **left > 0) else { return true };
        *left -= 1;
        *common.entry(identity).or_default() += 1;
        false
    });
    before.retain(|piece| {
        let Some(left) = common.get_mut(&identity(piece)).filter(|left| **left > 0) else { return true };
        *left -= 1;
        false
    });
}

/// Every row of the one weighs -1 and every row of the other 1; equal rows are weighed together, and what does not
/// balance comes out as often as it weighs.
fn plan(schema: &SchemaRef, before: Arc<RepoTable>, after: Arc<RepoTable>) -> DataFusionResult<LogicalPlan> {
    let columns: Vec<Expr> = schema.fields().iter().map(|field| ident(field.name())).collect();
    let with = |first: Expr| -> Vec<Expr> { std::iter::once(first).chain(columns.iter().cloned()).collect() };
    let weighed = |name: &str, table: Arc<RepoTable>, weight: i64| {
        let scan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?;
        scan.project(with(lit(weight).alias(WEIGHT)))
    };
    let change = when(ident(WEIGHT).gt(lit(0i64)), lit(INSERT)).otherwise(lit(DELETE))?;
    let copies = array_repeat(lit(true), cast(abs(ident(WEIGHT)), DataType::Int64));
    weighed("before", before, -1)?
        .union(weighed("after", after, 1)?.build()?)?
        .aggregate(columns.clone(), vec![sum(ident(WEIGHT)).alias(WEIGHT)])?
        .filter(ident(WEIGHT).not_eq(lit(0i64)))?
        .project(with(change.alias(CHANGE)).into_iter().chain([copies.alias(COPIES)]))?
        .unnest_column(COPIES)?
        .project(with(ident(CHANGE)))?
        .build()
}
