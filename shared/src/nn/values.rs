//! Owns the look at a tensor's values where they lie: f32 on the CPU.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};

/// The values of a contiguous f32 storage.
///
/// # Errors
/// If it is not contiguous, or of another type.
pub fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&all[from..to]),
        None => candle_core::bail!("a fused operation was given a tensor that is not contiguous"),
    }
}

/// The values of a contiguous f32 tensor on the CPU, for as long as they are looked at.
pub struct Values<'a> {
    /// candle's guard, whose type it does not name.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    /// Looks at a tensor.
    ///
    /// # Errors
    /// If it is not contiguous, of another type, or on another device.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cpu(cpu) = &*storage else {
            candle_core::bail!("a fused CPU operation was given a tensor of another device");
        };
        // Says what is wrong, if something is.
        values(cpu, layout)?;
        let start = layout.start_offset();
        Ok(Self {
            range: start..start + layout.shape().elem_count(),
            storage: Box::new(storage),
        })
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.range.clone()],
            _ => &[],
        }
    }
}

/// Calls `f` with the values of a CPU f32 tensor, made contiguous if it is not.
///
/// # Errors
/// If it is of another type, or on another device.
pub fn with_values<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    Ok(f(&Values::of(&tensor.contiguous()?)?))
}
