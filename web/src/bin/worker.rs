//! The inference thread: loads a bundle once and answers one request after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web::api::Classifier;
use web::loader::Order;
use web::promise::pause;
use web::protocol::{Code, Event, Failure, Lessons, Modality, Request, files_of, to_js};
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
        explained: Rc::default(),
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

/// An explanation lets other requests in after this time, so that an answer is never late by more than it and a pass.
const PATIENCE_MILLISECONDS: f64 = 20.0;

/// The thread's state.
#[derive(Clone)]
struct Worker {
    scope: DedicatedWorkerGlobalScope,
    classifier: Rc<RefCell<Option<Classifier>>>,
    /// When the bundle was loaded.
    loaded: Rc<Cell<f64>>,
    /// The number of the explanation that is being made; 0 if there is none. A newer one takes the place of an older.
    explained: Rc<Cell<u32>>,
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
            Ok((Request::Explain { id, text, class }, image)) => {
                self.explained.set(id);
                let worker = self.clone();
                spawn_local(async move { worker.explain(id, text, class, image).await });
            }
            Ok((Request::Teach { id, class, text }, image)) => self.change(id, |classifier| {
                let image = image.map(|image| image.to_vec());
                classifier.teach(&class, image.as_deref(), text.as_deref())
            }),
            Ok((Request::Rename { id, from, to }, _)) => {
                self.change(id, |classifier| classifier.rename(&from, &to))
            }
            Ok((Request::Forget { id, class }, _)) => {
                self.change(id, |classifier| classifier.forget(&class))
            }
            Ok((Request::Learn { id, file }, _)) => {
                self.change(id, |classifier| classifier.learn(file.as_deref()))
            }
            Ok((Request::Cancel { id }, _)) => {
                if self.explained.get() == id {
                    self.explained.set(0);
                }
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
        let image = image.map(|image| image.to_vec());
        match self.with(|classifier| classifier.predict(image.as_deref(), text)) {
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

    /// Explains step by step; other requests are answered in between.
    async fn explain(
        &self,
        id: u32,
        text: Option<String>,
        class: usize,
        image: Option<Uint8Array>,
    ) {
        let image = image.map(|image| image.to_vec());
        let begun =
            self.with(|classifier| classifier.explainer(image.as_deref(), text.as_deref(), class));
        let mut explainer = match begun {
            Ok(explainer) => explainer,
            Err(failure) => return self.fail(Some(id), failure),
        };
        let mut rest = self.now();
        loop {
            if self.explained.get() != id {
                // Given up: who asked has been told.
                return;
            }
            match self.with(|classifier| classifier.explain(&mut explainer)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => return self.fail(Some(id), failure),
            }
            if self.now() - rest > PATIENCE_MILLISECONDS {
                // Messages that have come meanwhile are let in.
                pause(0).await;
                rest = self.now();
            }
        }
        self.tell(&Event::Explanation {
            id,
            explanation: explainer.finish(),
            requests: self.requests(),
        });
    }

    /// Changes what was taught, and says what it is then.
    fn change(&self, id: u32, action: impl FnOnce(&mut Classifier) -> Result<Lessons, Failure>) {
        match self.with(action) {
            Ok(lessons) => self.tell(&Event::Lessons { id, lessons }),
            Err(failure) => self.fail(Some(id), failure),
        }
    }

    /// Does something with the classifier, if there is one.
    fn with<T>(
        &self,
        action: impl FnOnce(&mut Classifier) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match &mut *self.classifier.borrow_mut() {
            Some(classifier) => action(classifier),
            None => Err(Failure::new(
                Code::Input,
                "The model is not loaded.",
                "Load a bundle first.",
            )),
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
