//! Owns the bytes of weights: tensors to safetensors files of limited size and back.
//!
//! A tensor too large for one file is cut along its first dimension into pieces named `name@first-row`.

use std::collections::BTreeMap;

use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use super::{Dtype, error, limits};
use crate::error::{Error, Result};
use crate::nn::Tensors;

/// Cuts `tensors` into safetensors files called `stem-00.safetensors` and so on, in the order of the names.
///
/// # Errors
/// If a single row of a tensor is larger than a file may be.
pub(super) fn encode(
    stem: &str,
    tensors: &Tensors,
    dtype: Dtype,
) -> Result<Vec<(String, Vec<u8>)>> {
    encode_within(
        stem,
        tensors,
        dtype,
        limits::FILE_BYTES - limits::HEADER_BYTES,
    )
}

fn encode_within(
    stem: &str,
    tensors: &Tensors,
    dtype: Dtype,
    budget: u64,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut shards: Vec<(u64, Vec<(String, Tensor)>)> = Vec::new();
    for (name, tensor) in tensors {
        for (name, piece) in pieces(name, &stored(tensor, dtype)?, budget)? {
            let bytes = size(&piece);
            match shards.last_mut() {
                Some((used, shard)) if *used + bytes <= budget => {
                    *used += bytes;
                    shard.push((name, piece));
                }
                _ => shards.push((bytes, vec![(name, piece)])),
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

/// The tensor as it is stored: on the CPU and contiguous; vectors stay f32.
fn stored(tensor: &Tensor, dtype: Dtype) -> Result<Tensor> {
    let half = dtype == Dtype::F16 && tensor.rank() >= 2;
    let kind = if half { DType::F16 } else { DType::F32 };
    Ok(tensor
        .to_device(&Device::Cpu)?
        .to_dtype(kind)?
        .contiguous()?)
}

fn size(tensor: &Tensor) -> u64 {
    (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64
}

fn pieces(name: &str, tensor: &Tensor, budget: u64) -> Result<Vec<(String, Tensor)>> {
    let bytes = size(tensor);
    if bytes <= budget {
        return Ok(vec![(name.into(), tensor.clone())]);
    }
    let rows = tensor.dim(0)?;
    let step = (budget / bytes.div_ceil(rows as u64)) as usize;
    if step == 0 {
        return Err(Error::Tensor {
            name: name.into(),
            message: format!(
                "has {bytes} bytes in {rows} rows; no row fits a file of {budget} bytes"
            ),
        });
    }
    let starts = (0..rows).step_by(step);
    let cut = |start: usize| -> Result<Tensor> {
        Ok(tensor
            .narrow(0, start, step.min(rows - start))?
            .contiguous()?)
    };
    starts
        .map(|start| Ok((format!("{name}@{start}"), cut(start)?)))
        .collect()
}

/// Tensors whose files have been read, some of them in pieces.
#[derive(Default)]
pub(super) struct Pieces(BTreeMap<String, BTreeMap<usize, Tensor>>);

impl Pieces {
    /// Reads one safetensors file of f32 and f16 tensors, as f32. Keeps nothing of it if any of it is wrong.
    ///
    /// # Errors
    /// If the bytes are no safetensors file, or a tensor is of another type, empty, or known already.
    pub(super) fn read(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let header = bytes
            .first_chunk()
            .map_or(u64::MAX, |length| u64::from_le_bytes(*length));
        if header > limits::HEADER_BYTES {
            return Err(error(
                file,
                "is no safetensors file, or its header is too long",
            ));
        }
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|e| error(file, format!("is no safetensors file ({e})")))?;
        let mut found = Vec::new();
        for (name, view) in tensors.iter() {
            if !matches!(
                view.dtype(),
                safetensors::Dtype::F32 | safetensors::Dtype::F16
            ) {
                let kind = view.dtype();
                return Err(error(
                    file,
                    format!("tensor {name} is {kind:?}; expected F32 or F16"),
                ));
            }
            if view.shape().contains(&0) || view.shape().len() > 4 {
                return Err(error(
                    file,
                    format!("tensor {name} has shape {:?}", view.shape()),
                ));
            }
            let (whole, start) = place(file, name)?;
            if self
                .0
                .get(whole)
                .is_some_and(|pieces| pieces.contains_key(&start))
            {
                return Err(error(
                    file,
                    format!("tensor {name} is in an earlier file too"),
                ));
            }
            let tensor = view.load(&Device::Cpu)?.to_dtype(DType::F32)?;
            found.push((whole.to_string(), start, tensor));
        }
        for (name, start, tensor) in found {
            self.0.entry(name).or_default().insert(start, tensor);
        }
        Ok(())
    }

    /// The whole tensors.
    ///
    /// # Errors
    /// If a piece of a tensor is missing.
    pub(super) fn join(self) -> Result<Tensors> {
        let join = |(name, pieces): (String, BTreeMap<usize, Tensor>)| {
            let mut rows = 0;
            for (&start, piece) in &pieces {
                if start != rows {
                    return Err(Error::Tensor {
                        name,
                        message: format!("its rows from {rows} on are missing"),
                    });
                }
                rows += if piece.rank() == 0 { 1 } else { piece.dim(0)? };
            }
            let pieces: Vec<Tensor> = pieces.into_values().collect();
            let tensor = match pieces.as_slice() {
                [only] => only.clone(),
                many => Tensor::cat(many, 0)?,
            };
            Ok((name, tensor))
        };
        self.0.into_iter().map(join).collect()
    }
}

/// A piece's tensor and first row.
fn place<'a>(file: &str, name: &'a str) -> Result<(&'a str, usize)> {
    let Some((whole, start)) = name.split_once('@') else {
        return Ok((name, 0));
    };
    let start = start
        .parse()
        .map_err(|_| error(file, format!("tensor {name:?} has no proper name")))?;
    Ok((whole, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{normal, stream};

    #[test]
    fn large_tensors_are_cut_and_joined() {
        let mut rng = stream(5, "shard");
        let mut tensors = Tensors::new();
        for (name, shape) in [
            ("a.weight", &[10, 3][..]),
            ("b.bias", &[4]),
            ("c", &[2, 2, 1, 2]),
        ] {
            tensors.insert(
                name.into(),
                normal(&mut rng, shape, 1.0, &Device::Cpu).unwrap(),
            );
        }
        let files = encode_within("part", &tensors, Dtype::F32, 40).unwrap();
        assert!(
            files.len() > 3 && files[0].0 == "part-00.safetensors",
            "{}",
            files.len()
        );
        assert_eq!(
            files,
            encode_within("part", &tensors, Dtype::F32, 40).unwrap()
        );
        let mut pieces = Pieces::default();
        for (name, bytes) in files.iter().rev() {
            pieces.read(name, bytes).unwrap();
            assert!(
                pieces
                    .read(name, bytes)
                    .unwrap_err()
                    .to_string()
                    .contains("earlier file")
            );
        }
        let joined = pieces.join().unwrap();
        assert!(joined.keys().eq(tensors.keys()));
        for (name, tensor) in &tensors {
            assert_eq!(joined[name].dims(), tensor.dims());
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values(&joined[name]), values(tensor));
        }

        let mut pieces = Pieces::default();
        pieces.read("x", &files[1].1).unwrap();
        assert!(pieces.join().unwrap_err().to_string().contains("missing"));
        assert!(encode_within("part", &tensors, Dtype::F32, 8).is_err());
    }

    #[test]
    fn half_precision_keeps_vectors() {
        let values = Tensor::new(&[1.0f32, 1.0 + 1e-5], &Device::Cpu).unwrap();
        let tensors = Tensors::from([
            ("m".into(), values.reshape((1, 2)).unwrap()),
            ("v".into(), values),
        ]);
        let mut pieces = Pieces::default();
        for (name, bytes) in encode("part", &tensors, Dtype::F16).unwrap() {
            pieces.read(&name, &bytes).unwrap();
        }
        let joined = pieces.join().unwrap();
        assert_eq!(joined["v"].to_vec1::<f32>().unwrap(), [1.0, 1.0 + 1e-5]);
        assert_eq!(joined["m"].to_vec2::<f32>().unwrap(), [[1.0, 1.0]]);
    }
}
