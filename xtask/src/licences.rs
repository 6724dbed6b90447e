//! Owns what can be said of the dependencies in a second and without a tool: their licences and where they come from.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::step::{command, output};

/// The list of allowed licences is here, for cargo-deny and for us.
const RULES: &str = "deny.toml";
/// How cargo names the one registry that packages may come from.
const REGISTRY: &str = "registry+";

#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

/// What cargo says of a workspace.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

/// A package of ours or of others.
#[derive(Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    pub(crate) description: Option<String>,
    /// Nothing for a package of ours.
    pub(crate) source: Option<String>,
}

impl Metadata {
    /// Of the workspace with this manifest, whose packages have been fetched.
    ///
    /// # Errors
    /// If a package is not here.
    pub(crate) fn read(manifest: &str) -> Result<Self> {
        let arguments = format!(
            "metadata --offline --locked --all-features --format-version 1 --manifest-path {manifest}"
        );
        let text = output(&mut command("cargo", &arguments))?;
        serde_json::from_str(&text).context("cargo metadata says something unexpected")
    }
}

/// Checks that every package of the workspace has an allowed licence and comes from the registry.
///
/// # Errors
/// With all complaints, one a line.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(RULES).with_context(|| format!("cannot read {RULES}"))?;
    let rules: Rules = toml::from_str(&text).with_context(|| format!("{RULES} is damaged"))?;
    let packages = Metadata::read("Cargo.toml")?.packages;
    let complaints: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let what = complaint(package, &rules.licenses.allow)?;
            Some(format!("{} {}: {what}", package.name, package.version))
        })
        .collect();
    if !complaints.is_empty() {
        bail!(
            "{} packages cannot be used (see {RULES}):\n  {}",
            complaints.len(),
            complaints.join("\n  ")
        );
    }
    println!("    {} packages have allowed licences", packages.len());
    Ok(())
}

fn complaint(package: &Package, allowed: &[String]) -> Option<String> {
    if let Some(source) = package
        .source
        .as_ref()
        .filter(|own| !own.starts_with(REGISTRY))
    {
        return Some(format!("comes from {source}, not from the registry"));
    }
    match &package.license {
        None => Some("says nothing of its licence".into()),
        Some(expression) if is_allowed(expression, allowed) => None,
        Some(expression) => Some(format!(
            "has the licence {expression}, which is not allowed"
        )),
    }
}

/// Whether an SPDX expression can be met by allowed licences; `/` is how OR was written once. Nothing that is not
/// understood is allowed.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any(&mut words, allowed);
    verdict == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut verdict = all(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all(words, allowed)?;
    }
    Some(verdict)
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut verdict = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, allowed)?;
    }
    Some(verdict)
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    if words.next_if_eq(&"(").is_some() {
        let verdict = any(words, allowed)?;
        return words.next_if_eq(&")").map(|_| verdict);
    }
    let mut licence = words.next()?.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next()?);
    }
    Some(allowed.contains(&licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        let allowed = [
            "MIT",
            "Apache-2.0",
            "Zlib",
            "Apache-2.0 WITH LLVM-exception",
        ];
        let allowed = allowed.map(String::from);
        for (expression, verdict) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND Zlib", true),
            ("(GPL-3.0 OR MIT) AND BSL-1.0", false),
            ("GPL-3.0 OR MIT AND Zlib", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-3.0 WITH Classpath-exception-2.0 OR Zlib", true),
            ("MIT WITH Classpath-exception-2.0", false),
            ("", false),
            ("(MIT", false),
            ("MIT)", false),
            ("MIT Zlib", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), verdict, "{expression}");
        }
    }

    #[test]
    fn a_package_from_elsewhere_is_named() {
        let mut package = Package {
            name: "a".into(),
            version: "1.0.0".into(),
            license: Some("MIT".into()),
            description: None,
            source: Some("registry+there".into()),
        };
        let allowed = ["MIT".to_owned()];
        assert_eq!(complaint(&package, &allowed), None);
        package.source = Some("git+there".into());
        assert!(complaint(&package, &allowed).is_some());
        package.source = None;
        package.license = None;
        assert!(complaint(&package, &allowed).is_some());
    }
}
