//! Owns what each step sees. The drawings of a step are a function of the seed and the step alone, so that a resumed run
//! goes on as if it had never stopped.

use shared::rng::{Rng, below, shuffle, stream};

use super::drawings::{Concept, Library, Subject};
use super::settings::BatchSettings;

/// One concept of a batch: a subject of it, and as many of its drawings as there are views.
#[derive(Debug)]
pub struct Item<'a> {
    /// What is drawn.
    pub subject: &'a Subject,
    /// The drawings, of different styles as long as there are any.
    pub drawings: Vec<usize>,
}

/// Goes through all concepts in rounds, each round in a new order.
pub struct Sampler<'a> {
    seed: u64,
    views: usize,
    emoji: Round<'a>,
    clipart: Round<'a>,
}

impl<'a> Sampler<'a> {
    /// A sampler over `library`; sets that are smaller than their share of the batch give what they have.
    pub fn new(library: &'a Library, settings: &BatchSettings, seed: u64) -> Self {
        Self {
            seed,
            views: settings.views,
            emoji: Round::new("emoji", &library.emoji, settings.emoji),
            clipart: Round::new("clipart", &library.clipart, settings.clipart),
        }
    }

    /// The concepts of a step, all different; `rng` chooses subjects and styles.
    pub fn items(&mut self, step: usize, rng: &mut Rng) -> Vec<Item<'a>> {
        let concepts: Vec<&'a Concept> = self
            .emoji
            .take(self.seed, step)
            .into_iter()
            .chain(self.clipart.take(self.seed, step))
            .collect();
        concepts
            .into_iter()
            .map(|concept| {
                let subject = &concept.subjects[below(rng, concept.subjects.len())];
                let mut styles = subject.drawings.clone();
                shuffle(rng, &mut styles);
                Item {
                    subject,
                    drawings: styles.iter().copied().cycle().take(self.views).collect(),
                }
            })
            .collect()
    }
}

/// One set of concepts: rounds of whole batches, what is left over at the end of a round is left out.
struct Round<'a> {
    name: &'static str,
    concepts: &'a [Concept],
    count: usize,
    order: Vec<usize>,
    round: Option<usize>,
}

impl<'a> Round<'a> {
    fn new(name: &'static str, concepts: &'a [Concept], count: usize) -> Self {
        Self {
            name,
            concepts,
            count: count.min(concepts.len()),
            order: Vec::new(),
            round: None,
        }
    }

    fn take(&mut self, seed: u64, step: usize) -> Vec<&'a Concept> {
        if self.count == 0 {
            return Vec::new();
        }
        let steps = self.concepts.len() / self.count;
        let round = step / steps;
        if self.round != Some(round) {
            self.order = (0..self.concepts.len()).collect();
            shuffle(
                &mut stream(seed, &format!("pretrain/{}/{round}", self.name)),
                &mut self.order,
            );
            self.round = Some(round);
        }
        let start = step % steps * self.count;
        self.order[start..start + self.count]
            .iter()
            .map(|&at| &self.concepts[at])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretrain::drawings::{Split, tests::example};

    #[test]
    fn a_round_shows_every_concept_once_and_a_step_is_reproducible() {
        let folder = tempfile::tempdir().unwrap();
        example(folder.path(), 10, 4);
        let library = Library::read(folder.path(), Split::Train).unwrap();
        let settings = BatchSettings {
            emoji: 4,
            clipart: 2,
            views: 2,
            ..BatchSettings::default()
        };
        let names = |sampler: &mut Sampler<'_>, step: usize| -> Vec<(String, Vec<usize>)> {
            let items = sampler.items(step, &mut stream(9, &format!("step {step}")));
            items
                .into_iter()
                .map(|item| (item.subject.name.clone(), item.drawings))
                .collect()
        };
        let mut sampler = Sampler::new(&library, &settings, 7);
        let steps: Vec<_> = (0..6).map(|step| names(&mut sampler, step)).collect();
        let mut round: Vec<&str> = steps[..2]
            .iter()
            .flat_map(|step| &step[..4])
            .map(|(name, _)| name.as_str())
            .collect();
        round.sort_unstable();
        round.dedup();
        assert_eq!(round.len(), 8);
        assert!(
            steps
                .iter()
                .flatten()
                .filter(|(name, _)| name.starts_with("emoji"))
                .all(|(_, d)| d[0] != d[1])
        );
        // Beginning in the middle gives the same.
        assert_eq!(
            names(&mut Sampler::new(&library, &settings, 7), 5),
            steps[5]
        );
    }

    #[test]
    fn a_small_set_gives_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        example(folder.path(), 10, 1);
        let library = Library::read(folder.path(), Split::Train).unwrap();
        let settings = BatchSettings {
            emoji: 100,
            clipart: 100,
            views: 1,
            ..BatchSettings::default()
        };
        assert_eq!(
            Sampler::new(&library, &settings, 7)
                .items(3, &mut stream(1, "x"))
                .len(),
            9
        );
    }
}
