//! Owns the contract between the page and the worker: the requests, the events, and how they cross as plain objects.
//!
//! On the wire every message is a plain JavaScript object with a `type` in snake case, so that a page without Rust can
//! speak it too: `{type: "classify", id: 1, image: Uint8Array, text: "a red apple"}`.

use js_sys::{Object, Reflect, Uint8Array};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
pub use shared::Modality;
pub use shared::bundle::{About, Dtype, MANIFEST};
pub use shared::head::Evidence;
pub use shared::limits;
pub use shared::predict::{
    ClassScore, Explanation, ImageMap, Lessons, Prediction, Removal, TaughtClass, TextMap,
};
use wasm_bindgen::{JsCast, JsValue};

/// What the page asks of the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Load the bundle whose folder is at this address, or whose files travel beside the request under `files`: blobs by
    /// their names (see [`files_of`]).
    Load {
        /// The folder's absolute address, with the slash at its end; empty if the files are there.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        url: String,
        /// How many threads compute, for the artefact that has threads; absent leaves it to the worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        threads: Option<u32>,
        /// Load the tower of this modality alone; absent loads both.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Modality>,
        /// Keep the bundle on this device, and take what is kept of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// Classify one post. The image file's bytes travel beside it under `image` (see [`Request::to_message`]).
    Classify {
        /// Returned with the answer.
        id: u32,
        /// The text; absent is a missing modality.
        #[serde(default)]
        text: Option<String>,
    },
    /// Tell what the score of a class rests on in a post, by taking parts of it away. The image file's bytes travel
    /// beside it. It gives way to other requests, and to [`Request::Cancel`].
    Explain {
        /// Returned with the answer.
        id: u32,
        /// The text; absent is a missing modality.
        #[serde(default)]
        text: Option<String>,
        /// The class, by its place in the order of the classes.
        class: usize,
    },
    /// Give up a request that is being worked on; it is never answered.
    Cancel {
        /// The request's number.
        id: u32,
    },
    /// Add a post to a class that is taught, a new one if no class has the name. The image file's bytes travel beside it.
    Teach {
        /// Returned with the answer.
        id: u32,
        /// The class.
        class: String,
        /// The text; absent is a missing modality.
        #[serde(default)]
        text: Option<String>,
    },
    /// Give a class another name.
    Rename {
        /// Returned with the answer.
        id: u32,
        /// The name now.
        from: String,
        /// The other.
        to: String,
    },
    /// Remove a class that was taught.
    Forget {
        /// Returned with the answer.
        id: u32,
        /// The class.
        class: String,
    },
    /// Replace all that was taught by what a file says; without one, forget everything.
    Learn {
        /// Returned with the answer.
        id: u32,
        /// The file's text.
        #[serde(default)]
        file: Option<String>,
    },
    /// Drop the model and end the worker.
    Dispose,
}

/// What the worker tells the page.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The worker runs and listens; messages sent before are lost.
    Awake,
    /// Bytes of the bundle received so far.
    Progress {
        /// Received.
        loaded: u64,
        /// The whole bundle, known exactly from its manifest.
        total: u64,
    },
    /// The bundle is loaded and checked; nothing will be fetched from here on.
    Ready {
        /// What was loaded.
        summary: Summary,
    },
    /// An answer.
    Prediction {
        /// The request's number.
        id: u32,
        /// The classes, the case, and what each modality contributed.
        prediction: Prediction,
        /// Time from the request's arrival to the answer.
        milliseconds: f64,
        /// Network requests of the worker since the bundle was loaded: always 0.
        requests: u32,
    },
    /// What a class's score rests on.
    Explanation {
        /// The request's number.
        id: u32,
        /// By patch and by word.
        explanation: Explanation,
        /// Network requests of the worker since the bundle was loaded: always 0.
        requests: u32,
    },
    /// All that was taught, after a change of it.
    Lessons {
        /// The request's number.
        id: u32,
        /// The classes, and the file that holds them.
        lessons: Lessons,
    },
    /// Something went wrong.
    Failed {
        /// The request's number, if it was about one post.
        #[serde(default)]
        id: Option<u32>,
        /// What, why, and the way out.
        failure: Failure,
    },
}

/// What the page shows of a loaded bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name, licence, how it was made and what was measured.
    pub about: About,
    /// The checksum of its manifest: which bundle it is.
    pub checksum: String,
    /// The classes in the order of the logits.
    pub classes: Vec<String>,
    /// How the weights are stored.
    pub dtype: Dtype,
    /// Size of all files in bytes.
    pub bytes: u64,
    /// How many of these bytes this device had kept.
    pub kept: u64,
    /// Why the bundle could not be kept, without a full stop, if it was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Which of the worker's artefacts computes.
    pub artefact: Artefact,
    /// How many threads compute.
    pub threads: u32,
}

/// The worker is built several times, from what every browser runs to what is fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Artefact {
    /// 128-bit SIMD.
    Baseline,
    /// And its relaxed instructions.
    Relaxed,
    /// And threads on a shared memory.
    Threads,
}

impl Artefact {
    /// The name in addresses and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Relaxed => "relaxed",
            Self::Threads => "threads",
        }
    }
}

/// A failure as a sentence with a way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind it is, for programs.
    pub code: Code,
    /// What went wrong and where, for people.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No answer from the server.
    Network,
    /// The server answered, but not with the file.
    Status,
    /// A file of the bundle is damaged, missing or of another format.
    Bundle,
    /// Not enough memory.
    Memory,
    /// The picture cannot be used.
    Image,
    /// The post cannot be used for another reason.
    Input,
    /// The browser lacks something.
    Unsupported,
    /// The threads could not be started; an artefact without threads may run.
    Threads,
    /// The answer was given up before it came.
    Cancelled,
    /// A mistake of this program.
    Internal,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl Request {
    /// The message to post, with the image file's bytes beside the request.
    ///
    /// # Errors
    /// If the request cannot be made a JavaScript object.
    pub fn to_message(&self, image: Option<&Uint8Array>) -> Result<JsValue, JsValue> {
        let message = to_js(self)?;
        if let Some(image) = image {
            Reflect::set(&message, &"image".into(), image)?;
        }
        Ok(message)
    }

    /// Reads a message: the request and the image file's bytes.
    ///
    /// # Errors
    /// If it is no request, or `image` is there and no `Uint8Array`.
    pub fn from_message(message: &JsValue) -> Result<(Self, Option<Uint8Array>), JsValue> {
        let request = from_js(message.clone())?;
        let image = Reflect::get(message, &"image".into())?;
        let image = if image.is_undefined() || image.is_null() {
            None
        } else {
            Some(
                image
                    .dyn_into::<Uint8Array>()
                    .map_err(|_| JsValue::from_str("`image` must be a Uint8Array"))?,
            )
        };
        Ok((request, image))
    }
}

/// The type of a blob that is compressed as in a .zip archive; the worker inflates it when it needs it.
pub const DEFLATED: &str = "application/x-deflate-raw";

/// The files beside a request to load, if there are any: an object with a blob for each name.
pub fn files_of(message: &JsValue) -> Option<Object> {
    let files = Reflect::get(message, &"files".into()).ok()?;
    files.is_object().then(|| files.unchecked_into())
}

/// A value as a plain JavaScript object, equal to its JSON.
///
/// # Errors
/// If the value cannot be one.
pub fn to_js<T: Serialize>(value: &T) -> Result<JsValue, JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(JsValue::from)
}

/// Reads a value from a plain JavaScript object.
///
/// # Errors
/// If the object is not such a value.
pub fn from_js<T: DeserializeOwned>(value: JsValue) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value).map_err(JsValue::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn requests_are_plain_objects() {
        for (request, object) in [
            (
                Request::Load {
                    url: "/bundle/".into(),
                    threads: None,
                    only: None,
                    keep: false,
                },
                json!({"type": "load", "url": "/bundle/"}),
            ),
            (
                Request::Load {
                    url: "/bundle/".into(),
                    threads: Some(2),
                    only: Some(Modality::Image),
                    keep: true,
                },
                json!({"type": "load", "url": "/bundle/", "threads": 2, "only": "image", "keep": true}),
            ),
            (
                Request::Classify {
                    id: 7,
                    text: Some("tea".into()),
                },
                json!({"type": "classify", "id": 7, "text": "tea"}),
            ),
            (Request::Dispose, json!({"type": "dispose"})),
        ] {
            assert_eq!(to_value(&request).unwrap(), object);
            assert_eq!(from_value::<Request>(object).unwrap(), request);
        }
        let without_text: Request = from_value(json!({"type": "classify", "id": 7})).unwrap();
        assert_eq!(without_text, Request::Classify { id: 7, text: None });
    }

    #[test]
    fn failures_say_what_they_are() {
        let failure = Failure::new(Code::Bundle, "bundle a: is damaged", "Reload the page.");
        assert_eq!(
            to_value(Event::Failed { id: None, failure }).unwrap(),
            json!({
                "type": "failed",
                "id": null,
                "failure": {"code": "bundle", "message": "bundle a: is damaged", "hint": "Reload the page."},
            })
        );
    }
}
