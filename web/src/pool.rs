//! Owns the threads that compute: what this artefact was built with, and the Web Workers behind rayon's pool.
//!
//! The thread that loads the model belongs to the pool, so that a pool of n threads starts n - 1 workers. Each of them
//! runs this same program on the same memory and waits for its share.

use crate::protocol::Artefact;
#[cfg(not(all(target_arch = "wasm32", target_feature = "atomics")))]
use crate::protocol::Failure;

/// What this program was built with.
pub const ARTEFACT: Artefact = if cfg!(target_feature = "atomics") {
    Artefact::Threads
} else if cfg!(target_feature = "relaxed-simd") {
    Artefact::Relaxed
} else {
    Artefact::Baseline
};

/// Starts the pool, unless it runs, and returns how many threads compute. `wanted` replaces the default: as many as the
/// device has, but not more than 8. Called before anything is computed, or rayon makes a pool of one thread.
///
/// # Errors
/// If a thread cannot be started, or is not there after three seconds.
#[cfg(not(all(target_arch = "wasm32", target_feature = "atomics")))]
pub async fn start(wanted: Option<u32>) -> Result<u32, Failure> {
    let _ = wanted;
    Ok(1)
}

#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
pub use workers::start;

#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
mod workers {
    use std::collections::VecDeque;
    use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

    use js_sys::{Array, Function, Object, Promise, Reflect};
    use rayon::{ThreadBuilder, ThreadPoolBuilder};
    use wasm_bindgen::prelude::wasm_bindgen;
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_futures::JsFuture;
    use web_sys::{DedicatedWorkerGlobalScope, Worker};

    use crate::protocol::{Code, Failure};
    use crate::thread::Script;

    /// Posts are small: more threads than this wait for each other.
    const MOST: u32 = 8;
    /// No pool is larger, whatever is asked for.
    const LIMIT: u32 = 64;
    /// A browser that has not started its workers by then will not.
    const PATIENCE_MS: i32 = 3000;
    /// What developer tools call the workers.
    const NAME: &str = "lacuna-pool";

    /// The size of the pool, once it runs.
    static SIZE: OnceLock<u32> = OnceLock::new();
    /// What rayon wants run; each worker takes one.
    static SHARES: Mutex<VecDeque<ThreadBuilder>> = Mutex::new(VecDeque::new());
    static SHARED: Condvar = Condvar::new();

    #[wasm_bindgen]
    extern "C" {
        type ImportMeta;
        #[wasm_bindgen(method, getter)]
        fn url(this: &ImportMeta) -> String;
        #[wasm_bindgen(thread_local_v2, js_namespace = import, js_name = meta)]
        static META: ImportMeta;
    }

    /// See [`super::ARTEFACT`]; this is the artefact with threads.
    pub async fn start(wanted: Option<u32>) -> Result<u32, Failure> {
        if let Some(size) = SIZE.get() {
            return Ok(*size);
        }
        let scope: DedicatedWorkerGlobalScope = js_sys::global()
            .dyn_into()
            .map_err(|_| failure("only a worker can start any"))?;
        let device = scope.navigator().hardware_concurrency() as u32;
        let size = wanted.unwrap_or(device.min(MOST)).clamp(1, LIMIT);
        let workers = start_workers(&scope, size - 1).await.map_err(|error| {
            // The clock's sentence, an exception, or a worker's event.
            let said = || Reflect::get(&error, &"message".into()).ok()?.as_string();
            let why = error.as_string().or_else(said);
            failure(&why.unwrap_or_else(|| format!("{error:?}")))
        })?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(size as usize)
            .use_current_thread()
            .spawn_handler(|thread| {
                lock().push_back(thread);
                SHARED.notify_one();
                Ok(())
            });
        pool.build_global()
            .map_err(|error| failure(&error.to_string()))?;
        // The workers live as long as the program, and JavaScript must not collect them.
        workers.into_iter().for_each(std::mem::forget);
        Ok(*SIZE.get_or_init(|| size))
    }

    /// A worker's share of the work, which lasts until the program ends. The script of [`start_workers`] calls it.
    // wasm-bindgen exports what is public, wherever it is.
    #[allow(unreachable_pub)]
    #[wasm_bindgen(js_name = takePart)]
    pub fn take_part() -> Result<(), JsValue> {
        let scope: DedicatedWorkerGlobalScope = js_sys::global().dyn_into()?;
        // Said before the wait, for then this worker lets nothing out any more.
        scope.post_message(&JsValue::TRUE)?;
        let mut shares = lock();
        let share = loop {
            match shares.pop_front() {
                Some(share) => break share,
                None => shares = SHARED.wait(shares).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(shares);
        share.run();
        Ok(())
    }

    fn lock() -> std::sync::MutexGuard<'static, VecDeque<ThreadBuilder>> {
        SHARES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts workers with this program and this memory, and waits until all of them run.
    async fn start_workers(
        scope: &DedicatedWorkerGlobalScope,
        count: u32,
    ) -> Result<Vec<Worker>, JsValue> {
        let script = META.with(ImportMeta::url);
        let starter = format!(
            "import {{ initSync, takePart }} from {script:?};\n\
             onmessage = ({{ data }}) => {{ initSync(data); takePart(); }};"
        );
        // It has to be there until all of them run.
        let starter = Script::new(&starter)?;
        let program = Object::new();
        Reflect::set(&program, &"module".into(), &wasm_bindgen::module())?;
        Reflect::set(&program, &"memory".into(), &wasm_bindgen::memory())?;

        let mut workers = Vec::new();
        let running = Array::new();
        for _ in 0..count {
            let worker = starter.start(NAME)?;
            worker.post_message(&program)?;
            running.push(&Promise::new(&mut |run, fail| {
                worker.set_onmessage(Some(&run));
                worker.set_onerror(Some(&fail));
            }));
            workers.push(worker);
        }
        let late = Promise::new(&mut |_, fail| {
            let fail = fail.bind1(&JsValue::NULL, &"they did not start in time".into());
            let fail = fail.unchecked_ref::<Function>();
            let _ = scope.set_timeout_with_callback_and_timeout_and_arguments_0(fail, PATIENCE_MS);
        });
        let first = Promise::race(&Array::of2(&Promise::all(&running), &late));
        if let Err(error) = JsFuture::from(first).await {
            workers.iter().for_each(Worker::terminate);
            return Err(error);
        }
        Ok(workers)
    }

    fn failure(why: &str) -> Failure {
        Failure::new(
            Code::Threads,
            format!("The model's threads could not be started: {why}."),
            "Start the worker without threads.",
        )
    }
}
