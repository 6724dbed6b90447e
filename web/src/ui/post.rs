//! Owns the post that is being made: a picture, a text, or one of them.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, File, Url};

use crate::protocol::{Code, Failure};

/// Larger files are refused before they are read: no photograph is that large, and memory is not endless.
const LARGEST_FILE: f64 = 64e6;

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
    /// If it is no image, too large, or unreadable.
    pub async fn read(file: &File) -> Result<Self, Failure> {
        let name = file.name();
        let kind = file.type_();
        if !kind.is_empty() && !kind.starts_with("image/") {
            return Err(Failure::new(
                Code::Image,
                format!("“{name}” is no picture (it is {kind})."),
                "Choose a PNG, JPEG, WebP or GIF file.",
            ));
        }
        if file.size() > LARGEST_FILE {
            return Err(Failure::new(
                Code::Image,
                format!(
                    "“{name}” has {:.0} MB; {:.0} MB is the most.",
                    file.size() / 1e6,
                    LARGEST_FILE / 1e6
                ),
                "Make the picture smaller and try again.",
            ));
        }
        Self::of(name.clone(), file).await.map_err(|_| {
            Failure::new(
                Code::Image,
                format!("“{name}” cannot be read."),
                "It may have been moved or deleted; choose it again.",
            )
        })
    }

    /// Takes a file's bytes out of its blob.
    ///
    /// # Errors
    /// If the browser cannot read it.
    pub async fn of(name: String, blob: &Blob) -> Result<Self, JsValue> {
        let promise: Promise = blob.array_buffer().unchecked_into();
        let buffer = JsFuture::from(promise).await?;
        let address = Url::create_object_url_with_blob(blob)?;
        Ok(Self {
            name,
            bytes: Uint8Array::new(&buffer),
            address,
        })
    }
}

/// The post on the page.
#[derive(Clone, Debug, Default)]
pub struct Post {
    /// The picture, if there is one.
    pub picture: Option<Picture>,
    /// What stands in the text field.
    pub text: String,
}

impl Post {
    /// The text, or nothing if only white space stands there: then the text is missing.
    pub fn words(&self) -> Option<&str> {
        let text = self.text.trim();
        (!text.is_empty()).then_some(text)
    }

    /// Whether there is nothing to classify.
    pub fn is_empty(&self) -> bool {
        self.picture.is_none() && self.words().is_none()
    }
}
