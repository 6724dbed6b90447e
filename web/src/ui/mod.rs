//! Owns nothing but the list of the page's parts: one widget a file.

pub mod artefact;
pub mod client;
pub mod dom;
pub mod evidence;
pub mod network;
pub mod notice;
pub mod page;
pub mod picture;
pub mod post;
pub mod progress;
pub mod result;
pub mod samples;
pub mod text;
pub mod words;
