//! Owns the page of a study.

use super::charts::Drawing;
use super::plan::Plan;
use super::record::Records;

/// A study's results.
pub struct Study<'a> {
    plan: &'a Plan,
    records: &'a Records,
}

impl<'a> Study<'a> {
    /// From the finished cells of a plan.
    pub fn new(plan: &'a Plan, records: &'a Records) -> Self {
        Self { plan, records }
    }

    /// The drawings.
    pub fn drawings(&self) -> Vec<Drawing> {
        Vec::new()
    }

    /// The page.
    pub fn markdown(&self, _folder: &str) -> String {
        format!("{} {}", self.plan.data.len(), self.records.all.len())
    }
}
