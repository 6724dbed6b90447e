//! Owns memory that starts on a cache line, so that no vector of a panel lies across two.
#![allow(unsafe_code)]

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Zeros at first, of plain numbers: f32, i32, i8 or u8.
#[derive(Clone)]
pub(crate) struct Buffer<T> {
    lines: Vec<Line>,
    length: usize,
    of: std::marker::PhantomData<T>,
}

/// Numbers for which any bytes are a value, no larger than a line.
pub(crate) trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for u8 {}

impl<T: Plain> Buffer<T> {
    /// `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        let lines = (length * size_of::<T>()).div_ceil(size_of::<Line>());
        Self {
            lines: vec![Line([0; 64]); lines],
            length,
            of: std::marker::PhantomData,
        }
    }

    pub(crate) fn values(&self) -> &[T] {
        // SAFETY: the lines hold at least `length` values, are aligned to more than any T needs, and any bytes are
        // values of a plain number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `values`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
