//! Owns batches of posts and their groups by case: a tower runs once, on those that have its modality, case by case.

use candle_core::Tensor;

use super::Features;
use crate::case::{Case, Modality};
use crate::clip::Tokens;
use crate::error::{Error, Result};

/// B posts of any mix of cases.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The case of each post.
    pub cases: Vec<Case>,
    /// Pixels [I, 3, S, S] of the I posts that have an image, in the posts' order.
    pub pixels: Option<Tensor>,
    /// Tokens of the posts that have a text, in the posts' order, padded to the context length.
    pub tokens: Option<Tokens>,
}

impl Batch {
    /// Says whether the parts belong together.
    pub(super) fn check(&self) -> Result<()> {
        let images = self.pixels.as_ref().map_or(Ok(0), |pixels| pixels.dim(0))?;
        let texts = self
            .tokens
            .as_ref()
            .map_or(Ok(0), |tokens| tokens.ids.dim(0))?;
        if let Some(tokens) = self
            .tokens
            .as_ref()
            .filter(|tokens| tokens.eot.len() != texts)
        {
            return Err(Error::Input(format!(
                "the batch has {texts} texts, but {} places of end tokens",
                tokens.eot.len()
            )));
        }
        for (modality, given) in [(Modality::Image, images), (Modality::Text, texts)] {
            let needed = self.cases.iter().filter(|case| case.has(modality)).count();
            if needed != given {
                return Err(Error::Input(format!(
                    "the batch has {given} {name} rows, but {needed} of its posts have the {name}",
                    name = modality.name()
                )));
            }
        }
        match self.cases.is_empty() {
            true => Err(Error::Input("the batch is empty".into())),
            false => Ok(()),
        }
    }
}

/// The posts of a batch by case, in the order of the codes; cases without posts are left out.
pub(super) struct Groups<'a> {
    cases: &'a [Case],
    groups: Vec<(Case, Vec<usize>)>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(cases: &'a [Case]) -> Self {
        let places = |case| -> Vec<usize> {
            let all = 0..cases.len();
            all.filter(|&place| cases[place] == case).collect()
        };
        let groups = Case::ALL.map(|case| (case, places(case)));
        Self {
            cases,
            groups: groups
                .into_iter()
                .filter(|(_, posts)| !posts.is_empty())
                .collect(),
        }
    }

    /// Cases and their posts' places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Case, &[usize])> {
        self.groups
            .iter()
            .map(|(case, posts)| (*case, posts.as_slice()))
    }

    /// The pixels of the posts that have an image, case by case.
    pub(super) fn pixels(&self, batch: &Batch) -> Result<Option<Tensor>> {
        self.sorted(batch.pixels.as_ref(), Modality::Image)
    }

    /// The tokens of the posts that have a text, case by case.
    pub(super) fn tokens(&self, batch: &Batch) -> Result<Option<Tokens>> {
        let tokens = batch.tokens.as_ref();
        let tokens = tokens.map(|tokens| (&tokens.ids, tokens.eot.as_slice()));
        let sorted = self.texts(tokens)?;
        Ok(sorted.map(|(ids, eot)| Tokens { ids, eot }))
    }

    /// Rows of the posts that have a text, case by case, and the places of their end tokens.
    pub(super) fn texts(
        &self,
        texts: Option<(&Tensor, &[usize])>,
    ) -> Result<Option<(Tensor, Vec<usize>)>> {
        let Some((rows, eot)) = texts else {
            return Ok(None);
        };
        let rows = self.sorted(Some(rows), Modality::Text)?;
        let order = self.order(Modality::Text).into_iter();
        Ok(rows.map(|rows| (rows, order.map(|row| eot[row as usize]).collect())))
    }

    /// Rows of the posts that have a modality, case by case in place of the batch's order.
    pub(super) fn sorted(
        &self,
        rows: Option<&Tensor>,
        modality: Modality,
    ) -> Result<Option<Tensor>> {
        let order = self.order(modality);
        match rows {
            None => Ok(None),
            Some(_) if order.is_empty() => Ok(None),
            Some(rows) if order.is_sorted() => Ok(Some(rows.clone())),
            Some(rows) => Ok(Some(
                rows.index_select(&Tensor::new(order, rows.device())?, 0)?,
            )),
        }
    }

    /// Which of the rows of a modality comes where, case by case.
    fn order(&self, modality: Modality) -> Vec<u32> {
        let mut next = 0u32;
        let row_of: Vec<u32> = self
            .cases
            .iter()
            .map(|case| {
                let row = next;
                next += u32::from(case.has(modality));
                row
            })
            .collect();
        let carriers = self.groups.iter().filter(|(case, _)| case.has(modality));
        carriers
            .flat_map(|(_, posts)| posts.iter().map(|&post| row_of[post]))
            .collect()
    }

    /// Each group's places and features, given those of the posts that have an image and a text, case by case.
    pub(super) fn features(
        self,
        [image, text]: [Option<Tensor>; 2],
    ) -> Result<Vec<(Vec<usize>, Features)>> {
        let mut starts = [0, 0];
        let groups = self.groups.into_iter().map(|(case, posts)| {
            let mut part = |all: &Option<Tensor>, modality: Modality| match all {
                Some(all) if case.has(modality) => {
                    let start = &mut starts[modality as usize];
                    let own = all.narrow(0, *start, posts.len())?;
                    *start += posts.len();
                    Ok::<_, Error>(Some(own))
                }
                _ => Ok(None),
            };
            let features = Features {
                case,
                image: part(&image, Modality::Image)?,
                text: part(&text, Modality::Text)?,
            };
            Ok((posts, features))
        });
        groups.collect()
    }
}
