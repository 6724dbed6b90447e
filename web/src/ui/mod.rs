//! Owns nothing but the list of the page's parts: one widget a file.

pub mod archive;
pub mod artefact;
pub mod bundles;
pub mod client;
pub mod dom;
pub mod evidence;
pub mod local;
pub mod network;
pub mod notice;
pub mod offer;
pub mod offline;
pub mod page;
pub mod picture;
pub mod post;
pub mod progress;
pub mod question;
pub mod result;
pub mod samples;
pub mod storage;
pub mod text;
pub mod words;
