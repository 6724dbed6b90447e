//! Owns the way out: tensors cut into pieces, and pieces gathered into files.

use std::borrow::Cow;

use half::f16;
use safetensors::View;

use super::SCALE;
use crate::bundle::{Dtype, error};
use crate::error::{Error, Result};
use crate::infer::weights::{Values, Weight, Weights};
use crate::limits;

/// Cuts `weights` into safetensors files called `stem-00.safetensors` and so on, in the order of the names.
///
/// # Errors
/// If a single row of a tensor is larger than a file may be.
pub(in super::super) fn encode(
    stem: &str,
    weights: &Weights,
    dtype: Dtype,
) -> Result<Vec<(String, Vec<u8>)>> {
    encode_within(
        stem,
        weights,
        dtype,
        limits::WRITTEN_FILE_BYTES - limits::HEADER_BYTES,
    )
}

pub(super) fn encode_within(
    stem: &str,
    weights: &Weights,
    dtype: Dtype,
    budget: u64,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut shards: Vec<(u64, Vec<(String, Raw)>)> = Vec::new();
    for (name, weight) in &weights.0 {
        for piece in pieces(name, weight, dtype, budget)? {
            let bytes = piece.iter().map(|(_, raw)| raw.bytes.len() as u64).sum();
            match shards.last_mut() {
                Some((used, shard)) if *used + bytes <= budget => {
                    *used += bytes;
                    shard.extend(piece);
                }
                _ => shards.push((bytes, piece)),
            }
        }
    }
    let files = shards.into_iter().enumerate().map(|(index, (_, shard))| {
        let name = format!("{stem}-{index:02}.safetensors");
        let bytes = safetensors::serialize(shard, None).map_err(|e| error(&name, e.to_string()))?;
        Ok((name, bytes))
    });
    files.collect()
}

/// A tensor as a file holds it.
pub(super) struct Raw {
    pub(super) dtype: safetensors::Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

impl View for Raw {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The pieces of a tensor, each with what must lie in the same file. Vectors stay f32; matrices of floats do with
/// [`Dtype::F32`] alone.
fn pieces(
    name: &str,
    weight: &Weight,
    dtype: Dtype,
    budget: u64,
) -> Result<Vec<Vec<(String, Raw)>>> {
    let raw = |dtype, shape: &[usize], bytes: Vec<u8>| Raw {
        dtype,
        shape: shape.to_vec(),
        bytes,
    };
    let rows = weight.rows();
    let width = weight.width();
    let half = dtype != Dtype::F32 && weight.shape.len() >= 2;
    let row_bytes = match (weight.is_byte(), half) {
        (true, _) => width + 4,
        (false, true) => 2 * width,
        (false, false) => 4 * width,
    } as u64;
    let step = match budget / row_bytes.max(1) {
        0 => {
            return Err(Error::Tensor {
                name: name.into(),
                message: format!(
                    "has rows of {row_bytes} bytes; no row fits a file of {budget} bytes"
                ),
            });
        }
        step => step.min(rows as u64).max(1) as usize,
    };
    let cut = |values: &Values, first: usize, start: usize| {
        let end = (start + step).min(values.rows(width));
        let at = if end - start < rows {
            format!("@{}", first + start)
        } else {
            String::new()
        };
        let mut shape = weight.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = end - start;
        }
        let place = start * width..end * width;
        let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
        match values {
            Values::Float(values) => {
                let values = &values[place];
                let raw = if half {
                    let halves = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
                    raw(safetensors::Dtype::F16, &shape, halves.collect())
                } else {
                    raw(safetensors::Dtype::F32, &shape, floats(values))
                };
                vec![(format!("{name}{at}"), raw)]
            }
            Values::Byte { bytes, scales } => {
                let bytes = bytes[place].iter().map(|&byte| byte as u8).collect();
                let scales = floats(&scales[start..end]);
                vec![
                    (
                        format!("{name}{at}"),
                        raw(safetensors::Dtype::I8, &shape, bytes),
                    ),
                    (
                        format!("{name}{SCALE}{at}"),
                        raw(safetensors::Dtype::F32, &[end - start], scales),
                    ),
                ]
            }
        }
    };
    let mut pieces = Vec::new();
    let mut first = 0;
    for values in &weight.parts {
        let rows = values.rows(width);
        pieces.extend(
            (0..rows)
                .step_by(step)
                .map(|start| cut(values, first, start)),
        );
        first += rows;
    }
    Ok(pieces)
}
