//! Owns what is demanded of files: whole at every moment, and at the end those of an undisturbed run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use safetensors::SafeTensors;
use serde_json::Value;
use trainer::engine::atomic::is_unfinished;
use trainer::engine::checkpoint;

/// Files by their path in a folder.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Every file below a folder.
pub(super) fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().to_owned();
                found.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// What is wrong with the folder of a disturbed program: every file that is not marked as unfinished must be whole.
///
/// Files that change while a program runs must be readable; all others must be what the undisturbed run has, bit for bit.
pub(super) fn damage(folder: &Path, calm: &Files) -> Option<String> {
    for (name, bytes) in &finished(folder) {
        let wrong = match (progress(&folder.join(name), bytes), calm.get(name)) {
            (Some(readable), _) => readable.err(),
            (None, Some(wanted)) if wanted == bytes => None,
            (None, Some(wanted)) => Some(format!(
                "{} bytes that are not the {} of an undisturbed run",
                bytes.len(),
                wanted.len()
            )),
            (None, None) if name.starts_with("grid/runs") => unfinished_cell(name, bytes),
            (None, None) => Some("an undisturbed run has no such file".into()),
        };
        if let Some(wrong) = wrong {
            return Some(format!("{}: {wrong}", name.display()));
        }
    }
    None
}

/// As [`damage`], for what is there as a whole or not at all: all must be as `before`, or as in an undisturbed run.
pub(super) fn mixture(folder: &Path, before: &Files, calm: &Files) -> Option<String> {
    let now = finished(folder);
    (now != *before && now != *calm).then(|| {
        let names: Vec<_> = now.keys().collect();
        format!("neither what was there before nor what was to be there, but {names:?}")
    })
}

/// The files that do not say of themselves that they are unfinished.
fn finished(folder: &Path) -> Files {
    let mut all = files(folder);
    all.retain(|name, _| !name.iter().any(is_unfinished));
    all
}

/// The verdict on a file that changes while its program runs; nothing for others.
fn progress(path: &Path, bytes: &[u8]) -> Option<Result<(), String>> {
    let name = path.file_name()?.to_str()?;
    let text = || std::str::from_utf8(bytes).map_err(|error| error.to_string());
    let json = |text: &str| serde_json::from_str::<Value>(text).map(drop);
    Some(match name {
        "last.safetensors" | "best.safetensors" => {
            let (folder, name) = (path.parent()?, path.file_stem()?.to_str()?);
            checkpoint::load::<Value>(folder, name, &Device::Cpu)
                .map(drop)
                .map_err(|error| format!("{error:#}"))
        }
        "model.safetensors" => SafeTensors::deserialize(bytes)
            .map(drop)
            .map_err(|error| error.to_string()),
        "pretraining.json" => text().and_then(|text| json(text).map_err(|error| error.to_string())),
        // The last line may be cut short; it is no line before its end is there.
        "metrics.jsonl" => {
            let whole = bytes
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            let lines = String::from_utf8_lossy(&bytes[..whole]).into_owned();
            lines
                .lines()
                .try_for_each(json)
                .map_err(|error| error.to_string())
        }
        "run.log" => Ok(()),
        _ if name.ends_with(".time.json") => {
            text().and_then(|text| json(text).map_err(|error| error.to_string()))
        }
        _ if name.ends_with(".lock") => match bytes {
            [] => Ok(()),
            _ => Err("a lock has content".into()),
        },
        _ => None?,
    })
}

/// What is wrong with a file in the run folder of a cell that is not finished.
fn unfinished_cell(name: &Path, bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let result = match name.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => toml::from_str::<toml::Table>(&text)
            .map(drop)
            .map_err(|error| error.to_string()),
        Some("json") => serde_json::from_str::<Value>(&text)
            .map(drop)
            .map_err(|error| error.to_string()),
        _ => Err("no file of a run".into()),
    };
    result.err()
}

/// What a finished folder differs in from that of an undisturbed run, if in anything but times.
pub(super) fn difference(folder: &Path, calm: &Files) -> Option<String> {
    let now = files(folder);
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    if names(&now) != names(calm) {
        return Some(format!("{:?} instead of {:?}", names(&now), names(calm)));
    }
    for (name, wanted) in calm {
        let found = &now[name];
        let last = name.file_name()?.to_str()?;
        let same = match last {
            "run.log" => true,
            _ if last.ends_with(".time.json") => true,
            _ if found == wanted => true,
            "metrics.jsonl" => events(found) == events(wanted),
            "pretraining.json" => timeless(found) == timeless(wanted),
            // A pretraining's checkpoint knows how long it took.
            "last.safetensors" => {
                checkpoint_without_times(found) == checkpoint_without_times(wanted)
            }
            _ => false,
        };
        if !same {
            let (found, wanted) = (
                String::from_utf8_lossy(found),
                String::from_utf8_lossy(wanted),
            );
            let lines = wanted
                .lines()
                .zip(found.lines())
                .filter(|(wanted, found)| wanted != found);
            let (wanted, found) = lines.clone().next().unwrap_or_default();
            let short = |text: &str| text.chars().take(300).collect::<String>();
            return Some(format!(
                "{} differs: {} instead of {}",
                name.display(),
                short(found),
                short(wanted)
            ));
        }
    }
    None
}

/// The events of a run, without how long they took.
fn events(bytes: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(|line| timeless(line.as_bytes()))
        .collect()
}

fn timeless(bytes: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(bytes).unwrap();
    for time in ["seconds", "waited"] {
        value.as_object_mut().unwrap().remove(time);
    }
    value
}

/// State and tensors.
fn checkpoint_without_times(bytes: &[u8]) -> (Value, Vec<(String, Vec<u8>)>) {
    let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let header = &metadata.metadata().as_ref().unwrap()["lacuna"];
    let mut header: Value = serde_json::from_str(header).unwrap();
    header["state"].as_object_mut().unwrap().remove("seconds");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut tensors: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.data().to_vec()))
        .collect();
    tensors.sort();
    (header, tensors)
}
