//! Sums of floats that do not depend on the order of what is added.

/// From here on numbers are added scaled, so that no sum of them overflows on its way.
const LARGE: f64 = f64::from_bits((1023 + 900) << 52);
const SCALE: f64 = f64::from_bits((1023 - 200) << 52);

/// The exact sum of all floats that were added: not rounded until it is asked for, so that any order, and any way of adding
/// parts first, gives the same float (Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997).
///
/// Two floats hold most sums; what they cannot hold is in `rest`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exact {
    high: f64,
    low: f64,
    rest: Option<Box<Rest>>,
}

#[derive(Clone, Debug, Default)]
struct Rest {
    small: Vec<f64>,
    /// Scaled.
    large: Vec<f64>,
    nan: bool,
    up: bool,
    down: bool,
}

impl Exact {
    pub(crate) fn add(&mut self, value: f64) {
        if value.abs() < LARGE {
            let (high, error) = two_sum(self.high, value);
            let (low, lost) = two_sum(self.low, error);
            (self.high, self.low) = (high, low);
            if lost != 0.0 {
                grow(&mut self.rest.get_or_insert_default().small, lost);
            }
            return;
        }
        if value.is_finite() {
            return self.add_large(value * SCALE);
        }
        let rest = self.rest.get_or_insert_default();
        rest.nan |= value.is_nan();
        rest.up |= value == f64::INFINITY;
        rest.down |= value == f64::NEG_INFINITY;
    }

    /// Adds the square of `value`, as exactly as two floats can hold it.
    pub(crate) fn add_square(&mut self, value: f64) {
        let square = value * value;
        self.add(square);
        if square.is_finite() {
            self.add(value.mul_add(value, -square));
        }
    }

    /// Adds a number that is scaled already: one of [`Exact::large`].
    pub(crate) fn add_large(&mut self, scaled: f64) {
        grow(&mut self.rest.get_or_insert_default().large, scaled);
    }

    /// Numbers whose sum it is, besides [`Exact::large`].
    pub(crate) fn parts(&self) -> impl Iterator<Item = f64> {
        let rest = self.rest.iter();
        let odd = rest.clone().flat_map(|rest| {
            let odd = [(rest.nan, f64::NAN), (rest.up, f64::INFINITY), (rest.down, f64::NEG_INFINITY)];
            odd.into_iter().filter_map(|(is, value)| is.then_some(value))
        });
        let own = [self.high, self.low].into_iter().filter(|part| *part != 0.0);
        own.chain(rest.flat_map(|rest| rest.small.iter().copied())).chain(odd)
    }

    /// Scaled numbers that belong to the sum.
    pub(crate) fn large(&self) -> &[f64] {
        self.rest.as_ref().map_or(&[], |rest| &rest.large)
    }

    /// The float nearest to the sum.
    pub(crate) fn value(&self) -> f64 {
        self.pair().0
    }

    /// The float nearest to the sum, and the one nearest to what that leaves.
    pub(crate) fn pair(&self) -> (f64, f64) {
        if let Some(odd) = self.rest.as_ref().and_then(|rest| rest.odd()) {
            return (odd, 0.0);
        }
        let mut parts = Vec::with_capacity(4);
        self.parts().for_each(|part| grow(&mut parts, part));
        let small = nearest(&parts);
        let mut large = self.large().to_vec();
        if nearest(&large) != 0.0 {
            grow(&mut large, small * SCALE);
            return (nearest(&large) / SCALE, 0.0);
        }
        grow(&mut parts, -small);
        (small, nearest(&parts))
    }

    pub(crate) fn bytes(&self) -> usize {
        let rest = self.rest.as_ref();
        size_of::<Self>()
            + rest.map_or(0, |rest| size_of::<Rest>() + 8 * (rest.small.capacity() + rest.large.capacity()))
    }
}

impl Rest {
    /// What the sum is if a part of it is no finite number.
    fn odd(&self) -> Option<f64> {
        match (self.nan, self.up, self.down) {
            (true, ..) | (_, true, true) => Some(f64::NAN),
            (_, true, _) => Some(f64::INFINITY),
            (_, _, true) => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }
}

/// The sum as a float, and what it leaves: exactly (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    let of_a = sum - of_b;
    (sum, (a - of_a) + (b - of_b))
}

/// Adds to numbers of rising size that do not overlap, and keeps them so.
fn grow(parts: &mut Vec<f64>, value: f64) {
    let mut carried = value;
    let mut kept = 0;
    for index in 0..parts.len() {
        let (sum, left) = two_sum(carried, parts[index]);
        if left != 0.0 {
            parts[kept] = left;
            kept += 1;
        }
        carried = sum;
    }
    parts.truncate(kept);
    if carried != 0.0 {
        parts.push(carried);
    }
}

/// The float nearest to the sum of such numbers, ties to even.
fn nearest(parts: &[f64]) -> f64 {
    let Some((&last, below)) = parts.split_last() else { return 0.0 };
    let (mut sum, mut left, mut index) = (last, 0.0, below.len());
    while index > 0 && left == 0.0 {
        index -= 1;
        (sum, left) = two_sum(sum, below[index]);
    }
    // Just half a step is left: what is below it says which way to round.
    if index > 0 && left != 0.0 && (left > 0.0) == (below[index - 1] > 0.0) {
        let (up, twice) = (sum + left * 2.0, left * 2.0);
        if up - sum == twice {
            return up;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut exact = Exact::default();
        values.iter().for_each(|&value| exact.add(value));
        exact.value()
    }

    #[test]
    fn sums_are_rounded_once() {
        let check = |values: &[f64], expected: f64| assert_eq!(sum(values).to_bits(), expected.to_bits(), "{values:?}");
        check(&[], 0.0);
        check(&[0.1; 10], 1.0);
        check(&[1e16, 1.0, -1e16], 1.0);
        check(&[1e100, 1.0, -1e100, 1e-30], 1.0);
        check(&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX);
        check(&[f64::MAX, -f64::MAX, 3.5], 3.5);
        check(&[f64::MAX, f64::MAX], f64::INFINITY);
        check(&[f64::INFINITY, 1.0], f64::INFINITY);
        check(&[1.0, f64::EPSILON / 2.0, f64::EPSILON / 1e10], 1.0 + f64::EPSILON);
        check(&[1.0, f64::EPSILON / 2.0], 1.0);
        check(&[-5e-324, 5e-324, 0.0], 0.0);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan() && sum(&[f64::NAN, 1.0]).is_nan());
    }

    fn floats() -> impl Strategy<Value = Vec<f64>> {
        let float = prop_oneof![
            -1e3..1e3f64,
            (any::<i32>(), -300..300i32).prop_map(|(digits, power)| f64::from(digits) * 10f64.powi(power)),
            prop::num::f64::NORMAL
        ];
        prop::collection::vec(float, 0..40)
    }

    proptest! {
        #[test]
        fn no_order_and_no_partition_changes_a_sum(values in floats(), cut in 0..40usize) {
            let expected = sum(&values).to_bits();
            let reversed: Vec<f64> = values.iter().rev().copied().collect();
            prop_assert_eq!(sum(&reversed).to_bits(), expected);
            let (one, other) = values.split_at(cut.min(values.len()));
            let mut whole = Exact::default();
            for half in [other, one] {
                let mut part = Exact::default();
                half.iter().for_each(|&value| part.add(value));
                part.parts().for_each(|value| whole.add(value));
                part.large().iter().for_each(|&value| whole.add_large(value));
            }
            prop_assert_eq!(whole.value().to_bits(), expected);
        }
    }
}
