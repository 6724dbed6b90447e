//! The page's widgets, one a file, the state they share, and the one place where they meet.

pub mod answer;
pub mod archive;
pub mod artefact;
pub mod bench;
pub mod bundles;
pub mod client;
pub mod dom;
mod drop;
mod files;
pub mod library;
pub mod local;
mod many;
pub mod model;
pub mod network;
pub mod notice;
mod numbers;
pub mod offer;
pub mod offline;
pub mod page;
pub mod progress;
pub mod question;
pub mod storage;
pub mod teach;
mod views;
mod words;
