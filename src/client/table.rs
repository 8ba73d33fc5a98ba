//! The server's tables (`meta/v1.Table`) in aligned columns, as kubectl prints them.

use anyhow::{Context, bail};
use serde_json::Value;

/// Characters of the narrowest column.
const NARROWEST: usize = 3;

/// What a client asks for to get one.
pub const ACCEPT: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Columns {
    /// Without the line of headers
    #[arg(long)]
    pub no_headers: bool,
    /// All labels as the last column
    #[arg(long)]
    pub show_labels: bool,
    /// These labels as columns of their own
    #[arg(short = 'L', long, value_delimiter = ',', value_name = "LABELS")]
    pub label_columns: Vec<String>,
    #[arg(skip)]
    pub wide: bool,
    /// A column of namespaces.
    #[arg(skip)]
    pub namespaces: bool,
}

/// Prints tables, one after the other; columns stay as wide as they were, so that the rows of a watch stand below each other.
pub struct Printer {
    columns: Columns,
    widths: Vec<usize>,
    /// Which cells of a row. Only the first table of a watch says what they are.
    shown: Vec<usize>,
    has_header: bool,
    /// `pod`, before each name where there are objects of several resources.
    prefix: Option<String>,
}

impl Printer {
    pub fn new(columns: Columns, prefix: Option<String>) -> Self {
        Self { has_header: columns.no_headers, widths: Vec::new(), shown: Vec::new(), columns, prefix }
    }

    /// The rows of a table, after the headers if these were not printed yet.
    ///
    /// # Errors
    /// When it is no table.
    pub fn print(&mut self, table: &Value) -> anyhow::Result<String> {
        if table["kind"] != "Table" {
            bail!("the server answered with {} instead of a table", table["kind"]);
        }
        let columns = table["columnDefinitions"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !columns.is_empty() {
            let is_shown = |index: &usize| self.columns.wide || columns[*index]["priority"].as_i64().unwrap_or(0) == 0;
            self.shown = (0..columns.len()).filter(is_shown).collect();
        }
        let rows = table["rows"].as_array().context("the table has no rows")?;
        let mut lines = Vec::new();
        if !self.has_header && !columns.is_empty() {
            self.has_header = true;
            let titles = self.shown.iter().map(|index| cell(&columns[*index]["name"]).to_uppercase()).collect();
            let labels = self.columns.label_columns.iter().map(|label| label.rsplit('/').next().unwrap_or(label).to_uppercase());
            lines.push(self.line(titles, || "NAMESPACE".to_owned(), labels.collect(), || "LABELS".to_owned()));
        }
        lines.extend(rows.iter().map(|row| self.row(row)));
        Ok(self.align(&lines))
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let metadata = &row["object"]["metadata"];
        let mut cells: Vec<String> = self.shown.iter().map(|index| cell(&row["cells"][*index])).collect();
        if let (Some(prefix), Some(name)) = (&self.prefix, cells.first_mut()) {
            *name = format!("{prefix}/{name}");
        }
        let labels = &metadata["labels"];
        let chosen = self.columns.label_columns.iter().map(|label| cell(&labels[label.as_str()]));
        self.line(cells, || cell(&metadata["namespace"]), chosen.collect(), || all(labels))
    }

    fn line(
        &self,
        mut cells: Vec<String>,
        namespace: impl FnOnce() -> String,
        chosen: Vec<String>,
        labels: impl FnOnce() -> String,
    ) -> Vec<String> {
        if self.columns.namespaces {
            cells.insert(0, namespace());
        }
        cells.extend(chosen);
        if self.columns.show_labels {
            cells.push(labels());
        }
        cells
    }

    fn align(&mut self, lines: &[Vec<String>]) -> String {
        for line in lines {
            self.widths.resize(self.widths.len().max(line.len()), NARROWEST);
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let format = |line: &Vec<String>| {
            let cells: Vec<String> = line.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("{}\n", cells.join("   ").trim_end())
        };
        lines.iter().map(format).collect()
    }
}

fn all(labels: &Value) -> String {
    match labels.as_object() {
        Some(labels) if !labels.is_empty() => {
            labels.iter().map(|(key, value)| format!("{key}={}", cell(value))).collect::<Vec<_>>().join(",")
        }
        _ => "<none>".to_owned(),
    }
}

/// One line, with nothing in it that a terminal would obey.
pub fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.as_str(),
        other => return other.to_string(),
    };
    let line = match text.split_once(['\n', '\r', '\u{c}']) {
        Some((first, _)) => format!("{first}..."),
        None => text.to_owned(),
    };
    line.replace('\u{1b}', "^[")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({"kind": "Table",
            "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["long-name", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "a", "labels": {"x": "1", "b/y": "2"}}}},
                     {"cells": ["b", 2, null], "object": {"metadata": {"namespace": "default"}}}]})
    }

    #[test]
    fn a_table_is_aligned_and_hides_wide_columns() {
        let mut printer = Printer::new(Columns::default(), None);
        assert_eq!(printer.print(&answer()).expect("formats"), "NAME        READY\nlong-name   1/1\nb           2\n");
        let columns = Columns { wide: true, namespaces: true, ..Columns::default() };
        let wide = Printer::new(columns, None).print(&answer()).expect("formats");
        assert!(wide.starts_with("NAMESPACE   NAME        READY   IP\na           long-name   1/1     10.0.0.1\n"), "{wide}");
    }

    #[test]
    fn labels_are_columns_if_asked() {
        let columns = Columns { show_labels: true, label_columns: vec!["b/y".to_owned()], ..Columns::default() };
        let said = Printer::new(columns, Some("pod".to_owned())).print(&answer()).expect("formats");
        let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAME", "READY", "Y", "LABELS"]);
        assert_eq!(lines[1], ["pod/long-name", "1/1", "2", "b/y=2,x=1"]);
        assert_eq!(lines[2], ["pod/b", "2", "<none>"]);
    }

    #[test]
    fn the_rows_of_a_watch_stand_below_each_other() {
        let mut printer = Printer::new(Columns::default(), None);
        printer.print(&answer()).expect("formats");
        let event = json!({"kind": "Table", "columnDefinitions": null, "rows": [{"cells": ["c", "0/1", "10.0.0.2"]}]});
        assert_eq!(printer.print(&event).expect("formats"), "c           0/1\n");
        let columns = Columns { no_headers: true, wide: true, ..Columns::default() };
        let bare = Printer::new(columns, None).print(&json!({"kind": "Table",
            "columnDefinitions": [{"name": "A"}, {"name": "B"}], "rows": [{"cells": ["a", "b"]}]}));
        assert_eq!(bare.expect("formats"), "a     b\n", "no column is narrower than three");
    }

    #[test]
    fn a_cell_is_one_line_that_a_terminal_does_not_obey() {
        assert_eq!(cell(&json!("a\nb")), "a...");
        assert_eq!(cell(&json!("\u{1b}[2J")), "^[[2J");
    }
}
