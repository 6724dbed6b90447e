//! Owns how steps are named and timed and how other programs are started. It must not know what a step does.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A sequence of named, timed steps.
pub(crate) struct Steps {
    started: Instant,
    number: usize,
    times: Vec<(String, Duration)>,
}

impl Steps {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            number: 0,
            times: Vec::new(),
        }
    }

    /// Runs one step: says its name before, its time after, and puts its name into its error.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.number += 1;
        println!("\n[{}] {name}", self.number);
        let begun = Instant::now();
        let result = work();
        let time = begun.elapsed();
        let verdict = if result.is_ok() { "done" } else { "FAILED" };
        println!("[{}] {name}: {verdict} in {}", self.number, human(time));
        self.times.push((name.to_owned(), time));
        result.with_context(|| format!("the step \"{name}\" failed"))
    }

    /// Says that a step need not, or cannot, be done, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        self.number += 1;
        println!("\n[{}] {name}: skipped, {why}", self.number);
    }

    /// All steps with their times, one a line, and the total.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (name, time) in &self.times {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {:>10}  {name}", human(*time));
        }
        let _ = write!(text, "  {:>10}  in all", human(self.started.elapsed()));
        text
    }
}

/// A duration as people say it: `0.4 s`, `12.3 s`, `4 min 05 s`.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// Cargo, the same one that started us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Starts `program` with `arguments`, split at spaces.
pub(crate) fn command(program: &str, arguments: &str) -> Command {
    let mut command = if program == "cargo" {
        cargo()
    } else {
        Command::new(program)
    };
    command.args(arguments.split_whitespace());
    command
}

/// Runs a command to its end with its output visible.
///
/// # Errors
/// A sentence with the command line if it cannot be started or does not succeed.
pub(crate) fn call(command: &mut Command) -> Result<()> {
    println!("    $ {}", line(command));
    let status = command
        .status()
        .with_context(|| format!("`{}` cannot be started", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}); its output is above", line(command));
    }
    Ok(())
}

/// Runs a command and returns what it printed, trimmed.
///
/// # Errors
/// As [`call`]; the message carries what the command wrote to its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let result = command
        .output()
        .with_context(|| format!("`{}` cannot be started", line(command)))?;
    if !result.status.success() {
        let complaint = String::from_utf8_lossy(&result.stderr);
        bail!(
            "`{}` failed ({}): {}",
            line(command),
            result.status,
            complaint.trim()
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout).trim().to_owned())
}

/// The command line as a person would type it.
fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut text = program
        .file_stem()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    for argument in command.get_args() {
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_speech() {
        assert_eq!(human(Duration::from_millis(440)), "0.4 s");
        assert_eq!(human(Duration::from_secs(245)), "4 min 05 s");
    }

    #[test]
    fn a_failed_step_names_itself() {
        let mut steps = Steps::start();
        let error = steps
            .run("sums", || -> Result<()> { bail!("2 + 2 is not 5") })
            .unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "the step \"sums\" failed: 2 + 2 is not 5"
        );
    }
}
