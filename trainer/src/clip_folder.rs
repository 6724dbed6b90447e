//! Owns reading a CLIP from a Hugging Face folder: configuration, weights (one file or shards), tokenizer, preprocessing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use shared::config::ClipConfig;
use shared::limits::{CONFIG_BYTES, HEADER_BYTES, TENSORS, TOKENIZER_BYTES, WEIGHTS_BYTES};
use shared::nn::Tensors;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::TextTokenizer;

use crate::bounded;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const PREPROCESSOR: &str = "preprocessor_config.json";
const PROCESSOR: &str = "processor_config.json";

/// A CLIP as its folder holds it.
#[derive(Clone, Debug)]
pub struct ClipFolder {
    /// Sizes of both towers.
    pub config: ClipConfig,
    /// All weights in f32 under Hugging Face names.
    pub tensors: Tensors,
    /// The tokenizer, with the text tower's context length.
    pub tokenizer: TextTokenizer,
    /// The image preprocessing; CLIP's own at the tower's size if the folder says nothing.
    pub preprocessor: ImagePreprocessor,
}

/// Loads `config.json`; `model.safetensors`, or the shards of `model.safetensors.index.json`, in f32, f16 or bf16, under
/// Hugging Face's or OpenAI's tensor names; `tokenizer.json`, or `vocab.json` and `merges.txt`; and
/// `preprocessor_config.json` (or the `image_processor` of a `processor_config.json`) if there is one.
///
/// # Errors
/// If a file is missing, unreadable or malformed, or they do not fit each other; names the file and the tensor.
pub fn load(dir: &Path, device: &Device) -> Result<ClipFolder> {
    if !dir.is_dir() {
        bail!(
            "{} is no folder; give the folder of a Hugging Face CLIP",
            dir.display()
        );
    }
    let config = ClipConfig::from_json(&read(dir, CONFIG, CONFIG_BYTES)?)
        .with_context(|| format!("in {}", dir.display()))?;
    let preprocessor = preprocessor(dir, &config)?;
    let tokenizer = tokenizer(dir, &config)?;
    let tensors = shared::clip::names::canonical(weights(dir, device)?)
        .with_context(|| format!("the weights in {} are not usable", dir.display()))?;
    Ok(ClipFolder {
        config,
        tensors,
        tokenizer,
        preprocessor,
    })
}

/// Loads only the tokenizer of a CLIP's folder, with the context length of its `config.json`.
///
/// # Errors
/// If the configuration or the tokenizer is missing, unreadable or malformed.
pub fn load_tokenizer(dir: &Path) -> Result<TextTokenizer> {
    let config = ClipConfig::from_json(&read(dir, CONFIG, CONFIG_BYTES)?)
        .with_context(|| format!("in {}", dir.display()))?;
    tokenizer(dir, &config)
}

fn read(dir: &Path, name: &str, most: usize) -> Result<String> {
    bounded::text(&dir.join(name), most)
}

fn preprocessor(dir: &Path, config: &ClipConfig) -> Result<ImagePreprocessor> {
    let side = config.vision_config.image_size;
    let (file, json) = if dir.join(PREPROCESSOR).exists() {
        (PREPROCESSOR, Some(read(dir, PREPROCESSOR, CONFIG_BYTES)?))
    } else if dir.join(PROCESSOR).exists() {
        let whole: serde_json::Value =
            serde_json::from_str(&read(dir, PROCESSOR, CONFIG_BYTES)?)
                .with_context(|| format!("{} is no JSON", dir.join(PROCESSOR).display()))?;
        (
            PROCESSOR,
            whole.get("image_processor").map(ToString::to_string),
        )
    } else {
        (PREPROCESSOR, None)
    };
    let Some(json) = json else {
        return Ok(ImagePreprocessor::new(side, None));
    };
    let preprocessor = ImagePreprocessor::from_json(&json)
        .with_context(|| format!("{} cannot be used", dir.join(file).display()))?;
    if preprocessor.size() != side {
        bail!(
            "{} makes pictures of {}, but {CONFIG} says the image tower takes {side}",
            dir.join(file).display(),
            preprocessor.size()
        );
    }
    Ok(preprocessor)
}

fn tokenizer(dir: &Path, config: &ClipConfig) -> Result<TextTokenizer> {
    let context = config.text_config.max_position_embeddings;
    let tokenizer = if dir.join(TOKENIZER).exists() {
        TextTokenizer::from_json(read(dir, TOKENIZER, TOKENIZER_BYTES)?, context)
    } else if dir.join(VOCABULARY).exists() && dir.join(MERGES).exists() {
        let of = |name| read(dir, name, TOKENIZER_BYTES);
        TextTokenizer::from_vocab_and_merges(&of(VOCABULARY)?, &of(MERGES)?, context)
    } else {
        bail!(
            "{} has no tokenizer: neither {TOKENIZER} nor {VOCABULARY} with {MERGES}",
            dir.display()
        );
    };
    tokenizer.with_context(|| format!("in {}", dir.display()))
}

/// The part of an index file that matters: which shard holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn weights(dir: &Path, device: &Device) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    if dir.join(WEIGHTS).exists() {
        read_shard(&dir.join(WEIGHTS), device, &mut tensors)?;
        return Ok(tensors);
    }
    let path = dir.join(INDEX);
    if !path.exists() {
        bail!(
            "{} has no weights: neither {WEIGHTS} nor {INDEX}",
            dir.display()
        );
    }
    let index: Index = serde_json::from_str(&read(dir, INDEX, CONFIG_BYTES)?)
        .with_context(|| format!("{} is no index of shards", path.display()))?;
    for shard in index.weight_map.values().collect::<BTreeSet<_>>() {
        let mut parts = Path::new(shard).components();
        if !matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        ) {
            bail!(
                "{} names the shard {shard:?}; shards must lie beside it",
                path.display()
            );
        }
        read_shard(&dir.join(shard), device, &mut tensors)?;
    }
    for (name, shard) in &index.weight_map {
        if !tensors.contains_key(name) && !is_buffer(name) {
            bail!(
                "{} says that {shard} holds {name}, but it does not",
                path.display()
            );
        }
    }
    Ok(tensors)
}

/// Old files carry constants that are no weights: 0, 1, 2, .. as integers.
fn is_buffer(name: &str) -> bool {
    name.ends_with(".position_ids")
}

/// The bytes of a safetensors file whose size and header are within the limits.
fn weight_bytes(path: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut length = [0; 8];
    let mut file = std::fs::File::open(path).with_context(cannot)?;
    // A file that is too short to tell is refused by who reads it.
    if file.read(&mut length).with_context(cannot)? == 8
        && u64::from_le_bytes(length) > HEADER_BYTES
    {
        bail!(
            "{} is no safetensors file, or its header is longer than {HEADER_BYTES} bytes",
            path.display()
        );
    }
    bounded::bytes(path, usize::try_from(WEIGHTS_BYTES).unwrap_or(usize::MAX))
}

fn read_shard(path: &Path, device: &Device, tensors: &mut Tensors) -> Result<()> {
    let bytes = weight_bytes(path)?;
    let file = SafeTensors::deserialize(&bytes).with_context(|| {
        format!(
            "{} is damaged, incomplete or no safetensors file",
            path.display()
        )
    })?;
    if file.len() > TENSORS {
        let count = file.len();
        bail!(
            "{} has {count} tensors; at most {TENSORS} are read",
            path.display()
        );
    }
    for (name, view) in file.iter() {
        if is_buffer(name) {
            continue;
        }
        let stored = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            // OpenAI's archives note their sizes as integer scalars.
            _ if view.shape().iter().product::<usize>() <= 1 => continue,
            other => bail!(
                "{}: tensor {name} is stored as {other:?}; f32, f16 and bf16 are read",
                path.display()
            ),
        };
        let tensor =
            candle_core::Tensor::from_raw_buffer(view.data(), stored, view.shape(), &Device::Cpu)
                .and_then(|tensor| tensor.to_dtype(DType::F32))
                .and_then(|tensor| tensor.to_device(device))
                .with_context(|| format!("{}: tensor {name}", path.display()))?;
        if tensors.insert(name.to_owned(), tensor).is_some() {
            bail!(
                "{}: tensor {name} was already in another shard",
                path.display()
            );
        }
    }
    Ok(())
}
