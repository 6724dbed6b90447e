//! Owns the order in which the tiles of a product are computed, the same for every kernel.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::parallel::{self, Nanoseconds};
use crate::tile::{Kernel, MOST_COLUMNS, MOST_ROWS, Tile};

/// A group of panels that is gone through for each few rows of input: it stays in the first cache.
const GROUP_BYTES: usize = 24 << 10;

/// Where a product goes: rows `stride` values apart, of which the first `columns` are written.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    data: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    of: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: threads get at the data through `row` only, whose callers each have columns of their own.
unsafe impl Send for Output<'_> {}
// SAFETY: as above.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// # Panics
    /// If `data` is too short.
    pub(crate) fn new(data: &'a mut [f32], stride: usize, rows: usize, columns: usize) -> Self {
        let needed = if rows == 0 {
            0
        } else {
            (rows - 1) * stride + columns
        };
        assert!(
            columns <= stride && needed <= data.len(),
            "no room for a product"
        );
        Self {
            data: data.as_mut_ptr(),
            stride,
            rows,
            columns,
            of: std::marker::PhantomData,
        }
    }

    /// Some columns of a row.
    ///
    /// # Safety
    /// No other piece that overlaps may be alive.
    pub(crate) unsafe fn row(&self, row: usize, columns: Range<usize>) -> &'a mut [f32] {
        assert!(row < self.rows && columns.end <= self.columns && columns.start <= columns.end);
        // SAFETY: inside the slice that `new` measured; the caller answers for overlaps.
        unsafe {
            let start = self.data.add(row * self.stride + columns.start);
            std::slice::from_raw_parts_mut(start, columns.len())
        }
    }
}

/// The input of a product: rows `stride` values apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) stride: usize,
    pub(crate) rows: usize,
}

/// What takes the sums of a tile to their place.
pub(crate) trait Store<Sum>: Sync {
    /// Takes `sums` [rows, columns] of the tile at (`row`, `column`) of the product. `first` and `last` tell whether
    /// these are the first and the last of the inputs' blocks.
    fn store(&self, at: Place, sums: &[Sum], columns: usize, first: bool, last: bool);
}

/// Where a tile lies in its product.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// Computes outputs of `panels` (from `first_panel` on, `count` of them) for all rows of `x`, `units` inputs of the
/// kernel's unit each, in blocks of at most `block` units; on all threads if `shared`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn sweep<Input: Sync, Weight: Sync, Sum: Copy + Default>(
    kernel: &Kernel<Input, Weight, Sum>,
    x: Rows<'_, Input>,
    units: usize,
    block: usize,
    panels: &[Weight],
    wanted: Range<usize>,
    shared: bool,
    store: &impl Store<Sum>,
) {
    let line = kernel.columns * kernel.unit;
    let panel_values = units * line;
    assert!(kernel.rows <= MOST_ROWS && kernel.columns <= MOST_COLUMNS);
    assert!(
        panels.len() >= wanted.end * panel_values,
        "panels too short"
    );
    if x.rows == 0 || units == 0 || wanted.is_empty() {
        return;
    }
    let last = (x.rows - 1) * x.stride + units * kernel.unit;
    assert!(last <= x.data.len(), "rows too short");

    let bytes = units.min(block) * line * size_of::<Weight>();
    let group = (GROUP_BYTES / bytes).max(1);
    let work = |index: usize| {
        let from = wanted.start + index * group;
        let to = (from + group).min(wanted.end);
        let mut sums = [Sum::default(); MOST_ROWS * MOST_COLUMNS];
        for start in (0..units).step_by(block) {
            let size = block.min(units - start);
            for row in (0..x.rows).step_by(kernel.rows) {
                let rows = kernel.rows.min(x.rows - row);
                for panel in from..to {
                    // SAFETY: rows up to `x.rows` with `units` units each are inside `x.data`, panels up to
                    // `wanted.end` inside `panels` (asserted above); `sums` has room for any tile; the kernel was
                    // chosen because its instruction set is there.
                    unsafe {
                        (kernel.tile)(Tile {
                            rows,
                            units: size,
                            input: x.data.as_ptr().add(row * x.stride + start * kernel.unit),
                            stride: x.stride,
                            panel: panels.as_ptr().add(panel * panel_values + start * line),
                            sums: sums.as_mut_ptr(),
                        });
                    }
                    let place = Place {
                        row,
                        column: panel * kernel.columns,
                    };
                    let last = start + size == units;
                    store.store(
                        place,
                        &sums[..rows * kernel.columns],
                        kernel.columns,
                        start == 0,
                        last,
                    );
                }
            }
        }
    };
    let groups = wanted.len().div_ceil(group);
    let count = x.rows * panel_values * wanted.len();
    let whole = if !shared {
        Nanoseconds(0)
    } else if size_of::<Weight>() == 1 {
        Nanoseconds::of_byte_products(count)
    } else {
        Nanoseconds::of_products(count)
    };
    parallel::for_each(groups, whole, work);
}
