//! Owns the kernels for AVX2 with fused multiply-add, and for its byte products where the processor has them.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;

use super::{ByteKernel, FloatKernel, Kernel, Tile, by_rows};

const COLUMNS: usize = 16;

pub(super) static FLOAT: FloatKernel = Kernel {
    name: "AVX2",
    rows: 6,
    columns: COLUMNS,
    unit: 1,
    tile: float,
};

pub(super) static BYTE: ByteKernel = Kernel {
    name: "AVX2",
    rows: 5,
    columns: COLUMNS,
    unit: 4,
    tile: byte,
};

pub(super) static BYTE_VNNI: ByteKernel = Kernel {
    name: "AVX-VNNI",
    rows: 6,
    columns: COLUMNS,
    unit: 4,
    tile: byte_vnni,
};

pub(super) fn here() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

pub(super) fn vnni_here() -> bool {
    here() && is_x86_feature_detected!("avxvnni")
}

unsafe fn float(tile: Tile<f32, f32, f32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, float_rows: 1 2 3 4 5 6) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn float_rows<const ROWS: usize>(tile: Tile<f32, f32, f32>) {
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    let (mut input, mut panel) = (tile.input, tile.panel);
    for _ in 0..tile.units {
        // SAFETY: one value of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let weights = [_mm256_loadu_ps(panel), _mm256_loadu_ps(panel.add(8))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_broadcast_ss(&*input.add(row * tile.stride));
                sums[0] = _mm256_fmadd_ps(x, weights[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(x, weights[1], sums[1]);
            }
            input = input.add(1);
            panel = panel.add(COLUMNS);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            _mm256_storeu_ps(out, sums[0]);
            _mm256_storeu_ps(out.add(8), sums[1]);
        }
    }
}

/// One byte kernel: `$dot` adds the products of four bytes at a time, unsigned weights times signed inputs.
macro_rules! byte_kernel {
    ($name:ident, $rows:ident, $dot:ident, $features:literal: $($count:literal)*) => {
        unsafe fn $name(tile: Tile<i8, u8, i32>) {
            // SAFETY: passed on as it came.
            unsafe { by_rows!(tile, $rows: $($count)*) }
        }

        #[target_feature(enable = $features)]
        unsafe fn $rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
            let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
            let (mut input, mut panel) = (tile.input, tile.panel);
            for _ in 0..tile.units {
                // SAFETY: four values of each row and one line of the panel for each of `units`; the caller answers
                // for these.
                unsafe {
                    let weights = [
                        _mm256_loadu_si256(panel.cast()),
                        _mm256_loadu_si256(panel.add(32).cast()),
                    ];
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let x = input.add(row * tile.stride).cast::<i32>().read_unaligned();
                        let x = _mm256_set1_epi32(x);
                        sums[0] = $dot(sums[0], weights[0], x);
                        sums[1] = $dot(sums[1], weights[1], x);
                    }
                    input = input.add(4);
                    panel = panel.add(4 * COLUMNS);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                // SAFETY: the caller has room for `rows * columns` sums.
                unsafe {
                    let out = tile.sums.add(row * COLUMNS);
                    _mm256_storeu_si256(out.cast(), sums[0]);
                    _mm256_storeu_si256(out.add(8).cast(), sums[1]);
                }
            }
        }
    };
}

byte_kernel!(byte, byte_rows, dot, "avx2": 1 2 3 4 5);
byte_kernel!(byte_vnni, byte_vnni_rows, _mm256_dpbusd_avx_epi32, "avx2,avxvnni": 1 2 3 4 5 6);

/// Two products are summed in 16 bits with saturation, which weights of 7 bits cannot reach: 2 * 127 * 128 < 2^15.
#[target_feature(enable = "avx2")]
fn dot(sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(weights, x);
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}
