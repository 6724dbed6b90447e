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
    rivals: &[],
};

pub(super) static BYTE: ByteKernel = Kernel {
    name: "AVX2",
    rows: 5,
    columns: COLUMNS,
    unit: 4,
    tile: byte,
    rivals: &[],
};

pub(super) static BYTE_VNNI: ByteKernel = Kernel {
    name: "AVX-VNNI",
    rows: 6,
    columns: COLUMNS,
    unit: 4,
    tile: byte_vnni,
    rivals: &[],
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

unsafe fn byte_vnni(tile: Tile<i8, u8, i32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, byte_vnni_rows: 1 2 3 4 5 6) }
}

#[target_feature(enable = "avx2,avxvnni")]
unsafe fn byte_vnni_rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    for unit in 0..tile.units {
        // SAFETY: four values of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let weights = weights(&tile, unit);
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = inputs(&tile, row, unit);
                sums[0] = _mm256_dpbusd_avx_epi32(sums[0], weights[0], x);
                sums[1] = _mm256_dpbusd_avx_epi32(sums[1], weights[1], x);
            }
        }
    }
    // SAFETY: the caller has room for `rows * columns` sums.
    unsafe { store(&tile, sums) }
}

unsafe fn byte(tile: Tile<i8, u8, i32>) {
    // SAFETY: passed on as it came.
    unsafe { by_rows!(tile, byte_rows: 1 2 3 4 5) }
}

/// Two products are summed in 16 bits, and these sums added for two units before they are widened. None leaves 16 bits,
/// for inputs are scaled so that the four which meet in a lane are small enough together (`product::byte`).
#[target_feature(enable = "avx2")]
unsafe fn byte_rows<const ROWS: usize>(tile: Tile<i8, u8, i32>) {
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    let ones = _mm256_set1_epi16(1);
    for unit in (0..tile.units / 2 * 2).step_by(2) {
        // SAFETY: four values of each row and one line of the panel for each of `units`; the caller answers for these.
        unsafe {
            let (first, second) = (weights(&tile, unit), weights(&tile, unit + 1));
            for (row, sums) in sums.iter_mut().enumerate() {
                let (x, next) = (inputs(&tile, row, unit), inputs(&tile, row, unit + 1));
                for ((sum, first), second) in sums.iter_mut().zip(first).zip(second) {
                    let pairs = _mm256_add_epi16(
                        _mm256_maddubs_epi16(first, x),
                        _mm256_maddubs_epi16(second, next),
                    );
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    if tile.units % 2 == 1 {
        // SAFETY: as above, of the last unit.
        unsafe {
            let weights = weights(&tile, tile.units - 1);
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = inputs(&tile, row, tile.units - 1);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    let pairs = _mm256_maddubs_epi16(weights, x);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    // SAFETY: the caller has room for `rows * columns` sums.
    unsafe { store(&tile, sums) }
}

/// One line of the panel.
///
/// # Safety
/// `unit` is below the tile's.
#[target_feature(enable = "avx2")]
unsafe fn weights(tile: &Tile<i8, u8, i32>, unit: usize) -> [__m256i; 2] {
    // SAFETY: the caller answers for it.
    unsafe {
        let line = tile.panel.add(unit * 4 * COLUMNS);
        [line, line.add(32)].map(|at| _mm256_loadu_si256(at.cast()))
    }
}

/// Four values of a row, in every lane.
///
/// # Safety
/// `row` and `unit` are below the tile's.
#[target_feature(enable = "avx2")]
unsafe fn inputs(tile: &Tile<i8, u8, i32>, row: usize, unit: usize) -> __m256i {
    // SAFETY: the caller answers for it.
    let x = unsafe { tile.input.add(row * tile.stride + 4 * unit) };
    // SAFETY: as above.
    _mm256_set1_epi32(unsafe { x.cast::<i32>().read_unaligned() })
}

/// # Safety
/// There is room for as many sums.
#[target_feature(enable = "avx2")]
unsafe fn store<const ROWS: usize>(tile: &Tile<i8, u8, i32>, sums: [[__m256i; 2]; ROWS]) {
    for (row, sums) in sums.into_iter().enumerate() {
        // SAFETY: the caller answers for it.
        unsafe {
            let out = tile.sums.add(row * COLUMNS);
            _mm256_storeu_si256(out.cast(), sums[0]);
            _mm256_storeu_si256(out.add(8).cast(), sums[1]);
        }
    }
}
