//! Owns calling the matrix product of the `gemm` crate on strided matrices without copies.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// A matrix inside a slice: element (i, j) is at `offset + i * row + j * column`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> View<'a> {
    /// A matrix whose rows are `row` values apart.
    pub(super) fn rows(data: &'a [f32], row: usize) -> Self {
        Self {
            data,
            row,
            column: 1,
        }
    }

    /// The transpose.
    pub(super) fn t(self) -> Self {
        Self {
            data: self.data,
            row: self.column,
            column: self.row,
        }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// Where a product goes: rows `row` values apart; added to what is there if `add`.
pub(super) struct Target<'a> {
    data: *mut f32,
    length: usize,
    row: usize,
    add: bool,
    borrowed: PhantomData<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// In place of what is in the slice.
    pub(super) fn new(data: &'a mut [f32], row: usize) -> Self {
        // SAFETY: the slice is borrowed exclusively for as long as the target lives.
        unsafe { Columns::new(data, row).from(0) }
    }

    /// Added to what is there.
    pub(super) fn adding(self) -> Self {
        Self { add: true, ..self }
    }
}

/// A matrix of which threads write columns of their own.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    data: *mut f32,
    length: usize,
    row: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: it only hands out targets, and whoever asks for one promises that no other thread has its columns.
unsafe impl Send for Columns<'_> {}
// SAFETY: as above.
unsafe impl Sync for Columns<'_> {}

impl<'a> Columns<'a> {
    /// A matrix whose rows are `row` values apart.
    pub(super) fn new(data: &'a mut [f32], row: usize) -> Self {
        Self {
            data: data.as_mut_ptr(),
            length: data.len(),
            row,
            borrowed: PhantomData,
        }
    }

    /// The part that begins at a value.
    ///
    /// # Safety
    /// While the target lives, no other thread may touch the values that a product writes to it.
    pub(super) unsafe fn from(&self, first: usize) -> Target<'a> {
        assert!(first <= self.length, "a part of a matrix begins behind it");
        Target {
            // SAFETY: it stays inside the slice, or at its end.
            data: unsafe { self.data.add(first) },
            length: self.length - first,
            row: self.row,
            add: false,
            borrowed: PhantomData,
        }
    }
}

/// target (+)= scale * left right, for left [m,k] and right [k,n].
///
/// # Panics
/// If a matrix reaches beyond its slice: a defect of the caller, never of its input.
pub(super) fn product(
    (m, k, n): (usize, usize, usize),
    target: Target<'_>,
    left: View<'_>,
    right: View<'_>,
    scale: f32,
    threads: bool,
) {
    assert!(
        left.holds(m, k) && right.holds(k, n),
        "a product's operand reaches beyond its slice"
    );
    assert!(
        m == 0 || n == 0 || (m - 1) * target.row + n <= target.length,
        "a product's target reaches beyond its slice"
    );
    #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
    let parallelism = match rayon::current_num_threads() {
        2.. if threads => gemm::Parallelism::Rayon(0),
        _ => gemm::Parallelism::None,
    };
    #[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
    let parallelism = {
        let _ = threads;
        gemm::Parallelism::None
    };
    // SAFETY: the assertions above keep every access inside the three slices, the target's values are this call's alone, and
    // all strides fit isize because the slices do.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.data,
            1,
            target.row as isize,
            target.add,
            left.data.as_ptr(),
            left.column as isize,
            left.row as isize,
            right.data.as_ptr(),
            right.column as isize,
            right.row as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// left right, for left [m,k] and right [k,n], in memory that is written once.
///
/// # Panics
/// As [`product`].
pub(super) fn new_product(
    (m, k, n): (usize, usize, usize),
    left: View<'_>,
    right: View<'_>,
) -> Vec<f32> {
    if k == 0 {
        return vec![0.0; m * n];
    }
    let mut out: Vec<f32> = Vec::with_capacity(m * n);
    let target = Target {
        data: out.as_mut_ptr(),
        length: m * n,
        row: n,
        add: false,
        borrowed: PhantomData,
    };
    product((m, k, n), target, left, right, 1.0, true);
    // SAFETY: there is room for so many values, and the product has written each of them.
    unsafe { out.set_len(m * n) };
    out
}

/// x wᵀ + bias for x [n, inputs] and w [outputs, inputs].
pub(in crate::nn) fn affine(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    inputs: usize,
) -> Vec<f32> {
    let (n, outputs) = (x.len() / inputs, weight.len() / inputs);
    let sizes = (n, inputs, outputs);
    let (left, right) = (View::rows(x, inputs), View::rows(weight, inputs).t());
    let Some(bias) = bias else {
        return new_product(sizes, left, right);
    };
    let mut out = bias.repeat(n);
    let target = Target::new(&mut out, outputs).adding();
    product(sizes, target, left, right, 1.0, true);
    out
}

/// The gradient of [`affine`] by x: grad w.
pub(in crate::nn) fn affine_input(
    grad: &[f32],
    weight: &[f32],
    inputs: usize,
    outputs: usize,
) -> Vec<f32> {
    new_product(
        (grad.len() / outputs, outputs, inputs),
        View::rows(grad, outputs),
        View::rows(weight, inputs),
    )
}

/// The gradient of [`affine`] by w: gradᵀ x.
pub(in crate::nn) fn affine_weight(
    grad: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
) -> Vec<f32> {
    new_product(
        (outputs, grad.len() / outputs, inputs),
        View::rows(grad, outputs).t(),
        View::rows(x, inputs),
    )
}

/// Small enough to be interpreted by Miri, which holds the promises of the unsafe blocks.
#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, of which sums are exact.
    fn numbers(count: usize, step: usize) -> Vec<f32> {
        let number = |place: usize| (place * step % 11) as f32 - 5.0;
        (0..count).map(number).collect()
    }

    fn expected((m, k, n): (usize, usize, usize), left: View<'_>, right: View<'_>) -> Vec<f32> {
        let at =
            |of: View<'_>, row: usize, column: usize| of.data[row * of.row + column * of.column];
        let value = |i: usize, j: usize| (0..k).map(|l| at(left, i, l) * at(right, l, j)).sum();
        (0..m * n)
            .map(|place| value(place / n, place % n))
            .collect()
    }

    #[test]
    fn products_of_strided_and_turned_matrices_are_exact() {
        for sizes @ (m, k, n) in [
            (1, 1, 1),
            (3, 5, 2),
            (7, 4, 9),
            (5, 17, 3),
            (2, 0, 3),
            (0, 3, 2),
        ] {
            // Rows lie further apart than they are long, and the last one ends with the slice.
            let long = |rows: usize, columns: usize| (rows.max(1) - 1) * (columns + 2) + columns;
            let [a, at] = [long(m, k), long(k, m)].map(|count| numbers(count, 7));
            let [b, bt] = [long(k, n), long(n, k)].map(|count| numbers(count, 3));
            for left in [View::rows(&a, k + 2), View::rows(&at, m + 2).t()] {
                for right in [View::rows(&b, n + 2), View::rows(&bt, k + 2).t()] {
                    let expected = expected(sizes, left, right);
                    assert_eq!(new_product(sizes, left, right), expected, "{sizes:?}");

                    let mut out = numbers(long(m, n), 5);
                    let before = out.clone();
                    let target = Target::new(&mut out, n + 2).adding();
                    product(sizes, target, left, right, 2.0, false);
                    for (place, (now, before)) in out.iter().zip(&before).enumerate() {
                        let (row, column) = (place / (n + 2), place % (n + 2));
                        let own = (column < n && row < m).then(|| expected[row * n + column]);
                        assert_eq!(*now, before + 2.0 * own.unwrap_or(0.0), "{sizes:?} {place}");
                    }
                }
            }
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn threads_write_columns_of_their_own() {
        let (a, b) = (numbers(6, 7), numbers(6, 3));
        let (left, right) = (View::rows(&a, 2), View::rows(&b, 3));
        let mut out = vec![0.0; 3 * 12];
        let columns = Columns::new(&mut out, 12);
        std::thread::scope(|threads| {
            for part in 0..4 {
                threads.spawn(move || {
                    // SAFETY: each thread has three columns of its own.
                    let target = unsafe { columns.from(3 * part) };
                    product((3, 2, 3), target, left, right, 1.0, false);
                });
            }
        });
        let expected = expected((3, 2, 3), left, right);
        for (place, value) in out.iter().enumerate() {
            assert_eq!(*value, expected[place / 12 * 3 + place % 3]);
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn nothing_reaches_beyond_a_slice() {
        let (a, b) = (numbers(6, 7), numbers(6, 3));
        let tried = |sizes, rows: usize| {
            let mut out = vec![0.0; 9];
            let run = std::panic::AssertUnwindSafe(|| {
                let target = Target::new(&mut out, rows);
                product(
                    sizes,
                    target,
                    View::rows(&a, 2),
                    View::rows(&b, 3),
                    1.0,
                    false,
                );
            });
            std::panic::catch_unwind(run).is_ok()
        };
        assert!(tried((3, 2, 3), 3));
        for (sizes, rows) in [
            ((4, 2, 3), 2),
            ((3, 3, 3), 3),
            ((3, 2, 4), 3),
            ((3, 2, 3), 4),
        ] {
            assert!(!tried(sizes, rows), "{sizes:?} in rows of {rows}");
        }
    }
}
