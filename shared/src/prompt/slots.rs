//! Owns the slots where prompts enter a tower: what every prompt method fills and every tower reads.

use candle_core::{D, Tensor};

use crate::error::Result;
use crate::nn::attention::{Mask, Prefix, attention};
use crate::nn::linear::Linear;
use crate::nn::repeat;

/// The prompts of one tower for one case, or for the posts of several. Rows are [n, d], the same for all posts, or post by
/// post [B, n, d].
#[derive(Clone, Debug, Default)]
pub struct TowerPrompts {
    /// Rows placed before CLS or SOT at the input of block 0, after position embedding and pre-norm.
    pub prepend: Option<Tensor>,
    /// Further rows computed from the tower's own block-0 input, placed after `prepend`.
    pub dynamic: Option<DynamicPrompt>,
    /// What happens at block l, in the order of the blocks; at blocks beyond the list nothing. At block 0 it happens
    /// after the rows above have entered.
    pub slots: Vec<Slot>,
}

/// What happens at one block, with rows as tensors or as plain values.
#[derive(Clone, Debug, Default)]
pub enum Slot<T = Tensor> {
    /// Nothing: rows are carried on as the block before left them.
    #[default]
    Carry,
    /// These r rows overwrite the first ones of the block's input.
    Overwrite(T),
    /// These rows come in front of the block's input, which grows.
    Prepend(T),
    /// The block's attention looks at these keys and values too.
    Attend(Prefix<T>),
}

/// Rows that look at the post: single-head attention of constant queries over the tower's block-0 input,
/// padding included and unmasked (DCP; method: section 2).
#[derive(Clone, Debug)]
pub struct DynamicPrompt {
    /// Projected queries [n, d], a constant of the case, or post by post [B, n, d].
    pub query: Tensor,
    /// Key projection d -> d.
    pub key: Linear,
    /// Value projection d -> d.
    pub value: Linear,
    /// Output projection d -> d.
    pub output: Linear,
}

impl DynamicPrompt {
    /// The rows for block-0 inputs `x` [B, T, d]: [B, n, d].
    ///
    /// # Errors
    /// If widths do not agree.
    pub fn rows(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let x = &x.to_dtype(self.query.dtype())?;
        let query = repeat(&self.query, batch)?;
        let attended = attention(
            &query,
            &self.key.forward(x)?,
            &self.value.forward(x)?,
            1,
            Mask::None,
        )?;
        self.output.forward(&attended)
    }
}

impl TowerPrompts {
    /// The prompts of posts of several cases, side by side: so many posts have the first ones, and so on. Nothing if
    /// there are none. All must be of one method, whose layers they share.
    ///
    /// # Errors
    /// If they are not of one method.
    pub fn join(parts: Vec<(Self, usize)>) -> Result<Option<Self>> {
        let posts: Vec<usize> = parts.iter().map(|(_, posts)| *posts).collect();
        let mut parts = parts.into_iter().map(|(prompts, _)| prompts);
        let Some(first) = parts.next() else {
            return Ok(None);
        };
        let mut all = vec![first];
        all.extend(parts);
        if let [_] = all.as_slice() {
            return Ok(all.pop());
        }
        let layers = all.iter().map(|prompts| prompts.slots.len()).max();
        let prepends = all.iter().map(|prompts| prompts.prepend.as_ref());
        let dynamic = all.iter().map(|prompts| prompts.dynamic.as_ref());
        let queries = join_rows(dynamic.map(|of| of.map(|of| &of.query)), &posts)?;
        let slots = (0..layers.unwrap_or(0)).map(|layer| {
            let slots = all.iter().map(|prompts| prompts.slots.get(layer));
            Slot::join(&slots.collect::<Vec<_>>(), &posts)
        });
        Ok(Some(Self {
            prepend: join_rows(prepends, &posts)?,
            slots: slots.collect::<Result<_>>()?,
            dynamic: queries.and_then(|query| {
                let first = all.first()?.dynamic.clone()?;
                Some(DynamicPrompt { query, ..first })
            }),
        }))
    }

    /// Puts the rows in front of block 0's input `x` [B, T, d]; gives the longer input and how many rows were added.
    ///
    /// # Errors
    /// If widths do not agree.
    pub fn enter(&self, x: &Tensor) -> Result<(Tensor, usize)> {
        let batch = x.dim(0)?;
        let mut parts = Vec::with_capacity(3);
        if let Some(rows) = &self.prepend {
            parts.push(repeat(rows, batch)?.to_dtype(x.dtype())?);
        }
        if let Some(dynamic) = &self.dynamic {
            parts.push(dynamic.rows(x)?.to_dtype(x.dtype())?);
        }
        let added = parts
            .iter()
            .map(|part| part.dim(D::Minus2))
            .sum::<candle_core::Result<usize>>()?;
        parts.push(x.clone());
        Ok((Tensor::cat(&parts, 1)?, added))
    }

    /// How many of the first rows are overwritten before block `layer`: nothing needs to compute them.
    ///
    /// # Errors
    /// If the rows are no matrices.
    pub fn overwritten(&self, layer: usize) -> Result<usize> {
        match self.slots.get(layer) {
            Some(Slot::Overwrite(rows)) => Ok(rows.dim(D::Minus2)?),
            _ => Ok(0),
        }
    }

    /// The input of block `layer`, given the output `x` [B, T, d] of the block before without its
    /// [`overwritten`](Self::overwritten) rows, and how many rows were added.
    ///
    /// # Errors
    /// If widths do not agree.
    pub fn before(&self, layer: usize, x: Tensor) -> Result<(Tensor, usize)> {
        let (rows, kept, added) = match self.slots.get(layer) {
            None | Some(Slot::Carry | Slot::Attend(_)) => return Ok((x, 0)),
            // The block before has left out what they overwrite.
            Some(Slot::Overwrite(rows)) => (rows, x, 0),
            Some(Slot::Prepend(rows)) => (rows, x, rows.dim(D::Minus2)?),
        };
        let rows = repeat(rows, kept.dim(0)?)?.to_dtype(kept.dtype())?;
        Ok((Tensor::cat(&[&rows, &kept], 1)?, added))
    }

    /// What the attention of block `layer` looks at beside the tokens.
    pub fn prefix(&self, layer: usize) -> Option<&Prefix> {
        match self.slots.get(layer)? {
            Slot::Attend(prefix) => Some(prefix),
            _ => None,
        }
    }
}

impl Slot {
    fn join(slots: &[Option<&Self>], posts: &[usize]) -> Result<Self> {
        let rows = |of: fn(&Self) -> Option<&Tensor>| {
            join_rows(slots.iter().map(|slot| slot.and_then(of)), posts)
        };
        let overwrite = rows(|slot| match slot {
            Self::Overwrite(rows) => Some(rows),
            _ => None,
        })?;
        let prepend = rows(|slot| match slot {
            Self::Prepend(rows) => Some(rows),
            _ => None,
        })?;
        let keys = rows(|slot| match slot {
            Self::Attend(prefix) => Some(&prefix.keys),
            _ => None,
        })?;
        let values = rows(|slot| match slot {
            Self::Attend(prefix) => Some(&prefix.values),
            _ => None,
        })?;
        Ok(match (overwrite, prepend, keys.zip(values)) {
            (Some(rows), ..) => Self::Overwrite(rows),
            (_, Some(rows), _) => Self::Prepend(rows),
            (.., Some((keys, values))) => Self::Attend(Prefix { keys, values }),
            _ => Self::Carry,
        })
    }
}

/// The rows of several cases post by post, [B, n, d]; nothing if no case has any.
fn join_rows<'a>(
    rows: impl Iterator<Item = Option<&'a Tensor>>,
    posts: &[usize],
) -> Result<Option<Tensor>> {
    let rows: Vec<&Tensor> = rows.flatten().collect();
    if rows.is_empty() {
        return Ok(None);
    }
    if rows.len() != posts.len() {
        return Err(crate::Error::Input(
            "the posts of a batch have prompts of different methods".into(),
        ));
    }
    let each = rows
        .iter()
        .zip(posts)
        .map(|(rows, &posts)| repeat(rows, posts));
    Ok(Some(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)?))
}
