//! Owns accuracy, of the first guess and of the first five.

/// Share of posts whose target is among the `k` highest scores; a tie counts for the class of the lower index.
/// 0 for no posts.
pub fn top_k(scores: &[Vec<f32>], targets: &[usize], k: usize) -> f64 {
    let hits = scores
        .iter()
        .zip(targets)
        .filter(|(row, target)| {
            let own = row[**target];
            let before = row
                .iter()
                .enumerate()
                .filter(|&(i, &s)| s > own || (s == own && i < **target))
                .count();
            before < k
        })
        .count();
    if scores.is_empty() {
        0.0
    } else {
        hits as f64 / scores.len() as f64
    }
}

/// The index of the highest score, the first of equals.
pub fn best(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, &score) in row.iter().enumerate() {
        if score > row[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_guess_and_first_two() {
        let scores = vec![
            vec![0.1, 0.9, 0.5],
            vec![0.3, 0.2, 0.25],
            vec![1.0, 1.0, 0.0],
        ];
        assert!((top_k(&scores, &[1, 2, 1], 1) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(top_k(&scores, &[1, 2, 1], 2), 1.0);
        assert_eq!(top_k(&[], &[], 1), 0.0);
        assert_eq!(best(&scores[2]), 0);
    }
}
