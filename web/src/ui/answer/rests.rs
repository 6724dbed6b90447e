//! Owns the maps of what an answer rests on: patches of the picture, words of the text, and the test of both.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{Event, HtmlElement, HtmlImageElement};

use crate::protocol::{Explanation, ImageMap, Removal, TextMap};
use crate::ui::dom::{append, by_id, listen, set_variable, show};
use crate::ui::numbers::percent;
use crate::ui::words;

/// Places in a picture by row and column of thirds, as index.html names them.
const PLACES: [[&str; 3]; 3] = [
    ["top-left", "top", "top-right"],
    ["left", "middle", "right"],
    ["bottom-left", "bottom", "bottom-right"],
];

/// The maps.
pub struct Rests {
    panel: HtmlElement,
    ask: HtmlElement,
    wait: HtmlElement,
    found: HtmlElement,
    image: HtmlElement,
    picture: HtmlImageElement,
    cells: HtmlElement,
    image_said: HtmlElement,
    text: HtmlElement,
    words: HtmlElement,
    text_said: HtmlElement,
}

impl Rests {
    /// Finds the maps in the page; `asked` is called when the visitor wants them where they take long.
    ///
    /// # Errors
    /// If index.html lacks them.
    pub fn find(asked: impl Fn() + 'static) -> Result<Rc<Self>, JsValue> {
        let rests = Rc::new(Self {
            panel: by_id("rests")?,
            ask: by_id("rests-ask")?,
            wait: by_id("rests-wait")?,
            found: by_id("rests-found")?,
            image: by_id("rests-image")?,
            picture: by_id("heat-picture")?,
            cells: by_id("heat-cells")?,
            image_said: by_id("rests-image-said")?,
            text: by_id("rests-text")?,
            words: by_id("heat-words")?,
            text_said: by_id("rests-text-said")?,
        });
        listen(&rests.ask, "click", move |_: Event| asked())?;
        Ok(rests)
    }

    /// Offers to look, for it would take long.
    pub fn offer(&self) {
        show(&self.found, false);
        show(&self.wait, false);
        show(&self.ask, true);
        self.busy(false);
    }

    /// The maps are being made; older ones stay until then, dimmed.
    pub fn wait(&self) {
        show(&self.ask, false);
        show(&self.wait, self.found.hidden());
        self.busy(true);
    }

    /// There are no maps.
    pub fn clear(&self) {
        for part in [&self.ask, &self.wait, &self.found] {
            show(part, false);
        }
        self.busy(false);
    }

    /// Shows an explanation of a post whose picture is at this address.
    ///
    /// # Errors
    /// If the browser refuses.
    pub fn show(&self, explanation: &Explanation, picture: Option<&str>) -> Result<(), JsValue> {
        show(&self.image, explanation.image.is_some());
        if let (Some(map), Some(address)) = (&explanation.image, picture) {
            self.picture.set_src(address);
            self.show_image(map)?;
        }
        show(&self.text, explanation.text.is_some());
        if let Some(map) = &explanation.text {
            self.show_text(map)?;
        }
        show(&self.ask, false);
        show(&self.wait, false);
        show(&self.found, true);
        self.busy(false);
        Ok(())
    }

    fn show_image(&self, map: &ImageMap) -> Result<(), JsValue> {
        let names = ["--left", "--top", "--width", "--height"];
        for (name, share) in names.into_iter().zip(map.seen) {
            set_variable(&self.cells, name, f64::from(share))?;
        }
        set_variable(&self.cells, "--side", map.side as f64)?;
        self.cells.set_text_content(None);
        let most = map.cells.iter().copied().fold(0.0_f32, f32::max);
        // Where nothing speaks for the class there is nothing to mark.
        let removal = map.removal.as_ref().filter(|_| most > 0.0);
        let marked = removal.map(|removal| &removal.marked[..]);
        for (place, fall) in map.cells.iter().enumerate() {
            let cell = append(&self.cells, "span", "")?;
            set_variable(&cell, "--heat", heat(*fall, most))?;
            if marked.is_some_and(|marked| marked.contains(&place)) {
                cell.set_class_name("is-marked");
            }
        }
        let said = removal.map(|removal| {
            let place = PLACES[third(&removal.marked, map.side, |cell| cell / map.side)]
                [third(&removal.marked, map.side, |cell| cell % map.side)];
            let place = words::say(&format!("place-{place}"), &[]);
            words::say("rests-place", &[&place]) + " " + &tested("rests-image", removal)
        });
        let said = said.unwrap_or_else(|| words::say("rests-image-nothing", &[]));
        self.image_said.set_text_content(Some(&said));
        Ok(())
    }

    fn show_text(&self, map: &TextMap) -> Result<(), JsValue> {
        self.words.set_text_content(None);
        let most = map.falls.iter().flatten().copied().fold(0.0_f32, f32::max);
        let removal = map.removal.as_ref().filter(|_| most > 0.0);
        let marked = removal.map(|removal| &removal.marked[..]);
        for (place, (piece, fall)) in map.pieces.iter().zip(&map.falls).enumerate() {
            let word = append(&self.words, "span", "")?;
            word.set_text_content(Some(piece));
            if let Some(fall) = fall {
                set_variable(&word, "--heat", heat(*fall, most))?;
                word.set_class_name("word");
            }
            if marked.is_some_and(|marked| marked.contains(&place)) {
                word.class_list().add_1("is-marked")?;
            }
        }
        let said = match removal {
            None if most <= 0.0 => words::say("rests-text-nothing", &[]),
            Some(removal) => {
                let words: Vec<&str> = removal
                    .marked
                    .iter()
                    .filter_map(|&place| map.pieces.get(place))
                    .map(String::as_str)
                    .collect();
                words::say("rests-words", &[&words.join(", ")])
                    + " "
                    + &tested("rests-text", removal)
            }
            None => words::say("rests-one-word", &[]),
        };
        self.text_said.set_text_content(Some(&said));
        Ok(())
    }

    fn busy(&self, busy: bool) {
        let _ = self
            .panel
            .set_attribute("aria-busy", if busy { "true" } else { "false" });
    }
}

/// 0 to 1: how much rests on a part. What speaks against the class has none.
fn heat(fall: f32, most: f32) -> f64 {
    if most > 0.0 {
        f64::from((fall / most).clamp(0.0, 1.0))
    } else {
        0.0
    }
}

/// The third of the picture in which the marked cells lie on average.
fn third(marked: &[usize], side: usize, coordinate: impl Fn(usize) -> usize) -> usize {
    let sum: f64 = marked
        .iter()
        .map(|&cell| coordinate(cell) as f64 + 0.5)
        .sum();
    let mean = sum / marked.len().max(1) as f64 / side.max(1) as f64;
    ((mean * 3.0) as usize).min(2)
}

/// What the test of a map showed.
fn tested(name: &str, removal: &Removal) -> String {
    let [whole, marked, random] = [
        removal.whole,
        removal.without_marked,
        removal.without_random,
    ]
    .map(|probability| percent(f64::from(probability)));
    words::say(name, &[&whole, &marked, &random])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_is_a_share_and_places_are_thirds() {
        assert_eq!(heat(2.0, 4.0), 0.5);
        assert_eq!(heat(-2.0, 4.0), 0.0);
        assert_eq!(heat(1.0, 0.0), 0.0);
        assert_eq!(third(&[0, 1], 6, |cell| cell / 6), 0);
        assert_eq!(third(&[14, 15], 6, |cell| cell / 6), 1);
        assert_eq!(third(&[5, 35], 6, |cell| cell % 6), 2);
    }
}
