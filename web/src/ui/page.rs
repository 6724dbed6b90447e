//! Owns the page as a whole: makes the widgets, and says who hears of whom.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::bench::{Bench, samples};
use super::dom::report;
use super::drop::{self, Drop};
use super::library;
use super::many::Many;
use super::model::Model;
use super::notice::Notice;
use super::teach::Teach;
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
    let teach = Teach::find(Rc::clone(&model), Rc::clone(&bench), Rc::clone(&notice))?;
    let many = Many::find(Rc::clone(&model), Rc::clone(&notice))?;
    let taker = Rc::clone(&bench);
    drop::follow(move |dropped| match dropped {
        Drop::Post(change) => taker.take(change),
        Drop::Many(files) => many.take(files),
    })?;

    // The samples are fetched, and the model with all that is kept; after both, every request counts.
    let (drawn, settled) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let fetched: Rc<dyn Fn()> = {
        let (model, drawn, settled) = (Rc::clone(&model), Rc::clone(&drawn), Rc::clone(&settled));
        Rc::new(move || {
            if drawn.get() && settled.get() {
                model.network().loaded();
            }
        })
    };
    let kept = Rc::clone(&fetched);
    let hears = move |done| {
        settled.set(done);
        kept();
    };
    library::open(model, notice, hears, move || teach.forget_all())?;
    spawn_local(async move {
        report(samples::show(move |picture, caption| bench.put(picture, caption)).await);
        drawn.set(true);
        fetched();
    });
    Ok(())
}
