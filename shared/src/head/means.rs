//! Owns the class-mean start of prototypes: each begins where the features of its class are.

use candle_core::{Device, Tensor};

use super::dpl::{SETS, unit};
use crate::case::Modality;
use crate::error::{Error, Result};
use crate::nn::Tensors;
use crate::rng::{Rng, normal};

/// Sums of unit features by modality and class. A prototype starts at its class's mean less the mean of all posts,
/// at unit length; the same for complete and for missing posts. Robust to the learning rate where random directions
/// are not.
#[derive(Clone, Debug)]
pub struct ClassMeans {
    width: usize,
    sides: [Sums; 2],
}

#[derive(Clone, Debug)]
struct Sums {
    /// `[K][D]`.
    by_class: Vec<Vec<f64>>,
    posts_by_class: Vec<usize>,
    /// `[D]`.
    all: Vec<f64>,
    posts: usize,
}

impl ClassMeans {
    /// Empty sums for features of `width` D and K `classes`.
    pub fn new(width: usize, classes: usize) -> Self {
        let sums = Sums {
            by_class: vec![vec![0.0; width]; classes],
            posts_by_class: vec![0; classes],
            all: vec![0.0; width],
            posts: 0,
        };
        Self {
            width,
            sides: [sums.clone(), sums],
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
        let rows = unit(features)?.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
        let sums = &mut self.sides[modality as usize];
        if rows.len() != classes.len() || rows.iter().any(|row| row.len() != self.width) {
            return Err(Error::Input(format!(
                "class means: {} rows of features for {} posts; width {} expected",
                rows.len(),
                classes.len(),
                self.width
            )));
        }
        for (row, classes) in rows.iter().zip(classes) {
            accumulate(&mut sums.all, row);
            sums.posts += 1;
            for &class in classes {
                let Some(sum) = sums.by_class.get_mut(class) else {
                    return Err(Error::Input(format!(
                        "class means: there is no class {class}"
                    )));
                };
                accumulate(sum, row);
                sums.posts_by_class[class] += 1;
            }
        }
        Ok(())
    }

    /// The prototypes `head.*`; a class without posts, or whose mean is the mean of all, gets a random direction.
    ///
    /// # Errors
    /// If the tensors cannot be made on the device.
    pub fn prototypes(&self, rng: &mut Rng, device: &Device) -> Result<Tensors> {
        let sides = [
            self.side(Modality::Image, rng)?,
            self.side(Modality::Text, rng)?,
        ];
        let mut tensors = Tensors::new();
        for set in SETS {
            tensors.insert(
                set.name.into(),
                sides[set.modality as usize].to_device(device)?.copy()?,
            );
        }
        Ok(tensors)
    }

    fn side(&self, modality: Modality, rng: &mut Rng) -> Result<Tensor> {
        let sums = &self.sides[modality as usize];
        let classes = sums.by_class.len();
        let random = normal(
            rng,
            &[classes, self.width],
            (self.width as f64).sqrt().recip(),
            &Device::Cpu,
        )?;
        let mut rows = random.to_vec2::<f32>()?;
        for (row, (sum, &posts)) in rows
            .iter_mut()
            .zip(sums.by_class.iter().zip(&sums.posts_by_class))
        {
            let mean = |sum: f64, posts: usize| sum / posts.max(1) as f64;
            let offset: Vec<f64> = sum
                .iter()
                .zip(&sums.all)
                .map(|(&s, &all)| mean(s, posts) - mean(all, sums.posts))
                .collect();
            let norm = offset.iter().map(|x| x * x).sum::<f64>().sqrt();
            if posts > 0 && norm > 1e-6 {
                *row = offset.iter().map(|x| (x / norm) as f32).collect();
            }
        }
        Ok(Tensor::from_vec(
            rows.concat(),
            (classes, self.width),
            &Device::Cpu,
        )?)
    }
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

    #[test]
    fn means_less_the_mean_of_all_and_random_where_empty() {
        let mut means = ClassMeans::new(2, 3);
        let x = Tensor::new(&[[2.0f32, 0.0], [0.0, 5.0]], &Device::Cpu).unwrap();
        means.add(Modality::Image, &x, &[vec![0], vec![1]]).unwrap();
        let tensors = means
            .prototypes(&mut stream(0, "means"), &Device::Cpu)
            .unwrap();
        let rows = |name: &str| tensors[name].to_vec2::<f32>().unwrap();
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let image = rows("head.image_only");
        assert!((image[0][0] - half).abs() < 1e-6 && (image[0][1] + half).abs() < 1e-6);
        assert!((image[1][0] + half).abs() < 1e-6 && (image[1][1] - half).abs() < 1e-6);
        assert_eq!(image, rows("head.complete_image"));
        assert_eq!(rows("head.text_only"), rows("head.complete_text"));
        assert!(
            rows("head.text_only")
                .iter()
                .flatten()
                .all(|x| x.is_finite() && *x != 0.0)
        );
        assert!(means.add(Modality::Text, &x, &[vec![0], vec![7]]).is_err());
    }
}
