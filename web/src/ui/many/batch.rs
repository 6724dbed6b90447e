//! Owns the posts of a batch and what became of each: waiting, answered, or failed with a sentence.

use shared::case::Case;

use crate::protocol::Prediction;

/// A post of the batch.
#[derive(Clone, Debug)]
pub(super) struct Post {
    /// Its name in the table, or its number.
    pub(super) id: String,
    /// The picture's path as the table or the folder has it; empty if there is none.
    pub(super) image: String,
    /// The words; empty if there are none.
    pub(super) text: String,
    /// The classes that it is known to be of.
    pub(super) labels: Vec<String>,
    /// The place of its picture among those that were given.
    pub(super) picture: Option<usize>,
    /// What became of it.
    pub(super) outcome: Outcome,
}

/// What became of a post.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Nothing yet.
    Waiting,
    /// It was classified.
    Answered(Answered),
    /// It could not be classified: the reason, as a sentence.
    Failed(String),
}

/// What is kept of a prediction. Classes are named by their places in the order of the model's classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answered {
    /// Which sides it had.
    pub(super) case: Case,
    /// The classes assigned: one, or of a model of many labels any number.
    pub(super) assigned: Vec<usize>,
    /// The likeliest class's probability.
    pub(super) probability: f32,
    /// Every class's probability.
    pub(super) probabilities: Vec<f32>,
    /// How that compares with the classes that the table gives.
    pub(super) verdict: Verdict,
}

/// How an answer compares with the classes that the table gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The table gives none.
    None,
    /// The same classes.
    Right,
    /// Others.
    Wrong,
    /// The table gives a class that the model does not know.
    Unknown,
}

/// Which posts the table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// All of them.
    All,
    /// Those that could not be classified.
    Failed,
    /// Those whose answer is not what the table gives.
    Wrong,
    /// Those of a class.
    Class(usize),
}

/// The posts, in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The posts.
    pub(super) posts: Vec<Post>,
    /// The classes of the model that answers, in their order; empty until the first answer is asked for.
    pub(super) classes: Vec<String>,
    done: usize,
    failed: usize,
}

impl Batch {
    /// A batch of posts; some may have failed before they were tried.
    pub(super) fn new(posts: Vec<Post>) -> Self {
        let failed = posts
            .iter()
            .filter(|post| matches!(post.outcome, Outcome::Failed(_)))
            .count();
        Self {
            posts,
            classes: Vec::new(),
            done: failed,
            failed,
        }
    }

    /// How many posts are not waiting any more.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// How many could not be classified.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// Whether the table gives classes.
    pub(super) fn is_labelled(&self) -> bool {
        self.posts.iter().any(|post| !post.labels.is_empty())
    }

    /// The first post from this place on that waits.
    pub(super) fn waiting_from(&self, place: usize) -> Option<usize> {
        let rest = self.posts.get(place..)?;
        let next = rest
            .iter()
            .position(|post| post.outcome == Outcome::Waiting)?;
        Some(place + next)
    }

    /// Keeps an answer.
    pub(super) fn answer(&mut self, place: usize, prediction: &Prediction) {
        let mut probabilities = vec![0.0; self.classes.len()];
        for class in &prediction.classes {
            if let Some(probability) = probabilities.get_mut(class.index) {
                *probability = class.probability;
            }
        }
        let index = |label: &String| self.classes.iter().position(|class| class == label);
        let assigned: Vec<usize> = prediction.labels.iter().filter_map(index).collect();
        let Some(post) = self.posts.get(place) else {
            return;
        };
        let known: Option<Vec<usize>> = post.labels.iter().map(index).collect();
        let verdict = match known {
            Some(known) if known.is_empty() => Verdict::None,
            None => Verdict::Unknown,
            Some(mut known) => {
                let mut given = assigned.clone();
                given.sort_unstable();
                known.sort_unstable();
                known.dedup();
                if given == known {
                    Verdict::Right
                } else {
                    Verdict::Wrong
                }
            }
        };
        self.settle(
            place,
            Outcome::Answered(Answered {
                case: prediction.case,
                assigned,
                probability: prediction.probability,
                probabilities,
                verdict,
            }),
        );
    }

    /// Keeps a failure.
    pub(super) fn fail(&mut self, place: usize, sentence: String) {
        self.failed += 1;
        self.settle(place, Outcome::Failed(sentence));
    }

    fn settle(&mut self, place: usize, outcome: Outcome) {
        if let Some(post) = self.posts.get_mut(place) {
            self.done += 1;
            post.outcome = outcome;
        }
    }

    /// The places of the posts that a filter lets through.
    pub(super) fn places(&self, filter: Filter) -> Vec<usize> {
        let through = |post: &Post| match (&post.outcome, filter) {
            (_, Filter::All) | (Outcome::Failed(_), Filter::Failed) => true,
            (Outcome::Answered(answer), Filter::Wrong) => answer.verdict == Verdict::Wrong,
            (Outcome::Answered(answer), Filter::Class(class)) => answer.assigned.contains(&class),
            _ => false,
        };
        let posts = self.posts.iter().enumerate();
        posts
            .filter(|(_, post)| through(post))
            .map(|(place, _)| place)
            .collect()
    }

    /// What all answers come to.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let mut classes = vec![0; self.classes.len()];
        for post in &self.posts {
            let Outcome::Answered(answer) = &post.outcome else {
                continue;
            };
            let case = answer.case.index();
            tally.cases[case] += 1;
            for class in &answer.assigned {
                classes[*class] += 1;
            }
            match answer.verdict {
                Verdict::None => {}
                Verdict::Unknown => tally.unknown += 1,
                Verdict::Right => {
                    tally.right[case] += 1;
                    tally.judged[case] += 1;
                }
                Verdict::Wrong => tally.judged[case] += 1,
            }
        }
        tally.classes = classes.into_iter().enumerate().collect();
        tally.classes.retain(|(_, count)| *count > 0);
        tally
            .classes
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        tally
    }
}

/// Counts over the answered posts; by case in the order of the codes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Posts.
    pub(super) cases: [usize; 3],
    /// Posts whose classes the table gives and the model knows.
    pub(super) judged: [usize; 3],
    /// Of these, the ones that were answered with the same classes.
    pub(super) right: [usize; 3],
    /// Posts with a class that the model does not know.
    pub(super) unknown: usize,
    /// Classes with how many posts they were assigned to, most first; without those of none.
    pub(super) classes: Vec<(usize, usize)>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::{ClassScore, Evidence};

    pub(in crate::ui::many) fn post(id: &str, text: &str, labels: &[&str]) -> Post {
        Post {
            id: id.into(),
            image: String::new(),
            text: text.into(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            picture: None,
            outcome: Outcome::Waiting,
        }
    }

    pub(in crate::ui::many) fn prediction(labels: &[&str], case: Case) -> Prediction {
        let class = |(index, label, probability): (usize, &str, f32)| ClassScore {
            label: label.into(),
            index,
            probability,
            logit: probability,
            image: None,
            text: None,
        };
        Prediction {
            case,
            label: labels.first().copied().unwrap_or("a").into(),
            index: 0,
            probability: 0.75,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            sure: None,
            evidence: Evidence::Logit,
            classes: [(1, "b", 0.75), (0, "a", 0.25)].map(class).into(),
        }
    }

    #[test]
    fn answers_are_judged_and_counted() {
        let mut batch = Batch::new(vec![
            post("1", "x", &["a"]),
            post("2", "x", &["b"]),
            post("3", "x", &["c"]),
            post("4", "x", &[]),
            post("5", "x", &["b", "a"]),
        ]);
        batch.classes = vec!["a".into(), "b".into()];
        for (place, case) in [(0, Case::Complete), (1, Case::ImageMissing)] {
            batch.answer(place, &prediction(&["b"], case));
        }
        batch.answer(2, &prediction(&["b"], Case::ImageMissing));
        assert_eq!(batch.waiting_from(0), Some(3));
        batch.fail(3, "No.".into());
        batch.answer(4, &prediction(&["a", "b"], Case::ImageMissing));
        assert_eq!(batch.waiting_from(0), None);
        assert_eq!((batch.done(), batch.failed()), (5, 1));
        assert_eq!(
            batch.tally(),
            Tally {
                cases: [1, 0, 3],
                judged: [1, 0, 2],
                right: [0, 0, 2],
                unknown: 1,
                classes: vec![(1, 4), (0, 1)],
            }
        );
        assert_eq!(batch.places(Filter::Failed), [3]);
        assert_eq!(batch.places(Filter::Wrong), [0]);
        assert_eq!(batch.places(Filter::Class(0)), [4]);
        assert_eq!(batch.places(Filter::All).len(), 5);
        let Outcome::Answered(answer) = &batch.posts[0].outcome else {
            panic!("it was answered");
        };
        assert_eq!(answer.probabilities, [0.25, 0.75]);
    }
}
