//! Owns Ctrl-C: the first one asks the run to finish its step and save, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Starts listening for Ctrl-C and for the system's request to terminate.
///
/// # Errors
/// If the system refuses, or listening has started already.
pub fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("\nfinishing the step and saving; press Ctrl-C again to end at once");
    })
    .context("Ctrl-C cannot be listened for")
}

/// Whether a stop was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
