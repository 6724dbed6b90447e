//! Owns the description of a trainable tensor: its name, its shape and its first values.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::nn::Tensors;
use crate::rng::{Rng, normal, uniform};

/// The first values of a trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// Independent N(0, std²).
    Normal(f64),
    /// Independent and uniform in [-bound, bound).
    Uniform(f64),
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All 0 but for these rows (indices of the first dimension), which are all 1.
    OnesAt(Vec<usize>),
    /// The values of an earlier tensor of the same list.
    CopyOf(String),
}

/// One trainable tensor of a prompt method or a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The full name inside the model, such as `head.weight`.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The first values.
    pub init: Init,
    /// False for tensors that are saved with the model but stay as they were drawn.
    pub trained: bool,
}

impl Parameter {
    /// A trained tensor.
    pub fn new(name: impl Into<String>, shape: &[usize], init: Init) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            init,
            trained: true,
        }
    }

    /// Weight [outputs, inputs] and bias `[outputs]` of a linear layer called `name`, both uniform in
    /// ±1/sqrt(inputs) as PyTorch's default.
    pub fn linear(name: &str, inputs: usize, outputs: usize) -> [Self; 2] {
        let bound = (inputs as f64).sqrt().recip();
        [
            Self::new(
                format!("{name}.weight"),
                &[outputs, inputs],
                Init::Uniform(bound),
            ),
            Self::new(format!("{name}.bias"), &[outputs], Init::Uniform(bound)),
        ]
    }

    /// Weight (ones) and bias (zeros) of a layer norm called `name`.
    pub fn norm(name: &str, width: usize) -> [Self; 2] {
        [
            Self::new(format!("{name}.weight"), &[width], Init::Ones),
            Self::new(format!("{name}.bias"), &[width], Init::Zeros),
        ]
    }

    /// How many values it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Draws the tensors of a list, in its order.
///
/// # Errors
/// If the tensors cannot be made on the device.
pub fn draw(parameters: &[Parameter], rng: &mut Rng, device: &Device) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for Parameter {
        name, shape, init, ..
    } in parameters
    {
        let tensor = match init {
            Init::Normal(std) => normal(rng, shape, *std, device)?,
            Init::Uniform(bound) => uniform(rng, shape, *bound, device)?,
            Init::Zeros => Tensor::zeros(shape.as_slice(), DType::F32, device)?,
            Init::Ones => Tensor::ones(shape.as_slice(), DType::F32, device)?,
            Init::OnesAt(rows) => ones_at(rows, shape, device)?,
            Init::CopyOf(earlier) => {
                let earlier: Option<&Tensor> = tensors.get(earlier);
                earlier.map_or_else(
                    || Tensor::zeros(shape.as_slice(), DType::F32, device),
                    Tensor::copy,
                )?
            }
        };
        tensors.insert(name.clone(), tensor);
    }
    Ok(tensors)
}

/// Zeros but for these rows of the first dimension, which are ones.
fn ones_at(rows: &[usize], shape: &[usize], device: &Device) -> Result<Tensor> {
    let count = shape.first().copied().unwrap_or_default();
    let size: usize = shape.iter().skip(1).product();
    let marked = |row: usize| if rows.contains(&row) { 1f32 } else { 0.0 };
    let values: Vec<f32> = (0..count)
        .flat_map(|row| std::iter::repeat_n(marked(row), size))
        .collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}
