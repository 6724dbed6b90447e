//! Owns what is decided about each post: the classes it is rightly given, wrongly given, and wrongly denied.

use shared::config::Task;

use super::f1::Counts;
use super::{Predictions, accuracy};

/// What became of a class of a post.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Right,
    Given,
    Denied,
}

/// The decisions for a split. Classes that a post neither has nor is given are not kept, so that counting again, with
/// other weights of the posts, costs little.
#[derive(Clone, Debug)]
pub struct Decisions {
    classes: usize,
    marks: Vec<(usize, Mark)>,
    /// The end of each post's marks; `None` for a post without an answer, which does not count.
    ends: Vec<(usize, bool)>,
}

impl Decisions {
    /// The decisions of a task: the class of the highest logit, or all classes with a probability of at least 0.5.
    /// A post of a multi-class task without a target does not count; a logit that is not a number gives nothing.
    pub fn of(predictions: &Predictions, task: Task, classes: usize) -> Self {
        match task {
            Task::MultiLabel => Self::at(predictions, 0.0, classes),
            Task::MultiClass => {
                let mut decisions = Self::empty(classes);
                for (row, targets) in predictions.logits.iter().zip(&predictions.targets) {
                    let best = accuracy::best(row);
                    let target = targets.first().copied();
                    decisions.push(target.is_some(), |class| {
                        (best == Some(class), target == Some(class))
                    });
                }
                decisions
            }
        }
    }

    /// The classes whose logit is at least `threshold`.
    pub fn at(predictions: &Predictions, threshold: f32, classes: usize) -> Self {
        let mut decisions = Self::empty(classes);
        for (row, targets) in predictions.logits.iter().zip(&predictions.targets) {
            decisions.push(true, |class| {
                let given = row.get(class).is_some_and(|&logit| logit >= threshold);
                (given, targets.contains(&class))
            });
        }
        decisions
    }

    fn empty(classes: usize) -> Self {
        Self {
            classes,
            marks: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Adds a post; `about` says of a class whether it is given and whether it is true.
    fn push(&mut self, counts: bool, about: impl Fn(usize) -> (bool, bool)) {
        for class in (0..self.classes).filter(|_| counts) {
            match about(class) {
                (true, true) => self.marks.push((class, Mark::Right)),
                (true, false) => self.marks.push((class, Mark::Given)),
                (false, true) => self.marks.push((class, Mark::Denied)),
                (false, false) => {}
            }
        }
        self.ends.push((self.marks.len(), counts));
    }

    /// Marks by post, `None` for posts that do not count.
    fn posts(&self) -> impl Iterator<Item = Option<&[(usize, Mark)]>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(end, _)| end));
        starts
            .zip(&self.ends)
            .map(|(start, &(end, counts))| counts.then(|| &self.marks[start..end]))
    }

    /// Counts per class, post `i` taken `weights[i]` times; `None` if no post counts.
    pub fn counts(&self, weights: &[u32]) -> Option<Vec<Counts>> {
        let mut counts = vec![Counts::default(); self.classes];
        let mut any = false;
        for (marks, &weight) in self.posts().zip(weights) {
            let weight = weight as usize;
            any |= weight > 0 && marks.is_some();
            for &(class, mark) in marks.unwrap_or_default() {
                match mark {
                    Mark::Right => counts[class].true_positive += weight,
                    Mark::Given => counts[class].false_positive += weight,
                    Mark::Denied => counts[class].false_negative += weight,
                }
            }
        }
        any.then_some(counts)
    }

    /// F1 of each post's set of classes, 0 if both sets are empty; `None` for posts that do not count.
    pub fn f1_by_post(&self) -> Vec<Option<f64>> {
        let of = |marks: &[(usize, Mark)]| {
            let mut counts = Counts::default();
            for (_, mark) in marks {
                match mark {
                    Mark::Right => counts.true_positive += 1,
                    Mark::Given => counts.false_positive += 1,
                    Mark::Denied => counts.false_negative += 1,
                }
            }
            counts.f1()
        };
        self.posts().map(|marks| marks.map(of)).collect()
    }
}

#[cfg(test)]
mod tests {
    use shared::Case;

    use super::*;

    fn counts(true_positive: usize, false_positive: usize, false_negative: usize) -> Counts {
        Counts {
            true_positive,
            false_positive,
            false_negative,
        }
    }

    #[test]
    fn sets_of_classes() {
        let mut posts = Predictions::default();
        posts.push(Case::Complete, vec![1.0, -1.0], vec![0, 1]);
        posts.push(Case::Complete, vec![0.0, 2.0], vec![1]);
        posts.push(Case::Complete, vec![f32::NAN, -1.0], vec![]);
        let decisions = Decisions::of(&posts, Task::MultiLabel, 2);
        let once = decisions.counts(&[1, 1, 1]).unwrap();
        assert_eq!(once, [counts(1, 1, 0), counts(1, 0, 1)]);
        let twice = decisions.counts(&[2, 0, 1]).unwrap();
        assert_eq!(twice, [counts(2, 0, 0), counts(0, 0, 2)]);
        let by_post = decisions.f1_by_post();
        assert_eq!(by_post, [Some(2.0 / 3.0), Some(2.0 / 3.0), Some(0.0)]);
    }

    #[test]
    fn posts_without_an_answer_do_not_count() {
        let mut posts = Predictions::default();
        posts.push(Case::Complete, vec![1.0, 0.0], vec![]);
        posts.push(Case::Complete, vec![f32::NAN, 0.0], vec![0]);
        let decisions = Decisions::of(&posts, Task::MultiClass, 2);
        let counted = decisions.counts(&[1, 1]).unwrap();
        assert_eq!(counted, [counts(0, 0, 1), counts(0, 0, 0)]);
        assert_eq!(decisions.counts(&[1, 0]), None);
        assert_eq!(decisions.f1_by_post(), [None, Some(0.0)]);
    }
}
