//! Owns where lessons are kept on the device: one small file for each bundle, in a cache of its own.

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Cache, Response};

use crate::promise::settled;
use crate::ui::storage::caches;

/// The cache's name; what begins with `lacuna-` is what the page keeps.
const CACHE: &str = "lacuna-lessons";

/// The file kept for the bundle with this checksum, if there is one.
pub(super) async fn read(checksum: &str) -> Option<String> {
    let cache = existing().await.ok()??;
    let found = settled(cache.match_with_str(&address(checksum))).await;
    let response: Response = found.ok()?.dyn_into().ok()?;
    settled(response.text().ok()?).await.ok()?.as_string()
}

/// Keeps a file for the bundle with this checksum, or removes it.
///
/// # Errors
/// If the browser keeps nothing, or has no room.
pub(super) async fn write(checksum: &str, file: Option<&str>) -> Result<(), JsValue> {
    let address = address(checksum);
    if let Some(file) = file {
        let response = Response::new_with_opt_str(Some(file))?;
        settled(open().await?.put_with_str(&address, &response)).await?;
    } else if let Some(cache) = existing().await? {
        settled(cache.delete_with_str(&address)).await?;
    }
    Ok(())
}

/// The cache, if there is one: to ask for it must not make it.
async fn existing() -> Result<Option<Cache>, JsValue> {
    let all = caches().ok_or("this browser keeps nothing here")?;
    if settled(all.has(CACHE)).await?.is_truthy() {
        open().await.map(Some)
    } else {
        Ok(None)
    }
}

async fn open() -> Result<Cache, JsValue> {
    let caches = caches().ok_or("this browser keeps nothing here")?;
    settled(caches.open(CACHE)).await?.dyn_into()
}

/// No file of the server has this address.
fn address(checksum: &str) -> String {
    format!("kept/lessons/{checksum}.json")
}
