//! Owns products of rows with a packed matrix: `y = x wᵀ + b`, in f32 or in bytes, followed by what comes after it.

mod byte;
mod float;
mod sweep;

pub use byte::{ByteRows, LARGEST_WEIGHT};
use float::FloatPanels;
pub(crate) use sweep::{Output, Place, Rows, Store, sweep};

use byte::BytePanels;

use crate::gelu;

/// What happens to a product with its bias before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Nothing.
    Store,
    /// It is added to what is there.
    Add,
    /// QuickGELU.
    QuickGelu,
    /// The exact GELU.
    Gelu,
}

impl Finish {
    /// Does it to some values of a product, to be stored where `before` was.
    #[inline(always)]
    fn apply<const N: usize>(self, values: &mut [f32; N], before: &[f32; N]) {
        match self {
            Self::Store => {}
            Self::Add => values.iter_mut().zip(before).for_each(|(y, b)| *y += b),
            Self::QuickGelu => gelu::quick_gelu(values),
            Self::Gelu => gelu::gelu(values),
        }
    }
}

/// A matrix [outputs, inputs] with a bias, packed for this machine.
pub struct Matrix {
    inputs: usize,
    outputs: usize,
    panels: Panels,
    bias: Vec<f32>,
}

enum Panels {
    Float(FloatPanels),
    Byte(BytePanels),
}

/// Rows of input as a matrix wants them; kept by the caller from call to call, so that nothing is allocated.
#[derive(Default)]
pub struct Prepared {
    bytes: ByteRows,
}

impl Matrix {
    /// Zeros in f32. Rows are set by [`Matrix::set_float_rows`].
    pub fn float(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            panels: Panels::Float(FloatPanels::new(inputs, outputs)),
            bias: vec![0.0; outputs],
        }
    }

    /// Zeros in bytes. Rows are set by [`Matrix::set_byte_rows`].
    pub fn byte(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            panels: Panels::Byte(BytePanels::new(inputs, outputs)),
            bias: vec![0.0; outputs],
        }
    }

    /// Inputs of a row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs of a row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Whether the weights are bytes.
    pub fn is_byte(&self) -> bool {
        matches!(self.panels, Panels::Byte(_))
    }

    /// The instruction set the weights are packed for.
    pub fn kernel(&self) -> &'static str {
        match &self.panels {
            Panels::Float(panels) => panels.kernel(),
            Panels::Byte(panels) => panels.kernel(),
        }
    }

    /// Bytes of memory that the weights take.
    pub fn bytes(&self) -> usize {
        let panels = match &self.panels {
            Panels::Float(panels) => panels.bytes(),
            Panels::Byte(panels) => panels.bytes(),
        };
        panels + self.bias.len() * size_of::<f32>()
    }

    /// Sets the weights of outputs from `first` on; `rows` holds `inputs` values for each. False if they do not fit, or
    /// the matrix is of bytes.
    #[must_use]
    pub fn set_float_rows(&mut self, first: usize, rows: &[f32]) -> bool {
        let fits = self.fits(first, rows.len());
        match &mut self.panels {
            Panels::Float(panels) if fits => panels.set_rows(first, rows),
            _ => return false,
        }
        true
    }

    /// Sets the weights of outputs from `first` on, each value times its row's scale; `rows` holds `inputs` values of
    /// `-LARGEST_WEIGHT - 1..=LARGEST_WEIGHT` for each, others are taken for the nearest of these. False if they do not
    /// fit, or the matrix is of f32.
    #[must_use]
    pub fn set_byte_rows(&mut self, first: usize, rows: &[i8], scales: &[f32]) -> bool {
        let fits = self.fits(first, rows.len()) && rows.len() == scales.len() * self.inputs;
        match &mut self.panels {
            Panels::Byte(panels) if fits => panels.set_rows(first, rows, scales),
            _ => return false,
        }
        true
    }

    /// Sets the bias of outputs from `first` on. False if it does not fit.
    #[must_use]
    pub fn set_bias(&mut self, first: usize, bias: &[f32]) -> bool {
        match self.bias.get_mut(first..first + bias.len()) {
            Some(target) => target.copy_from_slice(bias),
            None => return false,
        }
        true
    }

    /// Multiplies weights and bias of some outputs by a factor.
    pub fn scale_rows(&mut self, rows: std::ops::Range<usize>, factor: f32) {
        match &mut self.panels {
            Panels::Float(panels) => panels.scale_rows(rows.clone(), factor),
            Panels::Byte(panels) => panels.scale_rows(rows.clone(), factor),
        }
        if let Some(bias) = self.bias.get_mut(rows) {
            bias.iter_mut().for_each(|b| *b *= factor);
        }
    }

    fn fits(&self, first: usize, values: usize) -> bool {
        self.inputs > 0
            && values.is_multiple_of(self.inputs)
            && first + values / self.inputs <= self.outputs
    }

    /// Brings rows [count, inputs] into the form that [`Matrix::multiply`] reads: bytes if the weights are.
    ///
    /// # Panics
    /// If `x` is not of whole rows.
    pub fn prepare(&self, x: &[f32], prepared: &mut Prepared) {
        if self.is_byte() {
            prepared.bytes.fill(x, self.inputs);
        }
    }

    /// `y` [rows, stride] from prepared `x` [rows, inputs]: outputs `range` of the product into the first columns of
    /// each row of `y`, on all threads.
    ///
    /// # Panics
    /// If sizes do not agree.
    pub fn multiply(
        &self,
        x: &[f32],
        prepared: &Prepared,
        range: std::ops::Range<usize>,
        y: &mut [f32],
        stride: usize,
        finish: Finish,
    ) {
        let rows = x.len() / self.inputs;
        assert!(x.len() == rows * self.inputs, "rows of another width");
        assert!(range.end <= self.outputs, "outputs beyond the matrix");
        let output = Output::new(y, stride, rows, range.len());
        let bias = &self.bias[range.clone()];
        match &self.panels {
            Panels::Float(panels) => {
                panels.multiply(x, self.inputs, rows, range, bias, output, finish)
            }
            Panels::Byte(panels) => {
                assert!(prepared.bytes.rows() == rows, "rows that were not prepared");
                panels.multiply(&prepared.bytes, range, bias, output, finish)
            }
        }
    }
}

#[cfg(test)]
mod tests;
