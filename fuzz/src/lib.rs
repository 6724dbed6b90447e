//! Owns the limit that libFuzzer has not: the processor's time, which a busy machine does not lengthen.

use std::time::Duration;

use cpu_time::ThreadTime;

/// The most that one input may take, with all the checks of a fuzzer's build.
const MOST: Duration = Duration::from_secs(1);

/// Tries a reader with some bytes.
///
/// # Panics
/// If it panics, or takes too long.
pub fn within(run: fn(&[u8]), bytes: &[u8]) {
    let begun = ThreadTime::now();
    run(bytes);
    let time = begun.elapsed();
    assert!(time <= MOST, "{} bytes took {time:?}", bytes.len());
}

/// Lets a reader catch what panics in a library: libFuzzer's own hook would end the program before it can. What is not
/// caught ends it nevertheless.
pub fn let_catch() {
    std::panic::set_hook(Box::new(|_| {}));
}
