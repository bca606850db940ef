//! The rows of one group that a derivative looks at, and the nearest of them.

use crate::digest::Digest;

/// Times and values of rows in order, of which the first go as others come.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) group: Digest,
    times: Vec<i64>,
    /// By column; NaN is no value.
    values: Vec<Vec<f64>>,
    /// How many at the front are gone.
    gone: usize,
    /// The number of the first that is not, counted from the first there was.
    first: u64,
}

/// The values nearest to a row, and how far away they are.
#[derive(Debug, Default)]
pub(super) struct Near {
    pub(super) distances: Vec<i64>,
    pub(super) values: Vec<f64>,
}

/// So many that are gone stay where they are.
const FEW: usize = 1024;

impl Track {
    pub(super) fn new(group: Digest, columns: usize) -> Self {
        Self { group, times: Vec::new(), values: vec![Vec::new(); columns], gone: 0, first: 0 }
    }

    /// Takes a row; its number.
    pub(super) fn push(&mut self, time: i64, values: impl Iterator<Item = f64>) -> u64 {
        self.times.push(time);
        self.values.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        self.first + (self.times.len() - self.gone) as u64 - 1
    }

    /// Lets go of the first row.
    pub(super) fn pop(&mut self) {
        (self.gone, self.first) = (self.gone + 1, self.first + 1);
        if self.gone > FEW && self.gone * 2 > self.times.len() {
            self.times.drain(..self.gone);
            self.values.iter_mut().for_each(|column| drop(column.drain(..self.gone)));
            self.gone = 0;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone == self.times.len()
    }

    /// Of the rows that are no further than `within` from the row of that number, the nearest `points` with a value in `column`;
    /// of two that are as near the earlier comes first. Rows of one time are one, with their mean.
    pub(super) fn nearest(&self, row: u64, within: u64, points: usize, column: usize, near: &mut Near) {
        near.distances.clear();
        near.values.clear();
        let times = self.times.get(self.gone..).unwrap_or_default();
        let values = self.values.get(column).and_then(|values| values.get(self.gone..)).unwrap_or_default();
        let at = usize::try_from(row - self.first).unwrap_or(usize::MAX);
        let Some(&here) = times.get(at) else { return };
        let mut left = at - times[..at].iter().rev().take_while(|time| **time == here).count();
        let mut right = at + times[at..].iter().take_while(|time| **time == here).count();
        near.add(0, &values[left..right]);
        while near.values.len() < points {
            let before = left.checked_sub(1).map(|row| times[row].abs_diff(here)).filter(|far| *far <= within);
            let after = times.get(right).map(|time| time.abs_diff(here)).filter(|far| *far <= within);
            let earlier = match (before, after) {
                (None, None) => break,
                (Some(before), Some(after)) => before <= after,
                (before, _) => before.is_some(),
            };
            if earlier {
                let (end, time) = (left, times[left - 1]);
                left -= times[..left].iter().rev().take_while(|other| **other == time).count();
                near.add(time.wrapping_sub(here), &values[left..end]);
            } else {
                let (start, time) = (right, times[right]);
                right += times[right..].iter().take_while(|other| **other == time).count();
                near.add(time.wrapping_sub(here), &values[start..right]);
            }
        }
    }
}

impl Near {
    /// Adds rows of one time, as far as they have values.
    fn add(&mut self, distance: i64, values: &[f64]) {
        let value = match values {
            [value] => *value,
            values => {
                let count = values.iter().filter(|value| !value.is_nan()).count();
                values.iter().filter(|value| !value.is_nan()).sum::<f64>() / count as f64
            }
        };
        // Where there is none, it is nought divided by nought.
        if !value.is_nan() {
            self.distances.push(distance);
            self.values.push(value);
        }
    }
}
