//! Owns where a bundle's files come from: a server's folder, what this device has kept of it, or the visitor's own files.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::{Blob, Response};

use crate::cache::Shelf;
use crate::protocol::{Code, Failure};
use crate::stream;

/// A bundle's folder.
#[derive(Clone)]
pub enum Source {
    /// On a server, by its absolute address, with the slash at its end.
    Address(String),
    /// Given by the visitor: blobs by the files' names. One of the type [`DEFLATED`](crate::protocol::DEFLATED) is inflated.
    Files(Object),
}

/// How much of a file a server is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// All of it; the browser may have it already.
    Whole,
    /// All of it, whatever the browser may have.
    Fresh,
    /// What comes after so many bytes.
    From(u32),
}

/// A file that has been asked for.
pub(crate) struct Asked {
    pub(crate) name: String,
    answer: JsFuture,
    kept: Rc<Cell<bool>>,
}

impl Source {
    /// Asks for a file at once: first where it may be kept, then where it comes from. The visitor's own files are whole.
    pub(crate) fn ask(&self, name: &str, part: Part, shelf: Option<Shelf>) -> Asked {
        let kept = Rc::new(Cell::new(false));
        let (source, found, file) = (self.clone(), Rc::clone(&kept), name.to_owned());
        let answer = future_to_promise(async move {
            if let Some(response) = match &shelf {
                Some(shelf) => shelf.find().await,
                None => None,
            } {
                found.set(true);
                return Ok(response.into());
            }
            match &source {
                Self::Address(folder) => fetch(&format!("{folder}{file}"), part)?.await,
                Self::Files(files) => {
                    let blob = Reflect::get(files, &file.into())?;
                    let blob: &Blob = blob.dyn_ref().ok_or(JsValue::UNDEFINED)?;
                    Ok(stream::open(blob)?.into())
                }
            }
        });
        Asked {
            name: name.into(),
            answer: answer.into(),
            kept,
        }
    }

    /// Whether a server sends the files, so that asking once more may help.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Address(_))
    }

    /// The file's address, if it has one under which it may be kept.
    pub(crate) fn address(&self, name: &str) -> Option<String> {
        match self {
            Self::Address(folder) => Some(format!("{folder}{name}")),
            Self::Files(_) => None,
        }
    }

    /// What to say of a file that does not come.
    pub(crate) fn missing(&self, name: &str) -> Failure {
        match self {
            Self::Address(_) => Failure::new(
                Code::Network,
                format!("bundle {name}: the connection was refused or broke off."),
                "Check the connection and start the model again.",
            ),
            Self::Files(_) => Failure::new(
                Code::Bundle,
                format!("bundle {name}: is not among the files, or cannot be read."),
                "Choose the whole folder that the export wrote, or a .zip of it.",
            ),
        }
    }
}

impl Asked {
    /// The answer, and whether this device had kept it.
    ///
    /// # Errors
    /// If there is no connection, the server has no such file, or it is not among the visitor's.
    pub(crate) async fn answer(self, source: &Source) -> Result<(Response, bool), Failure> {
        let missing = |_| source.missing(&self.name);
        let response: Response = self
            .answer
            .await
            .map_err(missing)?
            .dyn_into()
            .map_err(missing)?;
        if !response.ok() {
            return Err(Failure::new(
                Code::Status,
                format!(
                    "bundle {}: the server answers {} {}",
                    self.name,
                    response.status(),
                    response.status_text()
                )
                .trim_end(),
                "The folder of the model must lie beside the page, as `bundle/`; put it there and start the model again.",
            ));
        }
        Ok((response, self.kept.get()))
    }
}

/// Asks a server. In a worker, a window, or Node.
fn fetch(address: &str, part: Part) -> Result<JsFuture, JsValue> {
    let global = js_sys::global();
    let fetch: Function = Reflect::get(&global, &"fetch".into())?.dyn_into()?;
    let how = Object::new();
    match part {
        Part::Whole | Part::From(0) => {}
        Part::Fresh => {
            Reflect::set(&how, &"cache".into(), &"reload".into())?;
        }
        Part::From(from) => {
            let headers = Object::new();
            let range = format!("bytes={from}-");
            Reflect::set(&headers, &"range".into(), &range.into())?;
            Reflect::set(&how, &"headers".into(), &headers)?;
        }
    }
    let promise = fetch.call2(&global, &address.into(), &how)?;
    Ok(promise.unchecked_into::<Promise>().into())
}
