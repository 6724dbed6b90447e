//! Owns checkpoints: trained tensors, optimiser state and a JSON state in one safetensors file, written atomically.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::nn::Tensors;

use super::atomic;

/// Raised when an old program could no longer read the file.
const FORMAT: u32 = 1;
/// One key, so that the header's bytes do not depend on a hash map's order.
const KEY: &str = "lacuna";
const OPTIMISER: &str = "optimiser.";

/// What a checkpoint holds. The frozen CLIP is not in it: the state names it by its hash.
#[derive(Debug, Clone)]
pub struct Checkpoint<S> {
    /// The trained tensors, and frozen random ones that cannot be had elsewhere (dynamic queries).
    pub tensors: Tensors,
    /// The optimiser's state; empty if training is not to be continued from here.
    pub optimiser: Tensors,
    /// Step, epoch, best so far, configuration: whatever the caller needs to go on.
    pub state: S,
}

/// The file of the checkpoint called `name` in a run folder: `DIR/NAME.safetensors`.
pub fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.safetensors"))
}

/// Writes `DIR/NAME.safetensors` whole or not at all; returns its path.
///
/// # Errors
/// If it cannot be written (a full disk): the checkpoint that was there before is whole and can be resumed.
pub fn save<S: Serialize>(dir: &Path, name: &str, checkpoint: &Checkpoint<S>) -> Result<PathBuf> {
    let path = path(dir, name);
    let bytes = encode(checkpoint)?;
    atomic::write(&path, &bytes).with_context(|| {
        format!("the checkpoint {name:?} could not be saved; the one before it can be resumed")
    })?;
    Ok(path)
}

/// Reads `DIR/NAME.safetensors`.
///
/// # Errors
/// If the file is missing, damaged, no checkpoint of ours, or its state is of another kind.
pub fn load<S: DeserializeOwned>(dir: &Path, name: &str, device: &Device) -> Result<Checkpoint<S>> {
    let path = path(dir, name);
    let bytes = std::fs::read(&path)
        .with_context(|| format!("cannot read the checkpoint {}", path.display()))?;
    decode(&bytes, device).with_context(|| format!("cannot load the checkpoint {}", path.display()))
}

fn encode<S: Serialize>(checkpoint: &Checkpoint<S>) -> Result<Vec<u8>> {
    let header = serde_json::json!({ "format": FORMAT, "state": &checkpoint.state }).to_string();
    let optimiser = checkpoint
        .optimiser
        .iter()
        .map(|(name, tensor)| (format!("{OPTIMISER}{name}"), tensor.clone()));
    let all: Tensors = checkpoint
        .tensors
        .iter()
        .map(|(n, t)| (n.clone(), t.clone()))
        .chain(optimiser)
        .collect();
    // Contiguous and on the CPU: safetensors writes what it is given.
    let all: Vec<(String, Tensor)> = all
        .into_iter()
        .map(|(n, t)| Ok((n, t.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<_>>()?;
    let metadata = HashMap::from([(KEY.to_owned(), header)]);
    safetensors::serialize(all.iter().map(|(n, t)| (n, t)), Some(metadata))
        .context("the tensors cannot be serialised")
}

fn decode<S: DeserializeOwned>(bytes: &[u8], device: &Device) -> Result<Checkpoint<S>> {
    let damaged = "the file is damaged or no safetensors file";
    let (_, metadata) = SafeTensors::read_metadata(bytes).context(damaged)?;
    let header = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let Some(header) = header else {
        bail!("it is a safetensors file, but no checkpoint of this program");
    };
    let mut header: serde_json::Value = serde_json::from_str(header).context(damaged)?;
    if header["format"] != FORMAT {
        bail!(
            "its format is {}, this program reads {FORMAT}: use the program that wrote it",
            header["format"]
        );
    }
    let state = serde_json::from_value(header["state"].take())
        .context("its state is not the expected one")?;
    let mut checkpoint = Checkpoint {
        tensors: Tensors::new(),
        optimiser: Tensors::new(),
        state,
    };
    for (name, tensor) in candle_core::safetensors::load_buffer(bytes, device).context(damaged)? {
        match name.strip_prefix(OPTIMISER) {
            Some(name) => checkpoint
                .optimiser
                .insert(name.to_owned(), tensor.to_device(&Device::Cpu)?),
            None => checkpoint.tensors.insert(name, tensor),
        };
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(value: f32) -> Checkpoint<(usize, f64)> {
        let tensor = Tensor::new(&[value, 2.0], &Device::Cpu).unwrap();
        let steps = Tensor::new(&[7u32], &Device::Cpu).unwrap();
        Checkpoint {
            tensors: Tensors::from([("head.weight".into(), tensor.clone())]),
            optimiser: Tensors::from([
                ("first.head.weight".into(), tensor),
                ("steps.head.weight".into(), steps),
            ]),
            state: (3, 0.1 + 0.2),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = save(folder.path(), "last", &example(0.1)).unwrap();
        let first = std::fs::read(&path).unwrap();
        let back: Checkpoint<(usize, f64)> = load(folder.path(), "last", &Device::Cpu).unwrap();
        assert_eq!(back.state, example(0.1).state);
        assert_eq!(
            back.tensors["head.weight"].to_vec1::<f32>().unwrap(),
            [0.1, 2.0]
        );
        assert_eq!(
            back.optimiser["steps.head.weight"]
                .to_vec1::<u32>()
                .unwrap(),
            [7]
        );
        save(folder.path(), "last", &back).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap());
    }

    #[test]
    fn damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = save(folder.path(), "last", &example(1.0)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = load::<(usize, f64)>(folder.path(), "last", &Device::Cpu).unwrap_err();
        assert!(format!("{error:#}").contains("damaged"), "{error:#}");
        assert!(load::<(usize, f64)>(folder.path(), "best", &Device::Cpu).is_err());
    }
}
