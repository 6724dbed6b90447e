//! Owns `cargo xtask fuzz`: the readers of strangers' files under libFuzzer, one after the other, and the sum of it.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::step::{cargo, human};
use crate::tools;

/// Of the project's own kind of workspace, with libFuzzer's usual layout.
const FOLDER: &str = "fuzz";
/// Pictures have a corpus already.
const PICTURES: &str = "tests/golden/preprocess";
/// libFuzzer ends with an error beyond these: seconds of the clock for one input (of the processor it may take one
/// second, which `fuzz/src/lib.rs` counts), memory in all, and memory at once, both in MiB.
const TIMEOUT: u32 = 20;
const MEMORY: u32 = 2048;
const MEMORY_AT_ONCE: u32 = 1024;
/// The longest input that is tried, in bytes.
const LONGEST: u32 = 16_384;

/// What is tried, and how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// What watches over memory: address, or none, which is several times as fast
    #[arg(long, default_value = "address")]
    sanitizer: String,
}

/// What came of a target.
struct Tried {
    target: String,
    executions: u64,
    coverage: u64,
    time: Duration,
}

/// Tries every target, and says how often.
///
/// # Errors
/// If the tool cannot be had, or with the target that failed and where the input lies on which it did.
pub(crate) fn run(options: &Options) -> Result<()> {
    tools::fuzzer()?;
    let mut targets = targets()?;
    if let Some(target) = &options.target {
        if !targets.contains(target) {
            bail!(
                "there is no target {target}; there are {}",
                targets.join(", ")
            );
        }
        targets = vec![target.clone()];
    }
    let mut all = Vec::new();
    for target in targets {
        let tried = one(&target, options)?;
        println!(
            "    {target}: {} executions, {} edges covered, {}",
            tried.executions,
            tried.coverage,
            human(tried.time)
        );
        all.push(tried);
    }
    println!("\n| target | executions | seconds | edges |\n|---|--:|--:|--:|");
    for tried in &all {
        let seconds = tried.time.as_secs();
        println!(
            "| {} | {} | {seconds} | {} |",
            tried.target, tried.executions, tried.coverage
        );
    }
    let sum: u64 = all.iter().map(|tried| tried.executions).sum();
    println!("\n{sum} executions in all, and nothing failed.");
    Ok(())
}

/// The targets' names: those of the files.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(Path::new(FOLDER).join("targets"))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn one(target: &str, options: &Options) -> Result<Tried> {
    // What is found goes into the first folder; only what is worth it is committed, into the second.
    let found = format!("{FOLDER}/target/corpus/{target}");
    let kept = format!("{FOLDER}/corpus/{target}");
    let log = format!("{FOLDER}/target/{target}.log");
    for folder in [&found, &kept] {
        std::fs::create_dir_all(folder)?;
    }
    let output = File::create(&log).with_context(|| format!("cannot write {log}"))?;
    let mut command = cargo();
    command
        .args(["fuzz", "run", "--sanitizer", &options.sanitizer, target])
        .args([&found, &kept])
        .args((target == "image").then_some(PICTURES))
        .arg("--")
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-malloc_limit_mb={MEMORY_AT_ONCE}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg("-print_final_stats=1")
        // The compiler is a stable one; only so does it take the flags of sanitizers.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RAYON_NUM_THREADS", "1")
        .env("PATH", tools::search_path()?)
        .env_remove("RUSTFLAGS")
        .stdout(output.try_clone()?)
        .stderr(output);
    let words = format!("{FOLDER}/dictionaries/{}.dict", dictionary(target));
    if Path::new(&words).is_file() {
        command.arg(format!("-dict={words}"));
    }
    println!("    {target} for {} s; its log is {log}", options.seconds);
    let begun = Instant::now();
    let status = command.status().context("cargo fuzz cannot be started")?;
    let said = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    if !status.success() {
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        bail!(
            "{last}\n\n{target} failed; {log} has the rest, and names the input under {FOLDER}/artifacts/{target}"
        );
    }
    Ok(Tried {
        target: target.to_owned(),
        executions: number(&said, "stat::number_of_executed_units:").unwrap_or_default(),
        coverage: number(&said, "cov:").unwrap_or_default(),
        time: begun.elapsed(),
    })
}

/// The words that libFuzzer may put in.
fn dictionary(target: &str) -> &str {
    match target {
        "clip_folder" | "jsonl" | "layouts" | "lessons" | "manifest" | "shards" | "tokenizer" => {
            "json"
        }
        "csv" | "table" => "table",
        other => other,
    }
}

/// The number behind the last `name` of a log.
fn number(log: &str, name: &str) -> Option<u64> {
    let (_, rest) = log.rsplit_once(name)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_a_log() {
        let log = "#2\tINITED cov: 10 ft: 11\n#9\tDONE   cov: 27 ft: 61 corp: 7/123b\nstat::number_of_executed_units: 4812\n";
        assert_eq!(number(log, "cov:"), Some(27));
        assert_eq!(number(log, "stat::number_of_executed_units:"), Some(4812));
        assert_eq!(number(log, "none:"), None);
    }
}
