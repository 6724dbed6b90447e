//! Owns the reading of streams into room that was made before, and of the visitor's files as if a server had sent them.

use js_sys::{Array, Function, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, ReadableStreamDefaultReader, Response};

use crate::promise::settled;
use crate::protocol::DEFLATED;

/// Receives a body into `buffer` from a place on, and returns what of the buffer is filled then; what is longer than the
/// buffer is cut off. `progress` hears of bytes received.
///
/// # Errors
/// If the connection fails or what was compressed is damaged; how much of the buffer is filled then.
pub(crate) async fn receive(
    response: &Response,
    buffer: &Uint8Array,
    from: u32,
    mut progress: impl FnMut(u32),
) -> Result<Uint8Array, u32> {
    let mut length = from.min(buffer.length());
    if let Some(body) = response.body() {
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        while let Some(chunk) = next(&reader).await.map_err(|_| length)? {
            let taken = chunk.length().min(buffer.length() - length);
            buffer.set(&chunk.subarray(0, taken), length);
            length += taken;
            progress(length);
            if length == buffer.length() {
                let _ = settled(reader.cancel()).await;
                break;
            }
        }
    }
    Ok(buffer.subarray(0, length))
}

/// The stream's next bytes; nothing at its end.
async fn next(reader: &ReadableStreamDefaultReader) -> Result<Option<Uint8Array>, JsValue> {
    let step = settled(reader.read()).await?;
    let done = Reflect::get(&step, &"done".into())?.is_truthy();
    if done {
        Ok(None)
    } else {
        Ok(Some(Reflect::get(&step, &"value".into())?.dyn_into()?))
    }
}

/// A blob as the answer to a request; inflated, if its type is [`DEFLATED`].
///
/// # Errors
/// If the browser cannot inflate.
pub(crate) fn open(blob: &Blob) -> Result<Response, JsValue> {
    if blob.type_() != DEFLATED {
        return Response::new_with_opt_blob(Some(blob));
    }
    let class: Function =
        Reflect::get(&js_sys::global(), &"DecompressionStream".into())?.dyn_into()?;
    let inflate = Reflect::construct(&class, &Array::of1(&"deflate-raw".into()))?;
    let stream = blob.stream();
    let pipe: Function = Reflect::get(&stream, &"pipeThrough".into())?.dyn_into()?;
    let inflated = pipe.call1(&stream, &inflate)?;
    Response::new_with_opt_readable_stream(Some(inflated.unchecked_ref()))
}
