//! Owns the proof that programs may be killed, and disks be full or broken, at any moment: nothing is lost but time.
//!
//! `LACUNA_KILLS` and `LACUNA_FAULTS` set their numbers (10, 7), `LACUNA_DISKS` the disks of each program (1 or all 5),
//! `LACUNA_SEED` where and when (1). `cargo xtask kill` sets them.

mod disk;
mod fault;
mod killed;
mod programs;
mod whole;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use programs::{PROGRAMS, Place};
use whole::Files;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// An undisturbed run.
struct Calm {
    files: Files,
    took: Duration,
}

/// The inputs, and each program's undisturbed run by its name; made once for all tests here.
fn undisturbed() -> &'static (Place, BTreeMap<&'static str, Calm>) {
    static MADE: OnceLock<(Place, BTreeMap<&'static str, Calm>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let place = Place::new();
        let calm = PROGRAMS.iter().map(|program| {
            let folder = place.path(&format!("calm {}", program.name));
            program.prepare(&place, &folder);
            let took = program.finish(&folder);
            let files = whole::files(&folder);
            (program.name, Calm { files, took })
        });
        let calm = calm.collect();
        (place, calm)
    })
}

/// Where a program is disturbed for the `number`-th time in this test.
fn fresh(place: &Place, test: &str, number: usize) -> PathBuf {
    place.path(&format!("{test} {number}"))
}
