//! Owns the kernels for machines of which nothing is known: plain loops, which also say what the others must equal.
#![allow(unsafe_code)]

use super::{ByteKernel, FloatKernel, Kernel, Tile};

const COLUMNS: usize = 8;

pub(super) static FLOAT: FloatKernel = Kernel {
    name: "portable",
    rows: 4,
    columns: COLUMNS,
    unit: 1,
    tile: float,
    rivals: &[],
};

pub(super) static BYTE: ByteKernel = Kernel {
    name: "portable",
    rows: 4,
    columns: COLUMNS,
    unit: 4,
    tile: byte,
    rivals: &[],
};

unsafe fn float(tile: Tile<f32, f32, f32>) {
    for row in 0..tile.rows {
        let mut sums = [0f32; COLUMNS];
        for k in 0..tile.units {
            // SAFETY: `k` is below `units`, as much as the caller says can be read of each row and of the panel.
            let (x, weights) = unsafe {
                let x = *tile.input.add(row * tile.stride + k);
                (x, &*tile.panel.add(k * COLUMNS).cast::<[f32; COLUMNS]>())
            };
            sums.iter_mut()
                .zip(weights)
                .for_each(|(sum, w)| *sum += x * w);
        }
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            tile.sums
                .add(row * COLUMNS)
                .cast::<[f32; COLUMNS]>()
                .write(sums)
        }
    }
}

unsafe fn byte(tile: Tile<i8, u8, i32>) {
    for row in 0..tile.rows {
        let mut sums = [0i32; COLUMNS];
        for unit in 0..tile.units {
            // SAFETY: `unit` is below `units`, as much as the caller says can be read of each row and of the panel.
            let (x, weights) = unsafe {
                let x = *tile
                    .input
                    .add(row * tile.stride + 4 * unit)
                    .cast::<[i8; 4]>();
                let panel = tile.panel.add(unit * 4 * COLUMNS);
                (x, &*panel.cast::<[[u8; 4]; COLUMNS]>())
            };
            for (sum, w) in sums.iter_mut().zip(weights) {
                *sum += (0..4)
                    .map(|j| i32::from(x[j]) * i32::from(w[j]))
                    .sum::<i32>();
            }
        }
        // SAFETY: the caller has room for `rows * columns` sums.
        unsafe {
            tile.sums
                .add(row * COLUMNS)
                .cast::<[i32; COLUMNS]>()
                .write(sums)
        }
    }
}
