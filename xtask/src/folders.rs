//! Owns what keeps this machine's folders out of what is built. Where something panics is written into a program as a
//! path, so that the same sources would give other files in every folder.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::step::{command, output};

/// The compiler's flags that write names in place of folders. They are separated by spaces, so that a folder with one in
/// its own name has to stay as it is.
///
/// # Errors
/// If there is no compiler, or no home folder.
pub(crate) fn renamed() -> Result<String> {
    let flags = folders()?.map(|(folder, name)| renaming(&folder, name));
    Ok(flags.concat())
}

/// Where sources lie on this machine, and how they are called in what is built.
fn folders() -> Result<[(PathBuf, &'static str); 3]> {
    let compiler = output(&mut command("rustc", "--print sysroot"))?;
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let home = home.context("there is no home folder; name cargo's in the variable CARGO_HOME")?;
    Ok([
        (env::current_dir()?, "lacuna"),
        (home.join("registry/src"), "packages"),
        (Path::new(&compiler).join("lib/rustlib/src/rust"), "rust"),
    ])
}

fn renaming(folder: &Path, name: &str) -> String {
    let folder = folder.to_string_lossy();
    if folder.contains(char::is_whitespace) {
        println!("    {folder} has a space in its name and will stand in what is built");
        return String::new();
    }
    format!(" --remap-path-prefix={folder}={name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_folder_is_renamed_and_one_with_a_space_stays() {
        let flags = renamed().unwrap();
        let here = env::current_dir().unwrap();
        assert!(flags.contains(&renaming(&here, "lacuna")), "{flags}");
        assert_eq!(renaming(Path::new("/a b"), "lacuna"), "");
    }
}
