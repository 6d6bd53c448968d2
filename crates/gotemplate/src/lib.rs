//! Go's text/template over JSON values, as far as Docker's `--format` needs it.
//!
//! Fields, chains, pipelines, parentheses, variables, `if`/`else if`/`with`/`range` with `break` and `continue`,
//! comments and trim markers, Go's built-in functions and the ones Docker adds, with Go's error texts. The values
//! are `serde_json::Value`s: an object's keys are its fields; what a Go program would know from its types (this
//! field is a list even when null, that one a map whose absent keys are empty) comes as a [`Schema`].
//!
//! Not here: `define`, `template` and `block`, escaping for HTML, JavaScript and URLs (`html`, `js`, `urlquery`),
//! and calling function values. A template is bounded: nesting, output and loop passes have limits, so that no
//! template can hang or exhaust its process.

#![forbid(unsafe_code)]

mod ast;
mod compare;
mod error;
mod exec;
mod functions;
mod lex;
mod options;
mod parse;
mod printf;
mod table;
mod val;
mod value;

pub use error::Error;
pub use options::{Method, Missing, Options, Schema, Shape};
pub use table::align;
pub use value::text as value_text;

/// A parsed template; renders any number of values.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    nodes: Vec<ast::Node>,
    fields: Vec<String>,
}

impl Template {
    /// Parses a template. Errors carry the line and column (from 1 and 0 as Go counts them) of what is wrong.
    pub fn parse(text: &str) -> Result<Template, Error> {
        let parsed = parse::parse(text)?;
        Ok(Template { text: text.to_owned(), nodes: parsed.nodes, fields: parsed.fields })
    }

    /// The template applied to `data`, which is `.` and `$` in it.
    pub fn render(&self, data: &serde_json::Value, options: &Options<'_>) -> Result<String, Error> {
        exec::render(&self.text, &self.nodes, data, options).map_err(|(error, _)| error)
    }

    /// As [`Template::render`], but keeps what was written before the failure: a table's header is printed as
    /// far as it goes, since the rows have told of the error already.
    pub fn render_partial(&self, data: &serde_json::Value, options: &Options<'_>) -> String {
        match exec::render(&self.text, &self.nodes, data, options) {
            Ok(text) | Err((_, text)) => text,
        }
    }

    /// Whether the template names this field anywhere (as `.X`, `$v.X` or further down a chain), so that a
    /// caller can leave out what is expensive to compute. A use of the whole value (`{{json .}}`) is not seen.
    pub fn names_field(&self, field: &str) -> bool {
        self.fields.iter().any(|name| name == field)
    }
}
