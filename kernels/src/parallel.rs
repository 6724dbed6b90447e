//! Owns the sharing of work between threads, where there are any.

/// Calls `work` once with each of `0..tasks`, on all threads; in what order is not said.
pub fn for_each(tasks: usize, work: impl Fn(usize) + Send + Sync) {
    #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
    if tasks > 1 && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        (0..tasks).into_par_iter().with_max_len(1).for_each(work);
        return;
    }
    (0..tasks).for_each(work);
}

/// How many threads [`for_each`] uses.
pub fn threads() -> usize {
    #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
    return rayon::current_num_threads();
    #[cfg(not(any(not(target_arch = "wasm32"), target_feature = "atomics")))]
    1
}

/// Calls `work` with the index and the content of each chunk of `size` values, on all threads.
pub fn for_each_chunk<T: Send>(
    data: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    #[cfg(any(not(target_arch = "wasm32"), target_feature = "atomics"))]
    if data.len() > size && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        data.par_chunks_mut(size)
            .enumerate()
            .for_each(|(index, chunk)| work(index, chunk));
        return;
    }
    data.chunks_mut(size)
        .enumerate()
        .for_each(|(index, chunk)| work(index, chunk));
}
