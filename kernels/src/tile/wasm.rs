//! Owns the kernels for 128-bit SIMD of WebAssembly without the relaxed instructions.
#![allow(unsafe_code)]

use std::arch::wasm32::*;

use super::{ByteKernel, FloatKernel, Kernel, Tile, by_rows, unrolled};

const COLUMNS: usize = 8;

pub(super) static FLOAT: FloatKernel = Kernel {
    name: "simd128",
    rows: 6,
    columns: COLUMNS,
    unit: 1,
    tile: float,
    rivals: &[],
};

pub(super) static BYTE: ByteKernel = Kernel {
    name: "simd128",
    rows: 3,
    columns: COLUMNS,
    unit: 4,
    tile: byte,
    rivals: &[],
};

unsafe fn float(tile: Tile<f32, f32, f32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, float_rows: 1 2 3 4 5 6) }
}

unsafe fn float_rows<const ROWS: usize>(tile: Tile<f32, f32, f32>) {
    let mut sums = [[f32x4_splat(0.0); 2]; ROWS];
    let mut step = |inputs: [*const f32; ROWS], panel: *const f32, unit: usize| {
        // SAFETY: one value of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let line = panel.add(unit * COLUMNS);
            let weights = [v128_load(line.cast()), v128_load(line.add(4).cast())];
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let x = v128_load32_splat(input.add(unit).cast());
                sums[0] = f32x4_add(sums[0], f32x4_mul(x, weights[0]));
                sums[1] = f32x4_add(sums[1], f32x4_mul(x, weights[1]));
            }
        }
    };
    // SAFETY: the pointers stay inside rows and panel, or at their ends.
    unsafe { unrolled!(tile, 1, step) }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            v128_store(out.cast(), sums[0]);
            v128_store(out.add(4).cast(), sums[1]);
        }
    }
}

unsafe fn byte(tile: Tile<i8, u8, i32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, byte_rows: 1 2 3) }
}

/// There is a product of i16 pairs only: both sides are widened, and the two pairs of an output's four inputs are
/// summed in two lanes, which are added in the end.
unsafe fn byte_rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
    let mut sums = [[i32x4_splat(0); 4]; ROWS];
    let mut step = |inputs: [*const i8; ROWS], panel: *const u8, unit: usize| {
        // SAFETY: four values of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let line = panel.add(unit * 4 * COLUMNS);
            let weights = [0, 8, 16, 24].map(|at| u16x8_load_extend_u8x8(line.add(at)));
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let x = v128_load32_splat(input.add(unit * 4).cast());
                let x = i16x8_extend_low_i8x16(x);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = i32x4_add(*sum, i32x4_dot_i16x8(x, weights));
                }
            }
        }
    };
    // SAFETY: the pointers stay inside rows and panel, or at their ends.
    unsafe { unrolled!(tile, 4, step) }
    for (row, sums) in sums.iter().enumerate() {
        let halves = [[sums[0], sums[1]], [sums[2], sums[3]]].map(|[low, high]| {
            i32x4_add(
                i32x4_shuffle::<0, 2, 4, 6>(low, high),
                i32x4_shuffle::<1, 3, 5, 7>(low, high),
            )
        });
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            v128_store(out.cast(), halves[0]);
            v128_store(out.add(4).cast(), halves[1]);
        }
    }
}
