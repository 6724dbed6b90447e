//! Owns the sharing of work between threads, where there are any.

/// Work of fewer nanoseconds, on one thread, is done sooner than another thread wakes up. In a browser that takes the
/// time of some products.
const WORTH_SHARING: usize = if cfg!(target_arch = "wasm32") {
    100_000
} else {
    20_000
};

/// What one thread takes, about: an estimate that decides only whether work is shared.
#[derive(Clone, Copy)]
pub struct Nanoseconds(pub usize);

impl Nanoseconds {
    /// Of so many multiplications in f32.
    pub fn of_products(count: usize) -> Self {
        Self(count / 20)
    }

    /// Of so many multiplications in bytes.
    pub fn of_byte_products(count: usize) -> Self {
        Self(count / 60)
    }
}

/// Whether work is to be shared.
fn worth(tasks: usize, whole: Nanoseconds) -> bool {
    tasks > 1 && whole.0 >= WORTH_SHARING && threads() > 1
}

/// Calls `work` once with each of `0..tasks`, on all threads if the whole is worth it; in what order is not said.
pub fn for_each(tasks: usize, whole: Nanoseconds, work: impl Fn(usize) + Send + Sync) {
    if worth(tasks, whole) {
        #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
        {
            use rayon::prelude::*;
            (0..tasks).into_par_iter().with_max_len(1).for_each(work);
            return;
        }
    }
    (0..tasks).for_each(work);
}

/// How many threads there are to share with.
pub fn threads() -> usize {
    #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
    return rayon::current_num_threads();
    #[cfg(not(any(not(target_arch = "wasm32"), target_feature = "atomics")))]
    1
}

/// Calls `work` with the index and the content of each chunk of `size` values, on all threads if the whole is worth it.
pub fn for_each_chunk<T: Send>(
    data: &mut [T],
    size: usize,
    whole: Nanoseconds,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    if worth(data.len().div_ceil(size.max(1)), whole) {
        #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
        {
            use rayon::prelude::*;
            data.par_chunks_mut(size)
                .enumerate()
                .for_each(|(index, chunk)| work(index, chunk));
            return;
        }
    }
    data.chunks_mut(size)
        .enumerate()
        .for_each(|(index, chunk)| work(index, chunk));
}
