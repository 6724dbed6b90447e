//! Owns retrieval on the validation split: which of all captions belongs to a picture, and the other way round.

use anyhow::{Result, ensure};
use serde::Serialize;

/// Recall at 1 and at 5, in percent, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Recall {
    /// Subjects to choose from.
    pub candidates: usize,
    /// Picture to text: the right text is the first.
    pub image_to_text_1: f64,
    /// Picture to text: the right text is among the first five.
    pub image_to_text_5: f64,
    /// Text to picture: the right picture is the first.
    pub text_to_image_1: f64,
    /// Text to picture: the right picture is among the first five.
    pub text_to_image_5: f64,
}

/// Recall from cosines [n, n] in rows of pictures; row and column i belong together. Ties count against the right one.
///
/// # Errors
/// If the rows are not all as long as there are rows.
pub fn recall(cosines: &[Vec<f32>]) -> Result<Recall> {
    let n = cosines.len();
    ensure!(
        n > 0 && cosines.iter().all(|row| row.len() == n),
        "retrieval needs a square of cosines"
    );
    let mut found = [[0usize; 2]; 2];
    for (own, row) in cosines.iter().enumerate() {
        let mine = row[own];
        let better_texts = (0..n)
            .filter(|&other| other != own && row[other] >= mine)
            .count();
        let better_images = (0..n)
            .filter(|&other| other != own && cosines[other][own] >= mine)
            .count();
        for (direction, better) in [better_texts, better_images].into_iter().enumerate() {
            found[direction][0] += usize::from(better < 1);
            found[direction][1] += usize::from(better < 5);
        }
    }
    let percent = |count: usize| 100.0 * count as f64 / n as f64;
    Ok(Recall {
        candidates: n,
        image_to_text_1: percent(found[0][0]),
        image_to_text_5: percent(found[0][1]),
        text_to_image_1: percent(found[1][0]),
        text_to_image_5: percent(found[1][1]),
    })
}

/// The mean of several figures (one a drawing style), weighted by their candidates.
pub fn mean(figures: &[Recall]) -> Recall {
    let all: usize = figures.iter().map(|recall| recall.candidates).sum();
    let mean = |of: fn(&Recall) -> f64| {
        figures
            .iter()
            .map(|recall| of(recall) * recall.candidates as f64)
            .sum::<f64>()
            / all.max(1) as f64
    };
    Recall {
        candidates: figures
            .iter()
            .map(|recall| recall.candidates)
            .max()
            .unwrap_or(0),
        image_to_text_1: mean(|recall| recall.image_to_text_1),
        image_to_text_5: mean(|recall| recall.image_to_text_5),
        text_to_image_1: mean(|recall| recall.text_to_image_1),
        text_to_image_5: mean(|recall| recall.text_to_image_5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let cosines = vec![
            vec![0.9, 0.1, 0.0],
            vec![0.8, 0.7, 0.2],
            vec![0.1, 0.3, 0.3],
        ];
        let recall = recall(&cosines).unwrap();
        // Picture 2 ties with text 1, picture 1 is nearer to text 0; text 1 and 2 find their pictures.
        assert!((recall.image_to_text_1 - 100.0 / 3.0).abs() < 1e-9);
        assert!((recall.text_to_image_1 - 100.0).abs() < 1e-9);
        assert_eq!(recall.image_to_text_5, 100.0);
    }

    #[test]
    fn the_mean_is_weighted() {
        let of = |candidates, value| Recall {
            candidates,
            image_to_text_1: value,
            ..Recall::default()
        };
        assert_eq!(mean(&[of(10, 20.0), of(30, 60.0)]).image_to_text_1, 50.0);
    }

    #[test]
    fn a_ragged_square_is_refused() {
        assert!(recall(&[vec![1.0], vec![1.0]]).is_err());
    }
}
