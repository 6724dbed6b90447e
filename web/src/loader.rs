//! Owns the way of a bundle into the worker: manifest, then file after file, checked and taken apart.

use js_sys::Uint8Array;
use shared::bundle::{Assembler, Dtype, FileEntry, MANIFEST, Manifest, limits};
use shared::predict::Classifier;
use shared::{Error, Modality};

use crate::incoming::{Incoming, Request};
use crate::pool;
use crate::protocol::{Code, Failure, Summary};

/// Loads the bundle whose folder is at `url` (with the slash at its end). `progress` hears of bytes received and of
/// their total, first when the manifest is there. After it returns nothing is fetched any more. `threads` goes to
/// [`pool::start`]. With `only`, the other modality's tower is not fetched.
///
/// # Errors
/// If the threads cannot be started, a file cannot be fetched, is not what the manifest says, or memory runs out.
pub async fn load(
    url: &str,
    threads: Option<u32>,
    only: Option<Modality>,
    mut progress: impl FnMut(u64, u64),
) -> Result<(Classifier, Summary), Failure> {
    let threads = pool::start(threads).await?;
    let room = Uint8Array::new_with_length(limits::MANIFEST_BYTES as u32 + 1);
    let manifest = Request::start(url, MANIFEST).receive(&room, |_| ()).await?;
    let manifest = Manifest::parse(&manifest.to_vec()).map_err(failure)?;
    let modalities = only.map_or(Modality::ALL.to_vec(), |only| vec![only]);
    let about = manifest.clone();
    let mut assembler = Assembler::of_modalities(manifest, &modalities);
    let files = assembler.awaited();
    let total = files.iter().map(|file| file.bytes).sum();
    let summary = Summary {
        about: about.about,
        checksum: about.checksum,
        classes: about.config.classes,
        dtype: about.dtype,
        bytes: total,
        artefact: pool::ARTEFACT,
        threads,
    };
    progress(0, total);
    make_room(about.dtype, total)?;
    let largest = files.iter().map(|file| file.bytes).max();
    let mut incoming = Incoming::new(largest.unwrap_or_default())?;
    let ask = |file: Option<&FileEntry>| file.map(|file| Request::start(url, &file.name));
    let mut next = ask(files.first());
    let (mut before, mut last) = (0, None);
    for (place, file) in files.iter().enumerate() {
        let Some(request) = std::mem::replace(&mut next, ask(files.get(place + 1))) else {
            break;
        };
        let received = incoming
            .receive(request, file.bytes, |loaded| {
                progress(before + loaded, total)
            })
            .await?;
        before += file.bytes;
        if let Some(last) = last.replace(received) {
            incoming.deliver(last, &mut assembler).await?;
        }
    }
    if let Some(last) = last {
        incoming.deliver(last, &mut assembler).await?;
    }
    // The weights are packed into the memory that this leaves.
    drop(incoming);
    Ok((assembler.finish().map_err(failure)?, summary))
}

/// Asks for the memory that a model of so many bytes takes, and leaves it to the allocator: a device that has not so much
/// says so before anything is fetched, and to grow once is quicker than a hundred times.
fn make_room(dtype: Dtype, bytes: u64) -> Result<(), Failure> {
    // In memory there are no halves.
    let wanted = if dtype == Dtype::F16 {
        2 * bytes
    } else {
        bytes
    };
    let mut room = Vec::<u8>::new();
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    room.try_reserve_exact(wanted).map_err(|_| {
        Failure::new(
            Code::Memory,
            format!("There is no memory left for a model of {wanted} bytes."),
            "Close other tabs or use a bundle of smaller weights, then start the model again.",
        )
    })?;
    // An allocation that nobody looks at would be optimised away.
    std::hint::black_box(&room);
    Ok(())
}

/// A model's error as a sentence with a way out.
pub fn failure(error: Error) -> Failure {
    let (code, hint) = match &error {
        Error::Image(_) => (
            Code::Image,
            "Choose another picture (PNG, JPEG, WebP or GIF), or remove it.",
        ),
        Error::Input(_) => (Code::Input, "Change the post and try again."),
        Error::Bundle { .. }
        | Error::Config { .. }
        | Error::Tensor { .. }
        | Error::Tokenizer(_) => (
            Code::Bundle,
            "Reload the page without its cache; if that does not help, the files on the server are not the exported ones.",
        ),
        _ => (
            Code::Internal,
            "Reload the page. If it happens again, please report it with this sentence.",
        ),
    };
    Failure::new(code, error.to_string(), hint)
}
