//! Owns the kills: SIGKILL at random moments, until each program has ended as an undisturbed one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use shared::rng;

use super::programs::PROGRAMS;
use super::{fresh, number, undisturbed};

/// Kills of one run, at most: then it is left alone, so that its end is seen.
const IN_A_ROW: usize = 3;

/// What happened to one program.
#[derive(Default)]
struct Tally {
    runs: usize,
    kills: usize,
    /// Moments of the kills, in milliseconds since the start of the process.
    moments: Vec<u128>,
}

#[test]
fn killed_at_random_moments() {
    let (kills, seed) = (
        number("LACUNA_KILLS", 10) as usize,
        number("LACUNA_SEED", 1),
    );
    println!("{kills} kills, seed {seed}");
    let begin = Instant::now();
    let (place, calm) = undisturbed();
    let mut random = rng::stream(seed, "kills");
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let (mut done, mut run) = (0, 0);
    while done < kills {
        let program = &PROGRAMS[run % PROGRAMS.len()];
        let calm = &calm[program.name];
        let folder = fresh(place, "killed", run);
        program.prepare(place, &folder);
        let tally = tallies.entry(program.name).or_default();
        for _ in 0..IN_A_ROW.min(kills - done) {
            let moment = calm.took.mul_f64(rng::unit(&mut random));
            let Some(after) = kill(program.command(&folder).spawn().unwrap(), moment) else {
                break;
            };
            done += 1;
            tally.kills += 1;
            tally.moments.push(after.as_millis());
            let said = || {
                format!(
                    "{}, run {run}, killed after {:?} ms",
                    program.name, tally.moments
                )
            };
            if let Some(damage) = program.damage(place, &folder, &calm.files) {
                panic!("{}: {damage}", said());
            }
        }
        program.finish(&folder);
        tally.runs += 1;
        if let Some(difference) = super::whole::difference(&folder, &calm.files) {
            panic!(
                "{}, run {run}, killed after {:?} ms: {difference}",
                program.name, tally.moments
            );
        }
        remove(&folder);
        run += 1;
    }
    for (name, tally) in &tallies {
        let undisturbed = calm[name].took.as_millis();
        println!(
            "{name}: {} kills in {} runs; undisturbed it takes {undisturbed} ms; killed after {:?} ms",
            tally.kills, tally.runs, tally.moments
        );
    }
    println!("{done} kills in {:.0} s", begin.elapsed().as_secs_f64());
}

/// Kills a program at a moment after its start; the moment, or nothing if it had ended.
fn kill(mut child: Child, moment: Duration) -> Option<Duration> {
    let begin = Instant::now();
    std::thread::sleep(moment);
    child.kill().unwrap();
    let after = begin.elapsed();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let ended = was_killed(output.status) || output.status.success();
    assert!(ended, "it failed before it was killed: {told}");
    was_killed(output.status).then_some(after)
}

#[cfg(unix)]
pub(super) fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

#[cfg(not(unix))]
pub(super) fn was_killed(status: ExitStatus) -> bool {
    !status.success()
}

/// Many runs would fill the disk.
pub(super) fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
}
