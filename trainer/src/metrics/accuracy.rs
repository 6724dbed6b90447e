//! Owns accuracy, of the first guess and of the first five.

/// How many classes come before the target when the scores are put in descending order; of equal scores the class of
/// the lower index comes first. `None` if a score is not a number or there is no such class: such a post is not right,
/// whatever k is.
pub fn place(scores: &[f32], target: usize) -> Option<usize> {
    let own = *scores.get(target)?;
    if scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let before = |&(class, &score): &(usize, &f32)| score > own || (score == own && class < target);
    Some(scores.iter().enumerate().filter(before).count())
}

/// The class of the highest score, the first of equals; `None` if a score is not a number or there is none.
pub fn best(scores: &[f32]) -> Option<usize> {
    if scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut best = 0;
    for (class, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = class;
        }
    }
    (!scores.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_ties() {
        assert_eq!(place(&[0.1, 0.9, 0.5], 1), Some(0));
        assert_eq!(place(&[0.3, 0.2, 0.25], 1), Some(2));
        assert_eq!(place(&[1.0, 1.0, 0.0], 1), Some(1));
        assert_eq!(best(&[1.0, 1.0, 0.0]), Some(0));
        assert_eq!(best(&[f32::NEG_INFINITY; 2]), Some(0));
    }

    #[test]
    fn what_is_not_a_number_is_not_right() {
        assert_eq!(place(&[f32::NAN, 1.0], 1), None);
        assert_eq!(place(&[1.0], 1), None);
        assert_eq!(best(&[1.0, f32::NAN]), None);
        assert_eq!(best(&[]), None);
    }
}
