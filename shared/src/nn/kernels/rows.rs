//! Owns running a loop over the rows of a matrix, on all threads where there are any.

/// Rows are handed out in blocks of about this many values, so that a task is worth its start.
const BLOCK: usize = 1 << 14;

/// Calls `f(first row, block of out)` for blocks of whole rows of `out`, rows being `width` wide.
pub(in crate::nn) fn for_blocks(
    out: &mut [f32],
    width: usize,
    f: impl Fn(usize, &mut [f32]) + Send + Sync,
) {
    let rows = (BLOCK / width.max(1)).max(1);
    #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
    if out.len() > 2 * BLOCK {
        use rayon::prelude::*;
        out.par_chunks_mut(rows * width)
            .enumerate()
            .for_each(|(i, block)| f(i * rows, block));
        return;
    }
    for (i, block) in out.chunks_mut(rows * width).enumerate() {
        f(i * rows, block);
    }
}

/// The sum of each column of a matrix of rows `width` wide.
pub(in crate::nn) fn column_sums(matrix: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f32; width];
    for row in matrix.chunks_exact(width) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sums
}
