//! Owns the starting of threads. Their first script is a blob made here: a blob's worker is held to the page's
//! Content-Security-Policy, while one fetched from a server is only held to what headers the server sends.

use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, BlobPropertyBag, Url, Worker, WorkerOptions, WorkerType};

/// The one policy by which this program makes an address a script's; index.html allows it by this name.
const POLICY: &str = "lacuna-thread";
/// The addresses that it lets through.
const OWN: &str = "blob:";

/// A thread's first script, for as long as this value lives.
pub(crate) struct Script {
    address: String,
}

impl Script {
    /// Takes a module's text.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(crate) fn new(text: &str) -> Result<Self, JsValue> {
        let kind = BlobPropertyBag::new();
        kind.set_type("text/javascript");
        let blob = Blob::new_with_str_sequence_and_options(&Array::of1(&text.into()), &kind)?;
        let address = Url::create_object_url_with_blob(&blob)?;
        Ok(Self { address })
    }

    /// Starts a thread with it; `name` is what developer tools call it.
    ///
    /// # Errors
    /// If the browser has no module workers, or the page's policy is against it.
    pub(crate) fn start(&self, name: &str) -> Result<Worker, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name(name);
        // web-sys takes words only, where a browser may want them trusted.
        let class: Function = get(&js_sys::global(), "Worker")?.dyn_into()?;
        let arguments = Array::of2(&trusted(&self.address)?, &options);
        Ok(Reflect::construct(&class, &arguments)?.unchecked_into())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = Url::revoke_object_url(&self.address);
    }
}

/// The address as browsers with Trusted Types want a script's; elsewhere as it is.
fn trusted(address: &str) -> Result<JsValue, JsValue> {
    thread_local! {
        static OWN_POLICY: Result<JsValue, JsValue> = policy();
    }
    let policy = OWN_POLICY.with(Clone::clone)?;
    if policy.is_undefined() {
        return Ok(address.into());
    }
    let make: Function = get(&policy, "createScriptURL")?.dyn_into()?;
    make.call1(&policy, &address.into())
}

/// Makes the policy; undefined where there are no Trusted Types.
fn policy() -> Result<JsValue, JsValue> {
    let types = get(&js_sys::global(), "trustedTypes")?;
    if types.is_undefined() {
        return Ok(types);
    }
    let rule = Closure::<dyn Fn(String) -> Result<String, JsValue>>::new(|address: String| {
        if address.starts_with(OWN) {
            Ok(address)
        } else {
            Err("threads start from scripts of this program only".into())
        }
    });
    let rules = Object::new();
    Reflect::set(&rules, &"createScriptURL".into(), &rule.into_js_value())?;
    let make: Function = get(&types, "createPolicy")?.dyn_into()?;
    make.call2(&types, &POLICY.into(), &rules)
}

fn get(of: &JsValue, name: &str) -> Result<JsValue, JsValue> {
    Reflect::get(of, &name.into())
}
