//! Owns the page's views: one is shown, and the address says which, so that it can be linked to and gone back from.

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, Event, HtmlElement};

use super::dom::{by_id, document, listen, report, show, window};

/// The views by the name in the address.
const VIEWS: [&str; 3] = ["post", "many", "model"];

/// Shows the view that the address names, and follows it from then on.
///
/// # Errors
/// If index.html lacks a view.
pub(super) fn follow() -> Result<(), JsValue> {
    open(false)?;
    listen(&window()?, "hashchange", |_: Event| report(open(true)))
}

/// The name of the view that is shown.
pub(super) fn shown() -> &'static str {
    let hidden =
        |name: &str| by_id(&format!("view-{name}")).is_ok_and(|view: HtmlElement| view.hidden());
    VIEWS
        .into_iter()
        .find(|name| !hidden(name))
        .unwrap_or(VIEWS[0])
}

/// Shows another view, as if its link had been followed.
///
/// # Errors
/// If the browser refuses.
pub(super) fn go(view: &str) -> Result<(), JsValue> {
    window()?.location().set_hash(view)
}

fn open(moved: bool) -> Result<(), JsValue> {
    let hash = window()?.location().hash()?;
    let wanted = hash.trim_start_matches('#');
    let Some(view) = VIEWS
        .into_iter()
        .find(|view| *view == wanted)
        .or((!moved).then_some(VIEWS[0]))
    else {
        // A place within the page, such as the skip link's.
        return Ok(());
    };
    for name in VIEWS {
        show(&by_id(&format!("view-{name}"))?, name == view);
    }
    let links = document()?.query_selector_all("nav a")?;
    for place in 0..links.length() {
        let Some(link) = links
            .item(place)
            .and_then(|node| node.dyn_into::<Element>().ok())
        else {
            continue;
        };
        if link.get_attribute("href").as_deref() == Some(&format!("#{view}")) {
            link.set_attribute("aria-current", "page")?;
        } else {
            link.remove_attribute("aria-current")?;
        }
    }
    if moved {
        // Whoever listens is told where they are.
        let heading: HtmlElement = by_id(&format!("{view}-title"))?;
        heading.focus()?;
        window()?.scroll_to_with_x_and_y(0.0, 0.0);
    }
    Ok(())
}
