//! Owns `cargo xtask audit`: licences, bans, sources and known weaknesses of everything we depend on.
//!
//! Licences, bans and sources are known from the packages themselves. Weaknesses become known elsewhere: where nobody can
//! be asked, what is known from before is used, and its age is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::step::{Steps, call, command, output};
use crate::{licences, stamp, tools};

/// Workspaces with lock files of their own; those that are not there are passed over.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "scoring/Cargo.toml", "fuzz/Cargo.toml"];
/// What npm said, for the next time that it cannot be asked.
const KEPT: &str = "target/audit";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How strict to be.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fail if known weaknesses cannot be asked for now, as before a release
    #[arg(long)]
    fresh: bool,
}

/// Checks everything.
///
/// # Errors
/// If a package is not allowed or has a known weakness.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::start();
    steps.run("licences in short", licences::check)?;
    steps.run("cargo-deny", tools::dependency_checker)?;
    let mut stale = Vec::new();
    for manifest in WORKSPACES
        .into_iter()
        .filter(|path| Path::new(path).is_file())
    {
        steps.run(&format!("licences, bans, sources of {manifest}"), || {
            call(&mut deny(manifest, "check licenses bans sources")?)
        })?;
        let age = steps.run(&format!("advisories for {manifest}"), || {
            advisories(manifest)
        })?;
        stale.extend(age);
    }
    for lock in lock_files()? {
        let age = steps.run(&format!("npm's advisories for {lock}"), || npm(&lock))?;
        stale.extend(age);
    }
    println!("\nTimes:\n{}", steps.summary());
    for sentence in &stale {
        println!("\nnote: {sentence}");
    }
    if options.fresh && !stale.is_empty() {
        bail!("--fresh asks for known weaknesses as of now, and they could not be asked for");
    }
    Ok(())
}

/// cargo-deny on a workspace, with our rules. Packages are those of the lock file.
fn deny(manifest: &str, what: &str) -> Result<std::process::Command> {
    let rules = std::env::current_dir()?.join("deny.toml");
    let mut deny = command("cargo-deny", "--locked --manifest-path");
    deny.arg(manifest)
        .arg("--config")
        .arg(rules)
        .args(what.split_whitespace())
        .env("PATH", tools::search_path()?);
    Ok(deny)
}

/// Holds a workspace against the known weaknesses; a sentence if these are not of today.
fn advisories(manifest: &str) -> Result<Option<String>> {
    let fetched = output(&mut deny(manifest, "fetch db")?);
    if let Err(error) = fetched {
        let reason = last_line(&error);
        let Some(age) = database_age() else {
            return Ok(Some(format!(
                "advisories for {manifest} were not checked: there are none here, and they could not be fetched ({reason})"
            )));
        };
        call(&mut deny(manifest, "check --disable-fetch advisories")?)?;
        return Ok(Some(format!(
            "advisories for {manifest} are {} old: newer ones could not be fetched ({reason})",
            days(age)
        )));
    }
    call(&mut deny(manifest, "check --disable-fetch advisories")?)?;
    Ok(None)
}

/// How long ago cargo-deny's advisories were fetched, if they ever were.
fn database_age() -> Option<Duration> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"))?;
            Some(PathBuf::from(home).join(".cargo"))
        })?;
    let databases = fs::read_dir(home.join("advisory-dbs")).ok()?.flatten();
    let fetched = databases.filter_map(|database| age(&database.path().join(".git/FETCH_HEAD")));
    fetched.min()
}

/// Asks npm about a lock file; a sentence if it cannot be asked, with what it said last time.
fn npm(lock: &str) -> Result<Option<String>> {
    tools::node()?;
    let folder = Path::new(lock)
        .parent()
        .context("a lock file lies in no folder")?;
    let mut ask = command(
        tools::npm(),
        "audit --package-lock-only --json --loglevel=silent",
    );
    let result = ask
        .current_dir(folder)
        .output()
        .context("npm cannot be started")?;
    let answer: Value = serde_json::from_slice(&result.stdout).unwrap_or_default();
    let kept = Path::new(KEPT).join(lock.replace('/', "-"));
    if answer["vulnerabilities"].is_object() {
        stamp::write(&kept, answer.to_string().as_bytes())?;
        return judge(lock, &answer).map(|()| None);
    }
    let said = [&answer["message"], &answer["error"]["summary"]];
    let said = said
        .iter()
        .find_map(|text| text.as_str())
        .unwrap_or("npm gave no answer");
    let Some((age, before)) = age(&kept).zip(fs::read_to_string(&kept).ok()) else {
        return Ok(Some(format!(
            "npm's advisories for {lock} were not checked: it was never asked here, and cannot be now ({said})"
        )));
    };
    judge(lock, &serde_json::from_str(&before).unwrap_or_default())?;
    Ok(Some(format!(
        "npm's advisories for {lock} are {} old, and of the lock file of that time: it cannot be asked now ({said})",
        days(age)
    )))
}

/// Nothing of what npm installs here is shipped: weaknesses below `high` are told, others stop.
fn judge(lock: &str, answer: &Value) -> Result<()> {
    let counts = &answer["metadata"]["vulnerabilities"];
    let count = |level: &str| counts[level].as_u64().unwrap_or(0);
    println!("    {lock}: {} known weaknesses", count("total"));
    let grave = count("high") + count("critical");
    if grave > 0 {
        let names: Vec<&String> = answer["vulnerabilities"]
            .as_object()
            .map(|all| all.keys().collect())
            .unwrap_or_default();
        bail!("{grave} grave weaknesses, in {names:?}; `npm audit` in its folder tells of them");
    }
    Ok(())
}

/// Every lock file of npm's that git knows.
fn lock_files() -> Result<Vec<String>> {
    let list =
        "-c safe.directory=* ls-files --cached --others --exclude-standard *package-lock.json";
    let listed = output(&mut command("git", list)).context("the list of files comes from git")?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn age(file: &Path) -> Option<Duration> {
    let changed = file.metadata().and_then(|about| about.modified()).ok()?;
    Some(
        SystemTime::now()
            .duration_since(changed)
            .unwrap_or_default(),
    )
}

fn days(age: Duration) -> String {
    match age.as_secs() / DAY.as_secs() {
        0 => "less than a day".into(),
        1 => "a day".into(),
        days => format!("{days} days"),
    }
}

/// What a program says last of why it failed.
fn last_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next_back().unwrap_or(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grave_weaknesses_stop_and_others_are_told() {
        let answer = |high: u64| {
            serde_json::json!({
                "vulnerabilities": { "left-pad": {} },
                "metadata": { "vulnerabilities": { "low": 3, "high": high, "critical": 0, "total": 3 + high } },
            })
        };
        assert!(judge("a", &answer(0)).is_ok());
        let error = judge("a", &answer(1)).unwrap_err();
        assert!(error.to_string().contains("left-pad"), "{error}");
    }

    #[test]
    fn ages_read_like_speech() {
        assert_eq!(days(DAY / 2), "less than a day");
        assert_eq!(days(DAY * 3 / 2), "a day");
        assert_eq!(days(DAY * 40), "40 days");
    }
}
