//! Owns disks that fill up: small ones of several sizes, on which a program stops, and goes on when there is room.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::fault::assert_says_what_to_do;
use super::killed::remove;
use super::programs::PROGRAMS;
use super::{fresh, undisturbed, whole};

/// Sizes as shares of what the undisturbed run leaves; a program needs more than that while it replaces files.
const SHARES: [f64; 5] = [0.1, 0.35, 0.6, 0.85, 1.0];

/// A disk in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, size: usize) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let disk = Self(folder.to_owned());
        disk.call(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .then_some(disk)
    }

    /// Room enough from now on.
    fn grow(&self) {
        assert!(self.call(&["-o", "remount,size=256m"]));
    }

    fn call(&self, arguments: &[&str]) -> bool {
        let mut mount = Command::new("mount");
        mount.args(arguments).arg(&self.0).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have a file open.
        let mut umount = Command::new("umount");
        let _ = umount.arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_full_disk_costs_nothing_but_time() {
    let (place, calm) = undisturbed();
    // One size of each program, a different one each, or all.
    let all = super::number("LACUNA_DISKS", 1) > 1;
    let (mut number, mut full) = (0, 0);
    for (turn, program) in PROGRAMS.iter().enumerate() {
        let calm = &calm[program.name].files;
        // In pages, as a disk in memory counts.
        let needed: usize = calm
            .values()
            .map(|bytes| bytes.len().div_ceil(4096) * 4096)
            .sum();
        let before = whole::files(&place.path("bundle"));
        let before: usize = before.values().map(Vec::len).sum();
        let fixed = if program.replaces() { before } else { 0 };
        for (step, share) in SHARES.into_iter().enumerate() {
            if !all && step != (turn + 1) % SHARES.len() {
                continue;
            }
            number += 1;
            let folder = fresh(place, "disk", number);
            let size = fixed + (needed as f64 * share) as usize + (32 << 10);
            let Some(disk) = SmallDisk::mount(&folder, size) else {
                println!(
                    "skipped: mounting a small disk needs root; `unshare --map-root-user --mount cargo xtask kill` lends it"
                );
                return;
            };
            program.prepare(place, &folder);
            let output = program.command(&folder).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let who = format!("{} on a disk of {size} bytes: {said}", program.name);
            assert!(!said.contains("panicked"), "{who}");
            if !output.status.success() {
                full += 1;
                assert_says_what_to_do(&said, 28, &who);
            }
            if let Some(damage) = program.damage(place, &folder, calm) {
                panic!("{damage}: {who}");
            }
            disk.grow();
            program.finish(&folder);
            if let Some(difference) = whole::difference(&folder, calm) {
                panic!("{difference}: {who}");
            }
            drop(disk);
            remove(&folder);
        }
    }
    println!("{number} small disks, {full} of them full on the way");
    assert!(full > 0, "no disk was small enough");
}
