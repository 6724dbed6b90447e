//! Owns the way of a call onto a CUDA device: NVRTC compiles the kernels, candle keeps them, the device's stream runs them.

// A kernel cannot be started without it.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, LaunchConfig, PushKernelArg,
    SyncOnDrop,
};
use candle_core::cuda_backend::cudarc::nvrtc::{
    CompileError, CompileOptions, compile_ptx_with_opts,
};
use candle_core::{CudaDevice, CudaStorage, DType, Error, Layout, Result, Shape, bail};

use super::SOURCE;
use super::call::{Argument, Call};

/// Values to read, from a place in a storage on.
pub(super) struct Source<'a> {
    storage: &'a CudaStorage,
    start: usize,
}

/// Values to write, from a place in a storage on.
pub(super) struct Target<'a> {
    storage: &'a mut CudaStorage,
    start: usize,
}

impl<'a> Source<'a> {
    /// The values of a tensor.
    pub(super) fn of(storage: &'a CudaStorage, layout: &Layout) -> Result<Self> {
        let start = start(layout)?;
        Ok(Self { storage, start })
    }

    /// All values of a storage.
    pub(super) fn all(storage: &'a CudaStorage) -> Self {
        Self { storage, start: 0 }
    }

    fn pointer<'s>(
        &'s self,
        values: usize,
        stream: &'s CudaStream,
    ) -> Result<(u64, SyncOnDrop<'s>)> {
        fn at<'s, T>(
            slice: &'s CudaSlice<T>,
            (start, values): (usize, usize),
            stream: &'s CudaStream,
        ) -> Result<(u64, SyncOnDrop<'s>)> {
            check(slice, start, values)?;
            let (pointer, guard) = slice.device_ptr(stream);
            Ok((pointer + (start * size_of::<T>()) as u64, guard))
        }
        let range = (self.start, values);
        match &self.storage.slice {
            CudaStorageSlice::F32(slice) => at(slice, range, stream),
            CudaStorageSlice::F16(slice) => at(slice, range, stream),
            CudaStorageSlice::BF16(slice) => at(slice, range, stream),
            CudaStorageSlice::F64(slice) => at(slice, range, stream),
            _ => bail!("no CUDA kernel reads {:?}", self.storage.dtype()),
        }
    }
}

impl<'a> Target<'a> {
    /// The values of a tensor.
    pub(super) fn of(storage: &'a mut CudaStorage, layout: &Layout) -> Result<Self> {
        let start = start(layout)?;
        Ok(Self { storage, start })
    }

    /// The values of a storage from a place on.
    pub(super) fn from(storage: &'a mut CudaStorage, start: usize) -> Self {
        Self { storage, start }
    }

    fn pointer<'s>(
        &'s mut self,
        values: usize,
        stream: &'s CudaStream,
    ) -> Result<(u64, SyncOnDrop<'s>)> {
        fn at<'s, T>(
            slice: &'s mut CudaSlice<T>,
            (start, values): (usize, usize),
            stream: &'s CudaStream,
        ) -> Result<(u64, SyncOnDrop<'s>)> {
            check(slice, start, values)?;
            let (pointer, guard) = slice.device_ptr_mut(stream);
            Ok((pointer + (start * size_of::<T>()) as u64, guard))
        }
        let (range, kind) = ((self.start, values), self.storage.dtype());
        match &mut self.storage.slice {
            CudaStorageSlice::F32(slice) => at(slice, range, stream),
            CudaStorageSlice::F16(slice) => at(slice, range, stream),
            CudaStorageSlice::BF16(slice) => at(slice, range, stream),
            CudaStorageSlice::F64(slice) => at(slice, range, stream),
            _ => bail!("no CUDA kernel writes {kind:?}"),
        }
    }
}

fn start(layout: &Layout) -> Result<usize> {
    match layout.contiguous_offsets() {
        Some((start, _)) => Ok(start),
        None => bail!("a CUDA kernel was given a tensor that is not contiguous"),
    }
}

fn check<T>(slice: &CudaSlice<T>, start: usize, values: usize) -> Result<()> {
    if start + values > slice.len() {
        bail!(
            "a CUDA kernel needs {values} values from {start} on, of {}",
            slice.len()
        );
    }
    Ok(())
}

/// Room for what kernels write.
///
/// # Errors
/// If the device has no memory left.
pub(super) fn room(device: &CudaDevice, shape: &Shape, kind: DType) -> Result<CudaStorage> {
    // SAFETY: the values are numbers of any bits, and the kernels that are given this room write all of them before
    // another, on the same stream, reads any.
    unsafe { device.alloc_uninit(shape, kind) }
}

/// What a kernel writes that is given room for all of it.
///
/// # Errors
/// As [`room`] and [`run`].
pub(super) fn filled<'a>(
    device: &CudaDevice,
    shape: &Shape,
    kind: DType,
    call: impl FnOnce(Target<'_>) -> Result<Call<Source<'a>, Target<'_>>>,
) -> Result<(CudaStorage, Shape)> {
    let mut values = room(device, shape, kind)?;
    run(device, call(Target::from(&mut values, 0))?)?;
    Ok((values, shape.clone()))
}

/// Starts a kernel on the device's stream.
///
/// # Errors
/// If the kernels do not compile or load, a buffer is too small, or the driver refuses.
pub(super) fn run(device: &CudaDevice, mut call: Call<Source<'_>, Target<'_>>) -> Result<()> {
    enum Passed {
        Pointer(u64),
        Size(u32),
        Count(u64),
        Number(f32),
    }
    let function = function(device, &call.kernel)?;
    let stream = device.cuda_stream();
    // They tell the streams apart that use a buffer, and must live until the kernel is under way.
    let mut guards = Vec::new();
    let mut passed = Vec::new();
    for argument in &mut call.arguments {
        passed.push(match argument {
            Argument::Read { buffer, values } => {
                let (pointer, guard) = buffer.pointer(*values, &stream)?;
                guards.push(guard);
                Passed::Pointer(pointer)
            }
            Argument::Write { buffer, values } => {
                let (pointer, guard) = buffer.pointer(*values, &stream)?;
                guards.push(guard);
                Passed::Pointer(pointer)
            }
            Argument::Size(size) => Passed::Size(*size),
            Argument::Count(count) => Passed::Count(*count),
            Argument::Number(number) => Passed::Number(*number),
        });
    }
    let mut builder = stream.launch_builder(&function);
    for argument in &passed {
        match argument {
            Passed::Pointer(value) | Passed::Count(value) => builder.arg(value),
            Passed::Size(value) => builder.arg(value),
            Passed::Number(value) => builder.arg(value),
        };
    }
    let ([x, y], [lanes, warps]) = (call.grid, call.block);
    let config = LaunchConfig {
        grid_dim: (x, y, 1),
        block_dim: (lanes, warps, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the calls name the kernels' arguments in order and in type (a test makes each of them), every buffer holds
    // the values that a kernel may touch, and what is written is borrowed for writing.
    let started = unsafe { builder.launch(config) };
    started.map_err(|error| {
        Error::Msg(format!(
            "the CUDA kernel {} does not start: {error}",
            call.kernel
        ))
    })?;
    Ok(())
}

/// A kernel on a device, which loads them all when the first is wanted.
fn function(device: &CudaDevice, kernel: &str) -> Result<CudaFunction> {
    let capability = device.cuda_stream().context().compute_capability();
    let (major, minor) = capability.map_err(Error::wrap)?;
    let code = code(major, minor)?;
    let found = device.get_or_load_custom_func(kernel, "lacuna", &code);
    let found = found.map_err(|error| {
        Error::Msg(format!(
            "the CUDA kernel {kernel} does not load: {error}; the driver must be as new as the toolkit (`nvidia-smi` \
             names the newest that it runs)"
        ))
    })?;
    Ok(found.into_cuda_function())
}

/// The kernels as PTX for a compute capability, compiled once.
fn code(major: i32, minor: i32) -> Result<Arc<str>> {
    static COMPILED: Mutex<BTreeMap<(i32, i32), Arc<str>>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(code) = compiled.get(&(major, minor)) {
        return Ok(code.clone());
    }
    let options = CompileOptions {
        options: vec![format!("--gpu-architecture=compute_{major}{minor}")],
        name: Some("lacuna.cu".into()),
        ..Default::default()
    };
    let code = compile_ptx_with_opts(SOURCE, options).map_err(|error| {
        let said = match &error {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => other.to_string(),
        };
        Error::Msg(format!(
            "NVRTC cannot compile the CUDA kernels for compute capability {major}.{minor}; the toolkit must know this \
             GPU. It says: {}",
            said.trim()
        ))
    })?;
    let code: Arc<str> = code.to_src().into();
    compiled.insert((major, minor), code.clone());
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NVRTC needs no GPU.
    #[test]
    fn nvrtc_compiles_the_kernels_and_says_what_it_cannot() {
        for (major, minor) in [(8, 0), (9, 0)] {
            let code = code(major, minor).unwrap();
            for kernel in ["layer_norm_bf16_f32", "softmax_f16", "adamw", "squares"] {
                assert!(code.contains(&format!(".entry {kernel}(")), "{kernel}");
            }
        }
        let error = code(1, 0).unwrap_err().to_string();
        assert!(error.contains("compute capability 1.0"), "{error}");
    }
}
