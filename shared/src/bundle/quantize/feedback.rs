//! Owns rounding with error feedback: each weight of an output is rounded after what the errors of those before it ask
//! of it, so that the errors cancel on the inputs a layer really sees.
//!
//! Of an output with weights w and rounded ones q, the mean squared error on inputs x is `(w - q) H (w - q)ᵀ` with H the
//! mean of `xᵀ x`. With `H = L Lᵀ` it is the squared length of `(w - q) L`. Weights are rounded from the last column of L
//! to the first, each to the step that makes its own entry of that vector the smallest. This is GPTQ (Frantar et al.,
//! 2023, arXiv:2210.17323) in the form of Babai's nearest plane, which needs one factorisation and no inverse (Chen et
//! al., 2025, arXiv:2507.18553), from where the order of the columns comes, too: the pivot of each step of the
//! factorisation is the smallest, which keeps the largest of L's diagonal small.

use multiversion::multiversion;

/// This part of the inputs' mean square is added to each: what was seen of few posts is not taken for all there is.
const DAMPING: f64 = 0.01;
/// Sums are taken in so many lanes, the same on every machine.
const LANES: usize = 8;

/// How the errors of a layer's weights act on each other.
#[derive(Clone, Debug)]
pub struct Feedback {
    /// The inputs, in the order in which their weights are rounded.
    order: Vec<usize>,
    /// For each in this order, what is made of the errors before it: a triangle, row by row.
    factors: Vec<f64>,
    /// For each in this order, what a step of its weight is worth in the layer's output.
    worth: Vec<f64>,
}

/// An output that is to be rounded to steps of a size.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// Its weights.
    pub weights: &'a [f32],
    /// The size of a step; above 0.
    pub scale: f32,
}

/// A rounded output.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// Its weights in steps.
    pub bytes: Vec<i8>,
    /// The mean squared error of the output, damping included.
    pub error: f64,
}

impl Feedback {
    /// Of inputs with the mean products `spread` [inputs, inputs], symmetric.
    pub fn new(spread: &[f64], inputs: usize) -> Self {
        let own = |i: usize| spread[i * inputs + i];
        let total: f64 = (0..inputs).map(own).sum();
        // Inputs that are all zero are worth the same.
        let least = match DAMPING * total / inputs as f64 {
            least if least > 0.0 && least.is_finite() => least,
            _ => 1.0,
        };
        let mut rest: Vec<f64> = (0..inputs).map(|i| own(i).max(0.0) + least).collect();
        let mut pivots: Vec<usize> = (0..inputs).collect();
        // L, whose rows are in the order of the inputs and whose columns are in that of the pivots.
        let mut lower = vec![0.0; inputs * inputs];
        for k in 0..inputs {
            let smallest = (k..inputs).min_by(|&a, &b| {
                let (a, b) = (pivots[a], pivots[b]);
                rest[a].total_cmp(&rest[b]).then(a.cmp(&b))
            });
            pivots.swap(k, smallest.unwrap_or(k));
            let pivot = pivots[k];
            // Below the damping there is only rounding.
            let root = rest[pivot].max(least).sqrt();
            let known = lower[pivot * inputs..][..k].to_vec();
            lower[pivot * inputs + k] = root;
            for &i in &pivots[k + 1..] {
                let row = &mut lower[i * inputs..][..=k];
                let value = (spread[i * inputs + pivot] - dot(&row[..k], &known)) / root;
                row[k] = value;
                rest[i] -= value * value;
            }
        }
        pivots.reverse();
        let mut factors = Vec::with_capacity(inputs * inputs.saturating_sub(1) / 2);
        let mut worth = Vec::with_capacity(inputs);
        for (place, &input) in pivots.iter().enumerate() {
            let column = inputs - 1 - place;
            let own = lower[input * inputs + column];
            let before = pivots[..place].iter();
            factors.extend(before.map(|&other| lower[other * inputs + column] / own));
            worth.push(own);
        }
        Self {
            order: pivots,
            factors,
            worth,
        }
    }

    /// How many inputs the layer has.
    pub fn inputs(&self) -> usize {
        self.order.len()
    }

    /// Rounds to `-largest..=largest` steps. Trials are taken together, which costs less than one after the other.
    pub fn round(&self, trials: &[Trial<'_>], largest: i8) -> Vec<Rounded> {
        let inputs = self.order.len();
        let most = f64::from(largest);
        let mut errors = vec![0.0; trials.len() * inputs];
        let fresh = || Rounded {
            bytes: vec![0; inputs],
            error: 0.0,
        };
        let mut rounded: Vec<Rounded> = trials.iter().map(|_| fresh()).collect();
        let mut factors = self.factors.as_slice();
        for (place, (&input, worth)) in self.order.iter().zip(&self.worth).enumerate() {
            let (own, rest) = factors.split_at(place.min(factors.len()));
            factors = rest;
            let errors = errors.chunks_exact_mut(inputs);
            for ((trial, errors), rounded) in trials.iter().zip(errors).zip(&mut rounded) {
                let (weight, scale) = (f64::from(trial.weights[input]), f64::from(trial.scale));
                let wanted = weight + dot(own, &errors[..place]);
                let steps = (wanted / scale).round_ties_even().clamp(-most, most);
                errors[place] = weight - steps * scale;
                rounded.bytes[input] = steps as i8;
                rounded.error += ((wanted - steps * scale) * worth).powi(2);
            }
        }
        rounded
    }
}

#[multiversion(targets = "simd")]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream, unit};

    const INPUTS: usize = 9;

    fn some(rng: &mut Rng, count: usize) -> Vec<f64> {
        (0..count).map(|_| unit(rng) - 0.5).collect()
    }

    /// A mean of products of vectors, so that no eigenvalue is negative; input 4 is always zero.
    fn spread(rng: &mut Rng) -> Vec<f64> {
        let mut spread = vec![0.0; INPUTS * INPUTS];
        for _ in 0..6 {
            let mut x = some(rng, INPUTS);
            x[4] = 0.0;
            for (place, value) in spread.iter_mut().enumerate() {
                *value += x[place / INPUTS] * x[place % INPUTS];
            }
        }
        spread
    }

    /// The solution of `a x = b`, by elimination with pivots.
    fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for k in 0..n {
            let top = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs()));
            a.swap(k, top.unwrap());
            b.swap(k, top.unwrap());
            for i in (0..n).filter(|&i| i != k) {
                let factor = a[i][k] / a[k][k];
                let pivot = a[k].clone();
                let row = a[i].iter_mut().zip(&pivot);
                row.for_each(|(a, p)| *a -= factor * p);
                b[i] -= factor * b[k];
            }
        }
        (0..n).map(|i| b[i] / a[i][i]).collect()
    }

    /// As it is defined: before each weight is rounded, those that are left are set to what makes the output's error
    /// least, for the errors that are done.
    fn reference(spread: &[f64], order: &[usize], weights: &[f32], scale: f64) -> (Vec<i8>, f64) {
        let least =
            DAMPING * (0..INPUTS).map(|i| spread[i * INPUTS + i]).sum::<f64>() / INPUTS as f64;
        let h = |i: usize, j: usize| spread[i * INPUTS + j] + if i == j { least } else { 0.0 };
        let mut errors = [0.0; INPUTS];
        let mut bytes = vec![0i8; INPUTS];
        for (place, &input) in order.iter().enumerate() {
            let (done, left) = order.split_at(place);
            let matrix = left
                .iter()
                .map(|&i| left.iter().map(|&j| h(i, j)).collect())
                .collect();
            let push = |i: usize| -done.iter().map(|&j| h(i, j) * errors[j]).sum::<f64>();
            let best = solve(matrix, left.iter().map(|&i| push(i)).collect());
            let weight = f64::from(weights[input]);
            let steps = ((weight - best[0]) / scale)
                .round_ties_even()
                .clamp(-63.0, 63.0);
            (bytes[input], errors[input]) = (steps as i8, weight - steps * scale);
        }
        let pairs = (0..INPUTS * INPUTS).map(|at| (at / INPUTS, at % INPUTS));
        (
            bytes,
            pairs.map(|(i, j)| errors[i] * h(i, j) * errors[j]).sum(),
        )
    }

    #[test]
    fn rounds_as_the_definition_does() {
        let mut rng = stream(8, "feedback");
        for _ in 0..30 {
            let spread = spread(&mut rng);
            let feedback = Feedback::new(&spread, INPUTS);
            let mut order = feedback.order.clone();
            order.sort_unstable();
            assert_eq!(order, (0..INPUTS).collect::<Vec<_>>());
            let rows: Vec<Vec<f32>> = (0..3)
                .map(|_| some(&mut rng, INPUTS).iter().map(|x| *x as f32).collect())
                .collect();
            // The last is so small that weights are cut off.
            let scales = [0.05f32, 0.011, 0.004];
            let trials: Vec<Trial<'_>> = rows
                .iter()
                .zip(scales)
                .map(|(weights, scale)| Trial { weights, scale })
                .collect();
            let rounded = feedback.round(&trials, 63);
            for (trial, rounded) in trials.iter().zip(rounded) {
                let scale = f64::from(trial.scale);
                let (bytes, error) = reference(&spread, &feedback.order, trial.weights, scale);
                assert_eq!(rounded.bytes, bytes);
                assert!(
                    (rounded.error - error).abs() < 1e-9 * (1.0 + error),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn without_correlation_it_is_the_nearest() {
        let mut spread = vec![0.0; INPUTS * INPUTS];
        (0..INPUTS).for_each(|i| spread[i * INPUTS + i] = (i + 1) as f64);
        let weights: Vec<f32> = some(&mut stream(8, "plain"), INPUTS)
            .iter()
            .map(|x| *x as f32)
            .collect();
        for spread in [spread, vec![0.0; INPUTS * INPUTS]] {
            let trial = Trial {
                weights: &weights,
                scale: 0.01,
            };
            let rounded = Feedback::new(&spread, INPUTS).round(&[trial], 63);
            let nearest = weights.iter().map(|w| (w / 0.01).round_ties_even() as i8);
            assert_eq!(rounded[0].bytes, nearest.collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_trials_and_no_inputs_give_nothing() {
        assert!(Feedback::new(&[2.0], 1).round(&[], 63).is_empty());
        assert_eq!(Feedback::new(&[], 0).inputs(), 0);
    }
}
