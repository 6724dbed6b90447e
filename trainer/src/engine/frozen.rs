//! Owns posts whose towers have run beforehand: without prompts their pooled tokens never change, so an epoch costs no
//! more than the last norms, the projections and the head.

use anyhow::{Context, Result};
use candle_core::Tensor;
use shared::model::Model;
use shared::model::pooled::PooledBatch;
use shared::{Case, Modality};

use super::source::{Input, Source};

/// Posts run through the towers at a time.
const BATCH: usize = 64;

/// A source that gives pooled tokens in place of pixels and words; otherwise the source it was made of.
pub struct FrozenSource {
    cases: Vec<Case>,
    classes: Vec<Vec<usize>>,
    rows: Vec<usize>,
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
        let cases: Vec<Case> = (0..source.len()).map(|post| source.case(post)).collect();
        let posts: Vec<usize> = (0..source.len()).collect();
        let mut parts = [Vec::new(), Vec::new()];
        for (posts, cases) in posts.chunks(BATCH).zip(cases.chunks(BATCH)) {
            let pooled = match source.batch(posts, cases)? {
                Input::Posts(batch) => model.pool(&batch)?,
                Input::Pooled(batch) => batch,
            };
            let [images, texts] = &mut parts;
            images.extend(pooled.image.map(|rows| rows.detach()));
            texts.extend(pooled.text.map(|rows| rows.detach()));
        }
        let [images, texts] = parts;
        Ok(Self {
            sides: [
                Side::new(&images, &cases, Modality::Image)?,
                Side::new(&texts, &cases, Modality::Text)?,
            ],
            classes: posts
                .iter()
                .map(|&post| source.classes(post).to_vec())
                .collect(),
            rows: posts.iter().map(|&post| source.row(post)).collect(),
            cases,
        })
    }
}

impl Side {
    fn new(parts: &[Tensor], cases: &[Case], modality: Modality) -> Result<Self> {
        let mut next = 0;
        let row_of = cases.iter().map(|case| {
            case.has(modality).then(|| {
                next += 1;
                next - 1
            })
        });
        Ok(Self {
            row_of: row_of.collect(),
            rows: (!parts.is_empty())
                .then(|| Tensor::cat(parts, 0))
                .transpose()?,
        })
    }

    /// The rows of those of `posts` that appear in a case with this modality.
    fn of(&self, posts: &[usize], cases: &[Case], modality: Modality) -> Result<Option<Tensor>> {
        let wanted = posts
            .iter()
            .zip(cases)
            .filter(|(_, case)| case.has(modality));
        let rows: Vec<u32> = wanted
            .map(|(&post, _)| {
                self.row_of[post]
                    .with_context(|| format!("post {post} has no {} to give", modality.name()))
            })
            .collect::<Result<_>>()?;
        let Some(all) = self.rows.as_ref().filter(|_| !rows.is_empty()) else {
            return Ok(None);
        };
        let rows = Tensor::new(rows.as_slice(), all.device())?;
        Ok(Some(all.index_select(&rows, 0)?))
    }
}

impl Source for FrozenSource {
    fn len(&self) -> usize {
        self.cases.len()
    }

    fn case(&self, post: usize) -> Case {
        self.cases[post]
    }

    fn classes(&self, post: usize) -> &[usize] {
        &self.classes[post]
    }

    fn row(&self, post: usize) -> usize {
        self.rows[post]
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
