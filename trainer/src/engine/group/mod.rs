//! Owns the processes that train together: each computes a part of every batch, and one sum over all of them makes it the
//! whole batch's step.
//!
//! Only prompts and head are trained, so a few megabytes cross between the processes. They are started by an ordinary
//! launcher (`torchrun`, `srun`, `mpirun`), which says in the environment who is who.

mod launcher;
#[cfg(any(feature = "nccl", test))]
mod meeting;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;

use std::ops::Range;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};

use super::device::{self, Choice};
use launcher::Place;

/// What joins the processes: the only thing they ever do together.
pub trait Link {
    /// The sum over all processes of `values` `[n]`, which has the same length in each.
    ///
    /// # Errors
    /// If another process is gone.
    fn sum(&self, values: &Tensor) -> Result<Tensor>;
}

/// This process among those that train together.
pub struct Group {
    rank: usize,
    size: usize,
    link: Option<Box<dyn Link>>,
}

impl Group {
    /// A process that trains by itself.
    pub fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            link: None,
        }
    }

    /// Process `rank` of `size`, joined to the others by `link`.
    pub fn of(rank: usize, size: usize, link: Box<dyn Link>) -> Self {
        Self {
            rank,
            size,
            link: Some(link),
        }
    }

    /// The group that a launcher has started, and this process's device: over NCCL if each has a GPU, else over MPI.
    ///
    /// # Errors
    /// If there are several processes, but the program was built without what joins them, or they do not find each other.
    pub fn join(choice: Choice) -> Result<(Self, Device)> {
        let Some(place) = Place::found(|name| std::env::var(name).ok())? else {
            return Ok((Self::alone(), device::open(choice, 0)?));
        };
        if place.size == 1 {
            return Ok((Self::alone(), device::open(choice, place.on_machine)?));
        }
        let device = device::open(choice, place.on_machine)?;
        let link = link(&place, &device)?;
        Ok((Self::of(place.rank, place.size, link), device))
    }

    /// Which one this is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this one speaks and writes for all.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// This process's share of what all have.
    pub fn share(&self) -> Share {
        Share {
            rank: self.rank,
            size: self.size,
        }
    }

    /// The sum over all processes of `values` `[n]`, which has the same length in each.
    ///
    /// # Errors
    /// If another process is gone.
    pub fn sum(&self, values: &Tensor) -> Result<Tensor> {
        match &self.link {
            Some(link) => link.sum(values),
            None => Ok(values.clone()),
        }
    }

    /// What the leading process has in place of `values` `[n]`. Numbers cross as they are: a sum with zeros.
    ///
    /// # Errors
    /// As [`Group::sum`].
    pub fn leading(&self, values: &Tensor) -> Result<Tensor> {
        match self.leads() {
            true => self.sum(values),
            false => self.sum(&values.zeros_like()?),
        }
    }
}

/// A process's share of things: shares follow each other, and differ by one at most.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    rank: usize,
    size: usize,
}

impl Share {
    /// Its part of them.
    pub fn of<T>(self, all: &[T]) -> &[T] {
        &all[self.range(all.len())]
    }

    /// Where its part lies among `count`.
    pub fn range(self, count: usize) -> Range<usize> {
        let end = |rank: usize| count * rank / self.size;
        end(self.rank)..end(self.rank + 1)
    }
}

#[cfg(any(feature = "mpi", feature = "nccl"))]
fn link(place: &Place, device: &Device) -> Result<Box<dyn Link>> {
    #[cfg(feature = "nccl")]
    if device.is_cuda() {
        return Ok(Box::new(nccl::Nccl::join(place, device)?));
    }
    #[cfg(feature = "mpi")]
    if !device.is_cuda() {
        return Ok(Box::new(mpi::Mpi::join(place)?));
    }
    missing(place, device)
}

#[cfg(not(any(feature = "mpi", feature = "nccl")))]
fn link(place: &Place, device: &Device) -> Result<Box<dyn Link>> {
    missing(place, device)
}

fn missing(place: &Place, device: &Device) -> Result<Box<dyn Link>> {
    let feature = if device.is_cuda() { "nccl" } else { "mpi" };
    bail!(
        "{} has started {} processes, but this program was built without what joins them: build it with --features \
         {feature}, or start one",
        place.launcher,
        place.size
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_the_whole() {
        let all: Vec<usize> = (0..11).collect();
        for size in 1..=13 {
            let parts: Vec<&[usize]> = (0..size)
                .map(|rank| Share { rank, size }.of(&all))
                .collect();
            assert_eq!(parts.concat(), all);
            let lengths = parts.iter().map(|part| part.len());
            assert!(lengths.clone().max().unwrap() - lengths.min().unwrap() <= 1);
        }
    }
}
