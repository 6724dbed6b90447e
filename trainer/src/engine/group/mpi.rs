//! Owns the sum over processes by MPI, in the machine's memory.

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::traits::{Communicator, CommunicatorCollectives};

use super::Link;
use super::launcher::Place;

/// MPI, started; it ends with this.
pub(super) struct Mpi {
    universe: Universe,
}

impl Mpi {
    /// Starts MPI.
    ///
    /// # Errors
    /// If it does not start, or its launcher is not the one that the environment tells of.
    pub(super) fn join(place: &Place) -> Result<Self> {
        let universe = mpi::initialize().context("MPI does not start, or was started before")?;
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        if (rank, size) != (place.rank, place.size) {
            bail!(
                "{} says that this is process {} of {}, MPI says {rank} of {size}: start it by mpirun or srun of the MPI \
                 that it was built with",
                place.launcher,
                place.rank,
                place.size
            );
        }
        Ok(Self { universe })
    }
}

impl Link for Mpi {
    fn sum(&self, values: &Tensor) -> Result<Tensor> {
        let own = values.to_vec1::<f32>()?;
        let mut sum = vec![0f32; own.len()];
        let world = self.universe.world();
        world.all_reduce_into(&own[..], &mut sum[..], SystemOperation::sum());
        Ok(Tensor::from_vec(sum, values.shape(), values.device())?)
    }
}
