//! Owns what the worker keeps on this device: a bundle's files under their checksums, and its manifest under its address.
//!
//! A file is kept once it was checked, and checked again whenever it is taken. A manifest is kept after all of its files,
//! so that whoever finds one has the whole bundle. Where nothing can be kept, loading goes on without.

use js_sys::{Reflect, Uint8Array};
use shared::bundle::Manifest;
use shared::limits;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Cache, CacheStorage, Response};

use crate::promise::settled;

/// The cache's name. Everything that Lacuna keeps has a name that begins with `lacuna-`.
const NAME: &str = "lacuna-files";

/// The files kept on this device, or why there are none.
pub(crate) struct Kept {
    cache: Option<Cache>,
    /// A sentence without its end.
    refused: Option<String>,
}

impl Kept {
    /// Keeps nothing and finds nothing.
    pub(crate) fn off() -> Self {
        Self {
            cache: None,
            refused: None,
        }
    }

    /// Opens what is kept; a browser that refuses is remembered, and no error.
    pub(crate) async fn open() -> Self {
        let global = js_sys::global();
        let storage = Reflect::get(&global, &"caches".into()).unwrap_or_default();
        if !storage.is_object() {
            return Self::refuse(
                "this browser has no store here, or the page has no secure connection",
            );
        }
        let storage: CacheStorage = storage.unchecked_into();
        match settled(storage.open(NAME)).await {
            Ok(cache) => Self {
                cache: Some(cache.unchecked_into()),
                refused: None,
            },
            Err(error) => Self::refuse(&said(&error)),
        }
    }

    fn refuse(why: &str) -> Self {
        Self {
            cache: None,
            refused: Some(why.into()),
        }
    }

    /// Why something could not be kept, if that was so.
    pub(crate) fn refused(self) -> Option<String> {
        self.refused
    }

    /// Where a file of this checksum would be found.
    pub(crate) fn shelf(&self, sha256: &str) -> Option<Shelf> {
        let origin = Reflect::get(&js_sys::global(), &"origin".into()).ok()?;
        Some(Shelf {
            cache: self.cache.clone()?,
            address: format!("{}/kept/sha256/{sha256}", origin.as_string()?),
        })
    }

    /// Keeps a file that was checked. After the first refusal nothing more is tried.
    pub(crate) async fn keep(&mut self, sha256: &str, bytes: &Uint8Array) {
        if let Some(shelf) = self.shelf(sha256) {
            self.put(&shelf, bytes).await;
        }
    }

    /// The kept manifest of the bundle at this address.
    pub(crate) async fn manifest(&self, address: &str) -> Option<Response> {
        self.at(address)?.find().await
    }

    /// Keeps a manifest, after its files, and drops the files that only the one before it had.
    pub(crate) async fn keep_manifest(&mut self, address: &str, bytes: &Uint8Array) {
        let Some(shelf) = self.at(address) else {
            return;
        };
        let before = files(shelf.find().await).await;
        if !self.put(&shelf, bytes).await {
            return;
        }
        let mut needed = Vec::new();
        for address in shelf.addresses().await {
            if address.ends_with(shared::bundle::MANIFEST) {
                let other = self
                    .at(&address)
                    .map(|shelf| async move { shelf.find().await });
                if let Some(other) = other {
                    needed.extend(files(other.await).await);
                }
            }
        }
        for file in before.iter().filter(|file| !needed.contains(file)) {
            if let Some(shelf) = self.shelf(file) {
                shelf.drop().await;
            }
        }
    }

    fn at(&self, address: &str) -> Option<Shelf> {
        Some(Shelf {
            cache: self.cache.clone()?,
            address: address.into(),
        })
    }

    /// True if it is kept now.
    async fn put(&mut self, shelf: &Shelf, bytes: &Uint8Array) -> bool {
        let put = match sized(bytes) {
            Ok(response) => {
                let put = shelf.cache.put_with_str(&shelf.address, &response);
                settled(put).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = put {
            *self = Self::refuse(&said(&error));
            return false;
        }
        true
    }
}

/// One place in the cache.
pub(crate) struct Shelf {
    cache: Cache,
    address: String,
}

impl Shelf {
    /// What lies there; nothing also where the browser cannot say.
    pub(crate) async fn find(&self) -> Option<Response> {
        let found = self.cache.match_with_str(&self.address);
        settled(found).await.ok()?.dyn_into().ok()
    }

    /// Drops what lies there.
    pub(crate) async fn drop(&self) {
        let dropped = self.cache.delete_with_str(&self.address);
        // What cannot be dropped now is found damaged again the next time.
        let _ = settled(dropped).await;
    }

    /// The addresses of everything in the cache.
    async fn addresses(&self) -> Vec<String> {
        let keys = settled(self.cache.keys()).await;
        let keys: js_sys::Array = keys.unwrap_or_default().dyn_into().unwrap_or_default();
        let address = |key: JsValue| Reflect::get(&key, &"url".into()).ok()?.as_string();
        keys.iter().filter_map(address).collect()
    }
}

/// The checksums of the files that a kept manifest lists; none if there is no such manifest, or it is damaged.
async fn files(manifest: Option<Response>) -> Vec<String> {
    let Some(Ok(bytes)) = manifest.map(|response| response.array_buffer()) else {
        return Vec::new();
    };
    let Ok(bytes) = settled(bytes).await else {
        return Vec::new();
    };
    let bytes = Uint8Array::new(&bytes);
    if bytes.length() as usize > limits::MANIFEST_BYTES {
        return Vec::new();
    }
    let manifest = Manifest::parse(&bytes.to_vec());
    let files = manifest.map(|manifest| manifest.files).unwrap_or_default();
    files.into_iter().map(|file| file.sha256).collect()
}

/// A file with its size, so that what is kept can be counted without reading it.
fn sized(bytes: &Uint8Array) -> Result<Response, JsValue> {
    let response = Response::new_with_opt_js_u8_array(Some(bytes))?;
    let size = bytes.length().to_string();
    response.headers().set("content-length", &size)?;
    Ok(response)
}

/// The browser's own words for a refusal.
fn said(error: &JsValue) -> String {
    let part = |name: &str| Reflect::get(error, &name.into()).ok()?.as_string();
    match part("name").as_deref() {
        Some("QuotaExceededError") => "there is no room left for it on this device".into(),
        _ => part("message").unwrap_or_else(|| "the browser refuses".into()),
    }
}
