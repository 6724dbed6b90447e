//! Owns the folder that files are written to for readers that take folders: in memory where the system has such a place.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// Calls `read` with a folder of these files, and with nothing else in it.
///
/// # Errors
/// If they cannot be written; what `read` says is its own business.
pub fn with<T>(files: &[(&str, &[u8])], read: impl FnOnce(&Path) -> T) -> Result<T> {
    thread_local! {
        static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    FOLDER.with_borrow_mut(|folder| {
        let folder = match folder {
            Some(folder) => folder,
            none => none.insert(if Path::new(MEMORY).is_dir() {
                tempfile::tempdir_in(MEMORY)?
            } else {
                tempfile::tempdir()?
            }),
        };
        let path = folder.path();
        for (name, bytes) in files {
            let place = path.join(name);
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(place, bytes)?;
        }
        let answer = read(path);
        for (name, _) in files {
            std::fs::remove_file(path.join(name))?;
        }
        Ok(answer)
    })
}
