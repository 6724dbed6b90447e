//! Owns the making of a step's batch: which drawings, how they are varied, what is said of them.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{Device, Tensor};
use shared::preprocess::image::{MEAN, STD};
use shared::preprocess::text::TextTokenizer;
use shared::rng::stream;

use super::augment::Augmenter;
use super::drawings::Library;
use super::objective::Batch;
use super::sampler::Sampler;
use super::settings::PretrainSettings;
use super::text::WordCache;
use super::wordnet::Nouns;

/// A group of fewer subjects teaches nothing about groups.
const SMALLEST_GROUP: usize = 8;

/// Makes batches. A batch is a function of the seed and the step alone.
pub struct Feed<'a> {
    settings: &'a PretrainSettings,
    library: &'a Library,
    nouns: &'a Nouns,
    groups: &'a BTreeMap<String, usize>,
    sampler: Sampler<'a>,
    augmenter: Augmenter<'a>,
    words: WordCache<'a>,
}

impl<'a> Feed<'a> {
    /// A feed from these data.
    ///
    /// # Errors
    /// If the tokenizer is unusable.
    pub fn new(
        settings: &'a PretrainSettings,
        library: &'a Library,
        nouns: &'a Nouns,
        groups: &'a BTreeMap<String, usize>,
        tokenizer: &'a TextTokenizer,
    ) -> Result<Self> {
        Ok(Self {
            settings,
            library,
            nouns,
            groups,
            sampler: Sampler::new(library, &settings.batch, settings.seed),
            augmenter: Augmenter::new(&settings.augment, settings.model.image_size, MEAN, STD),
            words: WordCache::new(tokenizer)?,
        })
    }

    /// The batch of a step.
    ///
    /// # Errors
    /// If a text cannot be encoded or a tensor not be made.
    pub fn batch(&mut self, step: usize, device: &Device) -> Result<Batch> {
        let settings = self.settings;
        // A stream each: more pictures do not change what is said of them.
        let draw = |what: &str| stream(settings.seed, &format!("pretrain/{step}/{what}"));
        let items = self.sampler.items(step, &mut draw("drawings"));

        let views = settings.batch.views;
        let size = 3 * settings.model.image_size.pow(2);
        let mut pixels = vec![0f32; views * items.len() * size];
        let mut rng = draw("augment");
        for (at, picture) in pixels.chunks_mut(size).enumerate() {
            let drawing = items[at % items.len()].drawings[at / items.len()];
            self.augmenter
                .vary(self.library.pixels(drawing), &mut rng, picture);
        }
        let side = settings.model.image_size;
        let pixels = Tensor::from_vec(pixels, (views * items.len(), 3, side, side), device)?;

        let mut rng = draw("captions");
        let mut texts: Vec<String> = Vec::new();
        for _ in 0..2 {
            texts.extend(
                items
                    .iter()
                    .map(|item| settings.captions.caption(item.subject, &mut rng)),
            );
        }
        let pairs = self
            .nouns
            .pairs(settings.batch.wordnet, &mut draw("wordnet"));
        let nouns = pairs.len();
        let (lemmas, descriptions): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        texts.extend(lemmas);
        texts.extend(descriptions);
        let long = settings.batch.long_every > 0 && step.is_multiple_of(settings.batch.long_every);
        let context = settings.model.context;
        let longest = if long {
            context
        } else {
            settings.batch.tokens.min(context)
        };
        let tokens = self.words.batch(&texts, longest, device)?;

        let groups = items
            .iter()
            .map(|item| {
                item.subject
                    .group
                    .as_ref()
                    .and_then(|group| self.groups.get(group))
                    .copied()
            })
            .collect();
        Ok(Batch {
            concepts: items.len(),
            views,
            nouns,
            pixels,
            tokens,
            groups,
        })
    }
}

/// The groups that are large enough to be learnt, numbered in alphabetical order.
pub fn groups(library: &Library) -> BTreeMap<String, usize> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for group in library
        .subjects()
        .filter_map(|subject| subject.group.as_deref())
    {
        *sizes.entry(group).or_default() += 1;
    }
    let large = sizes
        .into_iter()
        .filter(|&(_, size)| size >= SMALLEST_GROUP);
    large
        .enumerate()
        .map(|(index, (group, _))| (group.to_string(), index))
        .collect()
}
