//! Owns preprocessed pictures: kept in memory, kept on disk for later runs too, or made anew each time they are shown.
//!
//! What is kept are bytes, a quarter of the values that the tower takes; normalising them is quick.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use shared::preprocess::image::ImagePreprocessor;

use super::record::{Picture, Post};
use crate::engine::atomic::Draft;
use crate::engine::placed::PlacedFile;

/// Pictures preprocessed before they are written.
const CHUNK: usize = 256;

/// Where preprocessed pictures are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes of memory, if there is no folder; what needs more is not kept.
    pub memory: usize,
    /// A folder, for this run and later ones.
    pub folder: Option<PathBuf>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            folder: None,
        }
    }
}

/// The pictures of a split's posts.
pub struct Pictures {
    images: ImagePreprocessor,
    kept: Kept,
    fingerprint: Option<String>,
}

enum Kept {
    Not,
    /// By post.
    Memory(Vec<Option<Vec<u8>>>),
    /// One file for all, and the place of each post's picture in it.
    Disk {
        file: PlacedFile,
        places: Vec<Option<u64>>,
    },
}

impl Pictures {
    /// Preprocesses the pictures of these posts, unless they are on disk already or too many to keep.
    ///
    /// # Errors
    /// If a picture cannot be read, with the line of its post, or the folder cannot be written.
    pub fn new(posts: &[Post], images: &ImagePreprocessor, cache: &Cache) -> Result<Self> {
        let with: Vec<&Post> = posts.iter().filter(|post| post.image.is_some()).collect();
        let size = 3 * images.size().pow(2);
        // Files are asked for size and time only where something is kept for later runs.
        let named = match &cache.folder {
            Some(folder) => Some((folder, fingerprint(&with, images)?)),
            None => None,
        };
        let kept = match &named {
            Some((folder, name)) if !with.is_empty() => {
                let mut next = 0;
                let places = posts.iter().map(|post| {
                    let place = next;
                    next += u64::from(post.image.is_some());
                    post.image.is_some().then_some(place * size as u64)
                });
                Kept::Disk {
                    places: places.collect(),
                    file: on_disk(&with, images, folder, name)?.into(),
                }
            }
            _ if with.len() * size <= cache.memory => {
                let all = posts.par_iter().map(|post| bytes(post, images));
                Kept::Memory(all.collect::<Result<_>>()?)
            }
            _ => Kept::Not,
        };
        Ok(Self {
            images: images.clone(),
            kept,
            fingerprint: named.map(|(_, name)| name),
        })
    }

    /// Whether a picture is preprocessed once only.
    pub fn are_kept(&self) -> bool {
        !matches!(self.kept, Kept::Not)
    }

    /// A hash of these pictures and their preprocessing, if there is a folder for later runs.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// What the tower takes of a post, which is the one with this number; nothing if it has no picture.
    ///
    /// # Errors
    /// If the picture cannot be read.
    pub fn pixels(&self, number: usize, post: &Post) -> Result<Option<Vec<f32>>> {
        let window = match &self.kept {
            Kept::Not => bytes(post, &self.images)?,
            Kept::Memory(all) => {
                return match all.get(number).and_then(Option::as_deref) {
                    Some(window) => Ok(Some(self.images.pixels_of(window)?)),
                    None => Ok(None),
                };
            }
            Kept::Disk { file, places } => match places.get(number).copied().flatten() {
                Some(place) => {
                    let mut window = vec![0; 3 * self.images.size().pow(2)];
                    file.read(place, &mut window)
                        .context("the kept pictures cannot be read")?;
                    Some(window)
                }
                None => None,
            },
        };
        let window = window.map(|window| self.images.pixels_of(&window));
        Ok(window.transpose()?)
    }
}

/// The preprocessed picture of a post, if it has one.
fn bytes(post: &Post, images: &ImagePreprocessor) -> Result<Option<Vec<u8>>> {
    let Some(picture) = &post.image else {
        return Ok(None);
    };
    let window = || -> Result<Vec<u8>> { Ok(images.bytes(&picture.bytes()?)?) };
    window()
        .map(Some)
        .with_context(|| format!("{}: {picture}", post.place()))
}

/// A hash of these posts' preprocessed pictures: of the preprocessing, and of the pictures' paths, sizes and times of
/// change, or of their bytes.
///
/// # Errors
/// If a picture is not there.
fn fingerprint(posts: &[&Post], images: &ImagePreprocessor) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{images:?}\n"));
    for post in posts {
        match &post.image {
            Some(Picture::File(path)) => {
                let place = || format!("{}: {}", post.place(), path.display());
                let about = path.metadata().with_context(place)?;
                let changed = about.modified().with_context(place)?;
                hash.update(format!("{} {} {changed:?}\n", path.display(), about.len()));
            }
            Some(Picture::Bytes(bytes)) => hash.update(Sha256::digest(bytes)),
            None => hash.update("none\n"),
        }
    }
    Ok(format!("{:.24}", format!("{:x}", hash.finalize())))
}

/// The file of these posts' pictures, made if it is not there. `name` is their [`fingerprint`].
fn on_disk(posts: &[&Post], images: &ImagePreprocessor, folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(format!("pictures-{name}.bytes"));
    let place = || format!("{} cannot be written", path.display());
    let length = (posts.len() * 3 * images.size().pow(2)) as u64;
    if !path.metadata().is_ok_and(|about| about.len() == length) {
        std::fs::create_dir_all(folder).with_context(place)?;
        let mut draft = Draft::begin(&path, Some(length as usize))?;
        for chunk in posts.chunks(CHUNK) {
            let windows = chunk.par_iter().map(|post| bytes(post, images));
            let windows: Vec<Option<Vec<u8>>> = windows.collect::<Result<_>>()?;
            for window in windows.into_iter().flatten() {
                draft.write_all(&window)?;
            }
        }
        draft.finish()?;
    }
    File::open(&path).with_context(|| format!("{} cannot be read", path.display()))
}
