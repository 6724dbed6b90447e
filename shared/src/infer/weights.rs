//! Owns named weights as files carry them, in f32 or in bytes, until they are packed or become tensors.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kernels::product::Matrix;

use crate::error::{Error, Result};
use crate::nn::Tensors;

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values in row-major order.
    pub values: Values,
}

/// The values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// As they are.
    Float(Vec<f32>),
    /// Each is its byte times the scale of its row, the first dimension.
    Byte {
        /// Row by row.
        bytes: Vec<i8>,
        /// One a row.
        scales: Vec<f32>,
    },
}

impl Weight {
    /// How many rows, by the first dimension.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Adds further rows; false if they are of another width or kind.
    #[must_use]
    pub fn append(&mut self, rows: &Self) -> bool {
        if self.shape.is_empty() || self.shape.get(1..) != rows.shape.get(1..) {
            return false;
        }
        match (&mut self.values, &rows.values) {
            (Values::Float(all), Values::Float(more)) => all.extend(more),
            (
                Values::Byte { bytes, scales },
                Values::Byte {
                    bytes: more,
                    scales: their,
                },
            ) => {
                bytes.extend(more);
                scales.extend(their);
            }
            _ => return false,
        }
        self.shape[0] += rows.rows();
        true
    }

    /// The values as f32.
    pub fn floats(&self) -> Vec<f32> {
        match &self.values {
            Values::Float(values) => values.clone(),
            Values::Byte { bytes, scales } => {
                let width = bytes.len() / scales.len().max(1);
                let rows = bytes.chunks_exact(width.max(1)).zip(scales);
                rows.flat_map(|(row, scale)| row.iter().map(move |&b| f32::from(b) * scale))
                    .collect()
            }
        }
    }
}

/// Named weights in the order of their names. Whoever uses one takes it out, so that nothing is kept twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(pub BTreeMap<String, Weight>);

impl Weights {
    /// The weights of f32 tensors.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn from_tensors(tensors: &Tensors) -> Result<Self> {
        let weight = |(name, tensor): (&String, &Tensor)| {
            let tensor = tensor.to_dtype(candle_core::DType::F32)?;
            let weight = Weight {
                shape: tensor.dims().to_vec(),
                values: Values::Float(tensor.flatten_all()?.to_vec1()?),
            };
            Ok((name.clone(), weight))
        };
        tensors.iter().map(weight).collect::<Result<_>>().map(Self)
    }

    /// The tensors of these weights whose names start with one of `prefixes`, taken out; bytes become f32.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn take_tensors(&mut self, prefixes: &[&str]) -> Result<Tensors> {
        let wanted = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let names: Vec<String> = self.0.keys().filter(|name| wanted(name)).cloned().collect();
        let mut tensors = Tensors::new();
        for name in names {
            let Some(weight) = self.0.remove(&name) else {
                continue;
            };
            let values = match weight.values {
                Values::Float(values) => values,
                Values::Byte { .. } => weight.floats(),
            };
            let tensor = Tensor::from_vec(values, weight.shape, &Device::Cpu)?;
            tensors.insert(name, tensor);
        }
        Ok(tensors)
    }

    /// Takes out a tensor of this shape. A shape of two dimensions also fits one of more with the same first.
    ///
    /// # Errors
    /// If it is missing or of another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Weight> {
        let weight = self.0.remove(name).ok_or_else(|| Error::Tensor {
            name: name.into(),
            message: format!("is missing; the configuration demands it with shape {shape:?}"),
        })?;
        let flat = |shape: &[usize]| match shape {
            [rows, rest @ ..] if shape.len() > 2 => vec![*rows, rest.iter().product()],
            all => all.to_vec(),
        };
        if weight.shape != shape && flat(&weight.shape) != shape {
            let found = &weight.shape;
            return Err(Error::Tensor {
                name: name.into(),
                message: format!(
                    "the configuration demands shape {shape:?}, the file has {found:?}"
                ),
            });
        }
        Ok(weight)
    }

    /// Takes out a tensor as f32 values.
    ///
    /// # Errors
    /// As [`Weights::take`].
    pub fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let weight = self.take(name, shape)?;
        Ok(match weight.values {
            Values::Float(values) => values,
            Values::Byte { .. } => weight.floats(),
        })
    }

    /// Takes out layers of one width, `{name}.weight` [outputs, inputs] each with `{name}.bias` if `bias`, and packs
    /// them one after the other. In bytes if all of them are.
    ///
    /// # Errors
    /// As [`Weights::take`].
    pub fn matrix(
        &mut self,
        names: &[String],
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Matrix> {
        let mut layers = Vec::new();
        for name in names {
            layers.push(self.take(&format!("{name}.weight"), &[outputs, inputs])?);
        }
        let bytes = |layer: &Weight| matches!(layer.values, Values::Byte { .. });
        let all = outputs * names.len();
        let mut matrix = if layers.iter().all(bytes) {
            Matrix::byte(inputs, all)
        } else {
            Matrix::float(inputs, all)
        };
        for (i, (layer, name)) in layers.into_iter().zip(names).enumerate() {
            let first = i * outputs;
            let mut fits = match &layer.values {
                Values::Byte { bytes, scales } if matrix.is_byte() => {
                    matrix.set_byte_rows(first, bytes, scales)
                }
                Values::Float(values) => matrix.set_float_rows(first, values),
                Values::Byte { .. } => matrix.set_float_rows(first, &layer.floats()),
            };
            if bias {
                let bias = self.floats(&format!("{name}.bias"), &[outputs])?;
                fits &= matrix.set_bias(first, &bias);
            }
            if !fits {
                return Err(Error::Tensor {
                    name: name.clone(),
                    message: "has not as many values as its shape says".into(),
                });
            }
        }
        Ok(matrix)
    }
}
