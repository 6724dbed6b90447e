//! Owns a file in which many things lie one after the other, read by several threads, each at a place of its own.

use std::fs::File;
use std::io::Result;

/// An open file; reading moves no cursor that another thread could rely on.
pub struct PlacedFile {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
}

impl From<File> for PlacedFile {
    fn from(file: File) -> Self {
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Self { file }
    }
}

impl PlacedFile {
    /// Fills `part` with what lies at byte `start` and after it.
    ///
    /// # Errors
    /// If the file ends before, or cannot be read.
    #[cfg(unix)]
    pub fn read(&self, start: u64, part: &mut [u8]) -> Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, part, start)
    }

    /// Fills `part` with what lies at byte `start` and after it; one thread after the other.
    ///
    /// # Errors
    /// If the file ends before, or cannot be read.
    #[cfg(not(unix))]
    pub fn read(&self, start: u64, part: &mut [u8]) -> Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};

    use super::*;

    #[test]
    fn threads_read_at_places_of_their_own() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..=255).collect();
        file.write_all(&bytes).unwrap();
        let file = PlacedFile::from(file);
        std::thread::scope(|threads| {
            for start in [0, 100, 200] {
                let (file, bytes) = (&file, &bytes);
                threads.spawn(move || {
                    for _ in 0..100 {
                        let mut part = [0; 56];
                        file.read(start as u64, &mut part).unwrap();
                        assert_eq!(part, bytes[start..start + 56]);
                    }
                });
            }
        });
        let error = file.read(201, &mut [0; 56]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
