//! Owns the way in: files that anybody may have written, to pieces, and pieces joined to whole tensors.

use std::collections::BTreeMap;

use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::SCALE;
use crate::bundle::{error, quantize};
use crate::error::{Error, Result};
use crate::infer::weights::{Values, Weight, Weights};
use crate::limits;

/// Tensors whose files have been read, some of them in pieces.
#[derive(Default)]
pub(in super::super) struct Pieces(BTreeMap<String, BTreeMap<usize, Weight>>);

impl Pieces {
    /// Reads one safetensors file of f32, f16 and byte tensors. Keeps nothing of it if any of it is wrong.
    ///
    /// # Errors
    /// If the bytes are no safetensors file, or a tensor is of another type, empty, or known already.
    pub(in super::super) fn read(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
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
        if tensors.len() > limits::TENSORS {
            let (count, most) = (tensors.len(), limits::TENSORS);
            return Err(error(
                file,
                format!("has {count} tensors; at most {most} are read"),
            ));
        }
        let mut found = Vec::new();
        for (name, view) in tensors.iter() {
            if view.shape().contains(&0) || view.shape().len() > limits::DIMENSIONS {
                return Err(error(
                    file,
                    format!("tensor {name} has shape {:?}", view.shape()),
                ));
            }
            let (whole, start) = place(file, name)?;
            let scaled = whole.strip_suffix(SCALE);
            if let Some(of) = scaled.filter(|of| quantize::largest(of).is_some()) {
                // Read with its tensor; a tensor of its own it is not.
                if tensors.tensor(&name.replacen(whole, of, 1)).is_err() {
                    return Err(error(file, format!("tensor {name} scales nothing")));
                }
                continue;
            }
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
            let scale = tensors.tensor(&name.replacen(whole, &format!("{whole}{SCALE}"), 1));
            let values = values(whole, &view, scale.ok())
                .map_err(|message| error(file, format!("tensor {name} {message}")))?;
            let weight = Weight::new(view.shape().to_vec(), values);
            found.push((whole.to_string(), start, weight));
        }
        for (name, start, weight) in found {
            self.0.entry(name).or_default().insert(start, weight);
        }
        Ok(())
    }

    /// The whole tensors.
    ///
    /// # Errors
    /// If a piece of a tensor is missing, or its pieces do not belong together.
    pub(in super::super) fn join(self) -> Result<Weights> {
        let join = |(name, pieces): (String, BTreeMap<usize, Weight>)| {
            let mut all: Option<Weight> = None;
            for (start, piece) in pieces {
                let rows = all.as_ref().map_or(0, Weight::rows);
                if start != rows {
                    return Err(Error::Tensor {
                        name,
                        message: format!("its rows from {rows} on are missing"),
                    });
                }
                let Some(weight) = &mut all else {
                    all = Some(piece);
                    continue;
                };
                if !weight.append(piece) {
                    return Err(Error::Tensor {
                        name,
                        message: format!("its rows from {rows} on are of another kind"),
                    });
                }
            }
            Ok(all.map(|weight| (name, weight)))
        };
        let joined = self
            .0
            .into_iter()
            .filter_map(|named| join(named).transpose());
        joined.collect::<Result<_>>().map(Weights)
    }
}

/// The values of a tensor of a file, or what is wrong with it.
fn values(
    name: &str,
    view: &TensorView<'_>,
    scale: Option<TensorView<'_>>,
) -> Result<Values, String> {
    let floats = |data: &[u8]| -> Vec<f32> {
        let (words, _) = data.as_chunks();
        words.iter().map(|word| f32::from_le_bytes(*word)).collect()
    };
    match view.dtype() {
        safetensors::Dtype::F32 => Ok(Values::Float(floats(view.data()))),
        safetensors::Dtype::F16 => {
            let (words, _) = view.data().as_chunks();
            let halves = words.iter().map(|word| f16::from_le_bytes(*word).to_f32());
            Ok(Values::Float(halves.collect()))
        }
        safetensors::Dtype::I8 => {
            let Some(largest) = quantize::largest(name) else {
                return Err("is in bytes, which only matrices of the towers can be".into());
            };
            let rows = view.shape().first().copied().unwrap_or(1);
            let scale = scale.ok_or("is in bytes without the scales of its rows")?;
            if scale.dtype() != safetensors::Dtype::F32 || scale.shape() != [rows] {
                let (kind, shape) = (scale.dtype(), scale.shape());
                return Err(format!(
                    "has scales of type {kind:?} and shape {shape:?}; expected F32 and [{rows}]"
                ));
            }
            let scales = floats(scale.data());
            if let Some(wrong) = scales.iter().find(|s| !s.is_finite() || **s < 0.0) {
                return Err(format!("has a row with the scale {wrong}"));
            }
            let bytes: Vec<i8> = view.data().iter().map(|&byte| byte as i8).collect();
            // The largest of all is found by SIMD; the first that is too large would not be.
            let most = largest.unsigned_abs() + 1;
            if bytes.iter().map(|byte| byte.unsigned_abs()).max() > Some(most) {
                let wrong = bytes.iter().find(|byte| byte.unsigned_abs() > most);
                let wrong = wrong.copied().unwrap_or_default();
                return Err(format!("holds {wrong}; expected at most {largest}"));
            }
            Ok(Values::Byte { bytes, scales })
        }
        other => Err(format!("is {other:?}; expected F32, F16 or I8")),
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
    use candle_core::Device;

    use super::super::write::{Raw, encode_within};
    use super::*;
    use crate::bundle::Dtype;
    use crate::nn::Tensors;
    use crate::rng::{normal, stream};

    /// A copy of the largest tensor would be a good part of the memory that loading takes.
    #[test]
    fn pieces_are_not_copied_to_be_joined() {
        let name = "text_model.embeddings.token_embedding.weight";
        let matrix = normal(&mut stream(7, "shard"), &[12, 4], 1.0, &Device::Cpu).unwrap();
        let weights = Weights::from_tensors(&Tensors::from([(name.into(), matrix)])).unwrap();
        let address = |values: &Values| match values {
            Values::Float(values) => values.as_ptr(),
            Values::Byte { .. } => panic!("floats became bytes"),
        };
        let mut pieces = Pieces::default();
        for (name, bytes) in encode_within("part", &weights, Dtype::F32, 64).unwrap() {
            pieces.read(&name, &bytes).unwrap();
        }
        let read = pieces.0[name].values();
        let before: Vec<_> = read.map(|piece| address(&piece.parts[0])).collect();
        assert_eq!(before.len(), 3);
        let joined = pieces.join().unwrap();
        let after: Vec<_> = joined.0[name].parts.iter().map(address).collect();
        assert_eq!(before, after);
        let mut sum = [1.0; 4];
        joined.0[name].add_row(7, &mut sum);
        let whole = weights.0[name].clone().into_floats();
        for (sum, x) in sum.iter().zip(&whole[28..32]) {
            assert_eq!(*sum, 1.0 + x);
        }
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let name = "text_model.encoder.layers.0.mlp.fc1.weight";
        let byte = |value: i8| Raw {
            dtype: safetensors::Dtype::I8,
            shape: vec![2, 3],
            bytes: vec![value as u8; 6],
        };
        let scale = |values: &[f32]| Raw {
            dtype: safetensors::Dtype::F32,
            shape: vec![values.len()],
            bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let scales = format!("{name}.scale");
        let said = |tensors: Vec<(&str, Raw)>| {
            let bytes = safetensors::serialize(tensors, None).unwrap();
            let error = Pieces::default().read("x", &bytes).unwrap_err();
            error.to_string()
        };
        let good = || scale(&[1.0, 2.0]);
        for (tensors, words) in [
            (vec![(name, byte(1))], "without the scales"),
            (vec![(name, byte(1)), (&scales, scale(&[1.0]))], "shape [1]"),
            (vec![(name, byte(1)), (&scales, byte(1))], "type I8"),
            (vec![(name, byte(65)), (&scales, good())], "holds 65"),
            (vec![(name, byte(-65)), (&scales, good())], "holds -65"),
            (
                vec![(name, byte(1)), (&scales, scale(&[1.0, f32::NAN]))],
                "scale NaN",
            ),
            (
                vec![(name, byte(1)), (&scales, scale(&[-1.0, 1.0]))],
                "scale -1",
            ),
            (vec![(&scales, good())], "scales nothing"),
            (
                vec![("head.weight", byte(1)), ("head.weight.scale", good())],
                "only matrices",
            ),
        ] {
            let said = said(tensors);
            assert!(said.contains(words), "{said}");
        }
    }
}
