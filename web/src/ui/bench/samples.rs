//! Owns the sample posts: our own drawings with and without a caption, fetched once while the model loads.

use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, Event, HtmlElement, HtmlImageElement, Response, Url};

use super::post::Picture;
use crate::promise::settled;
use crate::ui::dom::{append, by_id, listen, window};
use crate::ui::words;

/// A sample post.
struct Sample {
    /// Name of the drawing in `samples/`, and what it shows.
    drawing: Option<&'static str>,
    caption: Option<&'static str>,
}

/// The samples, by case: complete, text missing, image missing.
const SAMPLES: [(&str, [Sample; 4]); 3] = [
    (
        "samples-complete",
        [
            both("apple", "red apple"),
            both("guitar", "acoustic guitar"),
            both("pizza", "slice of pizza"),
            both("coffee", "cup of coffee"),
        ],
    ),
    (
        "samples-image",
        [drawn("car"), drawn("tree"), drawn("cat"), drawn("umbrella")],
    ),
    (
        "samples-text",
        [
            said("thunderstorm"),
            said("soccer ball"),
            said("glass of milk"),
            said("trumpet"),
        ],
    ),
];

const fn both(drawing: &'static str, caption: &'static str) -> Sample {
    Sample {
        drawing: Some(drawing),
        caption: Some(caption),
    }
}

const fn drawn(drawing: &'static str) -> Sample {
    Sample {
        drawing: Some(drawing),
        caption: None,
    }
}

const fn said(caption: &'static str) -> Sample {
    Sample {
        drawing: None,
        caption: Some(caption),
    }
}

/// Fetches the drawings and shows a button for each sample; `chosen` is called with its two sides.
///
/// # Errors
/// If index.html lacks a place, or a drawing cannot be fetched.
pub async fn show(chosen: impl Fn(Option<Picture>, &'static str) + 'static) -> Result<(), JsValue> {
    let chosen: Rc<dyn Fn(Option<Picture>, &'static str)> = Rc::new(chosen);
    for (place, samples) in &SAMPLES {
        let list: HtmlElement = by_id(place)?;
        for sample in samples {
            let blob = match sample.drawing {
                Some(drawing) => Some((drawing, fetch(drawing).await?)),
                None => None,
            };
            let button = append(&append(&list, "li", "")?, "button", "sample")?;
            button.set_attribute("type", "button")?;
            if let Some((drawing, blob)) = &blob {
                let image: HtmlImageElement = append(&button, "img", "")?.unchecked_into();
                image.set_src(&Url::create_object_url_with_blob(blob)?);
                image.set_alt(&words::say("drawing", &[drawing]));
                image.set_width(40);
                image.set_height(40);
            }
            if let Some(caption) = sample.caption {
                append(&button, "span", "")?.set_text_content(Some(&format!("“{caption}”")));
            }
            let (chosen, caption) = (Rc::clone(&chosen), sample.caption.unwrap_or_default());
            listen(&button, "click", move |_: Event| {
                let (chosen, blob) = (Rc::clone(&chosen), blob.clone());
                wasm_bindgen_futures::spawn_local(async move {
                    let picture = match blob {
                        Some((drawing, blob)) => {
                            Picture::of(format!("{drawing}.png"), &blob).await.ok()
                        }
                        None => None,
                    };
                    chosen(picture, caption);
                });
            })?;
        }
    }
    Ok(())
}

/// The drawing's file.
async fn fetch(drawing: &str) -> Result<Blob, JsValue> {
    let response = window()?.fetch_with_str(&format!("samples/{drawing}.png"));
    let response: Response = settled(response).await?.dyn_into()?;
    if !response.ok() {
        return Err(JsValue::from_str(&format!(
            "samples/{drawing}.png: the server answers {}",
            response.status()
        )));
    }
    settled(response.blob()?).await?.dyn_into()
}
