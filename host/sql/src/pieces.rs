//! The pieces of the files that a table is made of, and what is known of each before it is read.

use std::{fmt, ops::Range};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::{
    common::{ColumnStatistics, Statistics, stats::Precision},
    scalar::ScalarValue,
};
use spout_repo::{FileEntry, Piece, Repo, TableInfo, Tree};

use super::{Verify, bounds::Bounds, partitions::Partitions, views::Viewed};

/// One put of one file of a table.
#[derive(Clone, Debug)]
pub(super) struct TablePiece {
    /// The file, without its pieces: each is listed on its own.
    pub(super) file: FileEntry,
    pub(super) piece: Piece,
    pub(super) info: TableInfo,
    /// Its own columns.
    pub(super) schema: SchemaRef,
    /// Values of the table's partition columns.
    pub(super) values: Vec<ScalarValue>,
}

/// What all partitions of a scan share.
pub(super) struct Pieces {
    pub(super) repo: Repo,
    /// The commit that they are of.
    pub(super) commit: String,
    pub(super) partitions: Partitions,
    pub(super) list: Vec<TablePiece>,
    pub(super) verify: Verify,
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("repo", &self.repo.name()).field("pieces", &self.list.len()).finish()
    }
}

impl Pieces {
    /// Those of `files`.
    pub(super) fn of(repo: Repo, tree: Tree, files: Vec<FileEntry>, partitions: Partitions, verify: Verify) -> Self {
        let pieces = files.into_iter().flat_map(|mut file| {
            let (pieces, values) = (std::mem::take(&mut file.pieces), partitions.values(&file.path));
            pieces.into_iter().filter_map({
                let tree = &tree;
                move |mut piece| {
                    let schema = SchemaRef::clone(tree.schema(&piece)?);
                    let info = piece.table.take()?;
                    Some(TablePiece { file: file.clone(), piece, info, schema, values: values.clone() })
                }
            })
        });
        let list = pieces.collect();
        Self { repo, commit: tree.commit().to_owned(), partitions, list, verify }
    }

    /// The same, read with their texts as views.
    pub(super) fn viewed(mut self) -> Self {
        let mut schemas = Viewed::default();
        self.list.iter_mut().for_each(|piece| piece.schema = schemas.of(&piece.schema));
        self
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Rows in the piece at `index`.
    pub(super) fn rows(&self, index: usize) -> u64 {
        self.list.get(index).map_or(0, |piece| piece.info.rows)
    }

    /// Files that have one of the pieces at `indexes`, which rise.
    pub(super) fn files(&self, indexes: impl IntoIterator<Item = usize>) -> usize {
        let mut paths: Vec<_> =
            indexes.into_iter().filter_map(|index| Some(&self.list.get(index)?.file.path)).collect();
        paths.dedup();
        paths.len()
    }

    /// What is known of column `field` of the table in the piece at `index`.
    pub(super) fn bounds(&self, index: usize, field: &Field) -> Bounds {
        let Some(piece) = self.list.get(index) else { return Bounds::default() };
        let (rows, wanted) = (piece.info.rows, field.data_type());
        let partition = self.partitions.fields().iter().position(|there| there.name() == field.name());
        if let Some(value) = partition.and_then(|partition| piece.values.get(partition)) {
            return Bounds::constant(value.clone(), rows);
        }
        match piece.schema.field_with_name(field.name()).map(Field::data_type) {
            Err(_) | Ok(DataType::Null) => Bounds::nothing(wanted, rows),
            Ok(own) => match piece.info.columns.iter().find(|there| there.name == *field.name()) {
                Some(statistics) => Bounds::recorded(statistics, own, wanted, rows),
                None => Bounds::default(),
            },
        }
    }

    /// What DataFusion may know of the pieces at `indexes`, exact where `whole`, that is where all their rows come out.
    pub(super) fn statistics(&self, indexes: &[usize], schema: &Schema, whole: bool) -> Statistics {
        let rows = indexes.iter().map(|&index| self.rows(index)).sum::<u64>();
        let bytes = indexes.iter().filter_map(|&index| Some(self.list.get(index)?.piece.blob.size)).sum::<u64>();
        let column = |field: &std::sync::Arc<Field>| self.column(indexes, field);
        let statistics = Statistics {
            num_rows: usize::try_from(rows).map_or(Precision::Absent, Precision::Exact),
            total_byte_size: usize::try_from(bytes).map_or(Precision::Absent, Precision::Inexact),
            column_statistics: schema.fields().iter().map(column).collect(),
        };
        if whole { statistics } else { statistics.to_inexact() }
    }

    fn column(&self, indexes: &[usize], field: &Field) -> ColumnStatistics {
        let filled = indexes.iter().copied().filter(|&index| self.rows(index) > 0);
        let all: Vec<_> = filled.map(|index| self.bounds(index, field)).collect();
        let nulls = all.iter().map(|bounds| bounds.nulls).sum::<Option<u64>>().and_then(|nulls| nulls.try_into().ok());
        ColumnStatistics {
            null_count: nulls.map_or(Precision::Absent, Precision::Exact),
            min_value: outermost(all.iter().map(|bounds| bounds.min.as_ref()), |next, best| next < best),
            max_value: outermost(all.iter().map(|bounds| bounds.max.as_ref()), |next, best| next > best),
            ..ColumnStatistics::new_unknown()
        }
    }
}

/// The best of values that are all known; null is no value, but what the best of none is.
fn outermost<'a>(
    values: impl Iterator<Item = Option<&'a ScalarValue>>,
    better: impl Fn(&ScalarValue, &ScalarValue) -> bool,
) -> Precision<ScalarValue> {
    let Some(values) = values.collect::<Option<Vec<_>>>() else { return Precision::Absent };
    let best = values.into_iter().reduce(|best, next| match (best.is_null(), next.is_null()) {
        (true, _) => next,
        (_, true) => best,
        _ if better(next, best) => next,
        _ => best,
    });
    best.map_or(Precision::Absent, |best| Precision::Exact(best.clone()))
}

/// `count` things as at most `parts` runs of about the same weight.
pub(super) fn runs(weights: &[u64], parts: usize) -> Vec<Range<usize>> {
    let total: u64 = weights.iter().sum();
    let share = (total / parts.max(1) as u64).max(1);
    let (mut runs, mut from, mut weight) = (Vec::new(), 0, 0);
    for (index, own) in weights.iter().enumerate() {
        weight += own;
        if weight >= share && runs.len() + 1 < parts {
            runs.push(from..index + 1);
            (from, weight) = (index + 1, 0);
        }
    }
    if from < weights.len() || runs.is_empty() {
        runs.push(from..weights.len());
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_share_the_weight() {
        let check = |weights: &[u64], parts, expected: &[(usize, usize)]| {
            let found: Vec<_> = runs(weights, parts).iter().map(|run| (run.start, run.end)).collect();
            assert_eq!(found, expected, "{weights:?} by {parts}");
        };
        check(&[], 4, &[(0, 0)]);
        check(&[1, 1, 1, 1], 2, &[(0, 2), (2, 4)]);
        check(&[9, 1, 1, 1], 2, &[(0, 1), (1, 4)]);
        check(&[1, 1, 9], 2, &[(0, 3)]);
        check(&[5, 5, 5], 8, &[(0, 1), (1, 2), (2, 3)]);
        check(&[0, 0], 2, &[(0, 2)]);
    }
}
