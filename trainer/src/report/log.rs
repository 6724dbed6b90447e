//! Owns the program's log: warnings on stderr without tearing the progress bar, everything in the run's `run.log`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The bars on the terminal, if any: lines are written while they are hidden.
static BARS: OnceLock<MultiProgress> = OnceLock::new();
/// The log file of the run, once there is one.
static RUN_LOG: Mutex<Option<File>> = Mutex::new(None);

/// Starts logging for the process. `verbose` shows what is normally only in the file; `RUST_LOG` overrides both.
/// A second call does nothing.
pub fn start(verbose: bool) {
    let shown = if verbose {
        LevelFilter::DEBUG
    } else {
        LevelFilter::WARN
    };
    let filter = |level: LevelFilter| {
        EnvFilter::builder()
            .with_default_directive(level.into())
            .from_env_lossy()
    };
    let screen = tracing_subscriber::fmt::layer()
        .with_writer(|| Screen)
        .without_time()
        .with_target(false)
        .with_filter(filter(shown));
    let file = tracing_subscriber::fmt::layer()
        .with_writer(|| RunLog)
        .with_ansi(false)
        .with_filter(filter(LevelFilter::INFO));
    // Fails only if a subscriber is set already, as in tests that run in one process.
    let _ = tracing_subscriber::registry()
        .with(screen)
        .with(file)
        .try_init();
}

/// From here on the log goes to `DIR/run.log` too, appended.
///
/// # Errors
/// If the file cannot be opened.
pub fn to_run(dir: &Path) -> Result<()> {
    let path = dir.join("run.log");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    if let Ok(mut log) = RUN_LOG.lock() {
        *log = Some(file);
    }
    Ok(())
}

/// Puts a bar on the terminal together with the others.
pub fn attach(bar: ProgressBar) -> ProgressBar {
    BARS.get_or_init(MultiProgress::new).add(bar)
}

struct Screen;

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match BARS.get() {
            Some(bars) => bars.suspend(|| std::io::stderr().write(bytes)),
            None => std::io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

struct RunLog;

impl Write for RunLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match RUN_LOG.lock().as_deref_mut() {
            Ok(Some(file)) => file.write(bytes),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
