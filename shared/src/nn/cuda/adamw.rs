//! Owns the optimiser's work on CUDA: the step on values where they lie, and the squares of gradients.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};

use super::call::{self, Step};
use super::device::{Source, Target, room, run};

/// Changes values and both moments, which lie in storages of their own, by one step.
///
/// # Errors
/// If sizes differ, something is not contiguous and f32, or the kernel does not start.
pub fn step(
    step: &Step,
    (values, values_layout): (&mut CudaStorage, &Layout),
    (gradient, gradient_layout): (&CudaStorage, &Layout),
    [first, second]: [&mut CudaStorage; 2],
) -> Result<()> {
    let count = values_layout.shape().elem_count();
    if gradient_layout.shape().elem_count() != count {
        bail!("the optimiser's values and gradient differ in size");
    }
    for kind in [&*values, gradient, &*first, &*second].map(BackendStorage::dtype) {
        if kind != DType::F32 {
            bail!("the optimiser works on contiguous values in f32, not {kind:?}");
        }
    }
    let device = values.device().clone();
    let changed = [
        Target::of(values, values_layout)?,
        Target::from(first, 0),
        Target::from(second, 0),
    ];
    let gradient = Source::of(gradient, gradient_layout)?;
    run(&device, call::adamw(count, step, changed, gradient))
}

/// The sum of squares of each tensor, all on one device and in f32, with one read from it.
///
/// # Errors
/// If a tensor is of another type or device, or not contiguous.
pub fn squares(device: &CudaDevice, tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let counts = tensors.iter().map(|tensor| tensor.elem_count());
    let parts: Vec<usize> = counts.map(call::square_parts).collect();
    let all = parts.iter().sum::<usize>();
    let mut sums = room(device, &Shape::from(all), DType::F64)?;
    let mut start = 0;
    for (tensor, parts) in tensors.iter().zip(&parts) {
        let (storage, layout) = tensor.storage_and_layout();
        let storage = match &*storage {
            Storage::Cuda(storage) if storage.device().same_device(device) => storage,
            _ => bail!("the gradients lie on several devices"),
        };
        if storage.dtype() != DType::F32 {
            bail!("a gradient is {:?}, not f32", storage.dtype());
        }
        let target = Target::from(&mut sums, start);
        let source = Source::of(storage, layout)?;
        run(device, call::squares(tensor.elem_count(), source, target))?;
        start += parts;
    }
    let sums = sums.to_cpu_storage()?;
    let mut sums = sums.as_slice::<f64>()?;
    let mut found = Vec::with_capacity(parts.len());
    for parts in parts {
        let (own, rest) = sums.split_at(parts);
        found.push(own.iter().sum());
        sums = rest;
    }
    Ok(found)
}
