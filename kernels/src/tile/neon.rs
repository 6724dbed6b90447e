//! Owns the kernels for NEON.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::{ByteKernel, FloatKernel, Kernel, Tile, by_rows};

const COLUMNS: usize = 8;

pub(super) static FLOAT: FloatKernel = Kernel {
    name: "NEON",
    rows: 8,
    columns: COLUMNS,
    unit: 1,
    tile: float,
    rivals: &[],
};

pub(super) static BYTE: ByteKernel = Kernel {
    name: "NEON",
    rows: 4,
    columns: COLUMNS,
    unit: 4,
    tile: byte,
    rivals: &[],
};

unsafe fn float(tile: Tile<f32, f32, f32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, float_rows: 1 2 3 4 5 6 7 8) }
}

#[target_feature(enable = "neon")]
unsafe fn float_rows<const ROWS: usize>(tile: Tile<f32, f32, f32>) {
    let mut sums = [[vdupq_n_f32(0.0); 2]; ROWS];
    let (mut input, mut panel) = (tile.input, tile.panel);
    for _ in 0..tile.units {
        // SAFETY: one value of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let weights = [vld1q_f32(panel), vld1q_f32(panel.add(4))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = *input.add(row * tile.stride);
                sums[0] = vfmaq_n_f32(sums[0], weights[0], x);
                sums[1] = vfmaq_n_f32(sums[1], weights[1], x);
            }
            input = input.add(1);
            panel = panel.add(COLUMNS);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            vst1q_f32(out, sums[0]);
            vst1q_f32(out.add(4), sums[1]);
        }
    }
}

unsafe fn byte(tile: Tile<i8, u8, i32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, byte_rows: 1 2 3 4) }
}

/// Products in i16, of which two of 127 * 127 each do not overflow, for two units at a time, then summed in pairs.
#[target_feature(enable = "neon")]
unsafe fn byte_rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
    let mut sums = [[vdupq_n_s32(0); 4]; ROWS];
    // SAFETY: four values of each row and one line of the panel for each of `units`; the caller answers for these.
    let weights = |unit: usize| unsafe {
        let line = tile.panel.add(unit * 4 * COLUMNS);
        [0, 8, 16, 24].map(|at| vld1_s8(line.add(at).cast()))
    };
    // SAFETY: as above.
    let inputs = |row: usize, unit: usize| unsafe {
        let x = tile.input.add(row * tile.stride + 4 * unit);
        vreinterpret_s8_s32(vdup_n_s32(x.cast::<i32>().read_unaligned()))
    };
    for unit in (0..tile.units / 2 * 2).step_by(2) {
        let (first, second) = (weights(unit), weights(unit + 1));
        for (row, sums) in sums.iter_mut().enumerate() {
            let (x, next) = (inputs(row, unit), inputs(row, unit + 1));
            for ((sum, first), second) in sums.iter_mut().zip(first).zip(second) {
                let products = vmlal_s8(vmull_s8(first, x), second, next);
                *sum = vpadalq_s16(*sum, products);
            }
        }
    }
    if tile.units % 2 == 1 {
        let weights = weights(tile.units - 1);
        for (row, sums) in sums.iter_mut().enumerate() {
            let x = inputs(row, tile.units - 1);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = vpadalq_s16(*sum, vmull_s8(weights, x));
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            vst1q_s32(out, vpaddq_s32(sums[0], sums[1]));
            vst1q_s32(out.add(4), vpaddq_s32(sums[2], sums[3]));
        }
    }
}
