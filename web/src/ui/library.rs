//! Owns which model is loaded: the first beside the page by itself or after a question, then what the visitor chooses;
//! and that what is kept of it is seen to.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::bundles::{Bundles, Choice, News};
use super::dom::report;
use super::model::{Model, State};
use super::notice::Notice;
use super::offer::{self, Offer};
use super::question::Question;
use super::storage::Storage;

/// Wires the view of the models, and loads the first. `settled` hears whether the model is there and everything is kept
/// that is to be, so that nothing more is fetched; `removed` that the visitor had all forgotten that was kept.
///
/// # Errors
/// If index.html lacks an element.
pub fn open(
    model: Rc<Model>,
    notice: Rc<Notice>,
    settled: impl Fn(bool) + 'static,
    removed: impl Fn() + 'static,
) -> Result<(), JsValue> {
    let chosen = Rc::clone(&model);
    let bundles = Bundles::find(move |news| match news {
        News::Chosen(choice) => {
            chosen.choose(choice);
            report(chosen.load());
        }
        News::Refused(failure) => notice.say(&failure, false),
    })?;
    let agreed = Rc::clone(&model);
    let question = Rc::new(Question::find(move || report(agreed.load()))?);
    let (listed, forgets) = (Rc::clone(&bundles), Rc::clone(&model));
    let storage = Storage::find(move || {
        forgets.keep_nothing();
        listed.forgotten();
        removed();
    })?;

    let settled: Rc<dyn Fn(bool)> = Rc::new(settled);
    let (asked, listed, of) = (
        Rc::clone(&question),
        Rc::clone(&bundles),
        Rc::downgrade(&model),
    );
    model.listen(move |state| {
        asked.answered();
        settled(false);
        let (State::Ready(summary), Some(model)) = (state, of.upgrade()) else {
            return listed.using(None, false);
        };
        let choice = model.choice();
        let offered = matches!(choice, Choice::Offered(_));
        let kept = offered && model.keeps() && summary.refused.is_none();
        listed.using(Some(&choice), kept);
        let (storage, summary, settled) =
            (Rc::clone(&storage), Rc::clone(summary), Rc::clone(&settled));
        spawn_local(async move {
            storage.loaded(&summary, offered).await;
            // Another model may be on its way meanwhile.
            settled(model.ready().is_some_and(|now| Rc::ptr_eq(&now, &summary)));
        });
    });

    spawn_local(async move {
        let offers = offer::offers().await;
        let first = offers.first().cloned();
        report(bundles.offer(offers));
        // The visitor may have been quicker.
        if model.is_started() {
            return;
        }
        let welcome = first.as_ref().is_none_or(Offer::is_welcome);
        let first = first.unwrap_or_else(Offer::unlisted);
        model.choose(Choice::Offered(first.clone()));
        if welcome {
            report(model.load());
        } else {
            model.wait();
            question.ask(&first);
        }
    });
    Ok(())
}
