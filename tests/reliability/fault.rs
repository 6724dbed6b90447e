//! Owns faults at chosen calls: a write, a sync or a rename fails or is the last that the program does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use shared::rng;

use super::killed::{remove, was_killed};
use super::programs::{PROGRAMS, Place, Program};
use super::{fresh, number, undisturbed, whole};

/// What is injected: the kind of call, and the error's number; 0 kills.
const FAULTS: [(&str, i32); 7] = [
    ("write", NO_SPACE),
    ("write", BROKEN),
    ("write", KILL),
    ("sync", BROKEN),
    ("sync", KILL),
    ("rename", BROKEN),
    ("rename", KILL),
];
const KILL: i32 = 0;
/// EIO.
const BROKEN: i32 = 5;
/// ENOSPC.
const NO_SPACE: i32 = 28;

/// Builds the library that injects; nothing where there is no C compiler or no preloading.
fn library(place: &Place) -> Option<PathBuf> {
    let library = place.path("fault.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("reliability/fault.c");
    let mut compiler = Command::new("cc");
    let compiler = compiler
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .args(["-ldl"]);
    let built = cfg!(target_os = "linux") && compiler.status().is_ok_and(|status| status.success());
    built.then_some(library)
}

/// One program with one fault.
struct Trial<'a> {
    program: &'a Program,
    folder: PathBuf,
    told: PathBuf,
}

impl<'a> Trial<'a> {
    fn new(place: &Place, program: &'a Program, number: usize) -> Self {
        let folder = fresh(place, "fault", number);
        program.prepare(place, &folder);
        Self {
            program,
            folder,
            told: place.path(&format!("told {number}")),
        }
    }

    fn command(&self, library: &Path, (call, how): (&str, i32), at: usize) -> Command {
        let mut command = self.program.command(&self.folder);
        command
            .env("LD_PRELOAD", library)
            .env("FAULT_CALL", call)
            .env("FAULT_AT", at.to_string())
            .env("FAULT_HOW", how.to_string())
            .env("FAULT_TOLD", &self.told);
        command
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.told).unwrap_or_default()
    }
}

/// How many calls of each kind an undisturbed run makes.
fn calls(place: &Place, library: &Path, program: &Program) -> BTreeMap<String, usize> {
    let trial = Trial::new(place, program, usize::MAX);
    let output = trial.command(library, ("", 0), 0).output().unwrap();
    assert!(output.status.success());
    let told = trial.told();
    remove(&trial.folder);
    std::fs::remove_file(&trial.told).unwrap();
    told.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(call, count)| (call.to_owned(), count.parse().unwrap()))
        .collect()
}

#[test]
fn faults_at_calls_that_write() {
    let (place, calm) = undisturbed();
    let Some(library) = library(place) else {
        println!("skipped: injecting faults needs Linux and a C compiler called cc");
        return;
    };
    let (wanted, seed) = (number("LACUNA_FAULTS", 7), number("LACUNA_SEED", 1));
    println!("{wanted} faults, seed {seed}");
    let mut random = rng::stream(seed, "faults");
    let calls: Vec<_> = PROGRAMS
        .iter()
        .map(|program| calls(place, &library, program))
        .collect();
    let mut tally: BTreeMap<(&str, &str, i32), usize> = BTreeMap::new();
    for turn in 0..wanted as usize {
        // In turns, so that as many faults as there are of both together show each program each kind.
        let which = turn % PROGRAMS.len();
        let program = &PROGRAMS[which];
        let kinds = FAULTS.iter().cycle().skip(turn + turn / PROGRAMS.len());
        let fault = *kinds
            .clone()
            .find(|(call, _)| calls[which][*call] > 0)
            .unwrap();
        let at = 1 + rng::below(&mut random, calls[which][fault.0]);
        let trial = Trial::new(place, program, turn);
        inject(place, &trial, &library, fault, at);
        program.finish(&trial.folder);
        if let Some(difference) = whole::difference(&trial.folder, &calm[program.name].files) {
            panic!("{}, {fault:?} at {at}: {difference}", program.name);
        }
        remove(&trial.folder);
        std::fs::remove_file(&trial.told).unwrap();
        *tally.entry((program.name, fault.0, fault.1)).or_default() += 1;
    }
    for (program, calls) in PROGRAMS.iter().zip(&calls) {
        let own = tally.iter().filter(|((name, ..), _)| *name == program.name);
        let own: Vec<_> = own
            .map(|((_, call, how), count)| (call, how, count))
            .collect();
        println!(
            "{}: calls {calls:?}; faults (call, error or kill, times) {own:?}",
            program.name
        );
    }
}

/// Runs the program into the fault and looks at what it says and leaves.
fn inject(place: &Place, trial: &Trial<'_>, library: &Path, fault: (&str, i32), at: usize) {
    let program = trial.program;
    let output = trial.command(library, fault, at).output().unwrap();
    let (told, said) = (
        trial.told(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    let who = format!("{}, {fault:?} at {at}: {told}{said}", program.name);
    let injected = told.lines().find_map(|line| line.strip_prefix("injected "));
    let injected = injected.unwrap_or_else(|| panic!("nothing was injected: {who}"));
    assert!(!told.contains("VIOLATION"), "{who}");
    assert!(!said.contains("panicked"), "{who}");
    if fault.1 == KILL {
        assert!(was_killed(output.status), "{who}");
    } else if injected.ends_with("run.log") {
        // The log is for reading: a run does not end for its sake.
        assert!(output.status.success(), "{who}");
    } else {
        assert_eq!(output.status.code(), Some(1), "{who}");
        assert_told(&said, trial, fault.1, &who);
    }
    let calm = &undisturbed().1[program.name];
    if let Some(damage) = program.damage(place, &trial.folder, &calm.files) {
        panic!("{damage}: {who}");
    }
}

/// A sentence names a file of the program's and the system's reason, and another says what to do.
fn assert_told(said: &str, trial: &Trial<'_>, error: i32, who: &str) {
    assert_says_what_to_do(said, error, who);
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let calm = &undisturbed().1[trial.program.name].files;
    let known = calm.keys().any(|path| said.contains(&name(path)));
    let folder = ["bundle", "run", "clip", "grid"]
        .iter()
        .any(|folder| said.contains(folder));
    assert!(known || folder, "no file is named: {who}");
}

/// The error's number is told, and a way out.
pub(super) fn assert_says_what_to_do(said: &str, error: i32, who: &str) {
    assert!(said.contains("error: "), "{who}");
    assert!(said.contains(&format!("os error {error}")), "{who}");
    let advice = if error == NO_SPACE {
        "Make room"
    } else {
        "reports an error"
    };
    assert!(said.contains(advice), "{advice} is not said: {who}");
}
