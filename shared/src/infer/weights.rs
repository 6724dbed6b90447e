//! Owns named weights as files carry them, in f32 or in bytes, until they are packed or become tensors.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kernels::product::Matrix;

use crate::error::{Error, Result};
use crate::nn::Tensors;

/// One tensor.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values in row-major order, in parts of whole rows: as files carry them, so that a large tensor is never
    /// copied to be in one piece.
    pub parts: Vec<Values>,
}

/// Values of whole rows.
#[derive(Clone, Debug)]
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

impl Values {
    /// How many rows of `width` values.
    pub fn rows(&self, width: usize) -> usize {
        match self {
            Self::Float(values) => values.len() / width.max(1),
            Self::Byte { scales, .. } => scales.len(),
        }
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        match self {
            Self::Float(values) => size_of_val(values.as_slice()),
            Self::Byte { bytes, scales } => bytes.len() + size_of_val(scales.as_slice()),
        }
    }

    /// The values as f32.
    fn into_floats(self) -> Vec<f32> {
        match self {
            Self::Float(values) => values,
            Self::Byte { bytes, scales } => {
                let width = bytes.len() / scales.len().max(1);
                let rows = bytes.chunks_exact(width.max(1)).zip(scales);
                rows.flat_map(|(row, scale)| row.iter().map(move |&b| f32::from(b) * scale))
                    .collect()
            }
        }
    }
}

impl Weight {
    /// A tensor in one part.
    pub fn new(shape: Vec<usize>, values: Values) -> Self {
        let parts = vec![values];
        Self { shape, parts }
    }

    /// How many rows, by the first dimension.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// How many values a row has.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Whether all of it is in bytes.
    pub fn is_byte(&self) -> bool {
        let byte = |part: &Values| matches!(part, Values::Byte { .. });
        self.parts.iter().all(byte)
    }

    /// Adds further rows; false if they are of another width or kind.
    #[must_use]
    pub fn append(&mut self, rows: Self) -> bool {
        let fits = !self.shape.is_empty()
            && self.shape.get(1..) == rows.shape.get(1..)
            && self.is_byte() == rows.is_byte();
        if fits {
            self.shape[0] += rows.rows();
            self.parts.extend(rows.parts);
        }
        fits
    }

    /// The values as f32.
    pub fn into_floats(self) -> Vec<f32> {
        let mut parts = self.parts.into_iter().map(Values::into_floats);
        let mut all = parts.next().unwrap_or_default();
        parts.for_each(|part| all.extend(part));
        all
    }

    /// Adds the values of a row, which must be inside, to `sum`.
    pub fn add_row(&self, mut row: usize, sum: &mut [f32]) {
        let width = self.width();
        for part in &self.parts {
            let rows = part.rows(width);
            if row >= rows {
                row -= rows;
                continue;
            }
            let place = row * width..(row + 1) * width;
            match part {
                Values::Float(values) => {
                    let values = sum.iter_mut().zip(&values[place]);
                    values.for_each(|(sum, x)| *sum += x);
                }
                Values::Byte { bytes, scales } => {
                    let values = sum.iter_mut().zip(&bytes[place]);
                    values.for_each(|(sum, &x)| *sum += f32::from(x) * scales[row]);
                }
            }
            return;
        }
    }
}

/// Named weights in the order of their names. Whoever uses one takes it out, so that nothing is kept twice.
#[derive(Clone, Debug, Default)]
pub struct Weights(pub BTreeMap<String, Weight>);

impl Weights {
    /// The weights of f32 tensors.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn from_tensors(tensors: &Tensors) -> Result<Self> {
        let weight = |(name, tensor): (&String, &Tensor)| {
            let tensor = tensor.to_dtype(candle_core::DType::F32)?;
            let values = Values::Float(tensor.flatten_all()?.to_vec1()?);
            Ok((name.clone(), Weight::new(tensor.dims().to_vec(), values)))
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
            let shape = weight.shape.clone();
            let tensor = Tensor::from_vec(weight.into_floats(), shape, &Device::Cpu)?;
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
        Ok(self.take(name, shape)?.into_floats())
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
        let all = outputs * names.len();
        let mut matrix = if layers.iter().all(Weight::is_byte) {
            Matrix::byte(inputs, all)
        } else {
            Matrix::float(inputs, all)
        };
        for (i, (layer, name)) in layers.into_iter().zip(names).enumerate() {
            let mut fits = true;
            let mut first = i * outputs;
            for part in layer.parts {
                let rows = part.rows(inputs);
                fits &= match part {
                    Values::Byte { bytes, scales } if matrix.is_byte() => {
                        matrix.set_byte_rows(first, &bytes, &scales)
                    }
                    part => matrix.set_float_rows(first, &part.into_floats()),
                };
                first += rows;
            }
            if bias {
                let bias = self.floats(&format!("{name}.bias"), &[outputs])?;
                fits &= matrix.set_bias(i * outputs, &bias);
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
