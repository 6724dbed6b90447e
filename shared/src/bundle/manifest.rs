//! Owns the manifest: what a bundle is, how it was made, and which files it consists of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Calibration, MANIFEST, error, sha256};
use crate::case::Case;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::limits;
use crate::model;

/// The value of `format` in every manifest.
pub const FORMAT: &str = "lacuna-bundle";
/// The newest format that this program reads and writes: 2 came with weights in bytes.
pub const FORMAT_VERSION: u32 = 2;

/// Stands in for the checksum while the checksum is computed.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How weights are stored. Computation is in f32, but in bytes where the weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// As trained.
    #[default]
    F32,
    /// Matrices in half precision, vectors as trained: half the size.
    F16,
    /// The towers' matrices in bytes, each row with a scale, and computed in bytes; other matrices in half precision: a
    /// quarter of the size.
    Int8,
}

impl Dtype {
    /// The oldest format that can hold it, which is written, so that older programs read what they can.
    pub fn format_version(self) -> u32 {
        match self {
            Dtype::F32 | Dtype::F16 => 1,
            Dtype::Int8 => 2,
        }
    }
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// The tokenizer, as tokenizer.json of the Hugging Face library.
    Tokenizer,
    /// Weights of the prompts and the head.
    PromptsAndHead,
    /// Weights of the image tower and its projection.
    ImageTower,
    /// Weights of the text tower and its projection.
    TextTower,
}

/// One file that the classifier is loaded from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name inside the folder.
    pub name: String,
    /// What it is for.
    pub role: FileRole,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Of which split, such as `test`.
    pub split: String,
    /// Of posts of which case; absent for a mix of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
    /// Of what, such as `accuracy`.
    pub metric: String,
    /// The value.
    pub value: f64,
    /// Over how many posts.
    pub posts: usize,
}

/// What people want to know of a classifier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its name.
    pub name: String,
    /// What it does, in a sentence or two.
    pub description: String,
    /// Under which licence the weights may be used.
    pub licence: String,
    /// How it was made, one fact an entry: data with their licences, commands, seeds, time.
    pub made: Vec<String>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What storing the weights this way changed, against the model as trained: `image_cosine` and `text_cosine` of the
    /// features (means; `_least` the least of all posts), `same_class` (the share of posts with the same likeliest
    /// class), and a figure of both, `.._of_model` and `.._of_bundle`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Figure>,
}

/// What a bundle is: the parsed manifest.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// At most [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The SHA-256 of the manifest's own bytes with 64 zeros in this place.
    pub checksum: String,
    /// For people.
    pub about: About,
    /// The model as it was trained; its prompts and head are folded in the files.
    pub config: ModelConfig,
    /// The content of preprocessor_config.json.
    pub preprocessor: serde_json::Value,
    /// How far the probabilities can be trusted; absent where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// How weights are stored.
    pub dtype: Dtype,
    /// The files, in the order in which they are best loaded.
    pub files: Vec<FileEntry>,
}

/// What is read before anything else: how to read the rest.
#[derive(Deserialize)]
struct Seal {
    format: String,
    format_version: u32,
    checksum: Option<String>,
}

impl Manifest {
    /// Reads and checks a manifest.json of any origin.
    ///
    /// # Errors
    /// If it is no manifest, of a newer format, changed since it was made, or describes what cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::MANIFEST_BYTES {
            let (size, most) = (bytes.len(), limits::MANIFEST_BYTES);
            return Err(error(
                MANIFEST,
                format!("has {size} bytes; a manifest has at most {most}"),
            ));
        }
        let malformed = |e: serde_json::Error| {
            error(
                MANIFEST,
                format!("is no Lacuna manifest ({e}); is this the right folder or address?"),
            )
        };
        let seal: Seal = serde_json::from_slice(bytes).map_err(malformed)?;
        if seal.format != FORMAT {
            return Err(error(
                MANIFEST,
                format!("format is {:?}; expected {FORMAT:?}", seal.format),
            ));
        }
        if seal.format_version > FORMAT_VERSION {
            return Err(error(
                MANIFEST,
                format!(
                    "format {} is newer than this program, which reads formats up to {FORMAT_VERSION}; update the program",
                    seal.format_version
                ),
            ));
        }
        verify(bytes, seal.checksum.as_deref().unwrap_or_default())?;
        let manifest: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes of manifest.json, with the checksum computed anew: the same for the same manifest.
    ///
    /// # Errors
    /// If the manifest is beyond the limits or a figure is not finite.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.check()?;
        let blank = Self {
            checksum: BLANK.into(),
            ..self.clone()
        };
        let mut json =
            serde_json::to_string_pretty(&blank).map_err(|e| error(MANIFEST, e.to_string()))?;
        json.push('\n');
        let json = json
            .replacen(BLANK, &sha256(json.as_bytes()), 1)
            .into_bytes();
        if json.len() > limits::MANIFEST_BYTES {
            return Err(error(
                MANIFEST,
                format!("would have {} bytes, too many", json.len()),
            ));
        }
        Ok(json)
    }

    /// The bytes of all files together.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn check(&self) -> Result<()> {
        model::check(&self.config)?;
        let classes = self.config.classes.len();
        if classes > limits::CLASSES {
            return Err(error(
                MANIFEST,
                format!("{classes} classes; at most {} are read", limits::CLASSES),
            ));
        }
        if self.files.len() > limits::FILES {
            let count = self.files.len();
            return Err(error(
                MANIFEST,
                format!("{count} files; at most {} are read", limits::FILES),
            ));
        }
        let total = self.files.iter().map(|file| file.bytes).sum::<u64>();
        if total > limits::BUNDLE_BYTES {
            let most = limits::BUNDLE_BYTES;
            return Err(error(
                MANIFEST,
                format!("files of {total} bytes together; at most {most} are read"),
            ));
        }
        if let Some(figure) = self
            .about
            .figures
            .iter()
            .find(|figure| !figure.value.is_finite())
        {
            return Err(error(
                MANIFEST,
                format!("the figure {} is {}", figure.metric, figure.value),
            ));
        }
        if let Some(calibration) = &self.calibration {
            calibration.check()?;
        }
        let mut names = BTreeSet::new();
        for file in &self.files {
            file.check()?;
            if !names.insert(&file.name) {
                return Err(error(&file.name, "is listed twice in the manifest"));
            }
        }
        let tokenizers = self
            .files
            .iter()
            .filter(|file| file.role == FileRole::Tokenizer)
            .count();
        if tokenizers != 1 {
            return Err(error(
                MANIFEST,
                format!("lists {tokenizers} tokenizers; a bundle has one"),
            ));
        }
        Ok(())
    }
}

impl FileEntry {
    /// The entry of a file with these bytes.
    pub fn of(name: impl Into<String>, role: FileRole, bytes: &[u8]) -> Self {
        Self {
            name: name.into(),
            role,
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        }
    }

    /// Names are plain, so that they can be joined to any folder or address without leaving it.
    fn check(&self) -> Result<()> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        let name = self.name.as_bytes();
        if name.is_empty()
            || name.len() > limits::NAME_BYTES
            || name[0] == b'.'
            || !name.iter().all(|&c| plain(c))
        {
            return Err(error(
                MANIFEST,
                format!(
                    "{:?} is no file name: letters, digits, '.', '_' and '-' only",
                    self.name
                ),
            ));
        }
        if [MANIFEST, super::CARD].contains(&self.name.as_str()) {
            return Err(error(
                &self.name,
                "cannot be one of the files that the manifest lists",
            ));
        }
        if self.bytes > limits::FILE_BYTES {
            let most = limits::FILE_BYTES;
            return Err(error(
                &self.name,
                format!("has {} bytes; a file has at most {most}", self.bytes),
            ));
        }
        if self.sha256.len() != BLANK.len() {
            return Err(error(
                &self.name,
                "its sha256 in the manifest is not 64 hexadecimal digits",
            ));
        }
        Ok(())
    }
}

/// Holds a manifest against its own checksum.
fn verify(bytes: &[u8], checksum: &str) -> Result<()> {
    let changed = || {
        error(
            MANIFEST,
            "was changed or damaged after the bundle was made; get it again or export the model again",
        )
    };
    if checksum.len() != BLANK.len() || !checksum.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(changed());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| changed())?;
    if sha256(text.replacen(checksum, BLANK, 1).as_bytes()) != checksum {
        return Err(changed());
    }
    Ok(())
}
