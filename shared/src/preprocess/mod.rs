//! Owns what happens to a post before the model sees it: a picture becomes pixels, a text becomes tokens, both exactly
//! as CLIP's own preprocessing does, natively and in the browser.

mod clean;
mod decode;
mod entities;
pub mod image;
mod jpeg;
mod repair;
mod resize;
pub mod text;
mod vocabulary;

pub use decode::Limits;
