//! Owns the camera: a dialog that shows it, and the photo that is taken. Its frames never leave the page.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    Blob, CanvasRenderingContext2d, Event, HtmlCanvasElement, HtmlDialogElement, HtmlElement,
    HtmlVideoElement, MediaDevices, MediaStream, MediaStreamConstraints, MediaStreamTrack,
};

use super::post::Picture;
use crate::promise::settled;
use crate::protocol::{Code, Failure};
use crate::ui::dom::{by_id, document, listen, report, show, window};
use crate::ui::words;

/// The camera.
pub(super) struct Camera {
    dialog: HtmlDialogElement,
    view: HtmlVideoElement,
    stream: RefCell<Option<MediaStream>>,
}

impl Camera {
    /// Finds the dialog in the page, and offers it where the browser has cameras; `taken` is called with the photo, or
    /// with why there is none.
    ///
    /// # Errors
    /// If index.html lacks it.
    pub(super) fn find(taken: impl Fn(Result<Picture, Failure>) + 'static) -> Result<(), JsValue> {
        let camera = Rc::new(Self {
            dialog: by_id("camera")?,
            view: by_id("camera-view")?,
            stream: RefCell::default(),
        });
        let open: HtmlElement = by_id("camera-open")?;
        // Only secure pages have it.
        show(&open, devices().is_some());
        let taken = Rc::new(taken);
        let (this, told) = (Rc::clone(&camera), Rc::clone(&taken));
        listen(&open, "click", move |_: Event| {
            let (this, told) = (Rc::clone(&this), Rc::clone(&told));
            spawn_local(async move {
                if this.open().await.is_err() {
                    told(Err(refused()));
                }
            });
        })?;
        let this = Rc::clone(&camera);
        listen(
            &by_id::<HtmlElement>("camera-take")?,
            "click",
            move |_: Event| {
                let (this, taken) = (Rc::clone(&this), Rc::clone(&taken));
                spawn_local(async move {
                    taken(this.take().await.map_err(|_| refused()));
                    this.dialog.close();
                });
            },
        )?;
        let this = Rc::clone(&camera);
        listen(
            &by_id::<HtmlElement>("camera-cancel")?,
            "click",
            move |_: Event| this.dialog.close(),
        )?;
        // Also when Escape closes it.
        let this = Rc::clone(&camera);
        listen(&camera.dialog, "close", move |_: Event| this.stop())
    }

    async fn open(&self) -> Result<(), JsValue> {
        let devices = devices().ok_or(JsValue::NULL)?;
        let constraints = MediaStreamConstraints::new();
        constraints.set_video(&JsValue::TRUE);
        let stream = devices.get_user_media_with_constraints(&constraints)?;
        let stream: MediaStream = settled(stream).await?.dyn_into()?;
        self.view.set_src_object(Some(&stream));
        *self.stream.borrow_mut() = Some(stream);
        self.dialog.show_modal()?;
        let _ = settled(self.view.play()?).await;
        Ok(())
    }

    /// The frame that is shown, as a file.
    async fn take(&self) -> Result<Picture, JsValue> {
        let canvas: HtmlCanvasElement = document()?.create_element("canvas")?.dyn_into()?;
        canvas.set_width(self.view.video_width());
        canvas.set_height(self.view.video_height());
        let context: CanvasRenderingContext2d =
            canvas.get_context("2d")?.ok_or(JsValue::NULL)?.dyn_into()?;
        context.draw_image_with_html_video_element(&self.view, 0.0, 0.0)?;
        let drawn = Promise::new(&mut |resolve, _| {
            let told = Closure::once_into_js(move |blob: JsValue| {
                let _ = resolve.call1(&JsValue::NULL, &blob);
            });
            report(canvas.to_blob_with_type(told.unchecked_ref(), "image/jpeg"));
        });
        let blob: Blob = settled(drawn).await?.dyn_into()?;
        Picture::of(words::say("photo", &[]), &blob).await
    }

    fn stop(&self) {
        if let Some(stream) = self.stream.borrow_mut().take() {
            for track in stream.get_tracks().iter() {
                track.unchecked_into::<MediaStreamTrack>().stop();
            }
        }
        self.view.set_src_object(None);
    }
}

fn devices() -> Option<MediaDevices> {
    let devices = window().ok()?.navigator().media_devices().ok()?;
    (!devices.is_undefined()).then_some(devices)
}

fn refused() -> Failure {
    Failure::new(
        Code::Image,
        words::say("no-camera", &[]),
        words::say("no-camera-hint", &[]),
    )
}
