//! Owns the probe: how well frozen features tell the demo's groups apart, by logistic regression.

use anyhow::{Result, ensure};
use candle_core::{D, DType, Tensor};
use candle_nn::ops::softmax;

/// Steps of gradient descent with momentum: the loss is convex and the features are standardised.
const STEPS: usize = 150;
const RATE: f64 = 0.5;
const MOMENTUM: f64 = 0.9;
/// Weight of the squared weights: with a hundred features and a thousand posts it matters.
const PENALTY: f64 = 3e-3;

/// Features [n, D] and the class of each row.
pub struct Labelled<'a> {
    /// [n, D].
    pub features: &'a Tensor,
    /// Below the number of classes.
    pub classes: &'a [u32],
}

/// Accuracy in percent on `held_out` of a logistic regression fitted on `train`.
///
/// # Errors
/// If rows and classes do not match.
pub fn accuracy(train: &Labelled<'_>, held_out: &Labelled<'_>, classes: usize) -> Result<f64> {
    for part in [train, held_out] {
        ensure!(
            part.features.dim(0)? == part.classes.len() && !part.classes.is_empty(),
            "rows and classes differ"
        );
    }
    let (mean, spread) = moments(train.features)?;
    let standardised = |features: &Tensor| -> Result<Tensor> {
        let features = features.broadcast_sub(&mean)?.broadcast_div(&spread)?;
        // A constant column is the bias.
        Ok(Tensor::cat(
            &[
                &features,
                &Tensor::ones((features.dim(0)?, 1), DType::F32, features.device())?,
            ],
            1,
        )?)
    };
    let (inputs, n) = (standardised(train.features)?, train.classes.len());
    let wanted = one_hot(train.classes, classes, &inputs)?;
    // 1 / D: the curvature of the loss grows with the number of standardised features.
    let rate = RATE * 4.0 / inputs.dim(1)? as f64;
    let mut weights = Tensor::zeros((inputs.dim(1)?, classes), DType::F32, inputs.device())?;
    let mut velocity = weights.clone();
    for _ in 0..STEPS {
        let error = (softmax(&inputs.matmul(&weights)?, D::Minus1)? - &wanted)?;
        let gradient = ((inputs.t()?.matmul(&error)? / n as f64)? + (&weights * PENALTY)?)?;
        velocity = ((velocity * MOMENTUM)? - (gradient * rate)?)?;
        weights = (weights + &velocity)?;
    }
    let scores = standardised(held_out.features)?
        .matmul(&weights)?
        .to_vec2::<f32>()?;
    let right = scores
        .iter()
        .zip(held_out.classes)
        .filter(|(row, class)| first_largest(row) == **class as usize);
    Ok(100.0 * right.count() as f64 / held_out.classes.len() as f64)
}

fn first_largest(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
}

/// Mean and standard deviation of each column, [1, D].
fn moments(features: &Tensor) -> Result<(Tensor, Tensor)> {
    let mean = features.mean_keepdim(0)?;
    let variance = features.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?;
    Ok((mean, (variance + 1e-8)?.sqrt()?))
}

fn one_hot(targets: &[u32], classes: usize, like: &Tensor) -> Result<Tensor> {
    let mut rows = vec![0f32; targets.len() * classes];
    for (row, &class) in rows.chunks_mut(classes).zip(targets) {
        ensure!((class as usize) < classes, "class {class} of {classes}");
        row[class as usize] = 1.0;
    }
    Ok(Tensor::from_vec(
        rows,
        (targets.len(), classes),
        like.device(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use shared::rng::{normal, stream};

    #[test]
    fn separable_classes_are_separated_and_noise_is_not() {
        let mut rng = stream(5, "probe");
        let classes: Vec<u32> = (0..200).map(|at| at % 4).collect();
        let noise = normal(&mut rng, &[200, 16], 1.0, &Device::Cpu).unwrap();
        let centres = normal(&mut rng, &[4, 16], 3.0, &Device::Cpu).unwrap();
        let ids = Tensor::new(classes.as_slice(), &Device::Cpu).unwrap();
        let clear = (&noise + centres.index_select(&ids, 0).unwrap()).unwrap();
        let score = |features: &Tensor| {
            let half = |from| features.narrow(0, from, 100).unwrap();
            let train = Labelled {
                features: &half(0),
                classes: &classes[..100],
            };
            accuracy(
                &train,
                &Labelled {
                    features: &half(100),
                    classes: &classes[100..],
                },
                4,
            )
            .unwrap()
        };
        assert!(score(&clear) > 97.0);
        assert!(score(&noise) < 45.0);
    }
}
