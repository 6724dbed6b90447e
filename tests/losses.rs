//! Owns the golden numbers of the losses (computed in double precision by hand) and their gradients.

use candle_core::{Device, Tensor, Var};
use shared::Result;
use trainer::loss::arcface::{Boundary, Margin};
use trainer::loss::bce::binary_cross_entropy;
use trainer::loss::cross_entropy::cross_entropy;
use trainer::loss::supcon::{Reduction, supervised_contrastive};
use trainer::settings::MarginSchedule;

fn margin(margin: f64, boundary: Boundary) -> Margin {
    Margin { margin, boundary }
}

/// The scaled cosines with the margin on the true classes.
fn logits(margin: Margin, scale: f64, cosines: &Tensor, targets: &Tensor) -> Result<Tensor> {
    Ok((margin.on_targets(cosines, targets)? * scale)?)
}

fn tensor(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, (1, values.len()), &Device::Cpu).unwrap()
}

fn scalar(tensor: &Tensor) -> f64 {
    f64::from(tensor.sum_all().unwrap().to_scalar::<f32>().unwrap())
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{found} is not {expected}"
    );
}

#[test]
fn phi() {
    for (z, m, boundary, expected) in [
        (0.5, 0.2, Boundary::Fallback, 0.317_980_601),
        (0.0, 0.5, Boundary::Fallback, -0.479_425_539),
        (0.9, 0.3, Boundary::Fallback, 0.730_988_569),
        (-0.95, 0.5, Boundary::Literal, -0.983_404_010),
        (-0.95, 0.5, Boundary::Fallback, -1.189_712_769),
        (0.37, 0.0, Boundary::Fallback, 0.37),
    ] {
        close(
            scalar(&margin(m, boundary).phi(&tensor(&[z])).unwrap()),
            expected,
            1e-6,
        );
    }
}

#[test]
fn arcface() {
    let cosines = tensor(&[0.5, 0.3, -0.1]);
    let margin = margin(0.2, Boundary::Fallback);
    let (first, some) = (tensor(&[1.0, 0.0, 0.0]), tensor(&[1.0, 0.0, 1.0]));
    let multi_class = cross_entropy(&logits(margin, 16.0, &cosines, &first).unwrap(), &first);
    close(scalar(&multi_class.unwrap()), 0.560_324_391_053_339_5, 1e-5);
    let multi_label = binary_cross_entropy(&logits(margin, 16.0, &cosines, &some).unwrap(), &some);
    close(scalar(&multi_label.unwrap()), 9.554_011_726_675_142, 1e-5);
}

#[test]
fn the_margin_in_the_course_of_training() {
    for (schedule, shares) in [
        (MarginSchedule::Constant, [1.0, 1.0, 1.0]),
        (MarginSchedule::Ramp, [0.0, 0.25, 1.0]),
        (MarginSchedule::Decay, [1.0, 0.75, 0.0]),
    ] {
        assert_eq!(
            [0.0, 0.25, 1.0].map(|progress| schedule.share(progress)),
            shares
        );
    }
}

#[test]
fn contrast() {
    let prototypes = Tensor::new(
        &[[1f32, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]],
        &Device::Cpu,
    )
    .unwrap();
    let loss = |reduction| {
        scalar(&supervised_contrastive(&prototypes, &[0, 0, 1, 1], 1.0, reduction).unwrap())
    };
    close(loss(Reduction::Sum), 3.577_056_865_170_35, 1e-5);
    close(loss(Reduction::MeanPairs), 0.894_264_216_292_587_5, 1e-5);
}

#[test]
fn plain_entropies() {
    let loss = cross_entropy(&tensor(&[1.0, 2.0, 3.0]), &tensor(&[0.0, 0.0, 1.0])).unwrap();
    close(scalar(&loss), 0.407_605_964, 1e-6);
    let loss =
        binary_cross_entropy(&tensor(&[0.0, 2.0, -80.0]), &tensor(&[1.0, 0.0, 1.0])).unwrap();
    close(scalar(&loss), 2f64.ln() + 2.126_928_011 + 80.0, 1e-5);
}

/// Compares the gradient of `loss` at `start` with central differences.
fn check_gradient(
    start: &Tensor,
    step: f32,
    tolerance: f64,
    loss: impl Fn(&Tensor) -> Result<Tensor>,
) {
    let variable = Var::from_tensor(start).unwrap();
    let total = loss(variable.as_tensor()).unwrap().sum_all().unwrap();
    let gradients = total.backward().unwrap();
    let gradient = gradients
        .get(&variable)
        .expect("no gradient")
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    let values = start.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (i, &found) in gradient.iter().enumerate() {
        let moved = |by: f32| {
            let mut values = values.clone();
            values[i] += by;
            let x = Tensor::from_vec(values, start.shape(), &Device::Cpu).unwrap();
            scalar(&loss(&x).unwrap())
        };
        let expected = (moved(step) - moved(-step)) / f64::from(2.0 * step);
        close(
            f64::from(found),
            expected,
            tolerance * (1.0 + expected.abs()),
        );
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let cosines = tensor(&[0.5, 0.3, -0.1, -0.97]);
    let (first, some) = (tensor(&[1.0, 0.0, 0.0, 0.0]), tensor(&[1.0, 0.0, 1.0, 1.0]));
    for boundary in [Boundary::Fallback, Boundary::Literal] {
        let margin = margin(0.4, boundary);
        check_gradient(&cosines, 1e-3, 2e-3, |z| {
            cross_entropy(&logits(margin, 4.0, z, &first)?, &first)
        });
        check_gradient(&cosines, 1e-3, 2e-3, |z| {
            binary_cross_entropy(&logits(margin, 4.0, z, &some)?, &some)
        });
        // Near ±1 the slope of phi is about 22 here, and differences must be small.
        check_gradient(&tensor(&[0.999, -0.999]), 1e-4, 5e-2, |z| margin.phi(z));
    }
    check_gradient(&tensor(&[0.0, 1.0, -2.0]), 1e-2, 2e-3, |x| {
        binary_cross_entropy(x, &tensor(&[1.0, 0.0, 1.0]))
    });
    check_gradient(&tensor(&[0.0, 0.0, -2.0]), 1e-2, 2e-3, |x| {
        cross_entropy(x, &tensor(&[0.0, 1.0, 0.0]))
    });
    let prototypes = Tensor::new(
        &[[1f32, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]],
        &Device::Cpu,
    )
    .unwrap();
    check_gradient(&prototypes, 1e-2, 2e-3, |p| {
        supervised_contrastive(p, &[0, 0, 1, 1], 0.5, Reduction::Sum)
    });
}

#[test]
fn the_slope_stays_finite_where_cosines_are_one() {
    let margin = margin(0.5, Boundary::Fallback);
    let variable = Var::from_tensor(&tensor(&[1.0, -1.0, 1.1])).unwrap();
    let loss = margin.phi(variable.as_tensor()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let gradient = gradients
        .get(&variable)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    assert!(
        gradient.iter().all(|slope| slope.is_finite()),
        "{gradient:?}"
    );
}
