//! Owns files as the visitor gives them: picked, or dropped as files and whole folders, each with its path.

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DataTransfer, File, FileList, FileSystemDirectoryEntry, FileSystemEntry, FileSystemFileEntry,
};

use crate::promise::pause;

/// Endings of pictures that are looked for in a folder; whether one can be read shows when it is.
const PICTURES: [&str; 5] = ["png", "jpg", "jpeg", "webp", "gif"];
/// So many files are looked at before the page gets its turn.
const STRETCH: u32 = 1_000;

/// A file. One from a dropped folder is opened only when it is needed.
#[derive(Clone)]
pub(super) struct Given {
    /// The path, with the name of the folder that was given, and `/` between.
    pub(super) path: String,
    source: Source,
}

#[derive(Clone)]
enum Source {
    File(File),
    Entry(FileSystemFileEntry),
}

impl Given {
    /// The file itself.
    ///
    /// # Errors
    /// If it is not there any more.
    pub(super) async fn file(&self) -> Result<File, JsValue> {
        match &self.source {
            Source::File(file) => Ok(file.clone()),
            Source::Entry(entry) => {
                let found = called_back(|found, failed| {
                    entry.file_with_callback_and_callback(found, failed);
                });
                found.await?.dyn_into()
            }
        }
    }

    /// The path without the folders.
    pub(super) fn name(&self) -> &str {
        name(&self.path)
    }

    /// Whether it is a picture, by its ending; a picture that was pasted or dragged may have only a kind.
    pub(super) fn is_picture(&self) -> bool {
        let kind = match &self.source {
            Source::File(file) => file.type_(),
            Source::Entry(_) => String::new(),
        };
        PICTURES.contains(&ending(&self.path).as_str()) || kind.starts_with("image/")
    }

    /// Whether it is a table of posts, by its ending.
    pub(super) fn is_table(&self) -> bool {
        is_table(&self.path)
    }

    fn of(file: File) -> Self {
        let path = Reflect::get(&file, &"webkitRelativePath".into()).unwrap_or_default();
        let path = path.as_string().filter(|path| !path.is_empty());
        Self {
            path: path.unwrap_or_else(|| file.name()),
            source: Source::File(file),
        }
    }
}

/// The last part of a path.
pub(super) fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// What stands after the last point of a name, in small letters.
fn ending(path: &str) -> String {
    let (_, ending) = name(path).rsplit_once('.').unwrap_or_default();
    ending.to_ascii_lowercase()
}

fn is_table(path: &str) -> bool {
    matches!(ending(path).as_str(), "csv" | "jsonl")
}

/// The files of a picker.
pub(super) async fn picked(list: FileList) -> Vec<Given> {
    let mut files = Vec::new();
    for place in 0..list.length() {
        files.extend(list.get(place).map(Given::of));
        if place % STRETCH == STRETCH - 1 {
            pause(0).await;
        }
    }
    files
}

/// What a drop carries in files and folders. They can only be taken out while the browser tells of the drop; looking
/// into the folders takes longer.
pub(super) struct Dropped {
    files: Vec<Given>,
    folders: Vec<FileSystemDirectoryEntry>,
}

impl Dropped {
    /// Takes the files and folders out of a drop.
    pub(super) fn of(data: &DataTransfer) -> Self {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let items = data.items();
        for item in (0..items.length()).filter_map(|place| items.get(place)) {
            if item.kind() != "file" {
                continue;
            }
            match item.webkit_get_as_entry() {
                Ok(Some(entry)) if entry.is_directory() => folders.push(entry.unchecked_into()),
                _ => files.extend(item.get_as_file().ok().flatten().map(Given::of)),
            }
        }
        Self { files, folders }
    }

    /// Whether more than one file was dropped, or anything that may hold more than one post.
    pub(super) fn is_many(&self) -> bool {
        self.files.len() > 1 || !self.folders.is_empty() || self.files.iter().any(Given::is_table)
    }

    /// Whether there is any file or folder.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty()
    }

    /// All files, also those in folders of folders; at most one more than `most`.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) async fn files(self, most: usize) -> Result<Vec<Given>, JsValue> {
        let Self {
            mut files,
            mut folders,
        } = self;
        while let Some(folder) = folders.pop() {
            let reader = folder.create_reader();
            // A browser gives a hundred entries at a time, and none after the last.
            loop {
                let mut failure = Ok(());
                let entries = called_back(|found, failed| {
                    failure = reader.read_entries_with_callback_and_callback(found, failed);
                });
                failure?;
                let entries: Array = entries.await?.unchecked_into();
                for entry in entries.iter() {
                    let entry: FileSystemEntry = entry.unchecked_into();
                    if entry.is_directory() {
                        folders.push(entry.unchecked_into());
                    } else {
                        files.push(Given {
                            path: entry.full_path().trim_start_matches('/').to_owned(),
                            source: Source::Entry(entry.unchecked_into()),
                        });
                    }
                }
                if entries.length() == 0 || files.len() > most {
                    break;
                }
            }
            if files.len() > most {
                break;
            }
        }
        Ok(files)
    }
}

/// What a call of the older kind, with one function for each outcome, leads to.
fn called_back(call: impl FnOnce(&Function, &Function)) -> JsFuture {
    let mut call = Some(call);
    let promise = Promise::new(&mut |found, failed| {
        if let Some(call) = call.take() {
            call(&found, &failed);
        }
    });
    promise.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_a_file_is() {
        assert_eq!(name("mine/images/7.JPG"), "7.JPG");
        assert_eq!(ending("mine.d/7.JPG"), "jpg");
        assert_eq!(ending("mine.d/7"), "");
        assert!(is_table("a/Data.CSV") && is_table("posts.jsonl") && !is_table("csv"));
    }
}
