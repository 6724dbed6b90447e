//! Owns the environment variables that libraries read once, when the program starts.

/// candle's own threads wait for each other in busy loops, pinned to a core each: on a machine that has anything else
/// to do a step then takes ten times as long. Our kernels run on rayon's threads, which sleep. mimalloc keeps freed
/// buffers for the next step, which asks for the same ones. What the user sets is respected.
#[cfg(unix)]
const VARIABLES: [(&str, &str); 2] = [("CANDLE_NUM_THREADS", "1"), ("MIMALLOC_PURGE_DELAY", "-1")];

/// Starts the program anew, in the same process, with the variables that are not set; returns if all are.
#[cfg(unix)]
pub(super) fn settle() {
    use std::os::unix::process::CommandExt;

    let unset = VARIABLES
        .iter()
        .filter(|(name, _)| std::env::var_os(name).is_none());
    let unset: Vec<(&str, &str)> = unset.copied().collect();
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name), false) =
        (std::env::current_exe(), arguments.next(), unset.is_empty())
    else {
        return;
    };
    // Returns only if it fails; then all goes on, at most slower.
    let error = std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .envs(unset)
        .exec();
    tracing::debug!("the environment could not be set: {error}");
}

/// Elsewhere a process cannot be replaced; the variables are left to the user.
#[cfg(not(unix))]
pub(super) fn settle() {}
