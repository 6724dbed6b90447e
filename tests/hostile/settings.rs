//! Owns what is tried of settings: any file with any overrides is settings, which are written as they were read, or an
//! error.

use trainer::settings::Settings;

use super::folder;

/// Divides the file from the overrides, and these from each other.
const BETWEEN: u8 = 0;

/// Reads settings from a file and overrides.
pub fn run(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == BETWEEN);
    let file = parts.next().unwrap_or_default();
    let overrides: Vec<String> = parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    let resolve = |toml: &[u8], overrides: &[String]| {
        folder::with(&[("run.toml", toml)], |dir| {
            Settings::resolve(Some(&dir.join("run.toml")), overrides)
        })
    };
    let Ok(Ok(settings)) = resolve(file, &overrides) else {
        return;
    };
    let Ok(written) = settings.to_toml() else {
        return;
    };
    match resolve(written.as_bytes(), &[]) {
        Ok(Ok(again)) => assert_eq!(again.to_toml().ok(), Some(written)),
        error => panic!("what was written is not read: {error:?}"),
    }
}
