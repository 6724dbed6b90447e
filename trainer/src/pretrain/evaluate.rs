//! Owns the figures of the validation split while a CLIP is pretrained: retrieval, and the probe on the demo's groups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use serde::Deserialize;
use shared::clip::Clip;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::TextTokenizer;

use super::drawings::{Library, Split, Subject, read_lines};
use super::infonce::normalise;
use super::probe::{self, Labelled};
use super::retrieval;
use super::settings::PretrainSettings;
use crate::report::Values;

/// Pictures or texts in one forward pass.
const BATCH: usize = 128;
/// Posts the probe is fitted on: more change its figures little and cost seconds each time.
const MOST_PROBE_POSTS: usize = 2400;

/// Everything decoded and encoded, ready to be run through the towers again and again.
pub struct Evaluator {
    names: Vec<String>,
    /// By style: rows of `pixels`, and the name of each.
    styles: BTreeMap<String, Vec<(usize, usize)>>,
    pixels: Vec<Vec<f32>>,
    probe: Option<Probe>,
    preprocessor: ImagePreprocessor,
}

/// The demo task's train and val posts.
struct Probe {
    groups: usize,
    train: Posts,
    held_out: Posts,
}

#[derive(Default)]
struct Posts {
    pixels: Vec<Vec<f32>>,
    texts: Vec<String>,
    groups: Vec<u32>,
}

/// A line of the demo task's `data.jsonl`, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    image: PathBuf,
    text: String,
    labels: Vec<String>,
    split: Split,
}

impl Evaluator {
    /// Reads the validation drawings and the probe's posts. The test split is not looked at.
    ///
    /// # Errors
    /// If the data is missing or damaged.
    pub fn new(settings: &PretrainSettings, preprocessor: ImagePreprocessor) -> Result<Self> {
        let library = Library::read(&settings.data.drawings, Split::Val)?;
        let subjects: Vec<&Subject> = library.subjects().collect();
        let mut styles: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
        for (name, subject) in subjects.iter().enumerate() {
            for &drawing in &subject.drawings {
                styles
                    .entry(library.styles[drawing].clone())
                    .or_default()
                    .push((drawing, name));
            }
        }
        let read = |file: &PathBuf| pixels(&preprocessor, file);
        let probe = match settings.data.probe.as_os_str().is_empty() {
            true => None,
            false => Some(Probe::read(&settings.data.probe, &preprocessor)?),
        };
        Ok(Self {
            names: subjects
                .iter()
                .map(|subject| subject.name.clone())
                .collect(),
            styles,
            pixels: library.files.iter().map(read).collect::<Result<_>>()?,
            probe,
            preprocessor,
        })
    }

    /// The figures of the towers as they are now, in percent.
    ///
    /// # Errors
    /// If the towers do not fit the data.
    pub fn measure(
        &self,
        clip: &Clip,
        tokenizer: &TextTokenizer,
        device: &Device,
    ) -> Result<Values> {
        let towers = Towers {
            clip,
            tokenizer,
            preprocessor: &self.preprocessor,
            device,
        };
        let pictures = towers.pictures(&self.pixels)?;
        let names = towers.texts(&self.names)?;
        let mut figures = Vec::new();
        for rows in self.styles.values() {
            let select = |features: &Tensor, rows: Vec<u32>| {
                features.index_select(&Tensor::new(rows, device)?, 0)
            };
            let own_pictures = select(&pictures, rows.iter().map(|row| row.0 as u32).collect())?;
            let own_names = select(&names, rows.iter().map(|row| row.1 as u32).collect())?;
            figures.push(retrieval::recall(
                &own_pictures.matmul(&own_names.t()?)?.to_vec2()?,
            )?);
        }
        let recall = retrieval::mean(&figures);
        let mut values = Values::from([
            ("candidates".into(), recall.candidates as f64),
            ("image_to_text_1".into(), recall.image_to_text_1),
            ("image_to_text_5".into(), recall.image_to_text_5),
            ("text_to_image_1".into(), recall.text_to_image_1),
            ("text_to_image_5".into(), recall.text_to_image_5),
        ]);
        if let Some(probe) = &self.probe {
            probe.measure(&towers, &mut values)?;
        }
        Ok(values)
    }
}

impl Probe {
    fn read(folder: &Path, preprocessor: &ImagePreprocessor) -> Result<Self> {
        let file = folder.join("data.jsonl");
        let lines: Vec<Line> = read_lines(&file)?;
        let mut groups: BTreeMap<String, u32> = BTreeMap::new();
        for line in &lines {
            let Some(label) = line.labels.first() else {
                bail!(
                    "{}: {} has no label; the probe needs one a post",
                    file.display(),
                    line.image.display()
                );
            };
            groups.insert(label.clone(), 0);
        }
        for (index, group) in groups.values_mut().enumerate() {
            *group = index as u32;
        }
        let posts = |split: Split| -> Result<Posts> {
            let own: Vec<&Line> = lines.iter().filter(|line| line.split == split).collect();
            let stride = own.len().div_ceil(MOST_PROBE_POSTS).max(1);
            let mut posts = Posts::default();
            for line in own.into_iter().step_by(stride) {
                posts
                    .pixels
                    .push(pixels(preprocessor, &folder.join(&line.image))?);
                posts.texts.push(line.text.clone());
                posts.groups.push(groups[&line.labels[0]]);
            }
            Ok(posts)
        };
        Ok(Self {
            groups: groups.len(),
            train: posts(Split::Train)?,
            held_out: posts(Split::Val)?,
        })
    }

    fn measure(&self, towers: &Towers<'_>, values: &mut Values) -> Result<()> {
        let features = |posts: &Posts| -> Result<[Tensor; 3]> {
            let (image, text) = (towers.pictures(&posts.pixels)?, towers.texts(&posts.texts)?);
            let both = Tensor::cat(&[&image, &text], 1)?;
            Ok([image, text, both])
        };
        let (train, held_out) = (features(&self.train)?, features(&self.held_out)?);
        for (at, name) in ["probe_image", "probe_text", "probe_both"]
            .into_iter()
            .enumerate()
        {
            let train = Labelled {
                features: &train[at],
                classes: &self.train.groups,
            };
            let held_out = Labelled {
                features: &held_out[at],
                classes: &self.held_out.groups,
            };
            values.insert(
                name.into(),
                probe::accuracy(&train, &held_out, self.groups)?,
            );
        }
        Ok(())
    }
}

fn pixels(preprocessor: &ImagePreprocessor, file: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    preprocessor
        .pixels(&bytes)
        .with_context(|| format!("cannot use {}", file.display()))
}

/// Both towers with what their inputs need; features are normalised and detached.
struct Towers<'a> {
    clip: &'a Clip,
    tokenizer: &'a TextTokenizer,
    preprocessor: &'a ImagePreprocessor,
    device: &'a Device,
}

impl Towers<'_> {
    fn pictures(&self, pixels: &[Vec<f32>]) -> Result<Tensor> {
        let batches = pixels.chunks(BATCH).map(|chunk| {
            let pixels = self.preprocessor.tensor(chunk, self.device)?;
            Ok(normalise(&self.clip.vision.forward(&pixels, None)?)?.detach())
        });
        Ok(Tensor::cat(&batches.collect::<Result<Vec<_>>>()?, 0)?)
    }

    fn texts(&self, texts: &[String]) -> Result<Tensor> {
        let batches = texts.chunks(BATCH).map(|chunk| {
            let encoded = chunk
                .iter()
                .map(|text| self.tokenizer.encode(text))
                .collect::<shared::Result<Vec<_>>>()?;
            let tokens = self.tokenizer.batch(&encoded, None, self.device)?;
            Ok(normalise(&self.clip.text.forward(&tokens, None)?)?.detach())
        });
        Ok(Tensor::cat(&batches.collect::<Result<Vec<_>>>()?, 0)?)
    }
}
