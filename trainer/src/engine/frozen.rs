//! Owns posts whose towers have run beforehand: without prompts their pooled tokens never change, so an epoch costs no
//! more than the last norms, the projections and the head.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use sha2::{Digest, Sha256};
use shared::model::Model;
use shared::model::pooled::PooledBatch;
use shared::{Case, Modality};

use super::assembly::Assembly;
use super::atomic;
use super::source::{Facts, Input, Source, given};

/// Posts run through the towers at a time.
const BATCH: usize = 64;

/// A source that gives pooled tokens in place of pixels and words; otherwise the source it was made of.
pub struct FrozenSource {
    facts: Facts,
    /// Image, text.
    sides: [Side; 2],
}

/// The pooled tokens of one modality.
struct Side {
    /// [posts that have it, d]; none if no post has it.
    rows: Option<Tensor>,
    /// The row of each post that has it.
    row_of: Vec<Option<u32>>,
}

impl FrozenSource {
    /// Runs every post of `source` through the towers of `model` once, each with all it has.
    ///
    /// # Errors
    /// If the model has prompts, or a post cannot be read.
    pub fn new(source: &dyn Source, model: &Model) -> Result<Self> {
        Self::of(source, run(source, model)?)
    }

    /// As [`FrozenSource::new`], with a folder in which later runs find what the towers made of the same posts: a file
    /// named after a hash of posts and CLIP.
    ///
    /// # Errors
    /// As [`FrozenSource::new`], and if the folder cannot be written.
    pub fn kept(
        source: &dyn Source,
        assembly: &Assembly,
        folder: &Path,
        device: &Device,
    ) -> Result<Self> {
        let Some(posts) = source.fingerprint() else {
            return Self::new(source, &assembly.model);
        };
        let key = Sha256::digest(format!(
            "pooled {posts} {:?} {}",
            assembly.model.towers_dtype(),
            assembly.clip_sha256
        ));
        let path = folder.join(format!("pooled-{:.24}.safetensors", format!("{key:x}")));
        if let Some(parts) = read(&path, source, device) {
            return Self::of(source, parts);
        }
        let parts = run(source, &assembly.model)?;
        let named = MODALITIES.iter().zip(&parts);
        let named = named.filter_map(|(modality, part)| Some((modality.name(), part.clone()?)));
        let file = safetensors::serialize(named.collect::<Vec<_>>(), None)
            .context("pooled tokens cannot be written as safetensors")?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        atomic::write(&path, &file)?;
        Self::of(source, parts)
    }

    fn of(source: &dyn Source, [images, texts]: [Option<Tensor>; 2]) -> Result<Self> {
        let facts = source.facts().clone();
        Ok(Self {
            sides: [
                Side::new(images, &facts.cases, Modality::Image),
                Side::new(texts, &facts.cases, Modality::Text),
            ],
            facts,
        })
    }
}

/// In the order of the sides.
const MODALITIES: [Modality; 2] = [Modality::Image, Modality::Text];

/// The pooled tokens of all posts: of those that have an image, and of those that have a text.
fn run(source: &dyn Source, model: &Model) -> Result<[Option<Tensor>; 2]> {
    let cases = &source.facts().cases;
    let posts: Vec<usize> = (0..source.len()).collect();
    let mut parts = [Vec::new(), Vec::new()];
    for (posts, cases) in posts.chunks(BATCH).zip(cases.chunks(BATCH)) {
        let pooled = match source.batch(posts, cases)? {
            Input::Posts(batch) => model.pool(&batch)?,
            Input::Pooled(batch) => batch,
            Input::Begun(_) => anyhow::bail!("posts of a model with prompts cannot be pooled"),
        };
        let [images, texts] = &mut parts;
        images.extend(pooled.image.map(|rows| rows.detach()));
        texts.extend(pooled.text.map(|rows| rows.detach()));
    }
    let [images, texts] = parts.map(|parts| match parts.is_empty() {
        true => Ok(None),
        false => Tensor::cat(&parts, 0).map(Some),
    });
    Ok([images?, texts?])
}

/// What an earlier run has left, if it is whole and of these posts.
fn read(path: &Path, source: &dyn Source, device: &Device) -> Option<[Option<Tensor>; 2]> {
    let mut found = candle_core::safetensors::load(path, device).ok()?;
    let cases = &source.facts().cases;
    let mut parts = [None, None];
    for (part, modality) in parts.iter_mut().zip(MODALITIES) {
        *part = found.remove(modality.name());
        let rows = part.as_ref().map_or(Some(0), |part| part.dim(0).ok())?;
        if rows != cases.iter().filter(|case| case.has(modality)).count() {
            return None;
        }
    }
    Some(parts)
}

impl Side {
    fn new(rows: Option<Tensor>, cases: &[Case], modality: Modality) -> Self {
        let mut next = 0;
        let row_of = cases.iter().map(|case| {
            case.has(modality).then(|| {
                next += 1;
                next - 1
            })
        });
        Self {
            row_of: row_of.collect(),
            rows,
        }
    }

    /// The rows of those of `posts` that appear in a case with this modality.
    fn of(&self, posts: &[usize], cases: &[Case], modality: Modality) -> Result<Option<Tensor>> {
        let rows = given(&self.row_of, posts, cases, modality)?;
        let Some(all) = self.rows.as_ref().filter(|_| !rows.is_empty()) else {
            return Ok(None);
        };
        let rows = Tensor::new(rows.as_slice(), all.device())?;
        Ok(Some(all.index_select(&rows, 0)?))
    }
}

impl Source for FrozenSource {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn batch(&self, posts: &[usize], cases: &[Case]) -> Result<Input> {
        let [images, texts] = &self.sides;
        Ok(Input::Pooled(PooledBatch {
            cases: cases.to_vec(),
            image: images.of(posts, cases, Modality::Image)?,
            text: texts.of(posts, cases, Modality::Text)?,
        }))
    }
}
