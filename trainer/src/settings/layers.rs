//! Owns the merging of settings from file and command line, and the sentences about unknown keys.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::limits::{KEY_PARTS, SETTINGS_BYTES};
use toml::{Table, Value};

use crate::bounded;

/// Defaults of `T`, then the file, then each `key=value` in order.
///
/// # Errors
/// If a layer cannot be read; the message names the file and line or the override, and the nearest key.
pub fn resolve<T: DeserializeOwned + Serialize + Default>(
    file: Option<&Path>,
    overrides: &[String],
) -> Result<T> {
    let mut table =
        Table::try_from(T::default()).context("the defaults cannot be written as TOML")?;
    if let Some(path) = file {
        let text = bounded::text(path, SETTINGS_BYTES).context("the configuration")?;
        // Read by itself first: only so does the error know the line.
        toml::from_str::<T>(&text).map_err(|error| anyhow!("{}", describe(&error, path, &text)))?;
        merge(&mut table, toml::from_str(&text)?);
    }
    for pair in overrides {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("--set {pair}: give key=value, for example --set train.rate=0.003");
        };
        set(&mut table, key.trim(), parse(value.trim()))
            .with_context(|| format!("--set {pair}"))?;
        table
            .clone()
            .try_into::<T>()
            .map_err(|error| anyhow!("--set {pair}: {}", explain(error.message())))?;
    }
    table
        .try_into()
        .map_err(|error: toml::de::Error| anyhow!("{}", explain(error.message())))
}

/// Lays one table over another. Where it chooses another `method`, the old method's settings go.
fn merge(under: &mut Table, over: Table) {
    if over
        .get("method")
        .is_some_and(|method| under.get("method") != Some(method))
    {
        under.clear();
    }
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// A value as TOML; what is none (`data/emoji`, `linear`) is a string.
fn parse(text: &str) -> Value {
    let table: Option<Table> = toml::from_str(&format!("value = {text}")).ok();
    table
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Sets a dotted key. Choosing another `method` clears its table: the old method's settings do not fit the new one.
fn set(table: &mut Table, key: &str, value: Value) -> Result<()> {
    // Tables within tables are read, copied and dropped by functions that call themselves.
    if key.split('.').count() > KEY_PARTS {
        bail!("a key has at most {KEY_PARTS} parts");
    }
    let (parents, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut inner = table;
    for part in parents.split('.').filter(|part| !part.is_empty()) {
        let next = inner
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()));
        inner = next
            .as_table_mut()
            .with_context(|| format!("`{part}` is a value, not a section"))?;
    }
    if last == "method" && inner.get(last) != Some(&value) {
        inner.clear();
    }
    inner.insert(last.to_owned(), value);
    Ok(())
}

/// The error of a file: its name, the line, what is wrong, what was probably meant.
fn describe(error: &toml::de::Error, path: &Path, text: &str) -> String {
    let line = error
        .span()
        .map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    let place = line
        .map(|line| format!(", line {line}"))
        .unwrap_or_default();
    format!("{}{place}: {}", path.display(), explain(error.message()))
}

/// serde's sentence about an unknown name, with the nearest known one.
fn explain(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (Some(kind), Some((unknown, known))) = (
        ["unknown field", "unknown variant"]
            .iter()
            .find(|kind| message.starts_with(**kind)),
        names.split_first(),
    ) else {
        return message.trim_end().to_owned();
    };
    let what = if *kind == "unknown field" {
        "key"
    } else {
        "choice"
    };
    match known.iter().min_by_key(|name| distance(unknown, name)) {
        Some(nearest) => {
            format!(
                "there is no {what} `{unknown}` here; did you mean `{nearest}`? (known: {})",
                known.join(", ")
            )
        }
        None => format!("there is no {what} `{unknown}` here"),
    }
}

/// Edits (insert, delete, replace) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn fails(file: &str, overrides: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, file).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
        format!(
            "{:#}",
            resolve::<Settings>(Some(&path), &overrides).unwrap_err()
        )
    }

    #[test]
    fn a_misspelt_key_names_line_and_nearest() {
        let error = fails("[train]\nepochs = 3\nlerning_rate = 1\n", &[]);
        assert!(
            error.contains("run.toml, line 3: there is no key `lerning_rate`"),
            "{error}"
        );
        let error = fails("[train]\nepoch = 3\n", &[]);
        assert!(
            error.contains("line 2") && error.contains("did you mean `epochs`?"),
            "{error}"
        );
        let error = fails("[tarin]\n", &[]);
        assert!(error.contains("did you mean `train`?"), "{error}");
        let error = fails("[model.prompt]\nmethod = \"dcp\"\nlenght = 12\n", &[]);
        assert!(error.contains("did you mean `length`?"), "{error}");
    }

    #[test]
    fn overrides_are_told_apart() {
        let error = fails("", &["train.rate=0.1", "trian.rate=1"]);
        assert!(
            error.starts_with("--set trian.rate=1: ") && error.contains("`train`"),
            "{error}"
        );
        let error = fails("", &["missing.kind=bth"]);
        assert!(error.contains("did you mean `both`?"), "{error}");
        assert!(fails("", &["train"]).contains("give key=value"));
        let deep = format!("{}a=1", "a.".repeat(50_000));
        assert!(fails("", &[&deep]).contains("at most 8 parts"));
        assert!(fails("[train]\nepochs = 1\n", &["train.epochs.x=1"]).contains("not a section"));
    }

    #[test]
    fn a_new_method_forgets_the_old_ones_settings() {
        let file = "[model.prompt]\nmethod = \"dcp\"\nlength = 12\n";
        let mut table: Table = toml::from_str(file).unwrap();
        set(&mut table, "model.prompt.method", parse("none")).unwrap();
        assert_eq!(table["model"]["prompt"].as_table().unwrap().len(), 1);

        let over = |file: &str| {
            let mut under: Table =
                toml::from_str("[prompt]\nmethod = \"dcp\"\nlength = 36\ndepth = 6\n").unwrap();
            merge(&mut under, toml::from_str(file).unwrap());
            under["prompt"].as_table().unwrap().len()
        };
        assert_eq!(over("[prompt]\nlength = 12\n"), 3);
        assert_eq!(over("[prompt]\nmethod = \"none\"\n"), 1);
    }
}
