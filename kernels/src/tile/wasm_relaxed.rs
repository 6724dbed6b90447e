//! Owns the kernels for WebAssembly's relaxed SIMD: a fused multiply-add, and two products of bytes, of which the machine
//! decides the faster.
#![allow(unsafe_code)]

use std::arch::wasm32::*;

use super::{ByteKernel, FloatKernel, Kernel, Tile, by_rows, unrolled};

const COLUMNS: usize = 8;

pub(super) static FLOAT: FloatKernel = Kernel {
    name: "relaxed simd",
    rows: 6,
    columns: COLUMNS,
    unit: 1,
    tile: float,
    rivals: &[],
};

/// Four products at a time: one instruction where the processor has it (AVX-VNNI, ARM's dot product), else three.
pub(super) static BYTE: ByteKernel = Kernel {
    name: "relaxed simd",
    rows: 6,
    columns: COLUMNS,
    unit: 4,
    tile: byte,
    rivals: &[&BYTE_PAIRS, &super::wasm::BYTE],
};

/// Eight products for each step of widening: faster where the processor lacks an instruction for four.
pub(super) static BYTE_PAIRS: ByteKernel = Kernel {
    name: "relaxed simd in pairs",
    rows: 5,
    columns: COLUMNS,
    unit: 4,
    tile: byte_pairs,
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
                sums[0] = f32x4_relaxed_madd(x, weights[0], sums[0]);
                sums[1] = f32x4_relaxed_madd(x, weights[1], sums[1]);
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
    unsafe { by_rows!(tile, byte_rows: 1 2 3 4 5 6) }
}

/// The second operand has 7 bits: with weights in 0..=127 no implementation that the standard allows can differ, for
/// neither the sign of a top bit nor a 16-bit sum of two products (at most 2 * 127 * 128) comes into it.
unsafe fn byte_rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
    let mut sums = [[i32x4_splat(0); 2]; ROWS];
    let mut step = |inputs: [*const i8; ROWS], panel: *const u8, unit: usize| {
        // SAFETY: four values of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let line = panel.add(unit * 4 * COLUMNS);
            let weights = [v128_load(line.cast()), v128_load(line.add(16).cast())];
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let x = v128_load32_splat(input.add(unit * 4).cast());
                sums[0] = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights[0], sums[0]);
                sums[1] = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights[1], sums[1]);
            }
        }
    };
    // SAFETY: the pointers stay inside rows and panel, or at their ends.
    unsafe { unrolled!(tile, 4, step) }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            v128_store(out.cast(), sums[0]);
            v128_store(out.add(4).cast(), sums[1]);
        }
    }
}

unsafe fn byte_pairs(tile: Tile<i8, u8, i32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, byte_pairs_rows: 1 2 3 4 5) }
}

/// Sums of two products in 16 bits, added for two units before they are widened. No sum leaves 16 bits, for inputs are
/// scaled so that the four which meet in a lane are small enough together (`product::byte`).
unsafe fn byte_pairs_rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
    let mut sums = [[i32x4_splat(0); 2]; ROWS];
    let mut step = |inputs: [*const i8; ROWS], panel: *const u8, pair: usize| {
        // SAFETY: eight values of each row and two lines of the panel for each pair of `units`; the caller answers for
        // these.
        unsafe {
            let line = panel.add(pair * 8 * COLUMNS);
            let weights = [0, 16, 32, 48].map(|at| v128_load(line.add(at).cast()));
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let [x, next] = [0, 4].map(|at| v128_load32_splat(input.add(pair * 8 + at).cast()));
                for (half, sum) in sums.iter_mut().enumerate() {
                    let pairs = i16x8_add(
                        i16x8_relaxed_dot_i8x16_i7x16(x, weights[half]),
                        i16x8_relaxed_dot_i8x16_i7x16(next, weights[half + 2]),
                    );
                    *sum = i32x4_add(*sum, i32x4_extadd_pairwise_i16x8(pairs));
                }
            }
        }
    };
    // SAFETY: the pointers stay inside rows and panel, or at their ends.
    unsafe {
        let mut inputs: [_; ROWS] = std::array::from_fn(|row| tile.input.add(row * tile.stride));
        let mut panel = tile.panel;
        for _ in 0..tile.units / 4 {
            step(inputs, panel, 0);
            step(inputs, panel, 1);
            inputs = inputs.map(|input| input.add(16));
            panel = panel.add(16 * COLUMNS);
        }
        if tile.units % 4 >= 2 {
            step(inputs, panel, 0);
            inputs = inputs.map(|input| input.add(8));
            panel = panel.add(8 * COLUMNS);
        }
        if tile.units % 2 == 1 {
            let weights = [v128_load(panel.cast()), v128_load(panel.add(16).cast())];
            for (sums, input) in sums.iter_mut().zip(inputs) {
                let x = v128_load32_splat(input.cast());
                sums[0] = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights[0], sums[0]);
                sums[1] = i32x4_relaxed_dot_i8x16_i7x16_add(x, weights[1], sums[1]);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            v128_store(out.cast(), sums[0]);
            v128_store(out.add(4).cast(), sums[1]);
        }
    }
}
