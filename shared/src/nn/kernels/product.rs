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
