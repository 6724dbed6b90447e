//! Owns what the engine asks of data: posts by number, each with its classes, made into batches of given cases.

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use shared::model::begun::BegunBatch;
use shared::model::pooled::PooledBatch;
use shared::model::{Batch, CaseOutput, Features, Model};
use shared::{Case, Modality, rng};

/// The posts of one split. Implementations are shared with a thread that prepares batches ahead.
pub trait Source: Sync {
    /// What it says of its posts without being asked for batches.
    fn facts(&self) -> &Facts;

    /// How many posts there are.
    fn len(&self) -> usize {
        self.facts().cases.len()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the post has before anything is taken away.
    fn case(&self, post: usize) -> Case {
        self.facts().cases[post]
    }

    /// The post's classes, as indices: one for multi-class tasks.
    fn classes(&self, post: usize) -> &[usize] {
        &self.facts().classes[post]
    }

    /// The row of the missing table that says what the post loses: its own number, unless posts share rows.
    fn row(&self, post: usize) -> usize {
        self.facts().rows[post]
    }

    /// A hash of everything that batches are made of, if it is known: of equal hash, equal batches.
    fn fingerprint(&self) -> Option<&str> {
        None
    }

    /// The model's input for these posts; post `posts[i]` is to appear in case `cases[i]`.
    ///
    /// # Errors
    /// If a picture cannot be read; the message names it.
    fn batch(&self, posts: &[usize], cases: &[Case]) -> Result<Input>;
}

/// What is known of the posts of a source, by post number. A source that gives the posts of another one otherwise has a copy.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What each post has.
    pub cases: Vec<Case>,
    /// Its classes.
    pub classes: Vec<Vec<usize>>,
    /// Its row of the missing table.
    pub rows: Vec<usize>,
}

/// What is kept, by post number, of those of `posts` that appear in a case with this modality.
///
/// # Errors
/// If one of them has nothing.
pub(super) fn given<T: Copy>(
    kept: &[Option<T>],
    posts: &[usize],
    cases: &[Case],
    modality: Modality,
) -> Result<Vec<T>> {
    let with = posts.iter().zip(cases);
    let with = with.filter(|(_, case)| case.has(modality));
    with.map(|(&post, _)| {
        kept[post].with_context(|| format!("post {post} has no {} to give", modality.name()))
    })
    .collect()
}

/// What the model is given.
#[derive(Debug, Clone)]
pub enum Input {
    /// Pixels and tokens.
    Posts(Batch),
    /// What the frozen towers made of them beforehand.
    Pooled(PooledBatch),
    /// What the blocks before the first prompts made of them beforehand.
    Begun(BegunBatch),
}

impl Input {
    /// The case of each post.
    pub fn cases(&self) -> &[Case] {
        match self {
            Self::Posts(batch) => &batch.cases,
            Self::Pooled(batch) => &batch.cases,
            Self::Begun(batch) => &batch.cases,
        }
    }

    /// Features and scores, case by case.
    ///
    /// # Errors
    /// If the input does not fit the model.
    pub fn forward(&self, model: &Model) -> Result<Vec<CaseOutput>> {
        Ok(match self {
            Self::Posts(batch) => model.forward(batch)?,
            Self::Pooled(batch) => model.forward_pooled(batch)?,
            Self::Begun(batch) => model.forward_begun(batch)?,
        })
    }

    /// Features alone, case by case, with the places of the posts they belong to.
    ///
    /// # Errors
    /// If the input does not fit the model.
    pub fn features(&self, model: &Model) -> Result<Vec<(Vec<usize>, Features)>> {
        Ok(match self {
            Self::Posts(batch) => model.features(batch)?,
            Self::Pooled(batch) => model.features_of_pooled(batch)?,
            Self::Begun(batch) => model.features_of_begun(batch)?,
        })
    }
}

/// Posts of a source, each with the case it appears in for a whole run.
#[derive(Clone)]
pub struct Split<'a> {
    /// Where they come from.
    pub source: &'a dyn Source,
    /// (post, case), in a fixed order.
    pub posts: Vec<(usize, Case)>,
    /// If given, complete posts appear in a case drawn anew each epoch, from streams of this seed.
    pub redraw: Option<u64>,
}

/// A batch with its answers.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The model's input.
    pub batch: Input,
    /// The posts' classes.
    pub classes: Vec<Vec<usize>>,
}

impl<'a> Split<'a> {
    /// All posts, with the modalities that `table` (codes by post) leaves them. A post that would lose the only
    /// modality it has keeps it.
    ///
    /// # Errors
    /// If the table has another length than the source.
    pub fn with_table(source: &'a dyn Source, table: &[Case]) -> Result<Self> {
        if table.len() != source.len() {
            bail!(
                "the missing table is for {} posts, but the split has {}",
                table.len(),
                source.len()
            );
        }
        let posts = table.iter().enumerate().map(|(post, &taken)| {
            let own = source.case(post);
            let left = |modality: Modality| own.has(modality) && taken.has(modality);
            (
                post,
                Case::of(left(Modality::Image), left(Modality::Text)).unwrap_or(own),
            )
        });
        Ok(Self {
            source,
            posts: posts.collect(),
            redraw: None,
        })
    }

    /// The posts that can appear in one case, all in that case: those that have what the case needs.
    pub fn all_in_case(source: &'a dyn Source, case: Case) -> Self {
        let fits = |post: &usize| {
            Modality::ALL
                .into_iter()
                .all(|modality| !case.has(modality) || source.case(*post).has(modality))
        };
        Self {
            source,
            posts: (0..source.len())
                .filter(fits)
                .map(|post| (post, case))
                .collect(),
            redraw: None,
        }
    }

    /// The same posts in the same cases, given by another source of them.
    #[must_use]
    pub fn from<'b>(&self, source: &'b dyn Source) -> Split<'b> {
        Split {
            source,
            posts: self.posts.clone(),
            redraw: self.redraw,
        }
    }

    /// The split as it appears in one epoch.
    #[must_use]
    pub fn of_epoch(&self, epoch: usize) -> Self {
        let mut split = self.clone();
        if let Some(seed) = self.redraw {
            let mut rng = rng::stream(seed, &format!("simulated cases of epoch {epoch}"));
            for (_, case) in &mut split.posts {
                // Drawn for every post, so that one post's case does not depend on another's.
                let drawn = Case::ALL[rng::below(&mut rng, 3)];
                if *case == Case::Complete {
                    *case = drawn;
                }
            }
        }
        split
    }

    /// The cases that occur, in the order of their codes.
    pub fn cases(&self) -> Vec<Case> {
        if self.redraw.is_some() {
            return Case::ALL.to_vec();
        }
        Case::ALL
            .into_iter()
            .filter(|case| self.posts.iter().any(|(_, own)| own == case))
            .collect()
    }

    /// The posts at these places of the split as one batch.
    ///
    /// # Errors
    /// As [`Source::batch`].
    pub fn sample(&self, places: &[usize]) -> Result<Sample> {
        let chosen = places.iter().map(|&place| {
            self.posts
                .get(place)
                .copied()
                .with_context(|| format!("the split has no post {place}"))
        });
        let (posts, cases): (Vec<usize>, Vec<Case>) =
            chosen.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let batch = self.source.batch(&posts, &cases)?;
        Ok(Sample {
            batch,
            classes: posts
                .iter()
                .map(|&post| self.source.classes(post).to_vec())
                .collect(),
        })
    }
}

impl Sample {
    /// The answers as 0 or 1, [B, K].
    ///
    /// # Errors
    /// If a class is out of range.
    pub fn targets(&self, classes: usize, device: &Device) -> Result<Tensor> {
        let mut values = vec![0f32; self.classes.len() * classes];
        for (row, own) in self.classes.iter().enumerate() {
            for &class in own {
                if class >= classes {
                    bail!("a post has class number {class}, but there are {classes} classes");
                }
                values[row * classes + class] = 1.0;
            }
        }
        Ok(Tensor::from_vec(
            values,
            (self.classes.len(), classes),
            device,
        )?)
    }
}
