//! Owns the one way files are written: to a temporary file beside the target, synced, then renamed over it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The start of the names of files and folders that are being written.
const PREFIX: &str = ".writing-";

/// Writes a file whole or not at all: a crash or a full disk leaves the old file as it was.
///
/// # Errors
/// If the folder cannot be written to or the disk is full; the message names the file, its size and the reason.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, bytes.len(), |file| file.write_all(bytes))
}

/// As [`write()`], with the writing left to a closure (tests inject failures here).
///
/// # Errors
/// As [`write()`].
pub fn write_with(
    path: &Path,
    size: usize,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let folder = parent(path);
    let attempt = || -> std::io::Result<()> {
        // Dropping the temporary file on any error removes it.
        let mut file = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempfile_in(folder)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        share(file.as_file())?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    };
    attempt().with_context(|| {
        let before = if path.exists() {
            "the file that was there before is untouched"
        } else {
            "nothing was left behind"
        };
        format!(
            "cannot write {} ({:.1} MB); {before}",
            path.display(),
            size as f64 / 1e6
        )
    })
}

/// Writes a folder of files whole or not at all; a folder that was there before is replaced.
///
/// # Errors
/// If it cannot be written: what was there before is still there.
pub fn write_folder(path: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let beside = parent(path);
    let attempt = || -> std::io::Result<()> {
        std::fs::create_dir_all(beside)?;
        let fresh = tempfile::Builder::new().prefix(PREFIX).tempdir_in(beside)?;
        for (name, bytes) in files {
            let mut file = File::create(fresh.path().join(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        share_folder(fresh.path())?;
        sync_folder(fresh.path())?;
        // A folder cannot be renamed over another: the old one steps aside first, and back if the new one fails.
        let aside = tempfile::Builder::new().prefix(PREFIX).tempdir_in(beside)?;
        let old: PathBuf = aside.path().join("old");
        let had = path.exists();
        if had {
            std::fs::rename(path, &old)?;
        }
        if let Err(error) = std::fs::rename(fresh.path(), path) {
            if had {
                std::fs::rename(&old, path)?;
            }
            return Err(error);
        }
        sync_folder(beside)
    };
    let size: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    attempt().with_context(|| {
        format!(
            "cannot write the folder {} ({:.1} MB); what was there before is untouched",
            path.display(),
            size as f64 / 1e6
        )
    })
}

/// Whether a name is that of a file that was never finished.
pub fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(PREFIX)
}

/// Removes unfinished files that a killed program left in a folder.
///
/// # Errors
/// If the folder cannot be read.
pub fn sweep(folder: &Path) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries
        .flatten()
        .filter(|entry| is_unfinished(&entry.file_name()))
    {
        let path = entry.path();
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// The folder a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a rename durable: on Unix the folder itself is synced.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// Temporary files are private to their user; a finished file has ordinary rights.
#[cfg(unix)]
fn share(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// As [`share`], for folders.
#[cfg(unix)]
fn share_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn share_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn share(_: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write(&path, b"old").unwrap();
        let full = |file: &mut dyn Write| {
            file.write_all(b"half of the ne")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        };
        let error = write_with(&path, 3_000_000, full).unwrap_err();
        assert!(
            format!("{error:#}")
                .contains("a.bin (3.0 MB); the file that was there before is untouched")
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "the temporary file was left behind"
        );
    }
}
