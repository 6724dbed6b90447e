//! Owns the golden numbers of the losses (computed in double precision by hand) and their gradients.

use candle_core::{Device, Tensor, Var};
use shared::Result;
use shared::config::{DplConfig, HeadConfig, Task};
use shared::head::{self, Features};
use shared::model::CaseOutput;
use shared::nn::var_builder;
use shared::{Case, rng};
use trainer::loss::Objective;
use trainer::loss::arcface::{Boundary, Margin};
use trainer::loss::bce::binary_cross_entropy;
use trainer::loss::cross_entropy::cross_entropy;
use trainer::loss::supcon::{Reduction, supervised_contrastive};
use trainer::settings::LossSettings;

fn margin(scale: f64, margin: f64, boundary: Boundary) -> Margin {
    Margin {
        scale,
        margin,
        boundary,
    }
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
            scalar(&margin(1.0, m, boundary).phi(&tensor(&[z])).unwrap()),
            expected,
            1e-6,
        );
    }
}

#[test]
fn arcface() {
    let cosines = tensor(&[0.5, 0.3, -0.1]);
    let sixteen = margin(16.0, 0.2, Boundary::Fallback);
    let multi_class = sixteen
        .multi_class(&cosines, &tensor(&[1.0, 0.0, 0.0]))
        .unwrap();
    close(scalar(&multi_class), 0.560_324_391_053_339_5, 1e-5);
    let multi_label = sixteen
        .multi_label(&cosines, &tensor(&[1.0, 0.0, 1.0]))
        .unwrap();
    close(scalar(&multi_label), 9.554_011_726_675_142, 1e-5);
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
        let margin = margin(4.0, 0.4, boundary);
        check_gradient(&cosines, 1e-3, 2e-3, |z| margin.multi_class(z, &first));
        check_gradient(&cosines, 1e-3, 2e-3, |z| margin.multi_label(z, &some));
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
    let margin = margin(30.0, 0.5, Boundary::Fallback);
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

/// Every head with every task, all three cases in one batch: the gradient of each head tensor.
#[test]
fn any_head_meets_any_task() {
    let (width, classes, device) = (5, 3, Device::Cpu);
    let features = |case: Case| {
        let draw =
            |name: &str| rng::normal(&mut rng::stream(1, name), &[2, width], 1.0, &device).unwrap();
        let image = case.has(shared::Modality::Image).then(|| draw("image"));
        let text = case.has(shared::Modality::Text).then(|| draw("text"));
        Features { case, image, text }
    };
    let one_hot = [[1f32, 0.0, 0.0], [0.0, 1.0, 0.0]].concat().repeat(3);
    let targets = Tensor::from_vec(one_hot, (6, classes), &device).unwrap();
    for config in [
        HeadConfig::Linear,
        HeadConfig::Dpl(DplConfig {
            scale: [3.0, 4.0, 5.0],
        }),
    ] {
        let start = head::initialise(
            &config,
            width,
            classes,
            &mut rng::stream(2, "head"),
            &device,
        )
        .unwrap();
        for task in [Task::MultiClass, Task::MultiLabel] {
            let objective = Objective::new(task, LossSettings::default(), Case::ALL.to_vec());
            for (name, value) in &start {
                check_gradient(value, 1e-2, 5e-3, |moved| {
                    let mut tensors = start.clone();
                    tensors.insert(name.clone(), moved.clone());
                    let head = head::load(
                        &config,
                        width,
                        classes,
                        var_builder(&tensors, &device).pp("head"),
                    )?;
                    let outputs: Vec<CaseOutput> = Case::ALL
                        .into_iter()
                        .map(|case| {
                            let features = features(case);
                            let rows = vec![2 * case.index(), 2 * case.index() + 1];
                            Ok(CaseOutput {
                                rows,
                                scores: head.scores(&features)?,
                                features,
                            })
                        })
                        .collect::<Result<_>>()?;
                    Ok(objective.loss(head.as_ref(), &outputs, &targets)?.total)
                });
            }
        }
    }
}
