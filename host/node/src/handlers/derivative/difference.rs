//! Derivatives by finite differences over points at any distance from each other.

/// The derivative of `order` at 0 of the curve through `points`, which are places and values; none if there are too few, or
/// two at one place.
///
/// It is that of the polynomial through all points, with weights as Fornberg computes them.
pub(super) fn derivative(points: &[(f64, f64)], order: usize) -> Option<f64> {
    let apart = |(index, point): (usize, &(f64, f64))| points[..index].iter().all(|other| other.0 != point.0);
    if points.len() <= order || !points.iter().enumerate().all(apart) {
        return None;
    }
    let places: Vec<f64> = points.iter().map(|point| point.0).collect();
    Some(weights(&places, order).iter().zip(points).map(|(weight, point)| weight * point.1).sum())
}

/// By how much each value counts.
fn weights(places: &[f64], order: usize) -> Vec<f64> {
    let mut table = vec![vec![0.0; order + 1]; places.len()];
    table[0][0] = 1.0;
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
                    let change = k as f64 * table[old][k - 1] - before * table[old][k];
                    table[new][k] = product * change / next_product;
                }
                table[new][0] = -product * before * table[old][0] / next_product;
            }
            for k in (1..=most).rev() {
                table[old][k] = (here * table[old][k] - k as f64 * table[old][k - 1]) / distance;
            }
            table[old][0] = here * table[old][0] / distance;
        }
        product = next_product;
    }
    table.into_iter().map(|row| row[order]).collect()
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
