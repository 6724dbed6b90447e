//! Owns the comparison of two methods over the same settings: won, tied, lost, and two paired tests.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;
use statrs::function::erf::erfc;

/// Differences smaller than this are none: the same counts added in another order.
const EQUAL: f64 = 1e-12;
/// Up to this many pairs the signed-rank test is exact if no two differences are equal and none is zero.
const EXACT: usize = 50;
/// Up to this many pairs it is exact anyway.
const EXACT_WITH_TIES: usize = 13;

/// What two methods' figures over the same settings say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Settings that both have a finite figure for.
    pub pairs: usize,
    /// Mean of ours - theirs; 0 without pairs.
    pub mean: f64,
    /// Standard deviation of the differences (divided by pairs - 1); 0 with fewer than two pairs.
    pub sd: f64,
    /// Settings in which ours is higher.
    pub won: usize,
    /// Settings in which both are equal to 1e-12.
    pub tied: usize,
    /// Settings in which ours is lower.
    pub lost: usize,
    /// p of Student's paired test, two-sided; `None` with fewer than two pairs or if all differences are the same.
    pub t_test: Option<f64>,
    /// p of Wilcoxon's signed-rank test, two-sided; `None` if there is no difference.
    pub wilcoxon: Option<f64>,
}

/// Compares figures by place. Places without a finite figure on both sides, and those that only one side has, are left
/// out.
///
/// The signed-rank test is the one that scipy 1.17 does by default: pairs without a difference are dropped, equal
/// differences share their mean rank. It is exact (over all signs, given the ranks) up to 50 pairs without ties and
/// up to 13 with ties or zeros; else it is the normal approximation, corrected for ties but not for continuity.
pub fn paired(ours: &[f64], theirs: &[f64]) -> Paired {
    let differences: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours - theirs)
        .filter(|difference| difference.is_finite())
        .collect();
    let pairs = differences.len();
    let mean = differences.iter().sum::<f64>() / pairs.max(1) as f64;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    let sd = (squares / pairs.saturating_sub(1).max(1) as f64).sqrt();
    let count = |which: fn(f64) -> bool| differences.iter().filter(|&&d| which(d)).count();
    Paired {
        pairs,
        mean,
        sd,
        won: count(|d| d > EQUAL),
        tied: count(|d| d.abs() <= EQUAL),
        lost: count(|d| d < -EQUAL),
        t_test: t_test(pairs, mean, sd),
        wilcoxon: wilcoxon(&differences),
    }
}

/// p = P(|T| >= |t|) with `pairs - 1` degrees of freedom.
fn t_test(pairs: usize, mean: f64, sd: f64) -> Option<f64> {
    if pairs < 2 || sd <= EQUAL {
        return None;
    }
    let freedom = (pairs - 1) as f64;
    let t = mean / (sd / (pairs as f64).sqrt());
    Some(beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t)))
}

fn wilcoxon(differences: &[f64]) -> Option<f64> {
    let pairs = differences.len();
    // Rounded, so that differences which are equal but for the last bits get the same rank.
    let steps = |d: &f64| (d / EQUAL).round();
    let mut moved: Vec<f64> = differences
        .iter()
        .map(steps)
        .filter(|d| *d != 0.0)
        .collect();
    if moved.is_empty() {
        return None;
    }
    moved.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the mean ranks, which are whole numbers; and the sum of t^3 - t over groups of t equal ones.
    let (mut ranks, mut ties) = (Vec::new(), 0.0);
    for group in moved.chunk_by(|a, b| a.abs() == b.abs()) {
        let (before, here) = (ranks.len(), group.len());
        ranks.resize(before + here, 2 * before + here + 1);
        ties += (here as f64).powi(3) - here as f64;
    }
    let signed = moved.iter().zip(&ranks);
    let positive: usize = signed
        .filter(|(d, _)| **d > 0.0)
        .map(|(_, rank)| rank)
        .sum();
    let clean = ties == 0.0 && moved.len() == pairs;
    if pairs <= EXACT_WITH_TIES || (clean && pairs <= EXACT) {
        return Some(exact(&ranks, positive));
    }
    let n = moved.len() as f64;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
    let z = (positive as f64 / 2.0 - n * (n + 1.0) / 4.0) / variance.sqrt();
    Some(erfc(z.abs() / std::f64::consts::SQRT_2))
}

/// Twice the smaller tail of the rank sum if every sign is as likely as the other, at most 1.
fn exact(ranks: &[usize], positive: usize) -> f64 {
    // How many of the 2^n choices of signs give each sum; below 2^53, so exact in a float.
    let mut choices = vec![0.0f64; ranks.iter().sum::<usize>() + 1];
    choices[0] = 1.0;
    for &rank in ranks {
        for sum in (rank..choices.len()).rev() {
            choices[sum] += choices[sum - rank];
        }
    }
    let below: f64 = choices[..=positive].iter().sum();
    let above: f64 = choices[positive..].iter().sum();
    (2.0 * below.min(above) / 2f64.powi(ranks.len() as i32)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_moments() {
        let found = paired(&[0.5, 0.1 + 0.2, 0.25, f64::NAN], &[0.25, 0.3, 0.5, 0.0]);
        assert_eq!(
            (found.pairs, found.won, found.tied, found.lost),
            (3, 1, 1, 1)
        );
        assert!(found.mean.abs() < 1e-12 && (found.sd - 0.25).abs() < 1e-12);
    }

    #[test]
    fn five_wins_of_five_are_one_in_sixteen() {
        let found = paired(&[1.0, 2.0, 3.0, 4.0, 6.0], &[0.5, 1.0, 1.5, 2.0, 1.0]);
        assert_eq!(found.wilcoxon, Some(2.0 / 32.0));
    }

    #[test]
    fn without_a_difference_there_is_no_test() {
        let same = paired(&[0.5; 4], &[0.5; 4]);
        assert_eq!((same.tied, same.t_test, same.wilcoxon), (4, None, None));
        let shifted = paired(&[0.7; 4], &[0.5; 4]);
        assert_eq!((shifted.t_test, shifted.wilcoxon), (None, Some(2.0 / 16.0)));
        let none = paired(&[], &[1.0]);
        assert_eq!((none.pairs, none.mean, none.sd), (0, 0.0, 0.0));
        assert_eq!(paired(&[1.0], &[0.0]).t_test, None);
    }
}
