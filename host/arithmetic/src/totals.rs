//! `sum` and `avg` whose totals do not wrap: DataFusion's own sums over wider numbers, brought back when they are asked for.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array},
    compute::{CastOptions, cast, cast_with_options},
    datatypes::{
        DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef,
        Int64Type, UInt64Type, i256,
    },
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, plan_err},
    functions_aggregate::{average::avg_udaf, count::count_udaf, sum::sum_udaf},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

use super::checked::digits;

const WHOLE: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);

/// What is made of all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Sum,
    Mean,
}

impl Kind {
    /// The function, under DataFusion's names for it.
    pub(super) fn function(self) -> AggregateUDF {
        let aliases = match self {
            Self::Sum => Vec::new(),
            Self::Mean => vec!["mean".to_owned()],
        };
        AggregateUDF::new_from_impl(Total {
            kind: self,
            aliases,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    }

    fn plain(self) -> Arc<AggregateUDF> {
        match self {
            Self::Sum => sum_udaf(),
            Self::Mean => avg_udaf(),
        }
    }

    /// What values of `kind` are added up as; `None` where DataFusion's own sums do not wrap.
    fn wide(self, kind: &DataType) -> Option<DataType> {
        match kind {
            DataType::Duration(_) => Some(WHOLE),
            whole if whole.is_integer() => Some(WHOLE),
            DataType::Decimal128(_, scale) if self == Self::Sum => {
                Some(DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale))
            }
            _ => None,
        }
    }

    /// The type that a value of type `kind` is taken as.
    fn taken_as(self, kind: &DataType) -> Result<DataType> {
        Ok(match kind {
            DataType::Null if self == Self::Sum => DataType::Int64,
            DataType::Null | DataType::Float16 | DataType::Float32 => DataType::Float64,
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                DataType::Decimal128(*precision, *scale)
            }
            DataType::Dictionary(_, values) => self.taken_as(values)?,
            DataType::RunEndEncoded(_, values) => self.taken_as(values.data_type())?,
            DataType::Interval(_) if self == Self::Sum => kind.clone(),
            number if number.is_numeric() || matches!(number, DataType::Duration(_)) => number.clone(),
            other => {
                let name = self.plain().name().to_owned();
                return plan_err!(
                    "{name} needs numbers, and this is {other}; cast it, as in `{name}(cast(… as double))`"
                );
            }
        })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Total {
    kind: Kind,
    aliases: Vec<String>,
    signature: Signature,
}

impl Total {
    /// DataFusion's `function` over `wide` numbers, made of what `make` gives.
    fn over<T>(
        function: &AggregateUDF,
        wide: &DataType,
        args: AccumulatorArgs<'_>,
        make: impl Fn(&AggregateUDF, AccumulatorArgs<'_>) -> Result<T>,
    ) -> Result<T> {
        let field: FieldRef = Arc::new(Field::new(args.name, wide.clone(), true));
        let result = Arc::new(Field::new(args.name, function.return_type(std::slice::from_ref(wide))?, true));
        make(function, AccumulatorArgs { return_field: result, expr_fields: &[field], ..args })
    }

    /// The sum, and the count where it takes one, over wide numbers.
    fn widened<T>(
        &self,
        wide: DataType,
        args: &AccumulatorArgs<'_>,
        make: impl Fn(&AggregateUDF, AccumulatorArgs<'_>) -> Result<T>,
    ) -> Result<Widened<T>> {
        let result = args.return_type().clone();
        let sum = Self::over(&sum_udaf(), &wide, copied(args), &make)?;
        let count = match self.kind {
            Kind::Sum => None,
            Kind::Mean => Some(Self::over(&count_udaf(), &wide, copied(args), &make)?),
        };
        Ok(Widened { sum, count, wide, result })
    }

    fn wide(&self, args: &AccumulatorArgs<'_>) -> Option<DataType> {
        args.expr_fields.first().and_then(|field| self.kind.wide(field.data_type()))
    }
}

fn copied<'a>(args: &AccumulatorArgs<'a>) -> AccumulatorArgs<'a> {
    AccumulatorArgs { return_field: Arc::clone(&args.return_field), ..*args }
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Mean => "avg",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        match kinds {
            [kind] => Ok(vec![self.kind.taken_as(kind)?]),
            others => plan_err!("{} takes one argument, not {}", self.name(), others.len()),
        }
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        match (self.kind, kinds) {
            (_, [kind @ DataType::Duration(_)]) => Ok(kind.clone()),
            (Kind::Sum, [kind]) if kind.is_integer() => Ok(WHOLE),
            (Kind::Mean, [kind]) if kind.is_integer() => Ok(DataType::Float64),
            _ => self.kind.plain().return_type(kinds),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let Some(wide) = args.input_fields.first().and_then(|field| self.kind.wide(field.data_type())) else {
            return self.kind.plain().state_fields(args);
        };
        let of = |function: Arc<AggregateUDF>| {
            function.state_fields(StateFieldsArgs {
                name: args.name,
                input_fields: &[Arc::new(Field::new(args.name, wide.clone(), true))],
                return_field: Arc::new(Field::new(args.name, function.return_type(std::slice::from_ref(&wide))?, true)),
                ordering_fields: args.ordering_fields,
                is_distinct: args.is_distinct,
            })
        };
        let mut fields = of(sum_udaf())?;
        if self.kind == Kind::Mean {
            fields.extend(of(count_udaf())?);
        }
        Ok(fields)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.wide(&args) {
            None => self.kind.plain().accumulator(args),
            Some(wide) => Ok(Box::new(self.widened(wide, &args, AggregateUDF::accumulator)?)),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.wide(&args) {
            None => self.kind.plain().create_sliding_accumulator(args),
            Some(wide) => Ok(Box::new(self.widened(wide, &args, AggregateUDF::create_sliding_accumulator)?)),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match self.wide(&args) {
            None => self.kind.plain().groups_accumulator_supported(args),
            Some(_) => !args.is_distinct,
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match self.wide(&args) {
            None => self.kind.plain().create_groups_accumulator(args),
            Some(wide) => Ok(Box::new(self.widened(wide, &args, AggregateUDF::create_groups_accumulator)?)),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// DataFusion's sum over wider numbers, and the count of a mean.
#[derive(Debug)]
struct Widened<T> {
    sum: T,
    count: Option<T>,
    wide: DataType,
    result: DataType,
}

impl<T> Widened<T> {
    fn values(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        values.iter().map(|array| widen(array, &self.wide)).collect()
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut T> {
        std::iter::once(&mut self.sum).chain(&mut self.count)
    }

    /// The result of sums, and of counts where there are any.
    fn finish(&self, sums: ArrayRef, counts: Option<ArrayRef>) -> Result<ArrayRef> {
        match counts {
            None => narrow(&sums, &self.result),
            Some(counts) => means(&sums, &counts, &self.result),
        }
    }
}

impl GroupsAccumulator for Widened<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let values = self.values(values)?;
        self.parts().try_for_each(|part| part.update_batch(&values, groups, filter, total))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.sum.evaluate(emit_to)?;
        let counts = self.count.as_mut().map(|count| count.evaluate(emit_to)).transpose()?;
        self.finish(sums, counts)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let states = self.parts().map(|part| part.state(emit_to)).collect::<Result<Vec<_>>>()?;
        Ok(states.into_iter().flatten().collect())
    }

    fn merge_batch(&mut self, state: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        // Each part has a state of one column.
        let mut columns = state.chunks(1);
        self.parts().try_for_each(|part| part.merge_batch(columns.next().unwrap_or_default(), groups, total))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = self.values(values)?;
        let parts = std::iter::once(&self.sum).chain(&self.count);
        let states = parts.map(|part| part.convert_to_state(&values, filter)).collect::<Result<Vec<_>>>()?;
        Ok(states.into_iter().flatten().collect())
    }

    fn size(&self) -> usize {
        self.sum.size() + self.count.as_ref().map_or(0, |count| count.size())
    }
}

impl Accumulator for Widened<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.values(values)?;
        self.parts().try_for_each(|part| part.update_batch(&values))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.sum.evaluate()?.to_array()?;
        let count = self.count.as_mut().map(|count| count.evaluate()?.to_array()).transpose()?;
        ScalarValue::try_from_array(&self.finish(sum, count)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let states = self.parts().map(|part| part.state()).collect::<Result<Vec<_>>>()?;
        Ok(states.into_iter().flatten().collect())
    }

    fn merge_batch(&mut self, state: &[ArrayRef]) -> Result<()> {
        let mut columns = state.chunks(1);
        self.parts().try_for_each(|part| part.merge_batch(columns.next().unwrap_or_default()))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.values(values)?;
        self.parts().try_for_each(|part| part.retract_batch(&values))
    }

    fn supports_retract_batch(&self) -> bool {
        self.sum.supports_retract_batch() && self.count.as_ref().is_none_or(|count| count.supports_retract_batch())
    }

    fn size(&self) -> usize {
        self.sum.size() + self.count.as_ref().map_or(0, |count| count.size())
    }
}

/// `array` as wider numbers.
fn widen(array: &ArrayRef, wide: &DataType) -> Result<ArrayRef> {
    let (precision, scale) = match wide {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        other => return Err(exec_datafusion_err!("numbers cannot be added up as {other}")),
    };
    Ok(match array.data_type() {
        kind if kind == wide => Arc::clone(array),
        DataType::Decimal128(..) => {
            let wide = array.as_primitive::<Decimal128Type>().unary::<_, Decimal256Type>(i256::from_i128);
            Arc::new(wide.with_precision_and_scale(precision, scale)?)
        }
        kind if kind.is_unsigned_integer() => {
            let whole = cast(array, &DataType::UInt64)?;
            let wide = whole.as_primitive::<UInt64Type>().unary::<_, Decimal128Type>(i128::from);
            Arc::new(wide.with_precision_and_scale(precision, scale)?)
        }
        _ => {
            let whole = cast(array, &DataType::Int64)?;
            let wide = whole.as_primitive::<Int64Type>().unary::<_, Decimal128Type>(i128::from);
            Arc::new(wide.with_precision_and_scale(precision, scale)?)
        }
    })
}

/// Sums as what the function gives.
fn narrow(sums: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let overflow =
        |error: DataFusionError| exec_datafusion_err!("overflow: a sum does not fit {to}: {}", error.strip_backtrace());
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    if sums.data_type() == to {
        digits(sums).map_err(overflow)?;
        return Ok(Arc::clone(sums));
    }
    let narrowed = match to {
        DataType::Duration(_) => {
            cast_with_options(sums, &DataType::Int64, &strict).and_then(|whole| cast_with_options(&whole, to, &strict))
        }
        _ => cast_with_options(sums, to, &strict),
    };
    narrowed.map_err(|error| overflow(error.into()))
}

/// Means, each rounded once.
fn means(sums: &ArrayRef, counts: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let (sums, counts) = (sums.as_primitive::<Decimal128Type>(), counts.as_primitive::<Int64Type>());
    let pairs = sums.iter().zip(counts).map(|(sum, count)| sum.zip(count.filter(|count| *count > 0)));
    match to {
        DataType::Duration(_) => {
            let whole = |(sum, count): (i128, i64)| i64::try_from(sum / i128::from(count)).ok();
            let means: Int64Array = pairs.map(|pair| pair.and_then(whole)).collect();
            Ok(cast(&means, to)?)
        }
        _ => {
            let means: Float64Array = pairs.map(|pair| pair.map(|(sum, count)| mean(sum, count))).collect();
            Ok(Arc::new(means))
        }
    }
}

/// The float nearest to `sum / count`; `count` is above nought.
fn mean(sum: i128, count: i64) -> f64 {
    let (size, count) = (sum.unsigned_abs(), u128::from(count.unsigned_abs()));
    if size == 0 {
        return 0.0;
    }
    // The quotient has 64 bits or more, so that what is left of the division only matters as "there is something".
    let shift = size.leading_zeros();
    let (quotient, left) = ((size << shift) / count, (size << shift) % count);
    let nearest = (quotient | u128::from(left > 0)) as f64 * 2_f64.powi(-(shift as i32));
    if sum < 0 { -nearest } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_rounded_once() {
        let check = |sum: i128, count: i64, expected: f64| {
            assert_eq!(mean(sum, count).to_bits(), expected.to_bits(), "{sum} / {count} = {}", mean(sum, count));
        };
        check(0, 3, 0.0);
        check(8, 3, 8.0 / 3.0);
        check(-1, 3, -1.0 / 3.0);
        check(18_000_000_000_000_000_000, 2, 9e18);
        check((1 << 53) + 2, 2, 4_503_599_627_370_497.0);
        check(-((1 << 53) + 2), 2, -4_503_599_627_370_497.0);
        check((1 << 53) + 1, 1, 9_007_199_254_740_992.0);
        check(((1 << 53) + 1) * 3 + 1, 3, 9_007_199_254_740_994.0);
        check(i128::from(i64::MAX) * 1_000_003, 1_000_003, i64::MAX as f64);
        check(1, i64::MAX, 1.0 / i64::MAX as f64);
    }
}
