//! Owns the page as a whole: makes the widgets, and says who hears of whom.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::bench::{Bench, samples};
use super::dom::report;
use super::drop::{self, Drop};
use super::many::Many;
use super::model::{Model, State};
use super::notice::Notice;
use super::views;

/// Wires the page and starts the model.
///
/// # Errors
/// If index.html lacks an element, or the browser cannot run a worker.
pub fn start() -> Result<(), JsValue> {
    views::follow()?;
    let notice = Notice::find()?;
    let model = Model::find(Rc::clone(&notice))?;
    let again = Rc::clone(&model);
    notice.on_again(move || report(again.load()))?;
    let bench = Bench::find(Rc::clone(&model), Rc::clone(&notice))?;
    let many = Many::find(Rc::clone(&model), notice)?;
    let taker = Rc::clone(&bench);
    drop::follow(move |dropped| match dropped {
        Drop::Post(change) => taker.take(change),
        Drop::Many(files) => many.take(files),
    })?;

    // The bundle and the samples are fetched; after both, every request counts.
    let left = Rc::new(std::cell::Cell::new(2_u8));
    let fetched: Rc<dyn Fn()> = {
        let model = Rc::clone(&model);
        Rc::new(move || {
            left.set(left.get().saturating_sub(1));
            if left.get() == 0 {
                model.network().loaded();
            }
        })
    };
    let loaded = Rc::clone(&fetched);
    model.listen(move |state| {
        if matches!(state, State::Ready(_)) {
            loaded();
        }
    });
    model.load()?;
    spawn_local(async move {
        report(samples::show(move |picture, caption| bench.put(picture, caption)).await);
        fetched();
    });
    Ok(())
}
