//! Aggregate functions over floats whose result does not depend on the order of rows.

use std::{mem::take, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, Int64Array, ListBuilder},
    datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result, not_impl_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::exact::Exact;

/// What is made of the floats of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Sum,
    Mean,
    Variance,
    VarianceOfAll,
    Deviation,
    DeviationOfAll,
    Least,
    Greatest,
}

impl Kind {
    /// What does the same as DataFusion's function of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "avg" => Self::Mean,
            "var" | "var_samp" => Self::Variance,
            "var_pop" => Self::VarianceOfAll,
            "stddev" | "stddev_samp" => Self::Deviation,
            "stddev_pop" => Self::DeviationOfAll,
            "min" => Self::Least,
            "max" => Self::Greatest,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "avg",
            Self::Variance => "var",
            Self::VarianceOfAll => "var_pop",
            Self::Deviation => "stddev",
            Self::DeviationOfAll => "stddev_pop",
            Self::Least => "min",
            Self::Greatest => "max",
        }
    }

    fn extreme(self) -> bool {
        matches!(self, Self::Least | Self::Greatest)
    }

    fn squares(self) -> bool {
        !self.extreme() && !matches!(self, Self::Sum | Self::Mean)
    }

    fn function(self) -> AggregateUDF {
        AggregateUDF::new_from_impl(OrderFree { kind: self, signature: Signature::any(1, Volatility::Immutable) })
    }
}

/// The function of this kind, of one column of 64 bit floats.
pub(super) fn function(kind: Kind) -> Arc<AggregateUDF> {
    Arc::new(kind.function())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderFree {
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for OrderFree {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} of floats is made for all groups at once", self.kind.name())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = || DataType::new_list(DataType::Float64, true);
        let mut types = match (self.kind.extreme(), self.kind.squares()) {
            (true, _) => vec![DataType::Float64],
            (_, false) => vec![list(), list()],
            (_, true) => vec![list(), list(), list(), list()],
        };
        types.push(DataType::Int64);
        let field = |(index, kind)| Arc::new(Field::new(format!("{}[{index}]", args.name), kind, true));
        Ok(types.into_iter().enumerate().map(field).collect())
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Floats {
            kind: self.kind,
            counts: Vec::new(),
            sums: Vec::new(),
            squares: Vec::new(),
            best: Vec::new(),
        }))
    }
}

/// The floats of all groups; what the kind does not need stays empty.
struct Floats {
    kind: Kind,
    counts: Vec<i64>,
    sums: Vec<Exact>,
    squares: Vec<Exact>,
    best: Vec<f64>,
}

impl Floats {
    fn make_room(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        if self.kind.extreme() {
            self.best.resize(groups, 0.0)
        } else {
            self.sums.resize(groups, Exact::default())
        }
        if self.kind.squares() {
            self.squares.resize(groups, Exact::default());
        }
    }

    fn add(&mut self, group: usize, value: f64) {
        if self.kind.extreme() {
            self.compare(group, value);
        } else {
            self.sums[group].add(value);
        }
        if self.kind.squares() {
            self.squares[group].add_square(value);
        }
        self.counts[group] += 1;
    }

    /// NaN is greater than all numbers, as in SQL.
    fn compare(&mut self, group: usize, value: f64) {
        let value = if value.is_nan() { f64::NAN } else { value };
        let order = value.total_cmp(&self.best[group]);
        let better = if self.kind == Kind::Least { order.is_lt() } else { order.is_gt() };
        if self.counts[group] == 0 || better {
            self.best[group] = value;
        }
    }

    fn result(&self, group: usize) -> Option<f64> {
        let count = self.counts[group];
        let all = match self.kind {
            Kind::VarianceOfAll | Kind::DeviationOfAll => count as f64,
            _ => count as f64 - 1.0,
        };
        match self.kind {
            _ if count == 0 => None,
            Kind::Least | Kind::Greatest => Some(self.best[group]),
            Kind::Sum => Some(self.sums[group].value()),
            Kind::Mean => Some(self.sums[group].value() / count as f64),
            _ if all <= 0.0 => None,
            Kind::Variance | Kind::VarianceOfAll => Some(self.spread(group) / all),
            Kind::Deviation | Kind::DeviationOfAll => Some((self.spread(group) / all).sqrt()),
        }
    }

    /// The sum of the squared distances from the mean: Σx² − (Σx)²/n, with twice the digits of a float.
    fn spread(&self, group: usize) -> f64 {
        let count = self.counts[group] as f64;
        let (sum, more) = self.sums[group].pair();
        let (squares, rest) = self.squares[group].pair();
        let mean = sum / count;
        // What the mean leaves, so that (mean + left) is (Σx)/n.
        let left = ((-mean).mul_add(count, sum) + more) / count;
        let product = mean * sum;
        let correction = mean.mul_add(sum, -product) + mean * more + left * sum;
        let spread = (squares - product) + (rest - correction);
        if spread.is_nan() { spread } else { spread.max(0.0) }
    }

    fn forget(&mut self, emit_to: EmitTo) -> Self {
        Self {
            kind: self.kind,
            counts: emit_to.take_needed(&mut self.counts),
            sums: taken(emit_to, &mut self.sums),
            squares: taken(emit_to, &mut self.squares),
            best: taken(emit_to, &mut self.best),
        }
    }
}

/// A list that the kind does not need is empty and stays so.
fn taken<T>(emit_to: EmitTo, list: &mut Vec<T>) -> Vec<T> {
    if list.is_empty() { take(list) } else { emit_to.take_needed(list) }
}

fn floats(array: &ArrayRef) -> Result<&Float64Array> {
    let found = array.as_primitive_opt::<Float64Type>();
    found.ok_or_else(|| DataFusionError::Internal(format!("expected floats, found {}", array.data_type())))
}

impl GroupsAccumulator for Floats {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.make_room(total);
        let values = floats(&values[0])?;
        let counts = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        for (row, &group) in groups.iter().enumerate() {
            if values.is_valid(row) && counts(row) {
                self.add(group, values.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let done = self.forget(emit_to);
        Ok(Arc::new(Float64Array::from_iter((0..done.counts.len()).map(|group| done.result(group)))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let done = self.forget(emit_to);
        let mut state: Vec<ArrayRef> = Vec::new();
        let kept: &[&Vec<Exact>] = match (self.kind.extreme(), self.kind.squares()) {
            (true, _) => &[],
            (_, false) => &[&done.sums],
            (_, true) => &[&done.sums, &done.squares],
        };
        for sums in kept {
            state.push(lists(sums, |sum| sum.parts().collect()));
            state.push(lists(sums, |sum| sum.large().to_vec()));
        }
        if self.kind.extreme() {
            state.push(Arc::new(Float64Array::from(done.best)));
        }
        state.push(Arc::new(Int64Array::from(done.counts)));
        Ok(state)
    }

    fn merge_batch(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.make_room(total);
        let Some((counts, state)) = state.split_last() else { return Ok(()) };
        let counts = counts.as_primitive::<Int64Type>();
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| counts.value(*row) > 0) {
            if self.kind.extreme() {
                self.compare(group, floats(&state[0])?.value(row));
            } else {
                add_lists(&mut self.sums[group], &state[..2], row)?;
            }
            if self.kind.squares() {
                add_lists(&mut self.squares[group], &state[2..], row)?;
            }
            self.counts[group] += counts.value(row);
        }
        Ok(())
    }

    fn convert_to_state(&self, _: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        not_impl_err!("{} of floats has no state of single rows", self.kind.name())
    }

    fn size(&self) -> usize {
        let sums = self.sums.iter().chain(&self.squares).map(Exact::bytes).sum::<usize>();
        sums + 8 * (self.counts.capacity() + self.best.capacity())
    }
}

fn lists(sums: &[Exact], parts: impl Fn(&Exact) -> Vec<f64>) -> ArrayRef {
    let mut lists = ListBuilder::new(Float64Builder::new());
    for sum in sums {
        lists.values().append_slice(&parts(sum));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn add_lists(sum: &mut Exact, state: &[ArrayRef], row: usize) -> Result<()> {
    let [parts, large] = state else {
        return Err(DataFusionError::Internal("a sum has two lists".into()));
    };
    floats(&parts.as_list::<i32>().value(row))?.values().iter().for_each(|&part| sum.add(part));
    floats(&large.as_list::<i32>().value(row))?.values().iter().for_each(|&part| sum.add_large(part));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accumulator(kind: Kind) -> Floats {
        Floats { kind, counts: Vec::new(), sums: Vec::new(), squares: Vec::new(), best: Vec::new() }
    }

    fn check(kind: Kind, values: &[f64], expected: Option<f64>) {
        let (one, other) = values.split_at(values.len() / 2);
        let mut whole = accumulator(kind);
        for half in [one, other] {
            let mut part = accumulator(kind);
            let rows: ArrayRef = Arc::new(Float64Array::from(half.to_vec()));
            part.update_batch(&[rows], &vec![1; half.len()], None, 2).unwrap();
            whole.merge_batch(&part.state(EmitTo::All).unwrap(), &[0, 1], 2).unwrap();
        }
        let result = whole.evaluate(EmitTo::All).unwrap();
        let result = result.as_primitive::<Float64Type>();
        assert_eq!((result.len(), result.is_null(0)), (2, true));
        let got = result.is_valid(1).then(|| result.value(1));
        assert_eq!(got.map(f64::to_bits), expected.map(f64::to_bits), "{kind:?} of {values:?} is {got:?}");
    }

    #[test]
    fn parts_give_what_all_rows_give() {
        check(Kind::Sum, &[0.1; 10], Some(1.0));
        check(Kind::Sum, &[], None);
        check(Kind::Mean, &[0.0, 1.0], Some(0.5));
        check(Kind::Mean, &[1e308, 1e308], Some(1e308 * 2.0 / 2.0));
        check(Kind::Variance, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], Some(32.0 / 7.0));
        check(Kind::VarianceOfAll, &[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0], Some(2.0 / 3.0));
        check(Kind::DeviationOfAll, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], Some(2.0));
        check(Kind::Deviation, &[3.0], None);
        check(Kind::DeviationOfAll, &[5.0; 7], Some(0.0));
        check(Kind::Greatest, &[f64::NEG_INFINITY], Some(f64::NEG_INFINITY));
        check(Kind::Greatest, &[1.0, f64::NAN, 2.0], Some(f64::NAN));
        check(Kind::Least, &[3.0, f64::NAN, 2.0], Some(2.0));
    }
}
