//! Owns the way of the visitor's own bundle into the page: a folder or a .zip archive, picked or dropped.

use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    Blob, DataTransfer, File, FileSystemDirectoryEntry, FileSystemEntry, FileSystemFileEntry,
};

use super::archive::{self, Member, Why};
use super::offer::Offer;
use super::words;
use crate::promise::settled;
use crate::protocol::{Code, Failure, MANIFEST, limits};
use crate::stream;

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
    of_places(&words::say("own-folder", &[]), places.collect()).await
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
            let walked = walk(entry, &mut files, DEEPEST).await;
            walked.map_err(|_| broken(&words::say("own-drop", &[]), &Why::Unreadable))?;
        }
        if let [(path, archive)] = &files[..]
            && path.to_lowercase().ends_with(".zip")
        {
            return of_archive(archive).await;
        }
        let places = files
            .into_iter()
            .map(|(path, file)| (path, Place::File(file.into())));
        of_places(&words::say("own-drop", &[]), places.collect()).await
    }
}

async fn of_archive(file: &File) -> Result<Local, Failure> {
    let name = words::say("own-archive", &[&file.name()]);
    let members = archive::list(file).await;
    let members = members.map_err(|why| broken(&name, &why))?;
    let places = members.into_iter().map(|member| {
        let archive: &Blob = file;
        (member.path.clone(), Place::Member(archive.clone(), member))
    });
    of_places(&name, places.collect()).await
}

/// Finds the one bundle among files with their paths. It may lie in a folder.
async fn of_places(what: &str, places: Vec<(String, Place)>) -> Result<Local, Failure> {
    let folder = folder(places.iter().map(|(path, _)| path.as_str()));
    let folder = folder.map_err(|wrong| wrong.failure(what))?;
    let find = |name: &str| {
        let path = format!("{folder}{name}");
        let found = places.iter().find(|(other, _)| *other == path);
        found.map(|(_, place)| place)
    };
    let Some(manifest) = find(MANIFEST) else {
        return Err(Wrong::None.failure(what));
    };
    let manifest = manifest.open(what).await?;
    let json = text(&manifest).await;
    let Some((offer, listed)) = json.as_deref().and_then(Offer::of_manifest) else {
        return Err(refusal("own-foreign", &[what], "own-hint"));
    };
    let files = Object::new();
    let put = |name: &str, blob: &Blob| {
        let put = Reflect::set(&files, &name.into(), blob);
        put.map_err(|_| broken(what, &Why::Unreadable))
    };
    put(MANIFEST, &manifest)?;
    for file in &listed {
        let Some(place) = find(&file.name) else {
            return Err(refusal("own-lacks", &[what, &file.name], "own-hint"));
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

/// Why files are no bundle.
#[derive(Debug, PartialEq)]
enum Wrong {
    /// They have no manifest.
    None,
    /// Nor have they, but they look like those of a model for training.
    Raw,
    /// These folders have one each.
    Several(String, String),
}

impl Wrong {
    fn failure(&self, what: &str) -> Failure {
        match self {
            Self::None => refusal("own-none", &[what], "own-hint"),
            Self::Raw => refusal("own-raw", &[what], "own-hint"),
            Self::Several(one, other) => {
                refusal("own-several", &[what, one, other], "own-several-hint")
            }
        }
    }
}

/// The folder of the manifest that lies least deep, with the slash at its end.
fn folder<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Result<&'a str, Wrong> {
    let depth = |folder: &str| folder.matches('/').count();
    let folders = paths.clone().filter_map(|path| {
        let folder = path.strip_suffix(MANIFEST)?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    });
    let mut folders: Vec<&str> = folders.collect();
    folders.sort_by_key(|folder| depth(folder));
    match folders[..] {
        [] => {
            let marks = ["config.json", "pytorch_model.bin", "model.safetensors"];
            let mut endings = paths.filter(|path| marks.iter().any(|mark| path.ends_with(mark)));
            Err(endings.next().map_or(Wrong::None, |_| Wrong::Raw))
        }
        [first, second, ..] if depth(first) == depth(second) => {
            Err(Wrong::Several(first.into(), second.into()))
        }
        [first, ..] => Ok(first),
    }
}

fn broken(what: &str, why: &Why) -> Failure {
    let (name, member) = match why {
        Why::Unreadable => ("own-unread", ""),
        Why::NoArchive => ("archive-none", ""),
        Why::Damaged => ("archive-damaged", ""),
        Why::Large => ("archive-large", ""),
        Why::Method(member) => ("archive-method", member.as_str()),
        Why::Encrypted(member) => ("archive-encrypted", member.as_str()),
    };
    refusal(name, &[what, member], "archive-hint")
}

fn refusal(name: &str, values: &[&str], hint: &str) -> Failure {
    let message = words::say(name, values);
    Failure::new(Code::Bundle, message, words::say(hint, &[]))
}

/// A manifest's text, if it is short enough for one.
async fn text(manifest: &Blob) -> Option<String> {
    let room = Uint8Array::new_with_length(limits::MANIFEST_BYTES as u32 + 1);
    let response = stream::open(manifest).ok()?;
    let bytes = stream::receive(&response, &room, 0, |_| ()).await.ok()?;
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
    if files.len() >= limits::MEMBERS {
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
    settled(promise).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_found_in_a_folder() {
        let find = |paths: &[&'static str]| folder(paths.iter().copied());
        assert_eq!(find(&["manifest.json", "a"]), Ok(""));
        assert_eq!(
            find(&["x/y/manifest.json", "x/y/z/manifest.json"]),
            Ok("x/y/")
        );
        assert_eq!(
            find(&["__MACOSX/x/._manifest.json", "x/manifest.json"]),
            Ok("x/")
        );
        assert_eq!(
            find(&["a/manifest.json", "b/manifest.json"]),
            Err(Wrong::Several("a/".into(), "b/".into()))
        );
        assert_eq!(find(&["x/a.txt"]), Err(Wrong::None));
        assert_eq!(find(&["x/config.json"]), Err(Wrong::Raw));
    }
}
