//! Owns what is said of things kept on this device, and that they are forgotten.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Cache, CacheStorage, Event, HtmlElement, Response, StorageManager};

use super::dom::{by_id, listen, show, window};
use super::numbers::bytes;
use super::offline::{self, KeptPage};
use super::words;
use crate::promise::settled;
use crate::protocol::{Artefact, Summary};

/// Every cache of Lacuna's has a name that begins so.
const PREFIX: &str = "lacuna-";
/// Where the worker keeps the bundles' files.
const FILES: &str = "lacuna-files";

/// The lines about what is kept, and two buttons.
pub struct Storage {
    offline: HtmlElement,
    models: HtmlElement,
    page: HtmlElement,
    total: HtmlElement,
    said: HtmlElement,
    persist: HtmlElement,
    state: RefCell<State>,
    /// Whether the visitor had everything forgotten: then nothing more is kept in this visit.
    forgotten: Cell<bool>,
}

/// What was heard so far.
#[derive(Default)]
struct State {
    /// The page, or why it is not kept.
    page: Option<Result<KeptPage, String>>,
    /// Whether the model in use is kept, or why not.
    model: Option<Result<(), String>>,
}

impl Storage {
    /// Finds the lines in the page. `removed` is called after everything was removed.
    ///
    /// # Errors
    /// If index.html lacks them.
    pub fn find(removed: impl Fn() + 'static) -> Result<Rc<Self>, JsValue> {
        let storage = Rc::new(Self {
            offline: by_id("kept-offline")?,
            models: by_id("kept-models")?,
            page: by_id("kept-page")?,
            total: by_id("kept-total")?,
            said: by_id("kept-said")?,
            persist: by_id("kept-persist")?,
            state: RefCell::default(),
            forgotten: Cell::new(false),
        });
        let removed = Rc::new(removed);
        let own = Rc::clone(&storage);
        let forget: HtmlElement = by_id("kept-forget")?;
        listen(&forget, "click", move |_: Event| {
            let (own, removed) = (Rc::clone(&own), Rc::clone(&removed));
            spawn_local(async move {
                own.forget().await;
                // Only now, for what else is forgotten must not bring a cache back.
                removed();
            });
        })?;
        let own = Rc::clone(&storage);
        listen(&storage.persist, "click", move |_: Event| {
            let own = Rc::clone(&own);
            spawn_local(async move { own.persist().await });
        })?;
        Ok(storage)
    }

    /// The model is loaded: says what is kept of it, has the page kept, and returns when nothing more is fetched for that.
    pub async fn loaded(&self, summary: &Summary, from_address: bool) {
        if self.forgotten.get() {
            return self.show().await;
        }
        let model = match &summary.refused {
            Some(why) => Err(why.clone()),
            None if !from_address => Err(words::say("kept-own", &[])),
            None => Ok(()),
        };
        self.state.borrow_mut().model = Some(model);
        self.keep_page(summary.artefact).await;
    }

    async fn keep_page(&self, artefact: Artefact) {
        let page = offline::keep(artefact).await;
        self.state.borrow_mut().page = Some(page).filter(|_| !self.forgotten.get());
        self.show().await;
    }

    /// Removes everything: models, what was taught, the page, and its service worker.
    async fn forget(&self) {
        self.forgotten.set(true);
        let mut failed = offline::forget().await.is_err();
        if let Some(caches) = caches() {
            for name in names(&caches).await {
                failed |= settled(caches.delete(&name)).await.is_err();
            }
        }
        *self.state.borrow_mut() = State::default();
        let said = if failed {
            "forgotten-not"
        } else {
            "forgotten-all"
        };
        self.said.set_text_content(Some(&words::say(said, &[])));
        self.show().await;
    }

    /// Asks the browser not to remove things by itself. Some ask the visitor, some decide on their own.
    async fn persist(&self) {
        let granted = match manager().and_then(|manager| manager.persist().ok()) {
            Some(promise) => settled(promise)
                .await
                .is_ok_and(|granted| granted.is_truthy()),
            None => false,
        };
        let said = if granted {
            "persisted"
        } else {
            "persisted-not"
        };
        self.said.set_text_content(Some(&words::say(said, &[])));
        show(&self.persist, !granted);
    }

    /// Writes the lines anew.
    pub async fn show(&self) {
        let models = bytes_of_files().await;
        let total = used().await;
        let (page, model) = {
            let state = self.state.borrow();
            (state.page.clone(), state.model.clone())
        };
        let works = matches!((&page, &model), (Some(Ok(_)), Some(Ok(()))));
        show(&self.offline, works);
        let line = match (&model, models) {
            (Some(Err(why)), 0) => words::say("kept-refused", &[why]),
            (Some(Err(why)), size) => words::say("kept-models-but", &[&bytes(size), why]),
            (_, 0) => words::say("kept-nothing", &[]),
            (_, size) => words::say("kept-models", &[&bytes(size)]),
        };
        self.models.set_text_content(Some(&line));
        let line = match &page {
            None => words::say("kept-page-not", &[]),
            Some(Err(why)) => words::say("kept-page-refused", &[why]),
            Some(Ok(page)) => {
                let name = if page.newer {
                    "kept-page-newer"
                } else {
                    "kept-page"
                };
                words::say(name, &[&bytes(page.bytes)])
            }
        };
        self.page.set_text_content(Some(&line));
        show(&self.total, total.is_some());
        let line = total.map(|size| words::say("kept-total", &[&bytes(size)]));
        self.total.set_text_content(line.as_deref());
    }
}

/// Whether this device has the whole bundle of this address: the worker keeps a manifest after all of its files.
pub async fn has_bundle(address: &str) -> bool {
    match files().await {
        Some(files) => response(&files, &format!("{address}manifest.json"))
            .await
            .is_some(),
        None => false,
    }
}

async fn bytes_of_files() -> u64 {
    let Some(files) = files().await else {
        return 0;
    };
    let keys: Array = settled(files.keys())
        .await
        .unwrap_or_default()
        .dyn_into()
        .unwrap_or_default();
    let mut sum = 0;
    for key in keys.iter() {
        let address = Reflect::get(&key, &"url".into()).ok();
        let Some(address) = address.and_then(|address| address.as_string()) else {
            continue;
        };
        if let Some(response) = response(&files, &address).await {
            let size = response.headers().get("content-length").ok().flatten();
            sum += size.and_then(|size| size.parse().ok()).unwrap_or(0);
        }
    }
    sum
}

async fn response(cache: &Cache, address: &str) -> Option<Response> {
    settled(cache.match_with_str(address))
        .await
        .ok()?
        .dyn_into()
        .ok()
}

/// The worker's cache, if there is one; asking for it must not make it.
async fn files() -> Option<Cache> {
    let caches = caches()?;
    if !settled(caches.has(FILES)).await.ok()?.is_truthy() {
        return None;
    }
    Some(settled(caches.open(FILES)).await.ok()?.unchecked_into())
}

async fn names(caches: &CacheStorage) -> Vec<String> {
    let names: Array = settled(caches.keys())
        .await
        .unwrap_or_default()
        .dyn_into()
        .unwrap_or_default();
    let names = names.iter().filter_map(|name| name.as_string());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}

/// How many bytes the browser has of this site.
async fn used() -> Option<u64> {
    let estimate = settled(manager()?.estimate().ok()?).await.ok()?;
    let usage = Reflect::get(&estimate, &"usage".into()).ok()?.as_f64()?;
    (usage > 0.0).then_some(usage as u64)
}

/// The browser's caches; nothing where it has none for this page.
pub fn caches() -> Option<CacheStorage> {
    let caches = Reflect::get(&js_sys::global(), &"caches".into()).ok()?;
    caches.is_object().then(|| caches.unchecked_into())
}

fn manager() -> Option<StorageManager> {
    let navigator = window().ok()?.navigator();
    let manager = Reflect::get(&navigator, &"storage".into()).ok()?;
    manager.is_object().then(|| manager.unchecked_into())
}
