//! Plugins from text, which do what no SDK would.

use super::component::component;

const ZEROS: &str = "(i32.const 0)";

/// What a policy does, as instructions that leave the place of their answer; everything else allows.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// With the version where that is not the current one.
    pub world: &'a str,
    /// Also what else the module has.
    pub imports: &'a str,
    pub configure: &'a str,
    pub review: &'a str,
}

impl Default for Policy<'_> {
    fn default() -> Self {
        Self { world: "policy/admission-policy", imports: "", configure: ZEROS, review: ZEROS }
    }
}

impl Policy<'_> {
    pub fn bytes(self) -> Vec<u8> {
        let text = include_str!("../../plugins/host/tests/guests/policy.wat")
            .replace(";;IMPORTS", self.imports)
            .replace("VALIDATE", ZEROS)
            .replace("CONFIGURE", self.configure)
            .replace("REVIEW", self.review)
            .replace("BATCH", ZEROS);
        component(self.world, &text)
    }
}

/// The same of a scheduler plugin.
#[derive(Clone, Copy)]
pub struct Scheduler<'a> {
    pub world: &'a str,
    pub imports: &'a str,
    pub describe: &'a str,
    pub pre_filter: &'a str,
    pub filter: &'a str,
    pub score: &'a str,
}

impl Default for Scheduler<'_> {
    fn default() -> Self {
        let world = "scheduler/scheduler-plugin";
        Self { world, imports: "", describe: ZEROS, pre_filter: ZEROS, filter: ZEROS, score: ZEROS }
    }
}

impl Scheduler<'_> {
    pub fn bytes(self) -> Vec<u8> {
        let text = include_str!("../../plugins/host/tests/guests/scheduler.wat")
            .replace(";;IMPORTS", self.imports)
            .replace("DESCRIBE", self.describe)
            .replace("PREFILTER", self.pre_filter)
            .replace("FILTER", self.filter)
            .replace("SCORE", self.score)
            .replace("PERMIT", ZEROS);
        component(self.world, &text)
    }
}
