//! Owns what a batch is made from: a table with pictures beside it, or pictures alone; and making posts of them.

use std::collections::BTreeMap;

use wasm_bindgen::JsValue;
use web_sys::File;

use super::batch::{Outcome, Post};
use super::jsonl;
use crate::protocol::limits::{BATCH_POSTS, LINE_BYTES};
use crate::protocol::{Code, Failure};
use crate::table::{Csv, Fault, Flaw, Lines, Record};
use crate::ui::bench::post::blob_bytes;
use crate::ui::files::{Given, name};
use crate::ui::numbers::{bytes, whole};
use crate::ui::words;

/// Tables that are taken before others of the same folder.
const USUAL: [&str; 2] = ["data.jsonl", "data.csv"];
/// Where the picture of a post lies whose line does not name one, and its endings.
const IMAGES: &str = "images";
const ENDINGS: [&str; 5] = ["jpg", "png", "jpeg", "webp", "gif"];

/// What is read of a table at a stretch, in bytes: a few milliseconds of work.
const SLICE: f64 = 65_536.0;

/// The table and the pictures.
pub(super) struct Source {
    table: Option<Given>,
    pictures: Vec<Given>,
    /// The places of the pictures by their paths from the table's folder.
    places: BTreeMap<String, usize>,
    /// The files came without folders, so only their names can be compared.
    flat: bool,
}

impl Source {
    /// Sorts out what was given.
    ///
    /// # Errors
    /// If there is neither a table nor a picture, or there are more files than a batch may have.
    pub(super) fn of(mut files: Vec<Given>) -> Result<Self, Failure> {
        if files.len() > BATCH_POSTS {
            return Err(too_many());
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let table = files
            .iter()
            .filter(|file| file.is_table())
            .min_by_key(|file| {
                let usual = USUAL.iter().position(|usual| *usual == file.name());
                (
                    file.path.matches('/').count(),
                    usual.unwrap_or(USUAL.len()),
                    file.path.clone(),
                )
            })
            .cloned();
        files.retain(Given::is_picture);
        if table.is_none() && files.is_empty() {
            return Err(Failure::new(
                Code::Input,
                words::say("many-nothing", &[]),
                words::say("many-nothing-hint", &[]),
            ));
        }
        let folder = table.as_ref().map_or(String::new(), |table| {
            let (folder, _) = table.path.rsplit_once('/').unwrap_or_default();
            folder.to_owned() + "/"
        });
        let places = files.iter().enumerate().map(|(place, file)| {
            let path = file.path.strip_prefix(&folder).unwrap_or(&file.path);
            (path.to_owned(), place)
        });
        Ok(Self {
            places: places.collect(),
            flat: files.iter().all(|file| !file.path.contains('/')),
            pictures: files,
            table,
        })
    }

    /// The picture at a place.
    pub(super) fn picture(&self, place: usize) -> Option<&Given> {
        self.pictures.get(place)
    }

    /// Makes the posts, and calls `heard` with a sentence about how far it is; ends early, with fewer posts, if that
    /// returns false.
    ///
    /// # Errors
    /// If the table cannot be read, is none of posts, or is too long.
    pub(super) async fn posts(&self, heard: impl Fn(&str) -> bool) -> Result<Vec<Post>, Failure> {
        let Some(table) = &self.table else {
            return Ok(self.pictures_alone());
        };
        let unreadable = |_: JsValue| {
            Failure::new(
                Code::Input,
                words::say("picture-unreadable", &[table.name()]),
                words::say("picture-unreadable-hint", &[]),
            )
        };
        let file = table.file().await.map_err(unreadable)?;
        let mut reading = Reading::of(table.name());
        let (mut posts, mut start) = (Vec::new(), 0.0);
        while start < file.size() {
            let end = (start + SLICE).min(file.size());
            let piece = slice(&file, start, end).await.map_err(unreadable)?;
            let records = reading.feed(&piece).map_err(|flaw| flawed(flaw, table))?;
            posts.extend(records.into_iter().map(|record| self.post(record, table)));
            if posts.len() > BATCH_POSTS {
                return Err(too_many());
            }
            start = end;
            let sizes = [start, file.size()].map(|size| bytes(size as u64));
            let sentence = words::say("many-reading", &[table.name(), &sizes[0], &sizes[1]]);
            if !heard(&sentence) {
                return Ok(posts);
            }
        }
        let records = reading.end().map_err(|flaw| flawed(flaw, table))?;
        posts.extend(records.into_iter().map(|record| self.post(record, table)));
        if posts.is_empty() {
            return Err(Failure::new(
                Code::Input,
                words::say("many-empty", &[table.name()]),
                words::say("many-nothing-hint", &[]),
            ));
        }
        Ok(posts)
    }

    /// Every picture is a post without a text.
    fn pictures_alone(&self) -> Vec<Post> {
        let pictures = self.pictures.iter().enumerate();
        pictures
            .map(|(place, picture)| Post {
                id: (place + 1).to_string(),
                image: picture.path.clone(),
                text: String::new(),
                labels: Vec::new(),
                picture: Some(place),
                outcome: Outcome::Waiting,
            })
            .collect()
    }

    fn post(&self, mut record: Record, table: &Given) -> Post {
        if record.id.is_empty() {
            record.id = record.line.to_string();
        }
        let picture = self.find(&mut record);
        let reason = match &record.fault {
            Some(fault) => Some(said(fault)),
            None if record.image.is_empty() && record.text.is_empty() => {
                Some(words::say("fault-neither", &[]))
            }
            None if !record.image.is_empty() && picture.is_none() => {
                Some(words::say("fault-absent", &[&record.image]))
            }
            None => None,
        };
        Post {
            outcome: reason.map_or(Outcome::Waiting, |reason| {
                let line = whole(record.line as usize);
                Outcome::Failed(words::say("fault", &[table.name(), &line, &reason]))
            }),
            id: record.id,
            image: record.image,
            text: record.text,
            labels: record.labels,
            picture,
        }
    }

    /// The picture that a line names, or the one that is named as the post is.
    fn find(&self, record: &mut Record) -> Option<usize> {
        if record.image.is_empty() {
            let mut paths = ENDINGS.map(|ending| format!("{IMAGES}/{}.{ending}", record.id));
            let (path, place) = paths
                .iter_mut()
                .find_map(|path| self.places.get(path).map(|place| (path, *place)))?;
            record.image = std::mem::take(path);
            return Some(place);
        }
        let path = record.image.replace('\\', "/");
        let path = path.trim_start_matches("./");
        let by_name = || self.places.get(name(path)).filter(|_| self.flat);
        self.places.get(path).or_else(by_name).copied()
    }
}

/// A table of one of the kinds, while it is read.
enum Reading {
    Csv(Box<Csv>),
    Jsonl(Lines),
}

impl Reading {
    fn of(name: &str) -> Self {
        if name.to_ascii_lowercase().ends_with(".csv") {
            Self::Csv(Box::default())
        } else {
            Self::Jsonl(Lines::default())
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<Vec<Record>, Flaw> {
        let mut records = Vec::new();
        match self {
            Self::Csv(csv) => csv.feed(piece, &mut records)?,
            Self::Jsonl(lines) => lines.feed(piece, |line, text| {
                records.push(jsonl::record(line, text));
            }),
        }
        Ok(records)
    }

    fn end(self) -> Result<Vec<Record>, Flaw> {
        let mut records = Vec::new();
        match self {
            Self::Csv(mut csv) => csv.end(&mut records)?,
            Self::Jsonl(mut lines) => lines.end(|line, text| {
                records.push(jsonl::record(line, text));
            }),
        }
        Ok(records)
    }
}

async fn slice(file: &File, start: f64, end: f64) -> Result<Vec<u8>, JsValue> {
    let part = file.slice_with_f64_and_f64(start, end)?;
    Ok(blob_bytes(&part).await?.to_vec())
}

/// What is wrong with a line, as the end of a sentence that has begun with where.
fn said(fault: &Fault) -> String {
    match fault {
        Fault::Long => words::say("fault-long", &[&bytes(LINE_BYTES as u64)]),
        Fault::Fields { found, expected } => {
            words::say("fault-fields", &[&whole(*found), &whole(*expected)])
        }
        Fault::Encoding("") => words::say("fault-encoding-line", &[]),
        Fault::Encoding(field) => words::say("fault-encoding", &[field]),
        Fault::Json(message) => words::say("fault-json", &[message]),
        Fault::Object => words::say("fault-object", &[]),
        Fault::Kind("labels") => words::say("fault-kind-labels", &[]),
        Fault::Kind(field) => words::say("fault-kind", &[field]),
        Fault::Labels => words::say("fault-labels", &[]),
    }
}

fn flawed(flaw: Flaw, table: &Given) -> Failure {
    match flaw {
        Flaw::Header => Failure::new(
            Code::Input,
            words::say("many-header", &[table.name()]),
            words::say("many-header-hint", &[]),
        ),
    }
}

fn too_many() -> Failure {
    Failure::new(
        Code::Input,
        words::say("many-too-many", &[&whole(BATCH_POSTS)]),
        words::say("many-too-many-hint", &[]),
    )
}
