//! Owns the way of the visitor's own bundle into the page: a folder or a .zip archive, picked or dropped.

use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use shared::bundle::{MANIFEST, limits};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, DataTransfer, File, FileSystemDirectoryEntry, FileSystemEntry, FileSystemFileEntry,
};

use super::archive::{self, Member};
use super::offer::Offer;
use crate::protocol::{Code, Failure};
use crate::stream;

/// A folder with more files than this is not a bundle's; looking further would only take time.
const MOST_FILES: usize = 1 << 12;
/// How deep folders are looked into.
const DEEPEST: usize = 4;

/// A bundle of the visitor's own.
pub struct Local {
    /// What it is.
    pub offer: Offer,
    /// Blobs by the files' names, as the worker takes them.
    pub files: Object,
}

/// What a file of the visitor's is: itself, or a part of an archive.
enum Place {
    File(Blob),
    Member(Blob, Member),
}

/// Reads what was picked: all files of a folder, or one archive.
///
/// # Errors
/// If it is no bundle.
pub async fn of_files(files: Vec<File>) -> Result<Local, Failure> {
    if let [archive] = &files[..]
        && archive.name().to_lowercase().ends_with(".zip")
    {
        return of_archive(archive).await;
    }
    let path = |file: &File| {
        let relative = Reflect::get(file, &"webkitRelativePath".into()).ok();
        let relative = relative.and_then(|path| path.as_string());
        relative
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| file.name())
    };
    let places = files
        .into_iter()
        .map(|file| (path(&file), Place::File(file.into())));
    of_places("The folder", places.collect()).await
}

/// Takes hold of what was dropped, and reads it then: the browser forgets a drop as soon as its event is over.
pub fn of_drop(data: &DataTransfer) -> impl Future<Output = Result<Local, Failure>> + use<> {
    let items = data.items();
    let mut entries: Vec<FileSystemEntry> = Vec::new();
    for index in 0..items.length() {
        let entry = items.get(index).map(|item| item.webkit_get_as_entry());
        entries.extend(entry.and_then(Result::ok).flatten());
    }
    // Without folders there may be files all the same.
    let bare = data.files().filter(|_| entries.is_empty());
    let bare: Vec<File> = bare.map_or(Vec::new(), |list| {
        (0..list.length()).filter_map(|at| list.get(at)).collect()
    });
    async move {
        if !bare.is_empty() {
            return of_files(bare).await;
        }
        let mut files = Vec::new();
        for entry in &entries {
            walk(entry, &mut files, DEEPEST).await.map_err(|_| {
                Failure::new(
                    Code::Bundle,
                    "What was dropped cannot be read.",
                    "Choose the folder with the button instead.",
                )
            })?;
        }
        if let [(path, archive)] = &files[..]
            && path.to_lowercase().ends_with(".zip")
        {
            return of_archive(archive).await;
        }
        let places = files
            .into_iter()
            .map(|(path, file)| (path, Place::File(file.into())));
        of_places("What was dropped", places.collect()).await
    }
}

async fn of_archive(file: &File) -> Result<Local, Failure> {
    let name = format!("“{}”", file.name());
    let members = archive::list(file)
        .await
        .map_err(|why| broken(&name, &why))?;
    let places = members.into_iter().map(|member| {
        let archive: &Blob = file;
        (member.path.clone(), Place::Member(archive.clone(), member))
    });
    of_places(&name, places.collect()).await
}

/// Finds the one bundle among files with their paths. It may lie in a folder.
async fn of_places(what: &str, places: Vec<(String, Place)>) -> Result<Local, Failure> {
    let folder = folder(what, places.iter().map(|(path, _)| path.as_str()))?;
    let find = |name: &str| {
        let path = format!("{folder}{name}");
        places
            .iter()
            .find(|(other, _)| *other == path)
            .map(|(_, place)| place)
    };
    let Some(manifest) = find(MANIFEST) else {
        return Err(no_bundle(what, ""));
    };
    let manifest = manifest.open(what).await?;
    let json = text(&manifest).await;
    let Some((offer, listed)) = json.as_deref().and_then(Offer::of_manifest) else {
        return Err(Failure::new(
            Code::Bundle,
            format!("{what}: {MANIFEST} is no Lacuna manifest."),
            "Choose the folder that `trainer export` wrote, or a .zip of it.",
        ));
    };
    let files = Object::new();
    let put = |name: &str, blob: &Blob| {
        let put = Reflect::set(&files, &name.into(), blob);
        put.map_err(|_| broken(what, "cannot be read"))
    };
    put(MANIFEST, &manifest)?;
    for file in &listed {
        let Some(place) = find(&file.name) else {
            return Err(Failure::new(
                Code::Bundle,
                format!(
                    "{what} is not whole: it has no {}, which its manifest lists.",
                    file.name
                ),
                "Choose the whole folder that the export wrote, or a .zip of it.",
            ));
        };
        put(&file.name, &place.open(what).await?)?;
    }
    Ok(Local { offer, files })
}

impl Place {
    async fn open(&self, what: &str) -> Result<Blob, Failure> {
        match self {
            Self::File(file) => Ok(file.clone()),
            Self::Member(archive, member) => {
                let opened = archive::open(archive, member).await;
                opened.map_err(|why| broken(what, &why))
            }
        }
    }
}

/// The folder of the manifest that lies least deep, with the slash at its end.
fn folder<'a>(
    what: &str,
    paths: impl Iterator<Item = &'a str> + Clone,
) -> Result<&'a str, Failure> {
    let depth = |folder: &str| folder.matches('/').count();
    let folders = paths.clone().filter_map(|path| {
        let folder = path.strip_suffix(MANIFEST)?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    });
    let mut folders: Vec<&str> = folders.collect();
    folders.sort_by_key(|folder| depth(folder));
    match folders[..] {
        [] => {
            let named = |ending: &str| paths.clone().any(|path| path.ends_with(ending));
            let raw =
                named("config.json") || named("pytorch_model.bin") || named("model.safetensors");
            let why = if raw {
                ", but files as they are trained from"
            } else {
                ""
            };
            Err(no_bundle(what, why))
        }
        [first, second, ..] if depth(first) == depth(second) => Err(Failure::new(
            Code::Bundle,
            format!("{what} has several bundles: {first} and {second}."),
            "Choose the folder of one of them.",
        )),
        [first, ..] => Ok(first),
    }
}

fn no_bundle(what: &str, why: &str) -> Failure {
    Failure::new(
        Code::Bundle,
        format!("{what} is no bundle: it has no {MANIFEST}{why}."),
        "Choose the folder that `trainer export` wrote, or a .zip of it.",
    )
}

fn broken(what: &str, why: &str) -> Failure {
    Failure::new(
        Code::Bundle,
        format!("{what} {why}."),
        "Get the archive again, or unpack it and choose the folder.",
    )
}

/// A manifest's text, if it is short enough for one.
async fn text(manifest: &Blob) -> Option<String> {
    let room = Uint8Array::new_with_length(limits::MANIFEST_BYTES as u32 + 1);
    let response = stream::open(manifest).ok()?;
    let bytes = stream::receive(&response, &room, |_| ()).await.ok()?;
    let short = bytes.length() as usize <= limits::MANIFEST_BYTES;
    short
        .then(|| String::from_utf8(bytes.to_vec()).ok())
        .flatten()
}

/// Collects the files under an entry with their paths.
async fn walk(
    entry: &FileSystemEntry,
    files: &mut Vec<(String, File)>,
    depth: usize,
) -> Result<(), JsValue> {
    if files.len() >= MOST_FILES {
        return Ok(());
    }
    if let Some(file) = entry.dyn_ref::<FileSystemFileEntry>() {
        let path = entry.full_path().trim_start_matches('/').to_owned();
        let asked = called(|done, failed| {
            file.file_with_callback_and_callback(done, failed);
            Ok(())
        });
        let file = asked.await?;
        files.push((path, file.unchecked_into()));
    } else if let Some(folder) = entry.dyn_ref::<FileSystemDirectoryEntry>()
        && depth > 0
    {
        let reader = Rc::new(folder.create_reader());
        loop {
            // Browsers hand out a folder in parts; an empty one is the end.
            let part =
                called(|done, failed| reader.read_entries_with_callback_and_callback(done, failed));
            let part: Array = part.await?.unchecked_into();
            if part.length() == 0 {
                break;
            }
            for inner in part.iter() {
                Box::pin(walk(inner.unchecked_ref(), files, depth - 1)).await?;
            }
        }
    }
    Ok(())
}

/// Waits for one of two callbacks.
async fn called(
    call: impl Fn(&Function, &Function) -> Result<(), JsValue>,
) -> Result<JsValue, JsValue> {
    let promise = Promise::new(&mut |done, failed| {
        if let Err(error) = call(done.unchecked_ref(), failed.unchecked_ref()) {
            let failed: &Function = failed.unchecked_ref();
            let _ = failed.call1(&JsValue::NULL, &error);
        }
    });
    JsFuture::from(promise).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_found_in_a_folder() {
        let find = |paths: &[&'static str]| folder("It", paths.iter().copied());
        assert_eq!(find(&["manifest.json", "a"]), Ok(""));
        assert_eq!(
            find(&["x/y/manifest.json", "x/y/a", "x/y/z/manifest.json"]),
            Ok("x/y/")
        );
        assert_eq!(
            find(&["__MACOSX/x/._manifest.json", "x/manifest.json"]),
            Ok("x/")
        );
        assert!(
            find(&["a/manifest.json", "b/manifest.json"])
                .unwrap_err()
                .message
                .contains("several")
        );
        assert!(
            find(&["x/a.txt"])
                .unwrap_err()
                .message
                .ends_with("no manifest.json.")
        );
        assert!(
            find(&["x/config.json"])
                .unwrap_err()
                .message
                .contains("trained from")
        );
    }
}
