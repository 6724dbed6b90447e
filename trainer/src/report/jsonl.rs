//! Owns `metrics.jsonl`: one event a line, the source of every plot and table made later.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Event, Subscriber};
use crate::engine::atomic;

/// Appends events. It is the one file that grows in place: each line is complete when the step is done, and stored when
/// a checkpoint is written. A line cut short by a crash is dropped at the next resume.
pub struct MetricsFile {
    path: PathBuf,
    file: File,
    /// Whether its run has begun, in this process or another.
    begun: bool,
}

impl MetricsFile {
    /// Opens the file; of an existing one, keeps what an undisturbed run would have by then: the readable lines of steps
    /// up to `resumed_at`, one beginning and no end.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(path: &Path, resumed_at: usize) -> Result<Self> {
        let mut begun = false;
        if path.exists() {
            let before =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut keep = |line: &&str| match serde_json::from_str::<Event>(line) {
                Ok(Event::Finished { .. }) | Err(_) => false,
                Ok(Event::Started { .. }) => !std::mem::replace(&mut begun, true),
                Ok(event) => event.step().is_some_and(|step| step <= resumed_at),
            };
            // Lossily: the line that was cut short may end within a character.
            let kept: String = String::from_utf8_lossy(&before)
                .lines()
                .filter(&mut keep)
                .flat_map(|line| [line, "\n"])
                .collect();
            atomic::write(path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            begun,
        })
    }
}

impl Subscriber for MetricsFile {
    fn receive(&mut self, event: &Event) -> Result<()> {
        let again =
            matches!(event, Event::Started { .. }) && std::mem::replace(&mut self.begun, true);
        if again || matches!(event, Event::Note { .. }) {
            return Ok(());
        }
        let line = serde_json::to_string(event)? + "\n";
        let mut written = self.file.write_all(line.as_bytes());
        if matches!(event, Event::Saved { .. }) {
            written = written.and_then(|()| self.file.sync_data());
        }
        written.with_context(|| format!("cannot write {}", self.path.display()))
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
