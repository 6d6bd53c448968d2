//! `--format`: Docker's tables, JSON lines and Go templates over the rows of a list.

use std::io::{self, Write};

use gotemplate::{Missing, Options, Template};
use serde_json::{Map, Value};

use crate::cli::CliError;

/// The help of `--format`, the same for every list.
pub(crate) const HELP: &str = "Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template";

/// How the rows of a list are printed.
#[derive(Debug)]
pub(crate) struct Format {
    template: Template,
    table: bool,
    whole_rows: bool,
}

/// What a list's rows are called and have: for table headers and for errors.
pub(crate) struct Rows<'a> {
    /// The kind of row, for errors: `image`.
    pub(crate) kind: &'a str,
    /// Field names with their column headers.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Fields that take arguments.
    pub(crate) methods: &'a [gotemplate::Method<'a>],
}

impl Format {
    /// Reads the option's value. `table` is the template of the list's own table; for `quiet` it is the ID alone.
    pub(crate) fn parse(option: Option<&str>, table: &str, quiet: bool) -> Result<Format, CliError> {
        let default = if quiet { "{{.ID}}" } else { table };
        let (text, is_table) = match option.unwrap_or("table") {
            "table" => (default, !quiet),
            "json" => ("{{json .}}", false),
            text => match text.strip_prefix("table") {
                Some(rest) => (rest, true),
                None => (text, false),
            },
        };
        let text = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        let template = Template::parse(&text).map_err(parsing)?;
        let whole_rows = text.contains("{{json .}}") || text.contains("{{.}}") || text.contains("json .");
        Ok(Format { template, table: is_table, whole_rows })
    }

    /// Whether a field is printed: by name, or as part of the whole row.
    pub(crate) fn shows(&self, field: &str) -> bool {
        self.whole_rows || self.template.names_field(field)
    }

    /// Whether whole rows are printed, as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.whole_rows
    }

    /// Prints the rows, and a table's header before them. Nothing is printed when a row fails.
    pub(crate) fn print(&self, rows: &Rows<'_>, values: &[Value]) -> Result<(), CliError> {
        let text = self.render(rows, values)?;
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// The text that [`Format::print`] prints.
    pub(crate) fn render(&self, rows: &Rows<'_>, values: &[Value]) -> Result<String, CliError> {
        let options = Options {
            missing: Missing::Field(rows.kind),
            methods: rows.methods,
            escape_objects: true,
            ..Options::default()
        };
        let mut text = String::new();
        if self.table {
            let header = row(rows.headers.iter().map(|(field, header)| (*field, Value::from(*header))));
            let options = Options { header: true, methods: &[], ..options };
            text.push_str(&self.template.render_partial(&header, &options));
            text.push('\n');
        }
        for value in values {
            text.push_str(&self.template.render(value, &options).map_err(parsing)?);
            text.push('\n');
        }
        Ok(if self.table { gotemplate::align(&text) } else { text })
    }
}

/// A template's error with Docker's words before it.
pub(crate) fn parsing(error: gotemplate::Error) -> CliError {
    CliError::new(format!("template parsing error: {error}"))
}

/// A row of a list: its fields sorted by name, as Docker's JSON has them.
pub(crate) fn row<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut object: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    object.sort_keys();
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROWS: Rows<'_> =
        Rows { kind: "image", headers: &[("ID", "IMAGE ID"), ("Tag", "TAG")], methods: &[] };

    fn print(option: Option<&str>, quiet: bool) -> String {
        let values = [row([("Tag", json!("<none>")), ("ID", json!("abc"))])];
        let format = Format::parse(option, "{{.ID}}\t{{.Tag}}", quiet);
        match format.and_then(|format| format.render(&ROWS, &values)) {
            Ok(text) => text,
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn forms() {
        assert_eq!(print(None, false), "IMAGE ID   TAG\nabc        <none>\n");
        assert_eq!(print(Some("table"), false), print(None, false));
        assert_eq!(print(None, true), "abc\n");
        assert_eq!(print(Some("json"), false), "{\"ID\":\"abc\",\"Tag\":\"\\u003cnone\\u003e\"}\n");
        assert_eq!(
            print(Some("table {{.Tag}}\\t{{upper .ID}}"), false),
            "TAG       IMAGE ID\n<none>    ABC\n"
        );
        assert_eq!(print(Some("{{.ID}}\\n{{.Tag}}"), false), "abc\n<none>\n");
        assert!(print(Some("{{.Nope}}"), false).contains("can't evaluate field Nope in type image"));
    }

    #[test]
    fn an_empty_table_is_its_header() {
        let format = Format::parse(None, "{{.ID}}\t{{.Tag}}", false).expect("a format");
        assert_eq!(format.render(&ROWS, &[]).expect("text"), "IMAGE ID   TAG\n");
    }
}
