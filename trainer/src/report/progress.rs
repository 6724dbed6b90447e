//! Owns what is seen while a run goes on: a bar with remaining time and posts a second on a terminal, else lines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Event, Subscriber, Values, log};

/// Between two plain lines, when there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows events on stderr; stdout is left to results.
pub struct Progress {
    bar: Option<ProgressBar>,
    steps: usize,
    posts_per_second: f64,
    seconds_per_step: f64,
    last_line: Option<Instant>,
    /// Seconds of steps, and of waiting in them.
    spent: [f64; 2],
}

impl Progress {
    /// A bar if stderr is a terminal, plain lines otherwise.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{bar:30.cyan/dim} {pos}/{len} · {msg} · {eta} left";
            let style = ProgressStyle::with_template(style)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            log::attach(ProgressBar::new(0).with_style(style))
        });
        Self {
            bar,
            steps: 0,
            posts_per_second: 0.0,
            seconds_per_step: 0.0,
            last_line: None,
            spent: [0.0; 2],
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn step(&mut self, step: usize, epoch: f64, posts: usize, seconds: f64, values: &Values) {
        let seconds = seconds.max(1e-9);
        let blend = |old: f64, new: f64| {
            if old == 0.0 {
                new
            } else {
                0.9 * old + 0.1 * new
            }
        };
        self.posts_per_second = blend(self.posts_per_second, posts as f64 / seconds);
        self.seconds_per_step = blend(self.seconds_per_step, seconds);
        let loss = values.get("loss").copied().unwrap_or(f64::NAN);
        let message = format!(
            "epoch {epoch:.1} · loss {loss:.3} · {:.0} posts/s",
            self.posts_per_second
        );
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.set_position(step as u64);
        } else if step == self.steps || self.last_line.is_none_or(|last| last.elapsed() >= PAUSE) {
            let left = self.steps.saturating_sub(step) as f64 * self.seconds_per_step;
            self.line(&format!(
                "step {step}/{} · {message} · {} left",
                self.steps,
                duration(left)
            ));
            self.last_line = Some(Instant::now());
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscriber for Progress {
    fn receive(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Started {
                name,
                step,
                steps,
                parameters,
            } => {
                self.steps = *steps;
                if let Some(bar) = &self.bar {
                    bar.set_length(*steps as u64);
                    bar.set_position(*step as u64);
                    bar.reset_eta();
                }
                let from = if *step > 0 {
                    format!("from step {step}, ")
                } else {
                    String::new()
                };
                self.line(&format!(
                    "{name}: {from}{steps} steps, {parameters} trained values"
                ));
            }
            Event::Step {
                step,
                epoch,
                posts,
                seconds,
                waited,
                values,
                ..
            } => {
                self.spent[0] += seconds;
                self.spent[1] += waited;
                self.step(*step, *epoch, *posts, *seconds, values);
            }
            Event::Measured {
                step,
                split,
                values,
                best,
            } => {
                let figures: Vec<_> = values
                    .iter()
                    .map(|(name, value)| format!("{name} {value:.4}"))
                    .collect();
                let star = if *best == Some(true) {
                    " (best so far)"
                } else {
                    ""
                };
                self.line(&format!(
                    "step {step} · {split}: {}{star}",
                    figures.join(", ")
                ));
            }
            Event::Saved { .. } => {}
            Event::Note { text } => self.line(text),
            Event::Finished { step, seconds } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
                let [all, waited] = self.spent;
                let share = 100.0 * waited / all.max(1e-9);
                self.line(&format!(
                    "{step} steps done, {} in this run; {share:.1} % of the steps' time waiting for data",
                    duration(*seconds)
                ));
            }
        }
        Ok(())
    }
}

/// Seconds as people say them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_readable() {
        let said: Vec<_> = [0.4, 59.6, 61.0, 7_260.0].map(super::duration).into();
        assert_eq!(said, ["0 s", "1 min 0 s", "1 min 1 s", "2 h 1 min"]);
    }
}
