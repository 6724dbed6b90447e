//! Owns what is measured on the features of the training posts: where prototypes start, and the mean of all posts.

use candle_core::{Device, Tensor};

use super::prototype::unit;
use crate::case::{Case, Modality};
use crate::error::{Error, Result};
use crate::nn::Tensors;
use crate::rng::{Rng, normal};

/// What a tensor of a head is measured to be.
///
/// A prototype starts at its class's mean less the mean of all posts, at unit length; the same for complete and for
/// missing posts. Robust to the learning rate where random directions are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// [K, D]: from the means of unit features.
    Prototypes(Modality),
    /// [K, D]: from the means of the features as they are, because they will have a mean taken off before they are
    /// normalised.
    CentredPrototypes(Modality),
    /// [K, 2D]: from the means of both features side by side, as they are; zero for the half that the case lacks.
    JointPrototypes(Case),
    /// `[D]`: the mean of the features as they are. Not a start but a constant.
    Mean(Modality),
}

impl Measure {
    /// Whether the values are where training starts; otherwise they stay.
    pub fn is_start(self) -> bool {
        !matches!(self, Measure::Mean(_))
    }
}

/// Sums of features by modality and class.
#[derive(Clone, Debug)]
pub struct ClassMeans {
    width: usize,
    sides: [Side; 2],
}

#[derive(Clone, Debug)]
struct Side {
    unit: Sums,
    raw: Sums,
    posts_by_class: Vec<usize>,
    posts: usize,
}

#[derive(Clone, Debug)]
struct Sums {
    /// `[K][D]`.
    by_class: Vec<Vec<f64>>,
    /// `[D]`.
    all: Vec<f64>,
}

impl ClassMeans {
    /// Empty sums for features of `width` D and K `classes`.
    pub fn new(width: usize, classes: usize) -> Self {
        let sums = Sums {
            by_class: vec![vec![0.0; width]; classes],
            all: vec![0.0; width],
        };
        let side = Side {
            unit: sums.clone(),
            raw: sums,
            posts_by_class: vec![0; classes],
            posts: 0,
        };
        Self {
            width,
            sides: [side.clone(), side],
        }
    }

    /// Adds features [n, D] of n posts, each with its classes (one in single-label tasks).
    ///
    /// # Errors
    /// If the counts or widths do not agree, or a class is out of range.
    pub fn add(
        &mut self,
        modality: Modality,
        features: &Tensor,
        classes: &[Vec<usize>],
    ) -> Result<()> {
        let rows = |x: &Tensor| x.to_device(&Device::Cpu)?.to_vec2::<f32>();
        let (units, raws) = (rows(&unit(features)?)?, rows(features)?);
        let side = &mut self.sides[modality as usize];
        if raws.len() != classes.len() || raws.iter().any(|row| row.len() != self.width) {
            return Err(Error::Input(format!(
                "class means: {} rows of features for {} posts; width {} expected",
                raws.len(),
                classes.len(),
                self.width
            )));
        }
        for ((unit, raw), classes) in units.iter().zip(&raws).zip(classes) {
            side.posts += 1;
            side.unit.add(unit, classes)?;
            side.raw.add(raw, classes)?;
            for &class in classes {
                side.posts_by_class[class] += 1;
            }
        }
        Ok(())
    }

    /// The tensors that are wanted, by name. A prototype of a class without posts, or whose mean is the mean of all,
    /// gets a random direction.
    ///
    /// # Errors
    /// If the tensors cannot be made on the device.
    pub fn measure(
        &self,
        wanted: &[(String, Measure)],
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Tensors> {
        // Drawn whatever is wanted, so that one tensor's values do not depend on the others.
        let random = [self.random(rng)?, self.random(rng)?];
        let mut tensors = Tensors::new();
        for (name, measure) in wanted {
            let rows = match *measure {
                Measure::Prototypes(of) => self.prototypes(&random, &[of], |side| &side.unit),
                Measure::CentredPrototypes(of) => self.prototypes(&random, &[of], |side| &side.raw),
                Measure::JointPrototypes(case) => {
                    let mut rows = self.prototypes(&random, &present(case), |side| &side.raw);
                    if !case.has(Modality::Image) {
                        rows = beside(&vec![vec![0.0; self.width]; rows.len()], &rows);
                    } else if !case.has(Modality::Text) {
                        rows = beside(&rows, &vec![vec![0.0; self.width]; rows.len()]);
                    }
                    rows
                }
                Measure::Mean(of) => vec![self.sides[of as usize].mean()],
            };
            let (count, width) = (rows.len(), rows.first().map_or(0, Vec::len));
            let tensor = Tensor::from_vec(rows.concat(), (count, width), device)?;
            let tensor = if measure.is_start() {
                tensor
            } else {
                tensor.squeeze(0)?
            };
            tensors.insert(name.clone(), tensor);
        }
        Ok(tensors)
    }

    fn random(&self, rng: &mut Rng) -> Result<Vec<Vec<f32>>> {
        let shape = [self.sides[0].posts_by_class.len(), self.width];
        let std = (self.width as f64).sqrt().recip();
        Ok(normal(rng, &shape, std, &Device::Cpu)?.to_vec2()?)
    }

    /// Per class the offsets of these modalities side by side, at unit length.
    fn prototypes(
        &self,
        random: &[Vec<Vec<f32>>; 2],
        modalities: &[Modality],
        sums: impl Fn(&Side) -> &Sums,
    ) -> Vec<Vec<f32>> {
        let prototype = |class: usize| -> Vec<f32> {
            let offsets = modalities.iter().flat_map(|&modality| {
                let side = &self.sides[modality as usize];
                side.offset(sums(side), class)
            });
            let offset: Vec<f64> = offsets.collect();
            let norm = offset.iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm > 1e-6 {
                return offset.iter().map(|x| (x / norm) as f32).collect();
            }
            let random = modalities
                .iter()
                .map(|&modality| random[modality as usize][class].clone());
            random.collect::<Vec<_>>().concat()
        };
        (0..self.sides[0].posts_by_class.len())
            .map(prototype)
            .collect()
    }
}

impl Side {
    /// The class's mean less the mean of all; zero for a class without posts.
    fn offset(&self, sums: &Sums, class: usize) -> Vec<f64> {
        let posts = self.posts_by_class[class];
        let mean = |sum: f64, posts: usize| sum / posts.max(1) as f64;
        sums.by_class[class]
            .iter()
            .zip(&sums.all)
            .map(|(&sum, &all)| {
                if posts > 0 {
                    mean(sum, posts) - mean(all, self.posts)
                } else {
                    0.0
                }
            })
            .collect()
    }

    fn mean(&self) -> Vec<f32> {
        let posts = self.posts.max(1) as f64;
        self.raw
            .all
            .iter()
            .map(|sum| (sum / posts) as f32)
            .collect()
    }
}

impl Sums {
    fn add(&mut self, row: &[f32], classes: &[usize]) -> Result<()> {
        accumulate(&mut self.all, row);
        for &class in classes {
            let Some(sum) = self.by_class.get_mut(class) else {
                return Err(Error::Input(format!(
                    "class means: there is no class {class}"
                )));
            };
            accumulate(sum, row);
        }
        Ok(())
    }
}

fn present(case: Case) -> Vec<Modality> {
    Modality::ALL
        .into_iter()
        .filter(|&modality| case.has(modality))
        .collect()
}

/// The rows of two tables side by side.
fn beside(left: &[Vec<f32>], right: &[Vec<f32>]) -> Vec<Vec<f32>> {
    left.iter()
        .zip(right)
        .map(|(left, right)| [left.as_slice(), right].concat())
        .collect()
}

fn accumulate(sum: &mut [f64], row: &[f32]) {
    for (sum, &x) in sum.iter_mut().zip(row) {
        *sum += f64::from(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;

    /// Two image posts, of class 0 and class 1, one text post of class 0; class 2 has none.
    fn means() -> ClassMeans {
        let mut means = ClassMeans::new(2, 3);
        let x = Tensor::new(&[[2.0f32, 0.0], [0.0, 5.0]], &Device::Cpu).unwrap();
        means.add(Modality::Image, &x, &[vec![0], vec![1]]).unwrap();
        assert!(means.add(Modality::Text, &x, &[vec![0], vec![7]]).is_err());
        means
    }

    fn measure(of: &[Measure]) -> Vec<Tensor> {
        let wanted: Vec<(String, Measure)> = of
            .iter()
            .enumerate()
            .map(|(i, &measure)| (i.to_string(), measure))
            .collect();
        let tensors = means()
            .measure(&wanted, &mut stream(0, "means"), &Device::Cpu)
            .unwrap();
        tensors.into_values().collect()
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?} is not {expected:?}"
        );
    }

    #[test]
    fn means_less_the_mean_of_all_and_random_where_empty() {
        let found = measure(&[
            Measure::Prototypes(Modality::Image),
            Measure::CentredPrototypes(Modality::Image),
            Measure::Prototypes(Modality::Image),
        ]);
        let rows: Vec<Vec<Vec<f32>>> = found.iter().map(|t| t.to_vec2().unwrap()).collect();
        close(&rows[0][0], &[HALF, -HALF]);
        close(&rows[0][1], &[-HALF, HALF]);
        assert!(rows[0][2].iter().all(|x| x.is_finite() && *x != 0.0));
        assert_eq!(rows[0], rows[2]);
        // (2, 0) less (1, 2.5), at unit length.
        let length = 7.25f32.sqrt();
        close(&rows[1][0], &[1.0 / length, -2.5 / length]);
        let mean = measure(&[Measure::Mean(Modality::Image)]).remove(0);
        close(&mean.to_vec1().unwrap(), &[1.0, 2.5]);
    }

    #[test]
    fn joint_prototypes_have_zeros_where_the_case_has_nothing() {
        let found = measure(&Case::ALL.map(Measure::JointPrototypes));
        for (case, tensor) in Case::ALL.into_iter().zip(&found) {
            let rows: Vec<Vec<f32>> = tensor.to_vec2().unwrap();
            assert_eq!((rows.len(), rows[0].len()), (3, 4), "{case}");
            for row in &rows {
                for modality in Modality::ALL {
                    let half = &row[2 * modality as usize..][..2];
                    let zero = half.iter().all(|&x| x == 0.0);
                    assert!(
                        !zero || !case.has(modality) || row[0] != 0.0,
                        "{case}: {row:?}"
                    );
                    assert!(zero || case.has(modality), "{case}: {row:?}");
                }
            }
        }
        let length = 7.25f32.sqrt();
        let rows: Vec<Vec<f32>> = found[1].to_vec2().unwrap();
        close(&rows[0], &[1.0 / length, -2.5 / length, 0.0, 0.0]);
    }
}
