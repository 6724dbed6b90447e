//! Owns one transformer block on packed weights.

use kernels::attention::{Heads, Memory, Scratch, Tokens};
use kernels::norm::Norm;
use kernels::product::{Finish, Matrix, Prepared};

use super::weights::Weights;
use crate::config::Activation;
use crate::error::Result;
use crate::nn::attention::{Mask, Prefix};
use crate::nn::block::BlockShape;

/// x + attention(norm x), then x + feed-forward(norm x), as in `nn::block`.
pub(super) struct Block {
    heads: Heads,
    norm1: Norm,
    /// Queries, keys and values side by side; the queries scaled already.
    joint: Matrix,
    output: Matrix,
    norm2: Norm,
    up: Matrix,
    activation: Finish,
    down: Matrix,
}

/// The tokens [T, d] on their way, and memory for what is computed of them, kept from call to call.
#[derive(Default)]
pub(super) struct Workspace {
    /// The tokens.
    pub(super) x: Vec<f32>,
    normed: Vec<f32>,
    joint: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
    prepared: Prepared,
    scratch: Scratch,
}

impl Block {
    /// Takes out the weights under `{name}.` that `nn::block::Block::load` reads.
    pub(super) fn load(shape: BlockShape, name: &str, weights: &mut Weights) -> Result<Self> {
        let (width, inner) = (shape.width, shape.inner);
        let at = |what: &str| format!("{name}.{what}");
        let joint = ["q_proj", "k_proj", "v_proj"].map(|of| at(&format!("self_attn.{of}")));
        let mut joint = weights.matrix(&joint, width, width, true)?;
        let head = width / shape.heads;
        joint.scale_rows(0..width, (head as f32).sqrt().recip());
        Ok(Self {
            heads: Heads {
                heads: shape.heads,
                width: head,
                causal: shape.mask == Mask::Causal,
            },
            norm1: norm(&at("layer_norm1"), width, shape.eps, weights)?,
            joint,
            output: weights.matrix(&[at("self_attn.out_proj")], width, width, true)?,
            norm2: norm(&at("layer_norm2"), width, shape.eps, weights)?,
            up: weights.matrix(&[at("mlp.fc1")], width, inner, true)?,
            activation: match shape.activation {
                Activation::QuickGelu => Finish::QuickGelu,
                Activation::Gelu => Finish::Gelu,
            },
            down: weights.matrix(&[at("mlp.fc2")], inner, width, true)?,
        })
    }

    /// Bytes of memory that the weights take.
    pub(super) fn bytes(&self) -> usize {
        [&self.joint, &self.output, &self.up, &self.down]
            .map(Matrix::bytes)
            .iter()
            .sum()
    }

    /// The instruction set the weights are packed for.
    pub(super) fn kernel(&self) -> &'static str {
        self.joint.kernel()
    }

    /// Replaces the tokens by the block's output; the attention also looks at `prefix` [n, d], keys and values.
    pub(super) fn forward(&self, work: &mut Workspace, prefix: Option<&Prefix<Vec<f32>>>) {
        let width = self.joint.inputs();
        let rows = work.x.len() / width;
        let stride = 3 * width;
        work.normed.resize(work.x.len(), 0.0);
        work.joint.resize(rows * stride, 0.0);
        work.attended.resize(work.x.len(), 0.0);
        self.norm1.rows(&work.x, &mut work.normed);
        self.joint.prepare(&work.normed, &mut work.prepared);
        let (normed, prepared) = (&work.normed, &work.prepared);
        self.joint.multiply(
            normed,
            prepared,
            0..stride,
            &mut work.joint,
            stride,
            Finish::Store,
        );
        let [queries, keys, values] = [0, width, 2 * width].map(|at| Tokens {
            data: &work.joint[at..],
            stride,
            rows,
        });
        let memory = Memory {
            prefix: rows_of(prefix, width),
            tokens: [keys, values],
        };
        self.heads.attend(
            queries,
            memory,
            &mut work.scratch,
            &mut work.attended,
            width,
        );
        self.feed_forward(work, 0..rows);
    }

    /// As [`Block::forward`], but only row `row` of the output is computed: it alone is left. It must be the last one
    /// if the attention is causal.
    pub(super) fn forward_at(
        &self,
        work: &mut Workspace,
        prefix: Option<&Prefix<Vec<f32>>>,
        row: usize,
    ) {
        let width = self.joint.inputs();
        let rows = work.x.len() / width;
        let stride = 2 * width;
        work.normed.resize(work.x.len(), 0.0);
        work.joint.resize(rows * stride + width, 0.0);
        work.attended.resize(width, 0.0);
        self.norm1.rows(&work.x, &mut work.normed);
        self.joint.prepare(&work.normed, &mut work.prepared);
        let (memory, query) = work.joint.split_at_mut(rows * stride);
        let (normed, prepared) = (&work.normed, &work.prepared);
        self.joint.multiply(
            normed,
            prepared,
            width..3 * width,
            memory,
            stride,
            Finish::Store,
        );
        let one = &work.normed[row * width..][..width];
        self.joint.prepare(one, &mut work.prepared);
        self.joint
            .multiply(one, &work.prepared, 0..width, query, width, Finish::Store);
        let [keys, values] = [0, width].map(|at| Tokens {
            data: &memory[at..],
            stride,
            rows,
        });
        let memory = Memory {
            prefix: rows_of(prefix, width),
            tokens: [keys, values],
        };
        let query = Tokens {
            data: query,
            stride: width,
            rows: 1,
        };
        self.heads
            .attend(query, memory, &mut work.scratch, &mut work.attended, width);
        work.x.copy_within(row * width..(row + 1) * width, 0);
        work.x.truncate(width);
        self.feed_forward(work, 0..1);
    }

    fn feed_forward(&self, work: &mut Workspace, rows: std::ops::Range<usize>) {
        let (width, inner) = (self.up.inputs(), self.up.outputs());
        let size = rows.len() * width;
        work.inner.resize(rows.len() * inner, 0.0);
        let attended = &work.attended[..size];
        self.output.prepare(attended, &mut work.prepared);
        let x = &mut work.x[..size];
        self.output
            .multiply(attended, &work.prepared, 0..width, x, width, Finish::Add);
        let normed = &mut work.normed[..size];
        self.norm2.rows(x, normed);
        self.up.prepare(normed, &mut work.prepared);
        let up = &mut work.inner;
        self.up
            .multiply(normed, &work.prepared, 0..inner, up, inner, self.activation);
        self.down.prepare(up, &mut work.prepared);
        self.down
            .multiply(up, &work.prepared, 0..width, x, width, Finish::Add);
    }
}

fn rows_of(prefix: Option<&Prefix<Vec<f32>>>, width: usize) -> [Tokens<'_>; 2] {
    match prefix {
        None => [Tokens::default(); 2],
        Some(both) => [&both.keys, &both.values].map(|data| Tokens {
            data,
            stride: width,
            rows: data.len() / width,
        }),
    }
}

/// Takes out `{name}.weight` and `{name}.bias`.
pub(super) fn norm(name: &str, width: usize, eps: f64, weights: &mut Weights) -> Result<Norm> {
    Ok(Norm {
        weight: weights.floats(&format!("{name}.weight"), &[width])?,
        bias: weights.floats(&format!("{name}.bias"), &[width])?,
        eps: eps as f32,
    })
}
