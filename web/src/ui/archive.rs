//! Owns the reading of .zip archives without reading them: the directory at the end says where in the file each member
//! lies, and a member is a slice of the file, which the browser inflates when somebody wants it.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::Blob;

use crate::promise::settled;
use crate::protocol::DEFLATED;
use crate::zip::{HEADER_BYTES, data, end_of, members};
pub use crate::zip::{Member, Why};

/// The files in an archive.
///
/// # Errors
/// If it is no archive, is cut short or damaged, or lists too much.
pub async fn list(archive: &Blob) -> Result<Vec<Member>, Why> {
    let size = archive.size() as u64;
    let start = end_of(size);
    members(start, bytes(archive, start, size).await?)
}

/// A member as a blob that holds it as it is in the archive; compressed, it has the type [`DEFLATED`].
///
/// # Errors
/// If it is not where the directory says, or stored in a way that browsers cannot read.
pub async fn open(archive: &Blob, member: &Member) -> Result<Blob, Why> {
    let size = archive.size() as u64;
    let end = member.header.saturating_add(HEADER_BYTES);
    let header = bytes(archive, member.header, end.min(size)).await?;
    let (start, end) = data(&header, member, size)?;
    let kind = if member.deflated { DEFLATED } else { "" };
    archive
        .slice_with_f64_and_f64_and_content_type(start as f64, end as f64, kind)
        .map_err(|_| Why::Unreadable)
}

async fn bytes(archive: &Blob, start: u64, end: u64) -> Result<Vec<u8>, Why> {
    let unreadable = |_: JsValue| Why::Unreadable;
    let slice = archive
        .slice_with_f64_and_f64(start as f64, end as f64)
        .map_err(unreadable)?;
    let buffer = settled(slice.array_buffer()).await.map_err(unreadable)?;
    Ok(Uint8Array::new(&buffer).to_vec())
}
