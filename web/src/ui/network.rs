//! Owns the promise that nothing leaves the page, and the count that shows it is kept.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::Array;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    HtmlElement, PerformanceEntry, PerformanceObserver, PerformanceObserverEntryList,
    PerformanceObserverInit,
};

use super::dom::{by_id, show, window};
use super::words;

/// Counts the requests since the model was loaded: the page's own, seen by the browser, and the worker's.
pub struct Network {
    line: HtmlElement,
    page: Rc<Cell<u32>>,
    worker: Cell<u32>,
    /// When the model was loaded.
    loaded: Rc<Cell<Option<f64>>>,
}

impl Network {
    /// Starts to observe.
    ///
    /// # Errors
    /// If index.html lacks the line, or the browser cannot observe.
    pub fn observe() -> Result<Self, JsValue> {
        let (page, loaded) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
        let line: HtmlElement = by_id("requests")?;
        let (count, since, shown) = (Rc::clone(&page), Rc::clone(&loaded), line.clone());
        let seen = Closure::<dyn FnMut(PerformanceObserverEntryList)>::new(
            move |entries: PerformanceObserverEntryList| {
                let entries: Array = entries.get_entries().unchecked_into();
                // A `blob:` address lies inside the page and is no request; and what began before may be told later.
                let requests = entries
                    .iter()
                    .filter_map(|entry| entry.dyn_into::<PerformanceEntry>().ok())
                    .filter(|entry| entry.name().starts_with("http"))
                    .filter(|entry| since.get().is_some_and(|since| entry.start_time() > since))
                    .count();
                if requests > 0 {
                    count.set(count.get() + requests as u32);
                    shown.set_text_content(Some(&requests_line(count.get())));
                }
            },
        );
        let observer = PerformanceObserver::new(seen.as_ref().unchecked_ref())?;
        seen.forget();
        let kinds = PerformanceObserverInit::new(&Array::of1(&"resource".into()));
        observer.observe(&kinds);
        Ok(Self {
            line,
            page,
            worker: Cell::new(0),
            loaded,
        })
    }

    /// A model is loading: requests do not count until it is there.
    pub fn loading(&self) {
        self.loaded.set(None);
        show(&self.line, false);
    }

    /// The model is loaded: from here on every request counts.
    pub fn loaded(&self) {
        self.loaded.set(
            window()
                .ok()
                .and_then(|window| window.performance())
                .map(|clock| clock.now()),
        );
        self.page.set(0);
        self.worker.set(0);
        show(&self.line, true);
        self.line.set_text_content(Some(&requests_line(0)));
    }

    /// The worker says how many requests it has made since.
    pub fn worker_made(&self, requests: u32) {
        // It says so with every answer, of which there may be hundreds a second; the line is only written anew if need be.
        if self.worker.replace(requests) != requests {
            self.line
                .set_text_content(Some(&requests_line(self.page.get() + requests)));
        }
    }
}

fn requests_line(count: u32) -> String {
    words::say("requests", &[&count.to_string()])
}
