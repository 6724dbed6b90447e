//! Owns the way of a bundle into the worker: manifest, then file after file, streamed, checked and dropped.

use js_sys::{Function, Promise, Reflect, Uint8Array};
use shared::bundle::{Assembler, MANIFEST, Manifest, limits};
use shared::predict::Classifier;
use shared::{Error, Modality};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, Response};

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
    let manifest = fetch(url, MANIFEST, None, |_| ()).await?;
    let manifest = Manifest::parse(&manifest).map_err(failure)?;
    let modalities = only.map_or(Modality::ALL.to_vec(), |only| vec![only]);
    let about = manifest.clone();
    let mut assembler = Assembler::of_modalities(manifest, &modalities);
    let files = assembler.awaited();
    let total = files.iter().map(|file| file.bytes).sum();
    let summary = Summary {
        about: about.about,
        classes: about.config.classes,
        dtype: about.dtype,
        bytes: total,
        artefact: pool::ARTEFACT,
        threads,
    };
    let mut before = 0;
    progress(0, total);
    for file in files {
        let bytes = fetch(url, &file.name, Some(file.bytes), |loaded| {
            progress(before + loaded, total)
        })
        .await?;
        assembler.add(&file.name, &bytes).map_err(failure)?;
        before += file.bytes;
    }
    Ok((assembler.finish().map_err(failure)?, summary))
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

/// Fetches one file. What is longer than `size` is cut off there, and the checksum will tell.
async fn fetch(
    folder: &str,
    name: &str,
    size: Option<u64>,
    mut progress: impl FnMut(u64),
) -> Result<Vec<u8>, Failure> {
    let offline = |_| {
        Failure::new(
            Code::Network,
            format!("bundle {name}: the connection was refused or broke off."),
            "Check the connection and start the model again.",
        )
    };
    let response = request(&format!("{folder}{name}")).await.map_err(offline)?;
    if !response.ok() {
        return Err(Failure::new(
            Code::Status,
            format!(
                "bundle {name}: the server answers {} {}",
                response.status(),
                response.status_text()
            )
            .trim_end(),
            "The folder of the model must lie beside the page, as `bundle/`; put it there and start the model again.",
        ));
    }
    let most = size.unwrap_or(limits::MANIFEST_BYTES as u64) as usize;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(size.map_or(0, |_| most))
        .map_err(|_| {
            Failure::new(
                Code::Memory,
                format!("bundle {name}: there is no memory left for its {most} bytes."),
                "Close other tabs or use a bundle of smaller weights, then start the model again.",
            )
        })?;
    let Some(body) = response.body() else {
        return Ok(bytes);
    };
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    while let Some(chunk) = next(&reader).await.map_err(offline)? {
        // One byte too many is kept, so that the size is seen to be wrong.
        let room = most + 1 - bytes.len();
        let taken = chunk.subarray(0, chunk.length().min(room as u32));
        let start = bytes.len();
        bytes.resize(start + taken.length() as usize, 0);
        taken.copy_to(&mut bytes[start..]);
        progress(bytes.len().min(most) as u64);
        if bytes.len() > most {
            let _ = JsFuture::from(reader.cancel().unchecked_into::<Promise>()).await;
            break;
        }
    }
    Ok(bytes)
}

/// `fetch`, in a worker, a window, or Node.
async fn request(url: &str) -> Result<Response, JsValue> {
    let global = js_sys::global();
    let fetch: Function = Reflect::get(&global, &"fetch".into())?.dyn_into()?;
    let promise: Promise = fetch.call1(&global, &url.into())?.unchecked_into();
    JsFuture::from(promise).await?.dyn_into()
}

/// The stream's next bytes; nothing at its end.
async fn next(reader: &ReadableStreamDefaultReader) -> Result<Option<Uint8Array>, JsValue> {
    let step = JsFuture::from(reader.read().unchecked_into::<Promise>()).await?;
    let done = Reflect::get(&step, &"done".into())?.is_truthy();
    if done {
        Ok(None)
    } else {
        Ok(Some(Reflect::get(&step, &"value".into())?.dyn_into()?))
    }
}
