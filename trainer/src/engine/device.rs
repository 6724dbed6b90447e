//! Owns the choice of the device.

use anyhow::{Context, Result};
use candle_core::Device;
use clap::ValueEnum;

/// What `--device` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// CUDA if the program was built with it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device: the first one, unless a launcher gives each process its own.
    Cuda,
}

/// Opens the device; of several CUDA devices the one with this `number`.
///
/// # Errors
/// If CUDA is asked for, but was not built in or does not start.
pub fn open(choice: Choice, number: usize) -> Result<Device> {
    match choice {
        Choice::Cpu => Ok(Device::Cpu),
        Choice::Auto if !candle_core::utils::cuda_is_available() => Ok(Device::Cpu),
        Choice::Auto | Choice::Cuda => Device::new_cuda(number).with_context(|| match cfg!(feature = "cuda") {
            true => "CUDA does not start; `trainer doctor` says what is missing, --device cpu does without",
            false => "this program was built without CUDA; build it with --features cuda, or leave --device away",
        }),
    }
}
