//! Owns calling the matrix product of the `gemm` crate on strided matrices without copies.
#![allow(unsafe_code)]

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
    pub(super) data: &'a mut [f32],
    pub(super) row: usize,
    pub(super) add: bool,
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
        View::rows(target.data, target.row).holds(m, n),
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
    // SAFETY: the assertions above keep every access inside the three slices, the target is borrowed exclusively, and
    // all strides fit isize because the slices do.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.data.as_mut_ptr(),
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

/// x wᵀ + bias for x [n, inputs] and w [outputs, inputs].
pub(in crate::nn) fn affine(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    inputs: usize,
) -> Vec<f32> {
    let (n, outputs) = (x.len() / inputs, weight.len() / inputs);
    let mut out = Vec::with_capacity(n * outputs);
    match bias {
        Some(bias) => (0..n).for_each(|_| out.extend_from_slice(bias)),
        None => out.resize(n * outputs, 0.0),
    }
    let target = Target {
        data: &mut out,
        row: outputs,
        add: bias.is_some(),
    };
    product(
        (n, inputs, outputs),
        target,
        View::rows(x, inputs),
        View::rows(weight, inputs).t(),
        1.0,
        true,
    );
    out
}

/// The gradient of [`affine`] by x: grad w.
pub(in crate::nn) fn affine_input(
    grad: &[f32],
    weight: &[f32],
    inputs: usize,
    outputs: usize,
) -> Vec<f32> {
    let n = grad.len() / outputs;
    let mut out = vec![0f32; n * inputs];
    let target = Target {
        data: &mut out,
        row: inputs,
        add: false,
    };
    product(
        (n, outputs, inputs),
        target,
        View::rows(grad, outputs),
        View::rows(weight, inputs),
        1.0,
        true,
    );
    out
}

/// The gradient of [`affine`] by w: gradᵀ x.
pub(in crate::nn) fn affine_weight(
    grad: &[f32],
    x: &[f32],
    inputs: usize,
    outputs: usize,
) -> Vec<f32> {
    let n = grad.len() / outputs;
    let mut out = vec![0f32; outputs * inputs];
    let target = Target {
        data: &mut out,
        row: inputs,
        add: false,
    };
    product(
        (outputs, n, inputs),
        target,
        View::rows(grad, outputs).t(),
        View::rows(x, inputs),
        1.0,
        true,
    );
    out
}
