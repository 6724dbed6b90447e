//! Owns what is kept of a layer's inputs: their mean and how they vary together.

use candle_core::{Device, Tensor};

use crate::error::Result;

/// Rows are multiplied so many at a time.
const CHUNK: usize = 1024;

/// Sums over the input rows of a layer, of `width` values each.
#[derive(Clone, Debug)]
pub struct Moments {
    width: usize,
    count: usize,
    /// Of each input.
    sums: Vec<f64>,
    /// Σ xᵀ x [width, width], row by row.
    products: Vec<f32>,
    /// Rows that are not in `products` yet.
    pending: Vec<f32>,
}

impl Moments {
    /// Of no rows yet.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            count: 0,
            sums: vec![0.0; width],
            products: vec![0.0; width * width],
            pending: Vec::new(),
        }
    }

    /// How many inputs a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows were seen.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes rows [count, width].
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn add(&mut self, rows: &[f32]) -> Result<()> {
        for row in rows.chunks_exact(self.width.max(1)) {
            let sums = self.sums.iter_mut().zip(row);
            sums.for_each(|(sum, &x)| *sum += f64::from(x));
            self.count += 1;
        }
        self.pending.extend_from_slice(rows);
        if self.pending.len() >= CHUNK * self.width {
            self.flush()?;
        }
        Ok(())
    }

    /// Brings all rows into the products.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.pending);
        if rows.is_empty() {
            return Ok(());
        }
        let rows = Tensor::from_vec(rows, ((), self.width), &Device::Cpu)?;
        let products: Vec<f32> = rows.t()?.matmul(&rows)?.flatten_all()?.to_vec1()?;
        let sums = self.products.iter_mut().zip(products);
        sums.for_each(|(sum, product)| *sum += product);
        Ok(())
    }

    /// The mean row.
    pub fn mean(&self) -> Vec<f64> {
        let count = self.count.max(1) as f64;
        self.sums.iter().map(|sum| sum / count).collect()
    }

    /// The mean of xᵀ x [width, width] over the rows in the products; of (x - mean)ᵀ (x - mean) if `centred`.
    pub fn spread(&self, centred: bool) -> Vec<f64> {
        let count = self.count.max(1) as f64;
        let mean = self.mean();
        let mut spread: Vec<f64> = self
            .products
            .iter()
            .map(|p| f64::from(*p) / count)
            .collect();
        if centred {
            for (row, a) in spread.chunks_exact_mut(self.width.max(1)).zip(&mean) {
                row.iter_mut().zip(&mean).for_each(|(x, b)| *x -= a * b);
            }
        }
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{normal, stream};

    #[test]
    fn are_those_of_all_rows_in_whatever_parts_they_come() {
        let (count, width) = (CHUNK + 300, 3);
        let rows = normal(&mut stream(4, "rows"), &[count, width], 1.0, &Device::Cpu).unwrap();
        let rows: Vec<f32> = (rows + 2.0)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let mut moments = Moments::new(width);
        for part in rows.chunks(500 * width) {
            moments.add(part).unwrap();
        }
        moments.flush().unwrap();
        assert_eq!((moments.count(), moments.width()), (count, width));
        let mean = |of: &dyn Fn(&[f32]) -> f64| -> f64 {
            rows.chunks_exact(width).map(of).sum::<f64>() / count as f64
        };
        let means: Vec<f64> = (0..width).map(|i| mean(&|row| f64::from(row[i]))).collect();
        for (found, expected) in moments.mean().iter().zip(&means) {
            assert!((found - expected).abs() < 1e-9);
        }
        for centred in [false, true] {
            let spread = moments.spread(centred);
            for (place, found) in spread.iter().enumerate() {
                let (i, j) = (place / width, place % width);
                let about = |i: usize| if centred { means[i] } else { 0.0 };
                let expected =
                    mean(&|row| (f64::from(row[i]) - about(i)) * (f64::from(row[j]) - about(j)));
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }
}
