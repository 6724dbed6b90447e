//! Owns the innermost loops of products, one file an instruction set, and the choice among them.
//!
//! A tile is the product of a few rows of input with one panel of weights. Panels hold the weights of `columns` outputs
//! side by side, `unit` inputs at a time: element (input `u * unit + j`, output `c`) is at `(u * columns + c) * unit + j`.

use std::sync::OnceLock;

use crate::choice;

mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod wasm_relaxed;

/// The most rows of any tile.
pub(crate) const MOST_ROWS: usize = 14;
/// The most columns of any tile.
pub(crate) const MOST_COLUMNS: usize = 32;

/// One tile to be computed: `sums[r * columns + c] = Σ input[r * stride + k] * weight(k, c)` over `units * unit` inputs.
pub(crate) struct Tile<Input, Weight, Sum> {
    /// Rows, from 1 to the kernel's `rows`.
    pub(crate) rows: usize,
    /// Units of inputs.
    pub(crate) units: usize,
    /// The first row; `units * unit` values are read of each.
    pub(crate) input: *const Input,
    /// Values from one row to the next.
    pub(crate) stride: usize,
    /// `units * columns * unit` values are read.
    pub(crate) panel: *const Weight,
    /// `rows * columns` values are written.
    pub(crate) sums: *mut Sum,
}

/// How tiles are computed with one instruction set.
pub(crate) struct Kernel<Input: 'static, Weight: 'static, Sum: 'static> {
    /// For people.
    pub(crate) name: &'static str,
    /// The most rows of a tile.
    pub(crate) rows: usize,
    /// Outputs of a panel.
    pub(crate) columns: usize,
    /// Inputs that one instruction takes at a time.
    pub(crate) unit: usize,
    /// Computes a tile. The caller answers for the pointers and for the instruction set being there.
    pub(crate) tile: unsafe fn(Tile<Input, Weight, Sum>),
    /// Compute the same of the same panels, and may be faster: `choice` finds out.
    pub(crate) rivals: &'static [&'static Kernel<Input, Weight, Sum>],
}

impl<Input, Weight, Sum> Kernel<Input, Weight, Sum> {
    /// This kernel, or the rival that was chosen.
    pub(crate) fn chosen(&'static self) -> &'static Self {
        self.rivals.get(choice::rival()).copied().unwrap_or(self)
    }
}

/// Products of f32.
pub(crate) type FloatKernel = Kernel<f32, f32, f32>;
/// Products of signed inputs of 8 bits with weights of 7 bits, 0..=127, summed without rounding or overflow in i32. In
/// i16 a kernel may sum two products of neighbours, or the four of inputs that [`crate::product`] keeps small together.
pub(crate) type ByteKernel = Kernel<i8, u8, i32>;

/// The f32 kernels that this machine has, the fastest first.
#[allow(
    clippy::vec_init_then_push,
    reason = "which kernels there are depends on the target"
)]
pub(crate) fn float_kernels() -> Vec<&'static FloatKernel> {
    let mut kernels: Vec<&'static FloatKernel> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if avx512::here() {
            kernels.push(&avx512::FLOAT);
        }
        if avx2::here() {
            kernels.push(&avx2::FLOAT);
        }
    }
    #[cfg(target_arch = "aarch64")]
    kernels.push(&neon::FLOAT);
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    kernels.push(&wasm_relaxed::FLOAT);
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    kernels.push(&wasm::FLOAT);
    kernels.push(&portable::FLOAT);
    kernels
}

/// The byte kernels that this machine has, the fastest first.
#[allow(
    clippy::vec_init_then_push,
    reason = "which kernels there are depends on the target"
)]
pub(crate) fn byte_kernels() -> Vec<&'static ByteKernel> {
    let mut kernels: Vec<&'static ByteKernel> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if avx512::vnni_here() {
            kernels.push(&avx512::BYTE);
        }
        if avx2::vnni_here() {
            kernels.push(&avx2::BYTE_VNNI);
        }
        if avx2::here() {
            kernels.push(&avx2::BYTE);
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        kernels.push(&neon::BYTE);
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    {
        kernels.push(&wasm_relaxed::BYTE);
        kernels.push(&wasm_relaxed::BYTE_PAIRS);
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    kernels.push(&wasm::BYTE);
    kernels.push(&portable::BYTE);
    kernels
}

/// The fastest f32 kernel of this machine.
pub(crate) fn float_kernel() -> &'static FloatKernel {
    static FASTEST: OnceLock<&'static FloatKernel> = OnceLock::new();
    FASTEST.get_or_init(|| float_kernels()[0])
}

/// The fastest byte kernel of this machine.
pub(crate) fn byte_kernel() -> &'static ByteKernel {
    static FASTEST: OnceLock<&'static ByteKernel> = OnceLock::new();
    FASTEST.get_or_init(|| byte_kernels()[0])
}

/// Calls `$body::<ROWS>` with the constant that equals `$rows`.
macro_rules! by_rows {
    ($tile:expr, $body:ident: $($rows:literal)*) => {
        match $tile.rows {
            $($rows => $body::<$rows>($tile),)*
            _ => {}
        }
    };
}
pub(crate) use by_rows;

/// Calls `$step` for each unit of `$unit` inputs, four at a time: what it loads is then at constant distances from few
/// addresses. An addition for each load would take the places of multiplications.
#[cfg(target_arch = "wasm32")]
macro_rules! unrolled {
    ($tile:expr, $unit:expr, $step:ident) => {{
        let mut inputs: [_; ROWS] = std::array::from_fn(|row| $tile.input.add(row * $tile.stride));
        let mut panel = $tile.panel;
        for _ in 0..$tile.units / 4 {
            for unit in 0..4 {
                $step(inputs, panel, unit);
            }
            inputs = inputs.map(|input| input.add(4 * $unit));
            panel = panel.add(4 * $unit * COLUMNS);
        }
        for unit in 0..$tile.units % 4 {
            $step(inputs, panel, unit);
        }
    }};
}
#[cfg(target_arch = "wasm32")]
pub(crate) use unrolled;
