//! Owns the post that is being made: a picture, a text, or one of them.

use js_sys::Uint8Array;
use shared::case::Case;
use shared::limits::PICTURE_BYTES;
use wasm_bindgen::JsValue;
use web_sys::{Blob, File, Url};

use crate::promise::settled;
use crate::protocol::{Code, Failure};
use crate::ui::numbers::bytes;
use crate::ui::words;

/// A picture's file: its bytes for the worker, and an address inside the page for the preview.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file's name, or what stands for it.
    pub name: String,
    /// The whole file.
    pub bytes: Uint8Array,
    /// A `blob:` address, which is no request.
    pub address: String,
}

impl Picture {
    /// Reads a file that was picked, pasted or dropped.
    ///
    /// # Errors
    /// As [`picture_bytes`].
    pub async fn read(file: &File) -> Result<Self, Failure> {
        let bytes = picture_bytes(file).await?;
        let address = Url::create_object_url_with_blob(file).map_err(|_| unreadable(file))?;
        Ok(Self {
            name: file.name(),
            bytes,
            address,
        })
    }

    /// Takes a file's bytes out of its blob.
    ///
    /// # Errors
    /// If the browser cannot read it.
    pub async fn of(name: String, blob: &Blob) -> Result<Self, JsValue> {
        Ok(Self {
            name,
            bytes: blob_bytes(blob).await?,
            address: Url::create_object_url_with_blob(blob)?,
        })
    }
}

/// The bytes of a picture's file.
///
/// # Errors
/// If it is no image, too large, or unreadable.
pub async fn picture_bytes(file: &File) -> Result<Uint8Array, Failure> {
    let name = file.name();
    let kind = file.type_();
    if !kind.is_empty() && !kind.starts_with("image/") {
        return Err(Failure::new(
            Code::Image,
            words::say("no-picture", &[&name, &kind]),
            words::say("no-picture-hint", &[]),
        ));
    }
    let most = PICTURE_BYTES as f64;
    if file.size() > most {
        let sizes = [file.size(), most].map(|size| bytes(size as u64));
        return Err(Failure::new(
            Code::Image,
            words::say("picture-large", &[&name, &sizes[0], &sizes[1]]),
            words::say("picture-large-hint", &[]),
        ));
    }
    blob_bytes(file).await.map_err(|_| unreadable(file))
}

/// The bytes of a blob.
///
/// # Errors
/// If the browser cannot read it.
pub async fn blob_bytes(blob: &Blob) -> Result<Uint8Array, JsValue> {
    Ok(Uint8Array::new(&settled(blob.array_buffer()).await?))
}

fn unreadable(file: &File) -> Failure {
    Failure::new(
        Code::Image,
        words::say("picture-unreadable", &[&file.name()]),
        words::say("picture-unreadable-hint", &[]),
    )
}

/// The post on the page.
#[derive(Clone, Debug, Default)]
pub struct Post {
    /// The picture, if there is one.
    pub picture: Option<Picture>,
    /// What stands in the text field.
    pub text: String,
    /// Which sides the visitor has hidden from the model, image and text.
    pub hidden: [bool; 2],
}

impl Post {
    /// The picture's bytes, hidden or not.
    pub fn image(&self) -> Option<&Uint8Array> {
        self.picture.as_ref().map(|picture| &picture.bytes)
    }

    /// The text, hidden or not, or nothing if only white space stands there: then the text is missing.
    pub fn words(&self) -> Option<&str> {
        let text = self.text.trim();
        (!text.is_empty()).then_some(text)
    }

    /// What the model is shown.
    pub fn shown(&self) -> (Option<&Uint8Array>, Option<&str>) {
        let [image, text] = self.hidden.map(|hidden| !hidden);
        (
            self.image().filter(|_| image),
            self.words().filter(|_| text),
        )
    }

    /// The case of what the model is shown; none if that is nothing.
    pub fn case(&self) -> Option<Case> {
        let (image, text) = self.shown();
        Case::of(image.is_some(), text.is_some()).ok()
    }

    /// Whether both sides are there, hidden or not.
    pub fn is_complete(&self) -> bool {
        self.picture.is_some() && self.words().is_some()
    }
}
