//! Owns metrics without a threshold: area under the ROC curve, average precision.

/// Area under the ROC curve: the share of (positive, negative) pairs ranked rightly, ties half.
/// `None` if there are only positives or only negatives.
pub fn auroc(scores: &[f32], actual: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let positives = actual.iter().filter(|&&is| is).count();
    let negatives = actual.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    // Rank sum of the positives, equal scores sharing their mean rank.
    let mut sum = 0.0;
    let mut start = 0;
    while start < order.len() {
        let end = start
            + order[start..]
                .iter()
                .take_while(|&&i| scores[i] == scores[order[start]])
                .count()
                .max(1);
        let mean = (start + end + 1) as f64 / 2.0;
        sum += mean * order[start..end].iter().filter(|&&i| actual[i]).count() as f64;
        start = end;
    }
    let least = (positives * (positives + 1)) as f64 / 2.0;
    Some((sum - least) / (positives * negatives) as f64)
}

/// Average precision: the mean over positives of the precision at their rank, equal scores taken together.
/// `None` if there are no positives.
pub fn average_precision(scores: &[f32], actual: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives = actual.iter().filter(|&&is| is).count();
    if positives == 0 {
        return None;
    }
    let (mut found, mut sum, mut start) = (0, 0.0, 0);
    while start < order.len() {
        let end = start
            + order[start..]
                .iter()
                .take_while(|&&i| scores[i] == scores[order[start]])
                .count()
                .max(1);
        let here = order[start..end].iter().filter(|&&i| actual[i]).count();
        found += here;
        sum += here as f64 * found as f64 / end as f64;
        start = end;
    }
    Some(sum / positives as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_number_with_a_tie() {
        let logits = [
            (2.0, 1.0),
            (0.0, 0.0),
            (1.0, 3.0),
            (0.5, 0.4),
            (0.0, 2.0),
            (1.0f32, 1.0),
        ];
        let scores: Vec<f32> = logits.iter().map(|(no, yes)| yes - no).collect();
        let actual = [false, true, true, false, true, false];
        let area = auroc(&scores, &actual).unwrap();
        assert!((area - 17.0 / 18.0).abs() < 1e-12, "{area}");
        assert_eq!(auroc(&scores, &[true; 6]), None);
    }

    #[test]
    fn average_precision_of_a_hand_made_ranking() {
        let value = average_precision(&[0.9, 0.8, 0.7, 0.6], &[true, false, true, false]).unwrap();
        assert!((value - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        let tied = average_precision(&[0.5, 0.5], &[true, false]).unwrap();
        assert!((tied - 0.5).abs() < 1e-12);
        assert_eq!(average_precision(&[0.5], &[false]), None);
    }
}
