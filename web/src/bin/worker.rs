//! The inference thread: loads a bundle once and answers one request after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web::api::Classifier;
use web::loader::Order;
use web::protocol::{Code, Event, Failure, Modality, Request, files_of, to_js};
use web::source::Source;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent, PerformanceEntry, console};

fn main() {
    console_error_panic_hook::set_once();
    // Elsewhere, as in Node, only the classifier itself is used.
    let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() else {
        return;
    };
    let worker = Worker {
        scope: scope.clone(),
        classifier: Rc::default(),
        loaded: Rc::default(),
    };
    let awake = worker.clone();
    let heard = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
        worker.hear(&message.data())
    });
    scope.set_onmessage(Some(heard.as_ref().unchecked_ref()));
    heard.forget();
    awake.tell(&Event::Awake);
}

/// A GIF of one pixel.
const WHITE_DOT: [u8; 35] = *b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3b";

/// The thread's state.
#[derive(Clone)]
struct Worker {
    scope: DedicatedWorkerGlobalScope,
    classifier: Rc<RefCell<Option<Classifier>>>,
    /// When the bundle was loaded.
    loaded: Rc<Cell<f64>>,
}

impl Worker {
    fn hear(&self, message: &JsValue) {
        match Request::from_message(message) {
            Ok((
                Request::Load {
                    url,
                    threads,
                    only,
                    keep,
                },
                _,
            )) => {
                let source = files_of(message).map_or(Source::Address(url), Source::Files);
                let order = Order {
                    source,
                    threads,
                    only,
                    keep,
                };
                let worker = self.clone();
                spawn_local(async move { worker.load(order).await });
            }
            Ok((Request::Classify { id, text }, image)) => {
                self.classify(id, text.as_deref(), image)
            }
            Ok((Request::Dispose, _)) => {
                self.classifier.take();
                self.scope.close();
            }
            Err(error) => self.fail(
                None,
                Failure::new(Code::Input, format!("{error:?}"), "Send a known request."),
            ),
        }
    }

    async fn load(&self, order: Order) {
        // The old model first: memory for two is rarely there.
        self.classifier.take();
        let progress = |loaded, total| self.tell(&Event::Progress { loaded, total });
        let only = order.only;
        match Classifier::open(order, progress).await {
            Ok(classifier) => {
                // The browser compiles what is called for the first time; better now than at the first answer.
                let image = only.is_none_or(|only| only == Modality::Image);
                let text = only.is_none_or(|only| only == Modality::Text);
                let dot = image.then_some(&WHITE_DOT[..]);
                let _ = classifier.predict(dot, text.then_some("warm"));
                let summary = classifier.about().clone();
                self.classifier.replace(Some(classifier));
                self.loaded.set(self.now());
                self.tell(&Event::Ready { summary });
            }
            Err(failure) => self.fail(None, failure),
        }
    }

    fn classify(&self, id: u32, text: Option<&str>, image: Option<Uint8Array>) {
        let start = self.now();
        let Some(classifier) = &*self.classifier.borrow() else {
            return self.fail(
                Some(id),
                Failure::new(
                    Code::Input,
                    "The model is not loaded.",
                    "Load a bundle first.",
                ),
            );
        };
        let image = image.map(|image| image.to_vec());
        match classifier.predict(image.as_deref(), text) {
            Ok(prediction) => {
                let milliseconds = self.now() - start;
                self.tell(&Event::Prediction {
                    id,
                    prediction,
                    milliseconds,
                    requests: self.requests(),
                });
            }
            Err(failure) => self.fail(Some(id), failure),
        }
    }

    fn fail(&self, id: Option<u32>, failure: Failure) {
        self.tell(&Event::Failed { id, failure });
    }

    fn tell(&self, event: &Event) {
        let sent = to_js(event).and_then(|message| self.scope.post_message(&message));
        if let Err(error) = sent {
            console::error_1(&error);
        }
    }

    fn now(&self) -> f64 {
        self.scope
            .performance()
            .map_or(0.0, |performance| performance.now())
    }

    /// Requests of this thread since the bundle was loaded.
    fn requests(&self) -> u32 {
        let entries = self
            .scope
            .performance()
            .map(|clock| clock.get_entries_by_type("resource"));
        let since = |entry: &JsValue| {
            entry
                .dyn_ref::<PerformanceEntry>()
                .is_some_and(|entry| entry.start_time() > self.loaded.get())
        };
        entries.map_or(0, |entries| entries.iter().filter(since).count() as u32)
    }
}
