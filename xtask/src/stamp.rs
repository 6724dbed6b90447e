//! Owns the decision whether a step's outputs still follow from its inputs: a hash of the inputs, kept after success.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The inputs of one step as they are now.
pub(crate) struct Stamp {
    file: PathBuf,
    hash: String,
}

impl Stamp {
    /// Hashes files, and all files under folders, in the order given. A path that does not exist counts as absent.
    ///
    /// # Errors
    /// If a file that exists cannot be read.
    pub(crate) fn of(step: &str, inputs: &[&str]) -> Result<Self> {
        let mut hasher = Sha256::new();
        for input in inputs {
            for path in files(Path::new(input))? {
                let bytes =
                    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                hasher.update(path.to_string_lossy().as_bytes());
                hasher.update((bytes.len() as u64).to_le_bytes());
                hasher.update(&bytes);
            }
        }
        Ok(Self {
            file: Path::new("target/stamps").join(step),
            hash: format!("{:x}", hasher.finalize()),
        })
    }

    /// True if the step succeeded with exactly these inputs and its outputs are still there.
    pub(crate) fn holds(&self, outputs: &[&str]) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|kept| kept == self.hash)
            && outputs.iter().all(|output| Path::new(output).exists())
    }

    /// Remembers that the step succeeded with these inputs.
    ///
    /// # Errors
    /// If the stamp cannot be written.
    pub(crate) fn keep(&self) -> Result<()> {
        write(&self.file, self.hash.as_bytes())
    }
}

/// Writes a file by way of a temporary one, so that it is never half there.
///
/// # Errors
/// If the folder cannot be made or the file not be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let place = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(place)?;
    }
    let temporary = path.with_extension("partial");
    let mut file = fs::File::create(&temporary).with_context(place)?;
    std::io::Write::write_all(&mut file, bytes).with_context(place)?;
    file.sync_all().with_context(place)?;
    fs::rename(&temporary, path).with_context(place)
}

/// The file itself, or all files under a folder, sorted; nothing if there is no such path.
///
/// # Errors
/// If a folder cannot be read.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    if path.is_dir() {
        let place = || format!("cannot read the folder {}", path.display());
        for entry in fs::read_dir(path).with_context(place)? {
            found.extend(files(&entry.with_context(place)?.path())?);
        }
        found.sort();
    }
    Ok(found)
}
