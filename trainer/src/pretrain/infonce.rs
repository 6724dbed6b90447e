//! Owns the contrastive loss of CLIP (Radford et al. 2021, figure 3): symmetric InfoNCE with in-batch negatives.

use anyhow::{Result, ensure};
use candle_core::{D, DType, Tensor};
use candle_nn::ops::log_softmax;

/// Rows of `features` [n, D] scaled to length 1.
///
/// # Errors
/// If the tensor library fails.
pub fn normalise(features: &Tensor) -> Result<Tensor> {
    // The floor keeps a zero row finite, in the gradient too.
    let length = (features.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
    Ok(features.broadcast_div(&length)?)
}

/// The mean of both directions of the contrast, a scalar: row i of `left` [n, D] belongs to row i of `right` [n, D] and
/// to no other. Both are normalised; `scale` [] multiplies the cosines.
///
/// # Errors
/// If the shapes differ.
pub fn info_nce(left: &Tensor, right: &Tensor, scale: &Tensor) -> Result<Tensor> {
    ensure!(
        left.dims() == right.dims(),
        "contrast of {:?} with {:?}",
        left.dims(),
        right.dims()
    );
    let n = left.dim(0)?;
    let logits = left.matmul(&right.t()?)?.broadcast_mul(scale)?;
    let own = Tensor::eye(n, DType::F32, logits.device())?;
    // Both directions summed before the mask: one masked sum instead of two.
    let log_likelihood = (log_softmax(&logits, 1)? + log_softmax(&logits, 0)?)?;
    Ok(((log_likelihood * own)?.sum_all()? * (-0.5 / n as f64))?)
}

/// Mean cross entropy, a scalar, of `logits` [n, K] with the classes of `targets`; rows without a class do not count.
/// Zero if no row has one.
///
/// # Errors
/// If there are not as many targets as rows, or a class is not below K.
pub fn cross_entropy(logits: &Tensor, targets: &[Option<usize>], smoothing: f64) -> Result<Tensor> {
    let (n, classes) = logits.dims2()?;
    ensure!(
        n == targets.len(),
        "{n} rows of logits, {} targets",
        targets.len()
    );
    let rest = (smoothing / classes as f64) as f32;
    let mut wanted = vec![0f32; n * classes];
    for (row, target) in wanted.chunks_mut(classes).zip(targets) {
        if let Some(class) = *target {
            ensure!(class < classes, "class {class} of {classes}");
            row.fill(rest);
            row[class] += 1.0 - smoothing as f32;
        }
    }
    let counted = targets.iter().flatten().count().max(1) as f64;
    let wanted = Tensor::from_vec(wanted, (n, classes), logits.device())?;
    Ok(((log_softmax(logits, 1)? * wanted)?.sum_all()? * (-1.0 / counted))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn scale(value: f64) -> Tensor {
        Tensor::new(value as f32, &Device::Cpu).unwrap()
    }

    #[test]
    fn agrees_with_numbers_by_hand() {
        // Cosines: [[1, 0], [0.6, 0.8]] at scale 2.
        let left = Tensor::new(&[[1f32, 0.0], [0.6, 0.8]], &Device::Cpu).unwrap();
        let right = Tensor::new(&[[1f32, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
        let rows = (1.0 + (-2f64).exp()).ln() + (1.0 + (1.2f64 - 1.6).exp()).ln();
        let columns = (1.0 + (1.2f64 - 2.0).exp()).ln() + (1.0 + (0.0f64 - 1.6).exp()).ln();
        let loss = info_nce(&left, &right, &scale(2.0))
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!(
            (f64::from(loss) - (rows + columns) / 4.0).abs() < 1e-6,
            "{loss}"
        );
    }

    #[test]
    fn equal_features_give_the_logarithm_of_the_batch() {
        let same = Tensor::ones((5, 3), DType::F32, &Device::Cpu).unwrap();
        let same = normalise(&same).unwrap();
        let loss = info_nce(&same, &same, &scale(7.0))
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!((loss - 5f32.ln()).abs() < 1e-5);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let start = [
            [0.3f32, -0.5, 0.8],
            [1.1, 0.2, -0.4],
            [-0.7, 0.9, 0.1],
            [0.2, 0.4, 0.6],
        ];
        let other = Tensor::new(
            &[
                [0.5f32, -0.1, 0.4],
                [0.9, -0.6, 0.2],
                [0.1, 0.8, -0.3],
                [-0.2, 0.7, 0.5],
            ],
            &Device::Cpu,
        );
        let other = normalise(&other.unwrap()).unwrap();
        let loss = |features: &Tensor, log_scale: &Tensor| {
            info_nce(
                &normalise(features).unwrap(),
                &other,
                &log_scale.exp().unwrap(),
            )
            .unwrap()
        };
        let features = Var::new(&start, &Device::Cpu).unwrap();
        let log_scale = Var::new(1.3f32, &Device::Cpu).unwrap();
        let gradients = loss(&features, &log_scale).backward().unwrap();
        let analytic = gradients.get(&features).unwrap().to_vec2::<f32>().unwrap();
        let at = |features: [[f32; 3]; 4], log_scale: f32| {
            let features = Tensor::new(&features, &Device::Cpu).unwrap();
            loss(&features, &Tensor::new(log_scale, &Device::Cpu).unwrap())
                .to_scalar::<f32>()
                .unwrap()
        };
        for row in 0..4 {
            for column in 0..3 {
                let shifted = |by: f32| {
                    let mut moved = start;
                    moved[row][column] += by;
                    at(moved, 1.3)
                };
                let numeric = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
                assert!(
                    (numeric - analytic[row][column]).abs() < 2e-3,
                    "{row},{column}: {numeric}"
                );
            }
        }
        let numeric = (at(start, 1.31) - at(start, 1.29)) / 2e-2;
        let analytic = gradients
            .get(&log_scale)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!((numeric - analytic).abs() < 2e-3, "{numeric} {analytic}");
    }

    #[test]
    fn rows_without_a_class_do_not_count() {
        let logits = Tensor::new(&[[2f32, 0.0], [5.0, -5.0]], &Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, &[Some(1), None], 0.0)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!((loss - (1.0 + 2f32.exp()).ln()).abs() < 1e-6);
        let none = cross_entropy(&logits, &[None, None], 0.1)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert_eq!(none, 0.0);
    }
}
