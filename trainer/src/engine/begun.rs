//! Owns posts whose towers have run up to the first block that has prompts: what comes before it is computed once for all
//! epochs, and with a cache folder once for all runs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::model::Model;
use shared::model::begun::BegunBatch;
use shared::{Case, Modality};

use super::assembly::Assembly;
use super::atomic::{self, Draft};
use super::placed::PlacedFile;
use super::source::{Facts, Input, Source, given};

/// Posts run through the first blocks at a time.
const BATCH: usize = 32;
/// Bytes that are kept without a folder for them.
const MOST: u64 = 2 << 30;

/// A source that gives inputs of a later block in place of pixels and words; otherwise the source it was made of.
pub struct BegunSource {
    facts: Facts,
    places: [Vec<Option<Place>>; 2],
    /// The towers' widths.
    widths: [usize; 2],
    file: PlacedFile,
    device: Device,
}

/// Where the rows of a post are.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    /// The first byte.
    start: u64,
    /// How many rows there are.
    tokens: usize,
}

/// What is beside a file of rows; written after it, so that a file with an index is whole.
#[derive(Serialize, Deserialize)]
struct Index {
    bytes: u64,
    places: [Vec<Option<Place>>; 2],
}

impl BegunSource {
    /// Runs every post of `source` through the first blocks once, each with all it has; nothing if prompts enter before
    /// block 0, or the rows would be too many to keep without a `folder`. With one, later runs find them there, by a hash of
    /// posts, CLIP and block.
    ///
    /// # Errors
    /// If a post cannot be read, or the rows cannot be written.
    pub fn new(
        source: &dyn Source,
        assembly: &Assembly,
        folder: Option<&Path>,
        device: &Device,
    ) -> Result<Option<Self>> {
        let model = &assembly.model;
        if model.first_block() == 0 || source.is_empty() {
            return Ok(None);
        }
        let clip = &model.config().clip;
        let widths = [clip.vision_config.hidden_size, clip.text_config.hidden_size];
        let kept = folder.zip(source.fingerprint());
        let (file, index) = match kept {
            Some((folder, posts)) => on_disk(source, assembly, folder, posts)?,
            None => {
                let cases = &source.facts().cases;
                let has = |modality| cases.iter().filter(|case| case.has(modality)).count();
                let tokens = [
                    clip.vision_config.patches() + 1,
                    clip.text_config.max_position_embeddings,
                ];
                let most = has(Modality::Image) * tokens[0] * widths[0]
                    + has(Modality::Text) * tokens[1] * widths[1];
                if most as u64 * size_of::<f32>() as u64 > MOST {
                    return Ok(None);
                }
                let file = tempfile::tempfile().context("cannot make a file for begun posts")?;
                let index = write(source, model, &mut &file)?;
                (file, index)
            }
        };
        Ok(Some(Self {
            facts: source.facts().clone(),
            places: index.places,
            widths,
            file: file.into(),
            device: device.clone(),
        }))
    }

    /// The rows [n, T, d] of those of `posts` that appear in a case with this modality, filled up with zeros to the longest,
    /// and the number of each one's rows.
    fn rows(
        &self,
        posts: &[usize],
        cases: &[Case],
        modality: Modality,
    ) -> Result<Option<(Tensor, Vec<usize>)>> {
        let (places, width) = (
            &self.places[modality as usize],
            self.widths[modality as usize],
        );
        let wanted = given(places, posts, cases, modality)?;
        let Some(longest) = wanted.iter().map(|place| place.tokens).max() else {
            return Ok(None);
        };
        let mut values = vec![0f32; wanted.len() * longest * width];
        let mut bytes = Vec::new();
        for (place, values) in wanted.iter().zip(values.chunks_mut(longest * width)) {
            bytes.resize(place.tokens * width * size_of::<f32>(), 0);
            self.file
                .read(place.start, &mut bytes)
                .context("the begun posts cannot be read")?;
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        let rows = Tensor::from_vec(values, (wanted.len(), longest, width), &self.device)?;
        Ok(Some((
            rows,
            wanted.iter().map(|place| place.tokens).collect(),
        )))
    }
}

impl Source for BegunSource {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn batch(&self, posts: &[usize], cases: &[Case]) -> Result<Input> {
        let image = self.rows(posts, cases, Modality::Image)?;
        let text = self.rows(posts, cases, Modality::Text)?;
        Ok(Input::Begun(BegunBatch {
            cases: cases.to_vec(),
            image: image.map(|(rows, _)| rows),
            // The end token is the last one that was kept.
            text: text.map(|(rows, tokens)| (rows, tokens.iter().map(|count| count - 1).collect())),
        }))
    }
}

/// Runs the posts, and writes their rows one after the other.
fn write(source: &dyn Source, model: &Model, file: &mut impl Write) -> Result<Index> {
    let cases = &source.facts().cases;
    let posts: Vec<usize> = (0..source.len()).collect();
    let mut index = Index {
        bytes: 0,
        places: [vec![None; posts.len()], vec![None; posts.len()]],
    };
    let mut out = BufWriter::new(file);
    for (posts, cases) in posts.chunks(BATCH).zip(cases.chunks(BATCH)) {
        let begun = match source.batch(posts, cases)? {
            Input::Posts(batch) => model.begin(&batch)?,
            Input::Begun(batch) => batch,
            Input::Pooled(_) => anyhow::bail!("pooled posts are beyond the first blocks"),
        };
        let image = begun.image.map(|rows| (rows, None));
        let text = begun.text.map(|(rows, eot)| (rows, Some(eot)));
        for (modality, side) in [(Modality::Image, image), (Modality::Text, text)] {
            let Some((rows, eot)) = side else { continue };
            let with = posts.iter().zip(cases);
            let with = with.filter(|(_, case)| case.has(modality));
            for (row, (&post, _)) in with.enumerate() {
                let own = rows.get(row)?;
                let tokens = eot.as_ref().map_or(own.dim(0)?, |eot| eot[row] + 1);
                let own = own.narrow(0, 0, tokens)?.to_dtype(DType::F32)?;
                let values = own.flatten_all()?.to_vec1::<f32>()?;
                index.places[modality as usize][post] = Some(Place {
                    start: index.bytes,
                    tokens,
                });
                for value in &values {
                    out.write_all(&value.to_le_bytes())
                        .context("the begun posts cannot be written; make room, or set data.cache to a larger disk")?;
                }
                index.bytes += (values.len() * size_of::<f32>()) as u64;
            }
        }
    }
    out.flush().context(
        "the begun posts cannot be written; make room, or set data.cache to a larger disk",
    )?;
    Ok(index)
}

/// The rows of an earlier run over the same posts; made if they are not there.
fn on_disk(
    source: &dyn Source,
    assembly: &Assembly,
    folder: &Path,
    posts: &str,
) -> Result<(File, Index)> {
    let model = &assembly.model;
    let about = format!(
        "begun {} {:?} {posts} {}",
        model.first_block(),
        model.towers_dtype(),
        assembly.clip_sha256
    );
    let key = format!("{:.24}", format!("{:x}", Sha256::digest(about)));
    let at = |kind: &str| -> PathBuf { folder.join(format!("begun-{key}.{kind}")) };
    let (rows, index) = (at("rows"), at("json"));
    if let Some(found) = read(&rows, &index, source.len()) {
        return Ok(found);
    }
    let place = || format!("{} cannot be written", rows.display());
    std::fs::create_dir_all(folder).with_context(place)?;
    let mut draft = Draft::begin(&rows, None)?;
    let written = write(source, model, &mut draft)?;
    draft.finish()?;
    atomic::write(&index, &serde_json::to_vec(&written)?)?;
    let file = File::open(&rows).with_context(|| format!("{} cannot be read", rows.display()))?;
    Ok((file, written))
}

/// What an earlier run has left, if it is whole.
fn read(rows: &Path, index: &Path, posts: usize) -> Option<(File, Index)> {
    let index: Index = serde_json::from_slice(&std::fs::read(index).ok()?).ok()?;
    let file = File::open(rows).ok()?;
    let whole = file.metadata().ok()?.len() == index.bytes
        && index.places.iter().all(|places| places.len() == posts);
    whole.then_some((file, index))
}
