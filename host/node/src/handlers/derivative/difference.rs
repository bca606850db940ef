//! Derivatives by finite differences over points at any distance from each other.

/// By how much each value counts, at these places, for the derivative of `order` at 0 of the curve through all of them; none if
/// there are too few, or two at one place.
///
/// It is that of the polynomial through all points, with weights as Fornberg computes them.
pub(super) fn weights(places: &[f64], order: usize) -> Option<Vec<f64>> {
    let apart = |(index, place): (usize, &f64)| places[..index].iter().all(|other| other != place);
    if places.len() <= order || !places.iter().enumerate().all(apart) {
        return None;
    }
    let width = order + 1;
    // The weights of a place for all orders are beside each other.
    let mut table = vec![0.0; places.len() * width];
    table[0] = 1.0;
    let (mut product, mut here) = (1.0, places[0]);
    for new in 1..places.len() {
        let before = std::mem::replace(&mut here, places[new]);
        let most = order.min(new);
        let mut next_product = 1.0;
        for old in 0..new {
            let distance = places[new] - places[old];
            next_product *= distance;
            if old + 1 == new {
                for k in (1..=most).rev() {
                    let change = k as f64 * table[old * width + k - 1] - before * table[old * width + k];
                    table[new * width + k] = product * change / next_product;
                }
                table[new * width] = -product * before * table[old * width] / next_product;
            }
            let own = &mut table[old * width..(old + 1) * width];
            for k in (1..=most).rev() {
                own[k] = (here * own[k] - k as f64 * own[k - 1]) / distance;
            }
            own[0] = here * own[0] / distance;
        }
        product = next_product;
    }
    Some(table.into_iter().skip(order).step_by(width).collect())
}

/// Weights by how far away rows are, as they were asked for last.
#[derive(Debug)]
pub(super) struct Weights {
    unit: f64,
    known: Vec<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    order: u32,
    distances: Vec<i64>,
    weights: Option<Vec<f64>>,
}

/// Of so many spacings the weights are known; rows that come at a steady pace have one.
const KNOWN: usize = 512;

impl Weights {
    /// For distances in nanoseconds, of which `unit` are one.
    pub(super) fn per(unit: i64) -> Self {
        Self { unit: unit as f64, known: std::iter::repeat_with(|| None).take(KNOWN).collect() }
    }

    /// As [`weights`].
    pub(super) fn of(&mut self, distances: &[i64], order: u32) -> Option<&[f64]> {
        let mix = |hash: u64, distance: &i64| (hash ^ distance.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let hash = distances.iter().fold(u64::from(order), mix);
        let known = self.known.get_mut((hash >> 32) as usize % KNOWN)?;
        let same = |known: &Known| known.order == order && known.distances == distances;
        if !known.as_ref().is_some_and(same) {
            let places: Vec<f64> = distances.iter().map(|distance| *distance as f64 / self.unit).collect();
            let weights = weights(&places, order as usize);
            *known = Some(Known { order, distances: distances.to_vec(), weights });
        }
        known.as_ref()?.weights.as_deref()
    }
}

/// The derivative of `order` at 0 of the curve through `points`, which are places and values.
#[cfg(test)]
pub(super) fn derivative(points: &[(f64, f64)], order: usize) -> Option<f64> {
    let places: Vec<f64> = points.iter().map(|point| point.0).collect();
    Some(weights(&places, order)?.iter().zip(points).map(|(weight, point)| weight * point.1).sum())
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    #[test]
    fn a_sine_on_nine_points_is_followed_closely() {
        let points: Vec<(f64, f64)> = (0..9).map(|i| f64::from(i) * PI / 8.0).map(|x| (x, x.sin())).collect();
        let truth: [fn(f64) -> f64; 3] = [f64::sin, f64::cos, |x| -x.sin()];
        for (order, truth) in truth.into_iter().enumerate() {
            let (mut sum, mut worst, mut count) = (0.0, 0.0f64, 0.0);
            let mut x = 0.0;
            while x <= PI {
                let near: Vec<(f64, f64)> = points.iter().map(|point| (point.0 - x, point.1)).collect();
                let error = (derivative(&near, order).unwrap() - truth(x)).abs();
                (sum, worst, count) = (sum + error, worst.max(error), count + 1.0);
                x += 0.001;
            }
            assert!(sum / count < 1e-5 && worst < 5e-4, "order {order}: mean {}, worst {worst}", sum / count);
        }
    }

    #[test]
    fn polynomials_are_exact_and_too_few_points_are_nothing() {
        let cube = |x: f64| (x, x * x * x - 2.0 * x);
        let points = [-1.5, -0.25, 0.0, 2.0].map(cube);
        for (order, expected) in [(0, 0.0), (1, -2.0), (2, 0.0), (3, 6.0)] {
            assert!((derivative(&points, order).unwrap() - expected).abs() < 1e-12, "order {order}");
        }
        assert_eq!(derivative(&points, 4), None);
        assert_eq!(derivative(&[(0.0, 1.0), (0.0, 2.0)], 1), None);
        assert_eq!(derivative(&[(1.0, 1.0), (2.0, 3.0)], 1), Some(2.0));
    }
}
