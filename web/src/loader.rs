//! Owns the way of a bundle into the worker: manifest, then file after file, checked and taken apart.

use js_sys::Uint8Array;
use shared::bundle::{Assembler, Dtype, MANIFEST, Manifest};
use shared::limits;
use shared::predict::Classifier;
use shared::{Error, Modality};

use crate::cache::Kept;
use crate::incoming::Incoming;
use crate::pool;
use crate::protocol::{Code, Failure, Summary};
use crate::source::{Part, Source};
use crate::stream::receive;

/// What to load, and how.
pub struct Order {
    /// Where the bundle is.
    pub source: Source,
    /// How many threads compute; goes to [`pool::start`].
    pub threads: Option<u32>,
    /// Load the tower of this modality alone; the other one's is not fetched.
    pub only: Option<Modality>,
    /// Keep the bundle on this device, and take what is kept of it. The visitor's own files are never kept.
    pub keep: bool,
}

/// Loads a bundle. `progress` hears of bytes received and of their total, first when the manifest is there. After it
/// returns nothing is fetched any more.
///
/// # Errors
/// If the threads cannot be started, a file cannot be had, is not what the manifest says, or memory runs out.
pub async fn load(
    order: Order,
    mut progress: impl FnMut(u64, u64),
) -> Result<(Classifier, Summary), Failure> {
    let Order { source, only, .. } = order;
    let threads = pool::start(order.threads).await?;
    let address = source.address(MANIFEST).filter(|_| order.keep);
    let mut kept = match address {
        Some(_) => Kept::open().await,
        None => Kept::off(),
    };
    let (manifest, bytes) = manifest(&source, &kept).await?;
    let modalities = only.map_or(Modality::ALL.to_vec(), |only| vec![only]);
    let about = manifest.clone();
    let mut assembler = Assembler::of_modalities(manifest, &modalities);
    let files = assembler.awaited();
    let whole = files.len() == about.files.len();
    let total = files.iter().map(|file| file.bytes).sum();
    progress(0, total);
    make_room(about.dtype, total)?;
    let largest = files.iter().map(|file| file.bytes).max();
    let mut incoming = Incoming::new(&source, &mut kept, largest.unwrap_or_default())?;
    let mut next = files.first().map(|file| incoming.ask(file));
    let (mut before, mut last) = (0, None);
    for (place, file) in files.iter().enumerate() {
        let ahead = files.get(place + 1).map(|file| incoming.ask(file));
        let Some(asked) = std::mem::replace(&mut next, ahead) else {
            break;
        };
        let heard = |loaded| progress(before + loaded, total);
        let received = incoming.receive(asked, file, heard).await?;
        before += file.bytes;
        if let Some(last) = last.replace(received) {
            incoming.deliver(last, &mut assembler).await?;
        }
    }
    if let Some(last) = last {
        incoming.deliver(last, &mut assembler).await?;
    }
    let from_device = incoming.from_device;
    // The weights are packed into the memory that this leaves.
    drop(incoming);
    let classifier = assembler.finish().map_err(failure)?;
    if let Some(address) = address.filter(|_| whole) {
        kept.keep_manifest(&address, &bytes).await;
    }
    let summary = Summary {
        about: about.about,
        checksum: about.checksum,
        classes: about.config.classes,
        dtype: about.dtype,
        bytes: total,
        kept: from_device,
        refused: kept.refused(),
        artefact: pool::ARTEFACT,
        threads,
    };
    Ok((classifier, summary))
}

/// The manifest and its bytes: the server's, so that a newer one is seen, or the kept one where there is no connection.
async fn manifest(source: &Source, kept: &Kept) -> Result<(Manifest, Uint8Array), Failure> {
    let room = Uint8Array::new_with_length(limits::MANIFEST_BYTES as u32 + 1);
    let response = match source.ask(MANIFEST, Part::Whole, None).answer(source).await {
        Err(failure) if failure.code == Code::Network => {
            let address = source.address(MANIFEST).unwrap_or_default();
            kept.manifest(&address).await.ok_or(failure)?
        }
        answer => answer?.0,
    };
    let received = receive(&response, &room, 0, |_| ()).await;
    let bytes = received.map_err(|_| source.missing(MANIFEST))?;
    let manifest = Manifest::parse(&bytes.to_vec()).map_err(failure)?;
    // The room is much larger than what is in it.
    Ok((manifest, bytes.slice(0, bytes.length())))
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
