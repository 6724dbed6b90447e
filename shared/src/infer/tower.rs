//! Owns what both towers share on packed weights: the blocks with prompts on their way, the last norm, the projection.

use kernels::norm::Norm;
use kernels::product::{Finish, Matrix, Prepared};

use super::block::{Block, Workspace, norm};
use super::prompts::{self, Prompts};
use super::weights::Weights;
use crate::error::Result;
use crate::nn::block::BlockShape;
use crate::prompt::slots::Slot;

/// The blocks of a tower and what follows.
pub(super) struct Encoder {
    width: usize,
    blocks: Vec<Block>,
    norm: Norm,
    projection: Matrix,
}

/// Memory of a tower, kept from call to call.
#[derive(Default)]
pub(super) struct Memory {
    work: Workspace,
    dynamic: prompts::Scratch,
    pub(super) prepared: Prepared,
    /// For a tower's own inputs.
    pub(super) inputs: Vec<f32>,
}

/// What tensors of a tower are called.
pub(super) struct Names {
    /// `{blocks}.{layer}` is a block.
    pub(super) blocks: &'static str,
    pub(super) norm: &'static str,
    pub(super) projection: &'static str,
}

impl Encoder {
    /// Takes out `count` blocks, the norm, and the projection into the joint space of `joint` values.
    pub(super) fn load(
        count: usize,
        shape: BlockShape,
        joint: usize,
        names: Names,
        weights: &mut Weights,
    ) -> Result<Self> {
        let block = |layer| Block::load(shape, &format!("{}.{layer}", names.blocks), weights);
        Ok(Self {
            width: shape.width,
            blocks: (0..count).map(block).collect::<Result<_>>()?,
            norm: norm(names.norm, shape.width, shape.eps, weights)?,
            projection: weights.matrix(&[names.projection.into()], shape.width, joint, false)?,
        })
    }

    /// Bytes of memory that the weights take.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::bytes).sum::<usize>() + self.projection.bytes()
    }

    /// The instruction set the weights are packed for.
    pub(super) fn kernel(&self) -> &'static str {
        self.blocks.first().map_or("none", Block::kernel)
    }

    /// Features `[D]` of `tokens` tokens, which `embed` writes [tokens, d]; of them the blocks need the first `needed`.
    /// Token `pooled` becomes the features.
    pub(super) fn run(
        &self,
        memory: &mut Memory,
        prompts: Option<&Prompts>,
        [tokens, needed, pooled]: [usize; 3],
        embed: impl FnOnce(&mut [f32], &mut Prepared, &mut Vec<f32>),
    ) -> Vec<f32> {
        let width = self.width;
        let front = prompts.map_or(0, Prompts::entering);
        let work = &mut memory.work;
        work.x.clear();
        work.x.resize(front + tokens * width, 0.0);
        let (rows, x) = work.x.split_at_mut(front);
        embed(x, &mut memory.prepared, &mut memory.inputs);
        if let Some(prompts) = prompts {
            prompts.enter(rows, x, &mut memory.dynamic);
        }
        work.x.truncate(front + needed * width);
        let mut pooled = front / width + pooled;
        for (layer, block) in self.blocks.iter().enumerate() {
            let mut prefix = None;
            match prompts.and_then(|prompts| prompts.slots.get(layer)) {
                None | Some(Slot::Carry) => {}
                Some(Slot::Overwrite(rows)) => {
                    let size = rows.len().min(work.x.len());
                    work.x[..size].copy_from_slice(&rows[..size]);
                }
                Some(Slot::Prepend(rows)) => {
                    let before = work.x.len();
                    work.x.resize(before + rows.len(), 0.0);
                    work.x.copy_within(..before, rows.len());
                    work.x[..rows.len()].copy_from_slice(rows);
                    pooled += rows.len() / width;
                }
                Some(Slot::Attend(both)) => prefix = Some(both),
            }
            if layer + 1 == self.blocks.len() {
                block.forward_at(work, prefix, pooled);
                pooled = 0;
            } else {
                block.forward(work, prefix);
            }
        }
        let one = &mut work.x[pooled * width..][..width];
        self.norm.in_place(one);
        let mut features = vec![0.0; self.projection.outputs()];
        self.projection.prepare(one, &mut memory.prepared);
        let all = 0..features.len();
        let stride = features.len();
        self.projection.multiply(
            one,
            &memory.prepared,
            all,
            &mut features,
            stride,
            Finish::Store,
        );
        features
    }
}
