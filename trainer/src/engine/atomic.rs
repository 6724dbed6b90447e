//! Owns the one way files are written: to a draft beside the target, synced, then renamed over it.
//!
//! A draft says of itself that it is one, by its name, and belongs to whoever holds its lock, which the system releases
//! when a process ends, however it ends. So a killed program's drafts are told from a living one's, and the next that
//! writes in the folder removes them.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Result as IoResult, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

/// The start of the names of files and folders that are being written.
const PREFIX: &str = ".writing-";

/// Writes a file whole or not at all: a crash or a full disk leaves the old file as it was.
///
/// # Errors
/// If the folder cannot be written to or the disk is full; the message names the file, its size and the reason.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut draft = Draft::begin(path, Some(bytes.len()))?;
    draft.write_all(bytes)?;
    Ok(draft.finish()?)
}

/// A file that is being written. Dropped before [`Draft::finish`], it leaves nothing.
pub struct Draft {
    target: PathBuf,
    size: Option<usize>,
    file: File,
    place: Place,
}

impl Draft {
    /// Begins the file `path`, of `size` bytes if that is known.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn begin(path: &Path, size: Option<usize>) -> IoResult<Self> {
        let begun = Place::claim(parent(path), |place| File::create_new(place));
        let (place, file) = begun.map_err(|error| failed(path, size, error))?;
        Ok(Self {
            target: path.to_owned(),
            size,
            file,
            place,
        })
    }

    /// Puts the file in its place, once the disk has confirmed that all of it is stored.
    ///
    /// # Errors
    /// If the disk does not confirm it: then the file is not put in place.
    pub fn finish(self) -> IoResult<()> {
        let moved = self.file.sync_all();
        let moved = moved.and_then(|()| std::fs::rename(&self.place.0, &self.target));
        moved.map_err(|error| failed(&self.target, self.size, error))?;
        confirm(&self.target)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        let written = self.file.write(bytes);
        written.map_err(|error| failed(&self.target, self.size, error))
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

/// Writes a folder of files whole or not at all; a folder that was there before is replaced.
///
/// # Errors
/// If it cannot be written: what was there before is still there.
pub fn write_folder(path: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let beside = parent(path);
    std::fs::create_dir_all(beside).with_context(|| format!("cannot make {}", beside.display()))?;
    let attempt = || -> IoResult<()> {
        let (fresh, _lock) = Place::claim(beside, |place| {
            std::fs::create_dir(place)?;
            open_folder(place)
        })?;
        for (name, bytes) in files {
            let mut file = File::create(fresh.0.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        sync_folder(&fresh.0)?;
        put(&fresh.0, path)
    };
    let size: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    attempt().map_err(|error| failed(path, Some(size), error))?;
    Ok(confirm(path)?)
}

/// Whether a name is that of a file that was never finished.
pub fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(PREFIX)
}

/// Where a draft lies. What is there when it is dropped is removed: nothing, if it was moved to its place.
struct Place(PathBuf);

impl Place {
    /// Makes a draft in a folder and locks it; removes those of processes that have ended.
    fn claim<T: Lock>(folder: &Path, make: impl Fn(&Path) -> IoResult<T>) -> IoResult<(Self, T)> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        sweep(folder);
        loop {
            let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let place = folder.join(format!("{PREFIX}{process}-{count}"));
            let made = match make(&place) {
                // Of a process with this number in another container, or before a restart.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            // Another process that sweeps may have come between the making and the locking.
            if made.lock() && place.exists() {
                return Ok((Self(place), made));
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// What can be locked. Where a file system knows no locks, a draft counts as its process's own.
trait Lock {
    /// False if another process holds it.
    fn lock(&self) -> bool;
}

impl Lock for File {
    fn lock(&self) -> bool {
        !matches!(self.try_lock(), Err(TryLockError::WouldBlock))
    }
}

impl Lock for Option<File> {
    fn lock(&self) -> bool {
        self.as_ref().is_none_or(Lock::lock)
    }
}

/// Removes what killed programs left in a folder. What cannot be removed is only untidy.
fn sweep(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_unfinished(&entry.file_name())) {
        let path = entry.path();
        let lock = File::open(&path);
        if lock.as_ref().is_ok_and(|file| file.try_lock().is_ok()) {
            remove(&path);
        }
    }
}

fn remove(place: &Path) {
    let _ = match place.is_dir() {
        true => std::fs::remove_dir_all(place),
        false => std::fs::remove_file(place),
    };
}

/// Moves a folder to its place; one that is there changes places with it, in one step where the system can do that.
fn put(fresh: &Path, path: &Path) -> IoResult<()> {
    if !path.exists() {
        return std::fs::rename(fresh, path);
    }
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, fresh, CWD, path, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            exchanged => return Ok(exchanged?),
        }
    }
    // The old one steps aside first, and back if the new one fails. Only a kill in between leaves neither in its place.
    let aside = fresh.with_extension("old");
    std::fs::rename(path, &aside)?;
    if let Err(error) = std::fs::rename(fresh, path) {
        std::fs::rename(&aside, path)?;
        return Err(error);
    }
    remove(&aside);
    Ok(())
}

/// The folder a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A folder to lock or to sync; nothing where folders cannot be opened.
fn open_folder(folder: &Path) -> IoResult<Option<File>> {
    cfg!(unix).then(|| File::open(folder)).transpose()
}

fn sync_folder(folder: &Path) -> IoResult<()> {
    match open_folder(folder)? {
        Some(folder) => folder.sync_all(),
        None => Ok(()),
    }
}

/// Makes a rename durable.
fn confirm(path: &Path) -> IoResult<()> {
    sync_folder(parent(path)).map_err(|error| {
        let what = "is whole and in its place, but the disk did not confirm that it will be after a power failure";
        told(format!("{} {what}", path.display()), error)
    })
}

fn failed(path: &Path, size: Option<usize>, error: Error) -> Error {
    let before = if path.exists() {
        "what was there before is untouched"
    } else {
        "nothing was left behind"
    };
    let size = size.map_or_else(String::new, |size| {
        format!(" ({:.1} MB)", size as f64 / 1e6)
    });
    told(
        format!("cannot write {}{size}; {before}", path.display()),
        error,
    )
}

/// An error of the system's with a sentence about it.
#[derive(Debug)]
struct Failure {
    sentence: String,
    error: Error,
}

/// An error of the same kind with a sentence about it.
fn told(sentence: String, error: Error) -> Error {
    Error::new(error.kind(), Failure { sentence, error })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_draft_that_is_given_up_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write(&path, b"old").unwrap();
        let mut draft = Draft::begin(&path, None).unwrap();
        draft.write_all(b"half of the ne").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(draft);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn a_failure_names_file_size_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/a.bin");
        let error = format!("{:#}", write(&path, &[0; 3_000_000]).unwrap_err());
        for part in ["a.bin (3.0 MB); nothing was left behind: ", "(os error "] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains(": cannot"), "said twice: {error}");
    }

    #[test]
    fn a_dead_programs_drafts_are_removed_and_a_living_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let dead = [".writing-1-0", ".writing-2-0"].map(|name| folder.path().join(name));
        std::fs::write(&dead[0], "half").unwrap();
        std::fs::create_dir(&dead[1]).unwrap();
        std::fs::write(dead[1].join("manifest.json"), "half").unwrap();
        let living = Draft::begin(&folder.path().join("b"), None).unwrap();
        write(&folder.path().join("a"), b"whole").unwrap();
        assert!(!dead[0].exists());
        if cfg!(unix) {
            assert!(!dead[1].exists());
        }
        living.finish().unwrap();
        let left = names(folder.path());
        assert!(
            left.contains(&"a".to_owned()) && left.contains(&"b".to_owned()),
            "{left:?}"
        );
    }

    #[test]
    fn a_folder_changes_places_with_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        let file = |name: &str| (name.to_owned(), name.as_bytes().to_vec());
        for name in ["old", "new"] {
            write_folder(&path, &[file(name)]).unwrap();
            assert_eq!(names(&path), [name]);
            assert_eq!(names(folder.path()), ["bundle"]);
        }
    }
}
