//! The table that is printed in the end.

use std::fmt;

use crate::machine;

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

struct Row {
    what: String,
    measured: String,
    goal: String,
    beside: String,
    load: String,
}

impl Table {
    /// A figure, its goal, and what others reached in the same run. Also told on stderr, as a run takes minutes.
    pub(crate) fn row(&mut self, what: &str, measured: String, goal: &str, beside: String) {
        let load = machine::load();
        eprintln!("{what}: {measured} (goal {goal}; beside {beside}; load {load})");
        self.rows.push(Row { what: what.to_owned(), measured, goal: goal.to_owned(), beside, load });
    }

    pub(crate) fn note(&mut self, note: String) {
        eprintln!("note: {note}");
        self.notes.push(note);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | goal | beside, same run | load |\n| --- | --- | --- | --- | --- |")?;
        for Row { what, measured, goal, beside, load } in &self.rows {
            writeln!(f, "| {what} | {measured} | {goal} | {beside} | {load} |")?;
        }
        for note in &self.notes {
            writeln!(f, "\n- {note}")?;
        }
        Ok(())
    }
}
