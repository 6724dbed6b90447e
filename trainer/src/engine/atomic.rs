//! Owns the one way files are written: to a temporary file beside the target, synced, then renamed over it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file whole or not at all: a crash or a full disk leaves the old file as it was.
///
/// # Errors
/// If the folder cannot be written to or the disk is full; the message names the file, its size and the reason.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, bytes.len(), |file| file.write_all(bytes))
}

/// As [`write`], with the writing left to a closure (tests inject failures here).
///
/// # Errors
/// As [`write`].
pub fn write_with(
    path: &Path,
    size: usize,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let attempt = || -> std::io::Result<()> {
        // Dropping the temporary file on any error removes it.
        let mut file = tempfile::Builder::new()
            .prefix(".writing-")
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
