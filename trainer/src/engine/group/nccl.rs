//! Owns the sum over processes by NCCL, from GPU to GPU.

use anyhow::{Context, Result};
use candle_core::cuda_backend::cudarc::nccl::{Comm, Id, ReduceOp};
use candle_core::{
    CpuStorage, CudaStorage, Device, InplaceOp1, Layout, Result as CandleResult, Tensor,
};

use super::Link;
use super::launcher::Place;
use super::meeting;

/// The processes' GPUs, joined.
pub(super) struct Nccl {
    comm: Comm,
}

impl Nccl {
    /// Joins this process's GPU to those of the others.
    ///
    /// # Errors
    /// If the processes do not find each other, or NCCL does not start.
    pub(super) fn join(place: &Place, device: &Device) -> Result<Self> {
        let address = meeting::address(|name| std::env::var(name).ok())?;
        let failed = |error| anyhow::anyhow!("NCCL does not start: {error:?}");
        let id = if place.rank == 0 {
            let id = Id::new().map_err(failed)?;
            let ticket = id.internal().map(|byte| byte as u8);
            meeting::hand_out(&ticket, place.size - 1, &address)?;
            id
        } else {
            Id::uninit(meeting::fetch::<128>(&address)?.map(|byte| byte as _))
        };
        let stream = device.as_cuda_device()?.cuda_stream();
        let comm = Comm::from_rank(stream, place.rank, place.size, id).map_err(failed)?;
        Ok(Self { comm })
    }
}

impl Link for Nccl {
    fn sum(&self, values: &Tensor) -> Result<Tensor> {
        let sum = values.copy()?;
        let summed = sum.inplace_op1(&Sum(&self.comm));
        summed.context("the sum over processes failed")?;
        Ok(sum)
    }
}

struct Sum<'a>(&'a Comm);

impl InplaceOp1 for Sum<'_> {
    fn name(&self) -> &'static str {
        "sum-over-processes"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> CandleResult<()> {
        candle_core::bail!("NCCL sums what lies on GPUs")
    }

    fn cuda_fwd(&self, values: &mut CudaStorage, layout: &Layout) -> CandleResult<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("NCCL sums contiguous values");
        };
        let mut values = values.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
        let done = self.0.all_reduce_in_place(&mut values, &ReduceOp::Sum);
        done.map_err(|error| candle_core::Error::Msg(format!("NCCL: {error:?}")))?;
        Ok(())
    }
}
