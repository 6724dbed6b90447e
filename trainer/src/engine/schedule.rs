//! Owns the learning rate over the steps: linear warm-up from 0, then a straight line to 0 or a cosine to a floor.

use serde::{Deserialize, Serialize};

/// How the rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// A straight line to 0 (the recipe of DCP and of the paper).
    #[default]
    Linear,
    /// Half a cosine to the floor.
    Cosine,
}

/// The learning rate by optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The rate at the end of the warm-up.
    pub peak: f64,
    /// Steps of the warm-up; the first step has rate 0 if there are any.
    pub warmup: usize,
    /// Steps until the rate is at its end; it stays there.
    pub total: usize,
    /// The way down.
    pub decay: Decay,
    /// The end of the cosine as a share of the peak; the straight line always ends at 0.
    pub floor: f64,
}

impl Schedule {
    /// The share of the schedule, 0 to 1, that is done before optimiser step `step`, counted from 0.
    pub fn progress(&self, step: usize) -> f64 {
        (step as f64 / self.total.max(1) as f64).min(1.0)
    }

    /// The rate of optimiser step `step`, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let way = self.total.saturating_sub(self.warmup).max(1) as f64;
        let left = self.total.saturating_sub(step) as f64 / way;
        match self.decay {
            Decay::Linear => self.peak * left,
            Decay::Cosine => {
                let high = 0.5 * (1.0 - (std::f64::consts::PI * left).cos());
                self.peak * (self.floor + (1.0 - self.floor) * high)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_numbers_of_the_linear_schedule() {
        let schedule = Schedule {
            peak: 1e-2,
            warmup: 66,
            total: 664,
            decay: Decay::Linear,
            floor: 0.0,
        };
        for (step, expected) in [
            (0, 0.0),
            (1, 1.515_151_515e-4),
            (66, 0.01),
            (365, 0.005),
            (664, 0.0),
            (680, 0.0),
        ] {
            assert!(
                (schedule.rate(step) - expected).abs() < 1e-12,
                "step {step}: {}",
                schedule.rate(step)
            );
        }
    }

    #[test]
    fn cosine_goes_from_peak_to_floor() {
        let schedule = Schedule {
            peak: 2.0,
            warmup: 10,
            total: 110,
            decay: Decay::Cosine,
            floor: 0.01,
        };
        for (step, expected) in [
            (0, 0.0),
            (5, 1.0),
            (10, 2.0),
            (60, 1.01),
            (110, 0.02),
            (500, 0.02),
        ] {
            assert!(
                (schedule.rate(step) - expected).abs() < 1e-12,
                "step {step}: {}",
                schedule.rate(step)
            );
        }
    }
}
