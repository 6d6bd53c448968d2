//! What a Dockerfile has to offer: its targets, and what a target takes. The answers to `--call=targets`
//! and `--call=outline`, as text and as the JSON of BuildKit's requests of these names.
//!
//! Nothing is built, and no image is asked for.

mod outline;
mod targets;

pub use outline::{Argument, Outline, Taken, outline};
pub use targets::{Target, targets};

use crate::span::Span;

/// Columns side by side, each as wide as its widest entry and `gap` blanks; the last is not filled, as
/// Go's `tabwriter` does it.
fn table(rows: &[Vec<String>], gap: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                text.push_str(&" ".repeat(widths[column] - cell.chars().count() + gap));
            }
        }
        text.push('\n');
    }
    text
}

/// The description that the comments above something called `name` give.
fn description(comments: &[String], name: &str) -> String {
    let found = comments.iter().find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '));
    if name.is_empty() { String::new() } else { found.unwrap_or_default().to_owned() }
}

/// Where something is.
type Place = Span;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let rows = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
        };
        assert_eq!(table(&rows(&[&["a", "b"], &["ccc", ""]]), 1), "a   b\nccc \n");
    }

    #[test]
    fn descriptions() {
        let comments = ["other", "build makes it", "build again"].map(str::to_owned);
        assert_eq!(description(&comments, "build"), "makes it");
        assert_eq!(description(&comments, "make"), "");
        assert_eq!(description(&comments, ""), "");
    }
}
