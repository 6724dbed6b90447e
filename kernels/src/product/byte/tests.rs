//! Owns the tests of products in bytes: exact against plain integers, for every instruction set of this machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{Matrix, Panels, Prepared};
use super::*;
use crate::tile::byte_kernels;

/// Extreme values, or any.
fn byte(rng: &mut ChaCha8Rng, low: i8, high: i8) -> i8 {
    match rng.random_range(0..6) {
        0 => low,
        1 => high,
        2 => 0,
        _ => rng.random_range(low..=high),
    }
}

/// Every kernel of this machine sums exactly what a plain loop in i32 does: random shapes, odd sizes, extreme values.
#[test]
fn sums_equal_plain_integers() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for kernel in byte_kernels() {
        for case in 0..300 {
            let [rows, mut inputs, outputs] = [40, 900, 70].map(|most| rng.random_range(1..=most));
            if case == 0 {
                inputs = 8192;
            }
            let extreme = case % 3 == 0;
            let mut draw = |count: usize, low: i8, high: i8| -> Vec<i8> {
                let draw = |_| {
                    if extreme {
                        [low, high][rng.random_range(0..2)]
                    } else {
                        byte(&mut rng, low, high)
                    }
                };
                (0..count).map(draw).collect()
            };
            let (a, w) = (
                draw(rows * inputs, -128, 127),
                draw(outputs * inputs, -64, 63),
            );
            let mut panels = BytePanels::with(kernel, inputs, outputs);
            panels.set_rows(0, &w, &vec![1.0; outputs]);
            let stride = inputs.next_multiple_of(4);
            let mut x = ByteRows {
                values: vec![0; rows * stride],
                stride,
                rows: Vec::new(),
            };
            for row in 0..rows {
                let from = &a[row * inputs..][..inputs];
                x.values[row * stride..][..inputs].copy_from_slice(from);
                let sum = from.iter().map(|&a| i32::from(a)).sum();
                let zero = [0, -128, 127, 5][row % 4];
                x.rows.push(ByteRow {
                    scale: 1.0,
                    zero,
                    sum,
                });
            }
            let mut y = vec![0.0; rows * outputs];
            let bias = vec![0.0; outputs];
            let output = Output::new(&mut y, outputs, rows, outputs);
            panels.multiply(&x, 0..outputs, &bias, output, Finish::Store);
            for (i, y) in y.iter().enumerate() {
                let (row, output) = (i / outputs, i % outputs);
                let expected: i32 = (0..inputs)
                    .map(|k| {
                        (i32::from(a[row * inputs + k]) - x.rows[row].zero)
                            * i32::from(w[output * inputs + k])
                    })
                    .sum();
                assert_eq!(
                    *y, expected as f32,
                    "{} {rows}x{inputs}x{outputs}",
                    kernel.name
                );
            }
        }
    }
}

/// A quantised row is within half a step of what it stands for, whatever its values.
#[test]
fn rows_in_bytes_are_close_and_survive_anything() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for case in 0..200 {
        let width = rng.random_range(1..200);
        let size = 10f32.powi(rng.random_range(-20..20));
        let shift = [0.0, 1.0, -1.0][case % 3];
        let x: Vec<f32> = (0..width)
            .map(|_| (rng.random_range(-1.0..1.0) + shift) * size)
            .collect();
        let mut rows = ByteRows::default();
        rows.fill(&x, width);
        let row = rows.rows[0];
        for (x, &a) in x.iter().zip(&rows.values) {
            let back = (i32::from(a) - row.zero) as f32 * row.scale;
            assert!(
                (back - x).abs() <= 0.5001 * row.scale + 1e-6 * x.abs(),
                "{x} {back} {}",
                row.scale
            );
        }
        assert_eq!(
            row.sum,
            rows.values.iter().map(|&a| i32::from(a)).sum::<i32>()
        );
    }
    for odd in [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        1e-45,
        0.0,
    ] {
        let mut rows = ByteRows::default();
        rows.fill(&[1.0, odd, -f32::MAX, odd, 0.5], 5);
        rows.fill(&[odd; 5], 5);
        assert_eq!(
            rows.rows[0].sum,
            rows.values.iter().map(|&a| i32::from(a)).sum::<i32>()
        );
        assert!(rows.rows[0].scale.is_finite());
    }
}

/// From f32 to f32: near the exact product, for every ending of a row and part of the outputs.
#[test]
fn products_in_bytes_are_near_those_in_f32() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for kernel in byte_kernels() {
        let (rows, inputs, outputs) = (9, 770, 75);
        let x: Vec<f32> = (0..rows * inputs)
            .map(|_| rng.random_range(-1.0..2.0))
            .collect();
        let w: Vec<i8> = (0..outputs * inputs)
            .map(|_| rng.random_range(-64..=63))
            .collect();
        let scales: Vec<f32> = (0..outputs)
            .map(|_| rng.random_range(0.001..0.01))
            .collect();
        let mut matrix = Matrix {
            inputs,
            outputs,
            panels: Panels::Byte(BytePanels::with(kernel, inputs, outputs)),
            bias: vec![0.25; outputs],
        };
        assert!(matrix.set_byte_rows(0, &w, &scales));
        let mut prepared = Prepared::default();
        matrix.prepare(&x, &mut prepared);
        let mut y = vec![1.0; rows * 20];
        matrix.multiply(&x, &prepared, 50..70, &mut y, 20, Finish::Add);
        for (i, y) in y.iter().enumerate() {
            let (row, output) = (i / 20, 50 + i % 20);
            let sum: f32 = (0..inputs)
                .map(|k| x[row * inputs + k] * f32::from(w[output * inputs + k]))
                .sum();
            let expected = 1.25 + sum * scales[output];
            assert!(
                (y - expected).abs() < 0.3 * scales[output] * 64.0,
                "{y} {expected}"
            );
        }
    }
}
