//! A report in the JSON of BuildKit's lint request, as buildx prints it for `--call=check,format=json`.
//!
//! Beside what is there each warning has its narrow place, its help and its fix, under names that
//! BuildKit does not use.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::check::{Fix, Report};
use crate::diagnostic::Diagnostic;
use crate::span::{LineIndex, Span};

/// The report; `name` is the file's.
pub fn report(report: &Report, name: &str, source: &[u8]) -> Value {
    let index = LineIndex::new(source);
    let warnings: Vec<Value> = report.warnings.iter().map(|it| warning(it, source, &index)).collect();
    let mut all = Map::new();
    all.insert("warnings".into(), warnings.into());
    all.insert(
        "sources".into(),
        json!([{ "filename": name, "data": BASE64_STANDARD.encode(source), "language": "Dockerfile" }]),
    );
    if let Some(error) = report.errors.first() {
        let location = location(error, &index);
        all.insert("buildError".into(), json!({ "message": error.message, "location": location }));
    }
    Value::Object(all)
}

fn warning(warning: &Diagnostic, source: &[u8], index: &LineIndex) -> Value {
    let mut all = Map::new();
    if let Some(rule) = warning.rule {
        all.insert("ruleName".into(), rule.id().into());
        all.insert("description".into(), rule.description().into());
        if let Some(url) = rule.url() {
            all.insert("url".into(), url.into());
        }
    }
    all.insert("detail".into(), warning.message.as_str().into());
    all.insert("location".into(), location(warning, index));
    if let Some(span) = warning.span {
        all.insert("span".into(), place(span, source, index));
    }
    if let Some(help) = &warning.help {
        all.insert("help".into(), help.as_str().into());
    }
    if let Some(fix) = &warning.fix {
        all.insert("fix".into(), change(fix, source, index));
    }
    Value::Object(all)
}

/// BuildKit's location: lines alone.
pub(crate) fn location(diagnostic: &Diagnostic, index: &LineIndex) -> Value {
    match diagnostic.lines(index) {
        Some(lines) => ranges(lines),
        None => json!({}),
    }
}

/// BuildKit's location of some lines.
pub(crate) fn ranges((first, last): (u32, u32)) -> Value {
    json!({ "ranges": [{ "start": { "line": first }, "end": { "line": last } }] })
}

fn place(span: Span, source: &[u8], index: &LineIndex) -> Value {
    let point = |offset| {
        let position = index.position(source, offset);
        json!({ "line": position.line, "column": position.column })
    };
    json!({ "start": point(span.start), "end": point(span.end) })
}

fn change(fix: &Fix, source: &[u8], index: &LineIndex) -> Value {
    let edits: Vec<Value> = fix
        .edits
        .iter()
        .map(|edit| json!({ "span": place(edit.span, source, index), "text": edit.text }))
        .collect();
    json!({ "title": fix.title, "edits": edits })
}
