//! Medians, quartiles and paired ratios.

use serde::Serialize;

/// The middle of some values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// A quarter of the values is not greater.
    pub lower_quartile: f64,
    /// A half is not greater.
    pub median: f64,
    /// Three quarters are not greater.
    pub upper_quartile: f64,
}

impl Spread {
    /// The spread of `values`; none where there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            lower_quartile: quantile(&sorted, 1, 4)?,
            median: quantile(&sorted, 1, 2)?,
            upper_quartile: quantile(&sorted, 3, 4)?,
        })
    }
}

/// The value below which `numerator / denominator` of the sorted values lie, interpolated between neighbours.
fn quantile(sorted: &[f64], numerator: usize, denominator: usize) -> Option<f64> {
    let position = (sorted.len() - 1) * numerator;
    let (index, rest) = (position / denominator, position % denominator);
    let low = *sorted.get(index)?;
    let high = *sorted.get(index + 1).unwrap_or(&low);
    #[expect(clippy::cast_precision_loss, reason = "smaller than the denominator")]
    let fraction = rest as f64 / denominator as f64;
    Some(low + (high - low) * fraction)
}

/// The ratios of two variants, round by round.
pub fn paired_ratios<'v>(values: &'v [f64], limit: &'v [f64]) -> impl Iterator<Item = f64> + 'v {
    values.iter().zip(limit).map(|(value, limit)| value / limit)
}

/// The order in which `count` variants run in a round: each round begins with another variant, and every other time
/// around the neighbours change sides.
pub fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    let forward = (round / count.max(1)).is_multiple_of(2);
    (0..count).map(move |place| {
        let step = if forward { place } else { count - place };
        (round + step) % count
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
        assert_eq!(spread, Spread { min: 1.0, lower_quartile: 2.0, median: 3.0, upper_quartile: 4.0 });
        let spread = Spread::of([1.0, 2.0, 3.0, 10.0]).unwrap();
        assert_eq!(spread, Spread { min: 1.0, lower_quartile: 1.75, median: 2.5, upper_quartile: 4.75 });
        let spread = Spread::of([7.0]).unwrap();
        assert_eq!(spread, Spread { min: 7.0, lower_quartile: 7.0, median: 7.0, upper_quartile: 7.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was disturbed for both; the ratio of the medians would be 1.5, or worse.
        let ratios: Vec<_> = paired_ratios(&[2.0, 20.0, 4.0], &[1.0, 10.0, 2.0]).collect();
        assert_eq!(ratios, [2.0, 2.0, 2.0]);
    }

    #[test]
    fn each_round_begins_with_another_variant() {
        let order = |round| order(3, round).collect::<Vec<_>>();
        assert_eq!([order(0), order(1), order(2)], [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!([order(3), order(4), order(5)], [[0, 2, 1], [1, 0, 2], [2, 1, 0]]);
        assert_eq!(order(6), order(0));
        assert!(super::order(0, 5).next().is_none());
    }
}
