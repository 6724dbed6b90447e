//! Owns the tests of products in bytes: exact against plain integers, for every instruction set of this machine.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{Matrix, Panels, Prepared};
use super::*;
use crate::tile::byte_kernels;

/// Inputs that a row may have: of those that meet, the sizes of either sign are `LARGEST_MEETING` at most together.
fn inputs(rng: &mut ChaCha8Rng, count: usize, extreme: bool) -> Vec<i8> {
    let mut values = vec![0i8; count];
    for group in 0..count.div_ceil(MEETING) * 2 {
        let at = group / 2 * MEETING + group % 2 * 2;
        let mut places = [at, at + 1, at + 4, at + 5];
        places.shuffle(rng);
        let mut left = [LARGEST_MEETING; 2];
        // Often all of one sign.
        let same = rng.random::<bool>().then(|| rng.random::<bool>());
        for place in places {
            let negative = same.unwrap_or_else(|| rng.random());
            let left = &mut left[usize::from(negative)];
            let most = (*left).min(127);
            let size = if extreme {
                most
            } else {
                rng.random_range(0..=most)
            };
            *left -= size;
            if let Some(value) = values.get_mut(place) {
                *value = (if negative { -size } else { size }) as i8;
            }
        }
    }
    values
}

/// 127 times this fits 16 bits.
const LARGEST_MEETING: i32 = 258;

/// Every kernel of this machine sums exactly what a plain loop in i32 does: random shapes, odd sizes, extreme values.
#[test]
fn sums_equal_plain_integers() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for kernel in byte_kernels() {
        // Miri interprets: fewer and smaller there.
        let (cases, most, long) = match cfg!(miri) {
            true => (4, [20, 40, 70], 100),
            false => (300, [40, 900, 70], 8192),
        };
        for case in 0..cases {
            let [rows, mut size, outputs]: [usize; 3] = most.map(|most| rng.random_range(1..=most));
            if case == 0 {
                size = long;
            }
            let extreme = case % 3 == 0;
            let stride = size.next_multiple_of(4);
            let mut x = ByteRows {
                values: vec![0; rows * stride],
                stride,
                rows: Vec::new(),
            };
            for values in x.values.chunks_exact_mut(stride) {
                values[..size].copy_from_slice(&inputs(&mut rng, size, extreme));
                let sum = values.iter().map(|&a| i32::from(a)).sum();
                let zero = [0, LOW_ZERO as i32][x.rows.len() % 2];
                x.rows.push(ByteRow {
                    scale: 1.0,
                    zero,
                    sum,
                });
            }
            let weight = |_| match rng.random_range(0..6) {
                0 => -64,
                1 => 63,
                _ if extreme => [-64, 63][rng.random_range(0..2)],
                _ => rng.random_range(-64..=63),
            };
            let w: Vec<i8> = (0..outputs * size).map(weight).collect();
            let mut panels = BytePanels::with(kernel, size, outputs);
            panels.set_rows(0, &w, &vec![1.0; outputs]);
            let mut y = vec![0.0; rows * outputs];
            let bias = vec![0.0; outputs];
            let output = Output::new(&mut y, outputs, rows, outputs);
            panels.multiply(&x, 0..outputs, &bias, output, Finish::Store);
            for (i, y) in y.iter().enumerate() {
                let (row, output) = (i / outputs, i % outputs);
                let products = x.values[row * stride..]
                    .iter()
                    .zip(&w[output * size..][..size]);
                let zero = x.rows[row].zero;
                let expected: i32 = products
                    .map(|(&a, &w)| (i32::from(a) - zero) * i32::from(w))
                    .sum();
                assert_eq!(
                    *y, expected as f32,
                    "{} {rows}x{size}x{outputs}",
                    kernel.name
                );
            }
        }
    }
}

/// The largest sum of values that meet, each counted as `of` says.
fn crowd<T: Copy, N: PartialOrd + Copy>(
    values: &[T],
    none: N,
    of: impl Fn(T) -> N,
    add: impl Fn(N, N) -> N,
) -> N {
    let mut most = none;
    for block in values.chunks(MEETING) {
        for at in [0, 2] {
            let places = [at, at + 1, at + 4, at + 5];
            let sizes = places.map(|place| block.get(place).map_or(none, |&x| of(x)));
            let sum = sizes.into_iter().fold(none, &add);
            most = if sum > most { sum } else { most };
        }
    }
    most
}

/// A row in bytes is within half a step of what it stands for, its step is no larger than it must be, and no four values
/// that meet are too large together.
#[test]
fn rows_in_bytes_are_close_and_survive_anything() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for case in 0..if cfg!(miri) { 24 } else { 400 } {
        let width = rng.random_range(1..200);
        let size = 10f32.powi(rng.random_range(-20..20));
        let spread = [1.0, 0.1, 0.0][case / 4 % 3];
        let shift = [0.0, 1.0, -1.0][case % 4 % 3];
        let mut x: Vec<f32> = (0..width)
            .map(|_| (rng.random_range(-1.0..1.0) * spread + shift) * size)
            .collect();
        if case % 4 == 3 {
            // As activations leave them: seldom far above zero, never far below.
            for x in &mut x {
                *x = (*x / size).powi(5).max(-0.1) * size;
            }
        }
        let mut rows = ByteRows::default();
        rows.fill(&x, width);
        let row = rows.rows[0];
        let mut most = 0f32;
        for (x, &a) in x.iter().zip(&rows.values) {
            let back = (i32::from(a) - row.zero) as f32 * row.scale;
            assert!(
                (back - x).abs() <= 0.5001 * row.scale + 1e-6 * x.abs(),
                "{x} {back} {}",
                row.scale
            );
        }
        for sign in [1, -1] {
            let size = |x: f32| (x * sign as f32).max(0.0);
            let byte = |a: i8| (i32::from(a) * sign).max(0);
            let bytes = crowd(&rows.values, 0, byte, |a, b| a + b);
            assert!(bytes <= LARGEST_MEETING, "{bytes}");
            most = most.max(x.iter().copied().map(size).fold(0.0, f32::max) / 127.0);
            most = most.max(crowd(&x, 0.0, size, |a, b| a + b) / 256.0);
        }
        // Never coarser than with the zero in the middle.
        assert!(row.scale <= 1.0001 * most, "{} {most}", row.scale);
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
        let (rows, inputs, outputs) = (9, if cfg!(miri) { 30 } else { 770 }, 75);
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
            let w = &w[output * inputs..][..inputs];
            let products = x[row * inputs..].iter().zip(w);
            let sum: f32 = products.map(|(x, &w)| x * f32::from(w)).sum();
            let expected = 1.25 + sum * scales[output];
            // Rounding is spread evenly over a step, of deviation 1 / sqrt(12), and independent.
            let size: f32 = w.iter().map(|&w| f32::from(w).powi(2)).sum();
            let deviation = (size / 12.0).sqrt() * prepared.bytes.rows[row].scale * scales[output];
            assert!(
                (y - expected).abs() < 5.5 * deviation,
                "{} {y} {expected}",
                kernel.name
            );
        }
    }
}
