//! Owns files on their way into the worker: asked for one ahead, received in JavaScript's memory, hashed by the browser
//! while the file before is taken in, and kept on this device once they were checked.
//!
//! Memory beside the model is two files in JavaScript and one here, whatever the number of files, and all are reused; the
//! browser copies the one that it is about to keep.

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use shared::bundle::{Assembler, FileEntry};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::arrival::{Arrived, arrive};
use crate::cache::Kept;
use crate::loader::failure;
use crate::protocol::{Code, Failure};
use crate::source::{Asked, Part, Source};

/// Where files of a bundle are received.
pub(crate) struct Incoming<'a> {
    source: &'a Source,
    /// What this device has of them, and gets.
    kept: &'a mut Kept,
    /// How many bytes came from there.
    pub(crate) from_device: u64,
    /// In turns, so that one is filled while the other is still read.
    buffers: [Uint8Array; 2],
    turn: usize,
    /// The one file that this program reads.
    bytes: Vec<u8>,
}

/// A file that was received.
pub(crate) struct Received {
    file: FileEntry,
    /// One byte longer than the file, so that the size is seen to be wrong.
    room: Uint8Array,
    bytes: Uint8Array,
    /// On its way; none where the browser hashes nothing.
    digest: Option<JsFuture>,
    /// Whether this device had kept it.
    kept: bool,
}

impl<'a> Incoming<'a> {
    /// Room for files of at most `largest` bytes.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub(crate) fn new(
        source: &'a Source,
        kept: &'a mut Kept,
        largest: u64,
    ) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(largest as usize + 1).map_err(|_| {
            Failure::new(
                Code::Memory,
                format!("There is no memory left for a file of {largest} bytes."),
                "Close other tabs or use a bundle of smaller weights, then start the model again.",
            )
        })?;
        Ok(Self {
            source,
            kept,
            from_device: 0,
            buffers: [0, 1].map(|_| Uint8Array::new_with_length(largest as u32 + 1)),
            turn: 0,
            bytes,
        })
    }

    /// Asks for a file at once.
    pub(crate) fn ask(&self, file: &FileEntry) -> Asked {
        let shelf = self.kept.shelf(&file.sha256);
        self.source.ask(&file.name, Part::Whole, shelf)
    }

    /// Receives a file, and has it hashed. `progress` hears of its bytes.
    ///
    /// # Errors
    /// As [`arrive`].
    pub(crate) async fn receive(
        &mut self,
        asked: Asked,
        file: &FileEntry,
        progress: impl FnMut(u64),
    ) -> Result<Received, Failure> {
        self.turn = 1 - self.turn;
        let room = self.buffers[self.turn].subarray(0, file.bytes as u32 + 1);
        self.receive_into(room, asked, file, progress).await
    }

    async fn receive_into(
        &self,
        room: Uint8Array,
        asked: Asked,
        file: &FileEntry,
        mut progress: impl FnMut(u64),
    ) -> Result<Received, Failure> {
        let heard = |length: u32| progress(u64::from(length).min(file.bytes));
        let arrived = arrive(self.source, asked, file.bytes as u32, &room, heard).await?;
        let Arrived { bytes, kept } = arrived;
        let digest = hash(&bytes);
        Ok(Received {
            file: file.clone(),
            room,
            bytes,
            digest,
            kept,
        })
    }

    /// Gives a file to the assembler and keeps it. One that is damaged comes once more from its server: what was kept of
    /// it is dropped, and what the browser has of it by itself is passed over.
    ///
    /// # Errors
    /// As [`Assembler::add`], or as [`arrive`] if it has to come once more.
    pub(crate) async fn deliver(
        &mut self,
        received: Received,
        assembler: &mut Assembler,
    ) -> Result<(), Failure> {
        let Received {
            file,
            room,
            bytes,
            kept,
            ..
        } = &received;
        let (file, room, bytes, kept) = (file.clone(), room.clone(), bytes.clone(), *kept);
        let added = self.add(received, assembler).await;
        let bytes = match added {
            Ok(()) if kept => {
                self.from_device += file.bytes;
                return Ok(());
            }
            Ok(()) => bytes,
            Err(failure) if !self.source.is_remote() => return Err(failure),
            Err(_) => {
                if let Some(shelf) = self.kept.shelf(&file.sha256) {
                    shelf.drop().await;
                }
                let asked = self.source.ask(&file.name, Part::Fresh, None);
                let again = self.receive_into(room, asked, &file, |_| ()).await?;
                let bytes = again.bytes.clone();
                self.add(again, assembler).await?;
                bytes
            }
        };
        self.kept.keep(&file.sha256, &bytes).await;
        Ok(())
    }

    async fn add(&mut self, received: Received, assembler: &mut Assembler) -> Result<(), Failure> {
        let name = &received.file.name;
        self.bytes.resize(received.bytes.length() as usize, 0);
        received.bytes.copy_to(&mut self.bytes);
        let digest = match received.digest {
            Some(digest) => digest.await.ok().and_then(|of| digits(&of)),
            None => None,
        };
        let added = match digest {
            Some(digest) => assembler.add_hashed(name, &self.bytes, digest),
            None => assembler.add(name, &self.bytes),
        };
        added.map_err(failure)
    }
}

/// Starts the browser's own SHA-256, which is several times as fast as ours and runs on another thread. Only secure
/// contexts have it.
fn hash(bytes: &Uint8Array) -> Option<JsFuture> {
    let get = |of: &JsValue, name: &str| Reflect::get(of, &name.into()).ok();
    let subtle = get(&get(&js_sys::global(), "crypto")?, "subtle")?;
    let digest: Function = get(&subtle, "digest")?.dyn_into().ok()?;
    let arguments: [&JsValue; 2] = [&"SHA-256".into(), bytes];
    let promise: Object = digest
        .apply(&subtle, &Array::from_iter(arguments))
        .ok()?
        .dyn_into()
        .ok()?;
    Some(promise.unchecked_into::<Promise>().into())
}

fn digits(digest: &JsValue) -> Option<[u8; 32]> {
    Uint8Array::new(digest).to_vec().try_into().ok()
}
