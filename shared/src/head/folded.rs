//! Owns the one form that all heads have once they are folded, on plain slices: what inference computes.
//!
//! For each modality M of a case c:
//!
//! ```text
//! x_M    = h_M - centre_M
//! part_M = gain_cM W_cM x_M / length      [K], what M contributes
//! logits = factor_c sum_M part_M + bias_c
//! ```
//!
//! where the length is 1, that of x_M, or that of both x together. What a head puts in, it says beside its own formula
//! ([`super::HeadPlan::folded`]); what it leaves out is 0 or 1.

use std::sync::Arc;

use kernels::product::{Finish, Matrix, Prepared};

use super::prototype::NORM_GUARD;
use super::{Answer, Background, Evidence};
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::infer::weights::Weights;

/// A head in the folded form.
#[derive(Clone)]
pub struct FoldedHead {
    pub(super) evidence: Evidence,
    pub(super) length: Length,
    /// `[D]` by modality.
    pub(super) centre: [Option<Vec<f32>>; 2],
    /// By case code.
    pub(super) cases: [FoldedCase; 3],
    /// For classes that are taught; none if the bundle has it not.
    pub(crate) background: Option<Background>,
}

/// What features are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Nothing.
    One,
    /// Their own length.
    Own,
    /// The length of both modalities' side by side.
    Both,
}

/// What a head does in one case.
#[derive(Clone, Default)]
pub(super) struct FoldedCase {
    /// By modality; none for one that the case lacks.
    pub(super) summands: [Option<Summand>; 2],
    pub(super) factor: f32,
    /// `[K]`.
    pub(super) bias: Option<Vec<f32>>,
}

/// What a head does with one modality's features.
#[derive(Clone)]
pub(super) struct Summand {
    /// [K, D].
    pub(super) weight: Arc<Matrix>,
    pub(super) gain: f32,
}

impl FoldedHead {
    /// One linear layer, image columns and text columns, with a bias `[K]` for each case.
    pub(super) fn linear(weight: &[Arc<Matrix>; 2], mut bias: [Vec<f32>; 3]) -> Self {
        let cases = Case::ALL.map(|case| FoldedCase {
            summands: Modality::ALL.map(|modality| {
                case.has(modality).then(|| Summand {
                    weight: weight[modality as usize].clone(),
                    gain: 1.0,
                })
            }),
            factor: 1.0,
            bias: Some(std::mem::take(&mut bias[case.index()])),
        });
        Self {
            evidence: Evidence::Logit,
            length: Length::One,
            centre: [None, None],
            cases,
            background: None,
        }
    }

    /// What the parts of an answer are measured in.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// What the head says of one post of this case with these features `[D]` by modality, not normalised.
    ///
    /// # Errors
    /// If features that the case has are absent or of another width.
    pub fn answer(&self, case: Case, features: &[Option<Vec<f32>>; 2]) -> Result<Answer> {
        Ok(self.answer_of_inputs(case, &self.inputs(case, features)?))
    }

    /// What the products take of these features `[D]` by modality: centred, and divided by their length.
    ///
    /// # Errors
    /// As [`FoldedHead::answer`].
    pub fn inputs(
        &self,
        case: Case,
        features: &[Option<Vec<f32>>; 2],
    ) -> Result<[Option<Vec<f32>>; 2]> {
        let of = &self.cases[case.index()];
        let mut inputs = [None, None];
        for (modality, summand) in Modality::ALL.into_iter().zip(&of.summands) {
            let Some(summand) = summand else { continue };
            let (own, name) = (&features[modality as usize], modality.name());
            let x = own
                .as_ref()
                .filter(|x| x.len() == summand.weight.inputs())
                .ok_or_else(|| {
                    Error::Input(format!(
                        "posts of case {case} need {name} features of {} values",
                        summand.weight.inputs()
                    ))
                })?;
            let mut x = x.clone();
            if let Some(centre) = &self.centre[modality as usize] {
                x.iter_mut().zip(centre).for_each(|(x, c)| *x -= c);
            }
            inputs[modality as usize] = Some(x);
        }
        let square = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>() + NORM_GUARD as f32;
        let both: f32 = inputs.iter().flatten().map(|x| square(x)).sum();
        for x in inputs.iter_mut().flatten() {
            let length = match self.length {
                Length::One => 1.0,
                Length::Own => square(x).sqrt(),
                Length::Both => both.sqrt(),
            };
            x.iter_mut().for_each(|x| *x /= length);
        }
        Ok(inputs)
    }

    /// What the head says of one post of this case with these [`FoldedHead::inputs`].
    pub fn answer_of_inputs(&self, case: Case, inputs: &[Option<Vec<f32>>; 2]) -> Answer {
        let of = &self.cases[case.index()];
        let mut parts = [None, None];
        let mut logits = vec![0.0; 0];
        for (modality, (summand, x)) in of.summands.iter().zip(inputs).enumerate() {
            let (Some(summand), Some(x)) = (summand, x) else {
                continue;
            };
            let part = summand.multiply(x);
            logits.resize(part.len(), 0.0);
            let sums = logits.iter_mut().zip(&part);
            sums.for_each(|(sum, part)| *sum += of.factor * part);
            parts[modality] = Some(part);
        }
        if let Some(bias) = &of.bias {
            logits.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        }
        Answer { logits, parts }
    }
}

impl Summand {
    fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let classes = self.weight.outputs();
        let mut part = vec![0.0; classes];
        // Heads are kept in f32, for which there is nothing to prepare.
        let nothing = Prepared::default();
        let finish = Finish::Store;
        self.weight
            .multiply(x, &nothing, 0..classes, &mut part, classes, finish);
        part.iter_mut().for_each(|part| *part *= self.gain);
        part
    }
}

/// Takes out a tensor [K, D].
pub(super) fn whole(
    weights: &mut Weights,
    name: &str,
    [classes, width]: [usize; 2],
) -> Result<Arc<Matrix>> {
    let values = weights.floats(name, &[classes, width])?;
    columns(name, &values, [0, width, width])
}

/// Takes out a tensor [K, 2D]: image columns, then text columns.
pub(super) fn halves(
    weights: &mut Weights,
    name: &str,
    [classes, width]: [usize; 2],
) -> Result<[Arc<Matrix>; 2]> {
    let values = weights.floats(name, &[classes, 2 * width])?;
    let [image, text] = Modality::ALL.map(|modality| {
        let first = modality as usize * width;
        columns(name, &values, [first, width, 2 * width])
    });
    Ok([image?, text?])
}

/// Packs some columns of rows with `stride` values.
fn columns(name: &str, values: &[f32], [first, width, stride]: [usize; 3]) -> Result<Arc<Matrix>> {
    let mut matrix = Matrix::float(width, values.len() / stride);
    for (row, values) in values.chunks_exact(stride).enumerate() {
        if !matrix.set_float_rows(row, &values[first..first + width]) {
            return Err(Error::Tensor {
                name: name.into(),
                message: "has not as many values as its shape says".into(),
            });
        }
    }
    Ok(Arc::new(matrix))
}
