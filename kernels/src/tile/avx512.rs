//! Owns the kernels for AVX-512, and for its byte products (VNNI).
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;

use super::{ByteKernel, FloatKernel, Kernel, Tile, by_rows};

const COLUMNS: usize = 32;

pub(super) static FLOAT: FloatKernel = Kernel {
    name: "AVX-512",
    rows: 14,
    columns: COLUMNS,
    unit: 1,
    tile: float,
    rivals: &[],
};

pub(super) static BYTE: ByteKernel = Kernel {
    name: "AVX-512 VNNI",
    rows: 14,
    columns: COLUMNS,
    unit: 4,
    tile: byte,
    rivals: &[],
};

pub(super) fn here() -> bool {
    is_x86_feature_detected!("avx512f")
}

pub(super) fn vnni_here() -> bool {
    here() && is_x86_feature_detected!("avx512vnni")
}

unsafe fn float(tile: Tile<f32, f32, f32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, float_rows: 1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

#[target_feature(enable = "avx512f")]
unsafe fn float_rows<const ROWS: usize>(tile: Tile<f32, f32, f32>) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let (mut input, mut panel) = (tile.input, tile.panel);
    for _ in 0..tile.units {
        // SAFETY: one value of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let weights = [_mm512_loadu_ps(panel), _mm512_loadu_ps(panel.add(16))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*input.add(row * tile.stride));
                sums[0] = _mm512_fmadd_ps(x, weights[0], sums[0]);
                sums[1] = _mm512_fmadd_ps(x, weights[1], sums[1]);
            }
            input = input.add(1);
            panel = panel.add(COLUMNS);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            _mm512_storeu_ps(out, sums[0]);
            _mm512_storeu_ps(out.add(16), sums[1]);
        }
    }
}

unsafe fn byte(tile: Tile<i8, u8, i32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, byte_rows: 1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn byte_rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
    let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
    let (mut input, mut panel) = (tile.input, tile.panel);
    for _ in 0..tile.units {
        // SAFETY: four values of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let weights = [
                _mm512_loadu_si512(panel.cast()),
                _mm512_loadu_si512(panel.add(64).cast()),
            ];
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = input.add(row * tile.stride).cast::<i32>().read_unaligned();
                let x = _mm512_set1_epi32(x);
                sums[0] = _mm512_dpbusd_epi32(sums[0], weights[0], x);
                sums[1] = _mm512_dpbusd_epi32(sums[1], weights[1], x);
            }
            input = input.add(4);
            panel = panel.add(4 * COLUMNS);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            _mm512_storeu_si512(out.cast(), sums[0]);
            _mm512_storeu_si512(out.add(16).cast(), sums[1]);
        }
    }
}
