//! Owns files on their way from the server: asked for one ahead, received in JavaScript's memory, and hashed by the
//! browser while the file before is taken in.
//!
//! Memory beside the model is two files in JavaScript and one here, whatever the number of files; all are reused.

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use shared::bundle::Assembler;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, Response};

use crate::loader::failure;
use crate::protocol::{Code, Failure};

/// A file that has been asked for.
pub(crate) struct Request {
    name: String,
    answer: Result<JsFuture, JsValue>,
}

impl Request {
    /// Asks for a file of the folder at `folder`, which has the slash at its end.
    pub(crate) fn start(folder: &str, name: &str) -> Self {
        // In a worker, a window, or Node.
        let fetch = || -> Result<JsFuture, JsValue> {
            let global = js_sys::global();
            let fetch: Function = Reflect::get(&global, &"fetch".into())?.dyn_into()?;
            let promise: Promise = fetch
                .call1(&global, &format!("{folder}{name}").into())?
                .unchecked_into();
            Ok(promise.into())
        };
        Self {
            name: name.into(),
            answer: fetch(),
        }
    }

    /// Receives the file into `buffer`, and returns the part of it that was filled. What is longer than the buffer is
    /// cut off. `progress` hears of bytes received.
    ///
    /// # Errors
    /// If the connection fails, or the server answers that it has no such file.
    pub(crate) async fn receive(
        self,
        buffer: &Uint8Array,
        mut progress: impl FnMut(u32),
    ) -> Result<Uint8Array, Failure> {
        let name = self.name;
        let offline = |_| {
            Failure::new(
                Code::Network,
                format!("bundle {name}: the connection was refused or broke off."),
                "Check the connection and start the model again.",
            )
        };
        let response = self.answer.map_err(offline)?.await.map_err(offline)?;
        let response: Response = response.dyn_into().map_err(offline)?;
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
        let mut length = 0;
        if let Some(body) = response.body() {
            let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
            while let Some(chunk) = next(&reader).await.map_err(offline)? {
                let taken = chunk.length().min(buffer.length() - length);
                buffer.set(&chunk.subarray(0, taken), length);
                length += taken;
                progress(length);
                if length == buffer.length() {
                    let _ = JsFuture::from(reader.cancel().unchecked_into::<Promise>()).await;
                    break;
                }
            }
        }
        Ok(buffer.subarray(0, length))
    }
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

/// Where files of a bundle are received.
pub(crate) struct Incoming {
    /// In turns, so that one is filled while the other is still read.
    buffers: [Uint8Array; 2],
    turn: usize,
    /// The one file that this program reads.
    bytes: Vec<u8>,
}

/// A file that was received.
pub(crate) struct Received {
    name: String,
    bytes: Uint8Array,
    /// On its way; none where the browser hashes nothing.
    digest: Option<JsFuture>,
}

impl Incoming {
    /// Room for files of at most `largest` bytes.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub(crate) fn new(largest: u64) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(largest as usize + 1).map_err(|_| {
            Failure::new(
                Code::Memory,
                format!("There is no memory left for a file of {largest} bytes."),
                "Close other tabs or use a bundle of smaller weights, then start the model again.",
            )
        })?;
        Ok(Self {
            buffers: [0, 1].map(|_| Uint8Array::new_with_length(largest as u32 + 1)),
            turn: 0,
            bytes,
        })
    }

    /// Receives a file of `size` bytes, and has it hashed.
    ///
    /// # Errors
    /// As [`Request::receive`].
    pub(crate) async fn receive(
        &mut self,
        request: Request,
        size: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<Received, Failure> {
        self.turn = 1 - self.turn;
        let name = request.name.clone();
        // One byte too many is kept, so that the size is seen to be wrong.
        let buffer = self.buffers[self.turn].subarray(0, size as u32 + 1);
        let heard = |length: u32| progress(u64::from(length).min(size));
        let bytes = request.receive(&buffer, heard).await?;
        let digest = hash(&bytes);
        Ok(Received {
            name,
            bytes,
            digest,
        })
    }

    /// Gives a file to the assembler.
    ///
    /// # Errors
    /// As [`Assembler::add`].
    pub(crate) async fn deliver(
        &mut self,
        file: Received,
        assembler: &mut Assembler,
    ) -> Result<(), Failure> {
        self.bytes.resize(file.bytes.length() as usize, 0);
        file.bytes.copy_to(&mut self.bytes);
        let digest = match file.digest {
            Some(digest) => digest.await.ok().and_then(|of| digits(&of)),
            None => None,
        };
        let added = match digest {
            Some(digest) => assembler.add_hashed(&file.name, &self.bytes, digest),
            None => assembler.add(&file.name, &self.bytes),
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
