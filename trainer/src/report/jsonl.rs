//! Owns `metrics.jsonl`: one event a line, the source of every plot and table made later.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Event, Subscriber};
use crate::engine::atomic;

/// Appends events. It is the one file that grows in place: each line is complete and flushed when the step is done,
/// and a line cut short by a crash is dropped at the next resume.
pub struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Opens the file; of an existing one, keeps the readable lines of steps up to `resumed_at`.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(path: &Path, resumed_at: usize) -> Result<Self> {
        if path.exists() {
            let before = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let keep = |line: &&str| {
                let event = serde_json::from_str::<Event>(line).ok();
                event
                    .and_then(|event| event.step())
                    .is_some_and(|step| step <= resumed_at)
            };
            let kept: String = before
                .lines()
                .filter(keep)
                .flat_map(|line| [line, "\n"])
                .collect();
            atomic::write(path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }
}

impl Subscriber for MetricsFile {
    fn receive(&mut self, event: &Event) -> Result<()> {
        if matches!(event, Event::Note { .. }) {
            return Ok(());
        }
        let line = serde_json::to_string(event)? + "\n";
        self.file
            .write_all(line.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(step: usize) -> Event {
        Event::Saved {
            step,
            name: "last".into(),
        }
    }

    #[test]
    fn a_resume_drops_what_came_after_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, 0).unwrap();
        for step in [1, 2, 3] {
            file.receive(&saved(step)).unwrap();
        }
        file.file.write_all(b"{\"event\":\"st").unwrap();
        let mut file = MetricsFile::open(&path, 2).unwrap();
        file.receive(&saved(3)).unwrap();
        let steps: Vec<_> = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Event>(line).unwrap().step().unwrap())
            .collect();
        assert_eq!(steps, [1, 2, 3]);
    }
}
