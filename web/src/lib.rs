//! Lacuna in the browser: a page that stays responsive, and a worker that classifies.
//!
//! Two programs are built from this crate. `app` is the page's thread: it shows and asks, and links no model.
//! `worker` is the inference thread: it loads a bundle once and classifies posts with it. They meet only in
//! [`protocol`].

#[cfg(feature = "inference")]
pub mod api;
#[cfg(feature = "inference")]
mod arrival;
#[cfg(feature = "inference")]
mod cache;
#[cfg(feature = "inference")]
mod incoming;
#[cfg(feature = "inference")]
pub mod loader;
#[cfg(feature = "inference")]
pub mod pool;
pub mod promise;
pub mod protocol;
#[cfg(feature = "inference")]
pub mod source;
mod stream;
pub mod table;
mod thread;
pub mod ui;
pub mod zip;
