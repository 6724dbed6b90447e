//! Owns what a run tells the world: one stream of events, and the subscribers that show or store it.

pub mod jsonl;
pub mod log;
pub mod plot;
pub mod progress;
pub mod table;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Named figures of an event, in the order of their names.
pub type Values = BTreeMap<String, f64>;

/// Something that happened in a run. One line of `metrics.jsonl` each, except notes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins, or goes on after a resume.
    Started {
        /// What is run, for people: `train`, `pretrain`.
        name: String,
        /// Steps already done.
        step: usize,
        /// Steps in all.
        steps: usize,
        /// How many numbers are trained.
        parameters: usize,
    },
    /// An optimiser step is done.
    Step {
        /// Steps done, this one included.
        step: usize,
        /// Epochs done, with fraction.
        epoch: f64,
        /// The learning rate of this step.
        rate: f64,
        /// Posts (or pairs) in this step.
        posts: usize,
        /// Seconds since the last step, waiting for data included.
        seconds: f64,
        /// Seconds of these in which the next posts were not ready.
        #[serde(default)]
        waited: f64,
        /// The loss and its parts, training metrics, the gradient's norm.
        values: Values,
    },
    /// A split was measured.
    Measured {
        /// Steps done.
        step: usize,
        /// The split: `val`, `test`.
        split: String,
        /// The metrics.
        values: Values,
        /// The one that decides on `best`, and whether this is the best so far.
        best: Option<bool>,
    },
    /// A checkpoint is written. Told before it is, so that every checkpoint that can be resumed has its line; if it cannot
    /// be written, the next resume drops the line.
    Saved {
        /// Steps done.
        step: usize,
        /// Its name: `last`, `best`.
        name: String,
    },
    /// A sentence for the person in front of the screen.
    Note {
        /// The sentence.
        text: String,
    },
    /// The run is over.
    Finished {
        /// Steps done.
        step: usize,
        /// Seconds of this process.
        seconds: f64,
    },
}

impl Event {
    /// The steps done when it happened, where that has a meaning.
    pub fn step(&self) -> Option<usize> {
        match self {
            Event::Started { step, .. }
            | Event::Step { step, .. }
            | Event::Measured { step, .. }
            | Event::Saved { step, .. }
            | Event::Finished { step, .. } => Some(*step),
            Event::Note { .. } => None,
        }
    }
}

/// Receives every event of a run.
pub trait Subscriber {
    /// Takes notice of an event.
    ///
    /// # Errors
    /// If it cannot be stored; the run ends then.
    fn receive(&mut self, event: &Event) -> Result<()>;
}

/// Hands each event to all subscribers in order.
#[derive(Default)]
pub struct Reporter {
    subscribers: Vec<Box<dyn Subscriber>>,
}

impl Reporter {
    /// A reporter that nobody listens to, for tests.
    pub fn silent() -> Self {
        Self::default()
    }

    /// The usual one: progress on stderr, `metrics.jsonl` in the run folder.
    ///
    /// # Errors
    /// As [`Reporter::keep`].
    pub fn for_run(dir: &Path, resumed_at: usize) -> Result<Self> {
        let mut reporter = Self::shown();
        reporter.keep(&dir.join("metrics.jsonl"), resumed_at)?;
        Ok(reporter)
    }

    /// Progress on stderr.
    pub fn shown() -> Self {
        let mut reporter = Self::default();
        reporter.subscribe(progress::Progress::new());
        reporter
    }

    /// Keeps all events in a file too. Of an existing file the lines up to `resumed_at` steps are kept, so that a
    /// resumed run's file reads like that of an undisturbed one.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn keep(&mut self, path: &Path, resumed_at: usize) -> Result<()> {
        self.subscribe(jsonl::MetricsFile::open(path, resumed_at)?);
        Ok(())
    }

    /// Adds a subscriber.
    pub fn subscribe(&mut self, subscriber: impl Subscriber + 'static) {
        self.subscribers.push(Box::new(subscriber));
    }

    /// Tells all subscribers.
    ///
    /// # Errors
    /// If one of them cannot store the event.
    pub fn tell(&mut self, event: &Event) -> Result<()> {
        self.subscribers
            .iter_mut()
            .try_for_each(|subscriber| subscriber.receive(event))
    }

    /// Tells a sentence.
    ///
    /// # Errors
    /// As [`Reporter::tell`].
    pub fn note(&mut self, text: impl Into<String>) -> Result<()> {
        self.tell(&Event::Note { text: text.into() })
    }
}
