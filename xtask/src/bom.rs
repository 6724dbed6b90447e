//! Owns bills of materials: what a program is linked from, as CycloneDX describes it in JSON.
//!
//! A bill has no time and a serial number that follows from its content, so that the same sources give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::licences::{Metadata, Package};
use crate::step::{command, output};

/// The version of CycloneDX.
const VERSION: &str = "1.5";

/// What a bill is of.
pub(crate) struct Product<'a> {
    /// Its name; the package's own, if it is not named otherwise.
    pub(crate) name: &'a str,
    /// CycloneDX's word: `application`, `library`.
    pub(crate) kind: &'a str,
    /// How it is addressed: `cargo` or `npm`.
    pub(crate) registry: &'a str,
    /// The package of the workspace that it is built from.
    pub(crate) package: &'a str,
    /// The system that it is built for.
    pub(crate) target: &'a str,
}

/// A package by name and version.
type Id = (String, String);

/// The bill of a product: every package that is linked into it, with licence and checksum.
///
/// # Errors
/// If cargo does not know the package, or its packages are not fetched.
pub(crate) fn of(product: &Product<'_>) -> Result<Value> {
    let arguments = format!(
        "tree -p {} --target {} -e normal,no-proc-macro --prefix depth --format {{p}} --offline --locked",
        product.package, product.target
    );
    let edges = edges(&output(&mut command("cargo", &arguments))?)?;
    let packages = Metadata::read("Cargo.toml")?.packages;
    let packages: BTreeMap<Id, Package> = packages
        .into_iter()
        .map(|package| ((package.name.clone(), package.version.clone()), package))
        .collect();
    let lock = fs::read_to_string("Cargo.lock").context("cannot read Cargo.lock")?;
    bill(product, &edges, &packages, &checksums(&lock)?)
}

/// From `cargo tree` with depths: what each package links. A package that was listed before is listed without its own.
fn edges(tree: &str) -> Result<BTreeMap<Id, BTreeSet<Id>>> {
    let mut edges: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let unknown = || format!("cargo tree prints {line:?}");
        let digits = line.chars().take_while(char::is_ascii_digit).count();
        let (depth, rest) = line.split_at(digits);
        let depth: usize = depth.parse().with_context(unknown)?;
        let mut words = rest.split_whitespace();
        let (name, version) = words.next().zip(words.next()).with_context(unknown)?;
        let id = (name.to_owned(), version.trim_start_matches('v').to_owned());
        above.truncate(depth);
        if let Some(user) = above.last() {
            edges.entry(user.clone()).or_default().insert(id.clone());
        }
        edges.entry(id.clone()).or_default();
        above.push(id);
    }
    Ok(edges)
}

/// The SHA-256 of every package in a lock file.
fn checksums(lock: &str) -> Result<BTreeMap<Id, String>> {
    let lock: toml::Table = toml::from_str(lock).context("Cargo.lock is damaged")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let packages = packages.context("Cargo.lock has no packages")?;
    let field = |package: &toml::Value, name: &str| {
        package
            .get(name)
            .and_then(toml::Value::as_str)
            .map(str::to_owned)
    };
    let known = packages.iter().filter_map(|package| {
        let id = (field(package, "name")?, field(package, "version")?);
        Some((id, field(package, "checksum")?))
    });
    Ok(known.collect())
}

fn bill(
    product: &Product<'_>,
    edges: &BTreeMap<Id, BTreeSet<Id>>,
    packages: &BTreeMap<Id, Package>,
    checksums: &BTreeMap<Id, String>,
) -> Result<Value> {
    let root = edges.keys().find(|(name, _)| name == product.package);
    let root = root.with_context(|| format!("cargo tree has no {}", product.package))?;
    let component = |id: &Id, kind: &str, name: &str, registry: &str| -> Result<Value> {
        let (known, version) = (packages.get(id), &id.1);
        let known = known.with_context(|| format!("cargo metadata has no {} {version}", id.0))?;
        let reference = address(registry, name, version);
        let mut component = json!({
            "type": kind, "bom-ref": reference, "name": name, "version": version, "purl": reference,
        });
        if let Some(expression) = &known.license {
            // Before SPDX a slash meant OR.
            let expression = expression.replace(" / ", " OR ").replace('/', " OR ");
            component["licenses"] = json!([{ "expression": expression }]);
        }
        if let Some(description) = &known.description {
            component["description"] = json!(description.trim());
        }
        if let Some(checksum) = checksums.get(id) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        Ok(component)
    };
    let of_root = |id: &Id| match id == root {
        true => address(product.registry, product.name, &id.1),
        false => address("cargo", &id.0, &id.1),
    };
    let dependencies = edges.iter().map(|(user, used)| {
        json!({ "ref": of_root(user), "dependsOn": used.iter().map(of_root).collect::<Vec<_>>() })
    });
    let parts = edges.keys().filter(|id| *id != root);
    let parts = parts.map(|id| component(id, "library", &id.0, "cargo"));
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "version": 1,
        "metadata": { "component": component(root, product.kind, product.name, product.registry)? },
        "components": parts.collect::<Result<Vec<_>>>()?,
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    bill["serialNumber"] = json!(serial_number(&bill));
    Ok(bill)
}

/// A package's address, as purl has it.
fn address(registry: &str, name: &str, version: &str) -> String {
    // Of what names and versions are made of, only this has a meaning of its own there.
    format!("pkg:{registry}/{name}@{}", version.replace('+', "%2B"))
}

/// A UUID of version 8 made of the content.
fn serial_number(bill: &Value) -> String {
    let mut bytes = Sha256::digest(bill.to_string());
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str =
        "0ours v0.1.0 (/somewhere/ours)\n1a v1.0.0\n2b v2.0.0+x\n1c v3.0.0\n2a v1.0.0 (*)\n";
    const LOCK: &str = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00ff\"\n";

    fn example() -> Value {
        let edges = edges(TREE).unwrap();
        let package = |id: &Id| Package {
            name: id.0.clone(),
            version: id.1.clone(),
            license: Some("MIT/Apache-2.0".into()),
            description: None,
            source: None,
        };
        let packages = edges.keys().map(|id| (id.clone(), package(id))).collect();
        let product = Product {
            name: "ours-classifier",
            kind: "library",
            registry: "npm",
            package: "ours",
            target: "",
        };
        bill(&product, &edges, &packages, &checksums(LOCK).unwrap()).unwrap()
    }

    #[test]
    fn a_bill_has_what_the_specification_asks_for() {
        let bill = example();
        assert_eq!(bill["bomFormat"], "CycloneDX");
        let serial = bill["serialNumber"].as_str().unwrap();
        assert_eq!(serial.len(), "urn:uuid:".len() + 36, "{serial}");
        assert_eq!(serial, example()["serialNumber"]);
        assert_eq!(
            bill["metadata"]["component"]["purl"],
            "pkg:npm/ours-classifier@0.1.0"
        );
        let parts = bill["components"].as_array().unwrap();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0]["hashes"][0]["content"], "00ff");
        assert_eq!(parts[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(parts[1]["purl"], "pkg:cargo/b@2.0.0%2Bx");
        assert!(parts.iter().all(|part| part["type"] == "library"));
    }

    #[test]
    fn every_reference_is_a_component_and_edges_are_those_of_the_tree() {
        let bill = example();
        let mut known: BTreeSet<&str> = BTreeSet::from(["pkg:npm/ours-classifier@0.1.0"]);
        let parts = bill["components"].as_array().unwrap();
        known.extend(parts.iter().map(|part| part["bom-ref"].as_str().unwrap()));
        for entry in bill["dependencies"].as_array().unwrap() {
            assert!(known.contains(entry["ref"].as_str().unwrap()), "{entry}");
            for used in entry["dependsOn"].as_array().unwrap() {
                assert!(known.contains(used.as_str().unwrap()), "{entry}");
            }
        }
        let uses = |name: &str| {
            let all = bill["dependencies"].as_array().unwrap().iter();
            let entry = all.clone().find(|entry| entry["ref"] == name).unwrap();
            entry["dependsOn"].as_array().unwrap().len()
        };
        assert_eq!(uses("pkg:npm/ours-classifier@0.1.0"), 2);
        assert_eq!(uses("pkg:cargo/a@1.0.0"), 1);
        assert_eq!(uses("pkg:cargo/c@3.0.0"), 1);
    }
}
