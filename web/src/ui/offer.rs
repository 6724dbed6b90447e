//! Owns what the page knows of a bundle before it is loaded: from the list beside the page, or from a manifest.

use js_sys::JSON;
use serde::Deserialize;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Response, Url};

use super::dom::{document, window};
use super::{storage, words};
use crate::promise::settled;
use crate::protocol::{About, Dtype, from_js};

/// The list of the bundles beside the page, made when the page is built.
const LIST: &str = "bundles.json";
/// The value of `format` in every manifest.
const FORMAT: &str = "lacuna-bundle";
/// Where the bundle is if there is no list.
const DEFAULT_FOLDER: &str = "bundle/";
/// A bundle of at most so many bytes is loaded without asking.
const UNASKED_BYTES: u64 = 30_000_000;

/// A bundle that can be loaded.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Offer {
    /// Its folder beside the page; empty for the visitor's own.
    #[serde(default)]
    pub folder: String,
    /// For people.
    pub about: About,
    /// How the weights are stored.
    pub dtype: Dtype,
    /// Size of all files.
    pub bytes: u64,
    /// How many classes it knows.
    pub classes: u32,
    /// Whether this device has all of it.
    #[serde(skip)]
    pub kept: bool,
}

#[derive(Deserialize)]
struct List {
    bundles: Vec<Offer>,
}

/// The part of a manifest that an offer is made of; the worker reads and checks all of it.
#[derive(Deserialize)]
struct Described {
    format: String,
    about: About,
    dtype: Dtype,
    config: Config,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct Config {
    classes: Vec<String>,
}

/// A file that a manifest lists.
#[derive(Deserialize)]
pub struct File {
    /// Its name in the folder.
    pub name: String,
    bytes: u64,
}

impl Offer {
    /// What a manifest offers, and the files that it lists; nothing if it is none.
    pub fn of_manifest(json: &str) -> Option<(Self, Vec<File>)> {
        let manifest: Described = from_js(JSON::parse(json).ok()?).ok()?;
        if manifest.format != FORMAT {
            return None;
        }
        let offer = Self {
            folder: String::new(),
            about: manifest.about,
            dtype: manifest.dtype,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            classes: manifest.config.classes.len() as u32,
            kept: false,
        };
        Some((offer, manifest.files))
    }

    /// Its name for people, whatever it is.
    pub fn name(&self) -> String {
        match self.about.name.trim() {
            "" => words::say("offer-unnamed", &[]),
            name => name.to_owned(),
        }
    }

    /// The bundle that is expected beside a page without a list.
    pub fn unlisted() -> Self {
        Self {
            folder: DEFAULT_FOLDER.into(),
            about: About::default(),
            dtype: Dtype::default(),
            bytes: 0,
            classes: 0,
            kept: false,
        }
    }

    /// The absolute address of the folder.
    ///
    /// # Errors
    /// If the page has no address.
    pub fn address(&self) -> Result<String, JsValue> {
        address(&self.folder)
    }

    /// True if it may be loaded before the visitor was asked: it is here already, or small where data costs nothing.
    pub fn is_welcome(&self) -> bool {
        self.kept || (self.bytes <= UNASKED_BYTES && !saves_data())
    }
}

/// The absolute address of a folder beside the page.
///
/// # Errors
/// If the page has no address.
pub fn address(folder: &str) -> Result<String, JsValue> {
    let base = document()?.base_uri()?.unwrap_or_default();
    Ok(Url::new_with_base(folder, &base)?.href())
}

/// The bundles beside the page; none if there is no list of them.
pub async fn offers() -> Vec<Offer> {
    let mut offers = list().await.map_or(Vec::new(), |list| list.bundles);
    for offer in &mut offers {
        if let Ok(address) = offer.address() {
            offer.kept = storage::has_bundle(&address).await;
        }
    }
    offers
}

async fn list() -> Result<List, JsValue> {
    let response: Response = settled(window()?.fetch_with_str(LIST)).await?.dyn_into()?;
    if !response.ok() {
        return Err(JsValue::UNDEFINED);
    }
    from_js(settled(response.json()?).await?)
}

/// Whether the visitor has asked the browser to save data.
fn saves_data() -> bool {
    let connection = |window: web_sys::Window| {
        js_sys::Reflect::get(&window.navigator(), &"connection".into()).ok()
    };
    let of = |connection: JsValue| js_sys::Reflect::get(&connection, &"saveData".into()).ok();
    let saves = window().ok().and_then(connection).and_then(of);
    saves.is_some_and(|saves| saves.is_truthy())
}
