//! Owns the tests of products in f32: against plain loops in f64, for every instruction set of this machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::tile::{FloatKernel, float_kernels};

fn draw(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Every f32 kernel of this machine over random and odd sizes, parts of outputs and all endings, against f64.
#[test]
fn f32_products_equal_plain_loops() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for kernel in float_kernels() {
        // Miri interprets: fewer and smaller there.
        let (cases, most, long) = match cfg!(miri) {
            true => (3, [20, 30, 90], 90),
            false => (150, [40, 700, 90], 3000),
        };
        for _ in 0..cases {
            let [rows, inputs, outputs] = most.map(|most| rng.random_range(1..=most));
            check_float(kernel, &mut rng, rows, inputs, outputs);
        }
        check_float(kernel, &mut rng, 1, 1, 1);
        check_float(kernel, &mut rng, 30, long, 64);
    }
}

fn check_float(
    kernel: &'static FloatKernel,
    rng: &mut ChaCha8Rng,
    rows: usize,
    inputs: usize,
    outputs: usize,
) {
    let (x, weights) = (draw(rng, rows * inputs), draw(rng, outputs * inputs));
    let bias = draw(rng, outputs);
    let mut matrix = Matrix {
        inputs,
        outputs,
        panels: Panels::Float(FloatPanels::with(kernel, inputs, outputs)),
        bias: vec![0.0; outputs],
    };
    let half = outputs / 2;
    assert!(matrix.set_float_rows(half, &weights[half * inputs..]));
    assert!(matrix.set_float_rows(0, &weights[..half * inputs]));
    assert!(matrix.set_bias(0, &bias));
    let from = rng.random_range(0..outputs);
    let to = rng.random_range(from..=outputs);
    let stride = to - from + rng.random_range(0..4);
    for finish in [Finish::Store, Finish::Add, Finish::QuickGelu, Finish::Gelu] {
        let before = draw(rng, rows * stride);
        let mut y = before.clone();
        matrix.multiply(&x, &Prepared::default(), from..to, &mut y, stride, finish);
        for row in 0..rows {
            for column in 0..stride {
                let (was, is) = (before[row * stride + column], y[row * stride + column]);
                if column >= to - from {
                    assert_eq!(was, is, "{} wrote beside its product", kernel.name);
                    continue;
                }
                let output = from + column;
                let product = (0..inputs)
                    .map(|k| {
                        f64::from(x[row * inputs + k]) * f64::from(weights[output * inputs + k])
                    })
                    .sum::<f64>()
                    + f64::from(bias[output]);
                let expected = finished(finish, product, f64::from(was));
                assert!(
                    (f64::from(is) - expected).abs() < 1e-5 * (1.0 + (inputs as f64).sqrt()),
                    "{} {rows}x{inputs}x{outputs} {finish:?}: {is} {expected}",
                    kernel.name
                );
            }
        }
    }
}

fn finished(finish: Finish, product: f64, before: f64) -> f64 {
    match finish {
        Finish::Store => product,
        Finish::Add => before + product,
        Finish::QuickGelu => product / (1.0 + (-1.702 * product).exp()),
        Finish::Gelu => 0.5 * product * (1.0 + libm::erf(product / 2f64.sqrt())),
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let mut matrix = Matrix::float(4, 3);
    assert!(!matrix.set_float_rows(0, &[0.0; 5]));
    assert!(!matrix.set_float_rows(2, &[0.0; 8]));
    assert!(!matrix.set_byte_rows(0, &[0; 4], &[1.0]));
    assert!(!matrix.set_bias(2, &[0.0; 2]));
    let mut matrix = Matrix::byte(4, 3);
    assert!(!matrix.set_float_rows(0, &[0.0; 4]));
    assert!(!matrix.set_byte_rows(0, &[0; 4], &[1.0; 2]));
    assert!(matrix.set_byte_rows(2, &[0; 4], &[1.0]));
}
