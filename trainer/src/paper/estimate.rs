//! Owns the estimate of a grid's time: a few timed steps of one cell of each data set, thrown away afterwards.

use std::cell::Cell as Shared;
use std::rc::Rc;

use anyhow::{Context, Result};
use candle_core::Device;

use super::cell::Cell;
use super::plan::Plan;
use crate::engine::session::Session;
use crate::report::{Event, Reporter, Subscriber};

/// What is heard of a run.
#[derive(Clone, Copy, Default)]
struct Heard {
    steps: usize,
    done: usize,
    seconds: f64,
}

struct Listener(Rc<Shared<Heard>>);

impl Subscriber for Listener {
    fn receive(&mut self, event: &Event) -> Result<()> {
        let mut heard = self.0.get();
        match event {
            Event::Started { steps, .. } => heard.steps = *steps,
            Event::Step { seconds, .. } => {
                heard.done += 1;
                heard.seconds += seconds;
            }
            _ => {}
        }
        self.0.set(heard);
        Ok(())
    }
}

/// Prints, for each data set with cells left, what a cell needs. With `steps` above 0 so many steps of its first cell
/// are really run.
///
/// # Errors
/// If a cell's data or CLIP cannot be opened or trained on.
pub fn print(
    plan: &Plan,
    left: &[Cell],
    overrides: &[String],
    steps: usize,
    jobs: usize,
    device: &Device,
) -> Result<()> {
    let mut total = 0.0;
    for set in &plan.data {
        let cells: Vec<&Cell> = left.iter().filter(|cell| cell.data == set.name).collect();
        let Some(first) = cells.first() else {
            continue;
        };
        if steps == 0 {
            println!("{}: {} cells to run", set.title, cells.len());
            continue;
        }
        let heard = try_out(plan, first, overrides, steps, device)
            .with_context(|| format!("cell {}", first.name()))?;
        let step = heard.seconds / heard.done.max(1) as f64;
        let hours = step * heard.steps as f64 * cells.len() as f64 / 3600.0;
        total += hours;
        println!(
            "{}: {} cells of {} steps; {:.2} s a step ({} steps of {} were run): {hours:.1} h without validation",
            set.title,
            cells.len(),
            heard.steps,
            step,
            heard.done,
            first.name(),
        );
    }
    if steps == 0 {
        println!("--steps 3 runs three steps of a cell of each data set and estimates the time");
    } else {
        println!("in all {total:.1} h of one process; --jobs {jobs} shares them");
    }
    Ok(())
}

fn try_out(
    plan: &Plan,
    cell: &Cell,
    overrides: &[String],
    steps: usize,
    device: &Device,
) -> Result<Heard> {
    let settings = plan.settings(cell, overrides)?;
    let folder = tempfile::tempdir().context("cannot make a folder for the trial")?;
    let run = folder.path().join("run");
    let session = Session::open(&settings, &run, device)?;
    let heard = Rc::new(Shared::new(Heard::default()));
    let mut reporter = Reporter::silent();
    reporter.subscribe(Listener(Rc::clone(&heard)));
    let listener = Rc::clone(&heard);
    session.train(false, reporter, &move || listener.get().done >= steps)?;
    Ok(heard.get())
}
