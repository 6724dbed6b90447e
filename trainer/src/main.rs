//! The `trainer` command.

use std::process::ExitCode;

/// Keeps freed buffers instead of returning them to the system after each step; glibc's allocator maps and clears
/// the large ones anew every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    trainer::cli::main()
}
