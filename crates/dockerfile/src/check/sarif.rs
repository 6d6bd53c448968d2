//! A report in SARIF 2.1.0 (OASIS), which code hosts show beside the lines.

use serde_json::{Value, json};

use crate::check::{Fix, Report, Rule};
use crate::diagnostic::Diagnostic;
use crate::span::{LineIndex, Span};

/// The identifier of what is no rule: the Dockerfile cannot be built.
const BUILD_ERROR: &str = "BuildError";

/// The report as a SARIF log of one run. `path` is the Dockerfile's as the user names it, `version` the
/// program's.
pub fn log(report: &Report, path: &str, source: &[u8], version: &str) -> Value {
    let index = LineIndex::new(source);
    let file = File { uri: uri(path), source, index };
    let mut rules: Vec<Rule> = report.warnings.iter().filter_map(|warning| warning.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let mut described: Vec<Value> = rules.iter().map(|rule| describe(*rule)).collect();
    if !report.errors.is_empty() {
        described.push(json!({
            "id": BUILD_ERROR,
            "shortDescription": { "text": "The Dockerfile cannot be built" },
            "defaultConfiguration": { "level": "error" },
        }));
    }
    let warnings = report.warnings.iter().map(|warning| {
        let number = warning.rule.and_then(|rule| rules.binary_search(&rule).ok());
        file.result(warning, warning.rule.map_or(BUILD_ERROR, Rule::id), number.unwrap_or(rules.len()))
    });
    let errors = report.errors.iter().map(|error| file.result(error, BUILD_ERROR, rules.len()));
    let results: Vec<Value> = warnings.chain(errors).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "strake",
                "version": version,
                "informationUri": "https://github.com/strake/strake",
                "rules": described,
            } },
            "artifacts": [{ "location": { "uri": file.uri }, "sourceLanguage": "dockerfile" }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn describe(rule: Rule) -> Value {
    let mut value = json!({
        "id": rule.id(),
        "shortDescription": { "text": rule.description() },
        "help": { "text": rule.page(), "markdown": rule.page() },
        "defaultConfiguration": { "level": "warning" },
    });
    if let Some(url) = rule.url() {
        value["helpUri"] = url.into();
    }
    value
}

struct File<'a> {
    uri: String,
    source: &'a [u8],
    index: LineIndex,
}

impl File<'_> {
    fn artifact(&self) -> Value {
        json!({ "uri": self.uri, "index": 0 })
    }

    fn result(&self, diagnostic: &Diagnostic, rule: &str, number: usize) -> Value {
        let level = if diagnostic.rule.is_some() { "warning" } else { "error" };
        let mut text = diagnostic.message.clone();
        if let Some(help) = &diagnostic.help {
            text.push_str(&format!(". {help}"));
        }
        let mut place = json!({ "artifactLocation": self.artifact() });
        if let Some(span) = diagnostic.span.or(diagnostic.instruction) {
            place["region"] = self.region(span);
        }
        let mut result = json!({
            "ruleId": rule,
            "ruleIndex": number,
            "level": level,
            "message": { "text": text },
            "locations": [{ "physicalLocation": place }],
        });
        if let Some(fix) = &diagnostic.fix {
            result["fixes"] = json!([self.fix(fix)]);
        }
        result
    }

    fn region(&self, span: Span) -> Value {
        let start = self.index.position(self.source, span.start);
        let end = self.index.position(self.source, span.end);
        json!({
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        })
    }

    fn fix(&self, fix: &Fix) -> Value {
        let replacements: Vec<Value> = fix
            .edits
            .iter()
            .map(|edit| {
                json!({
                    "deletedRegion": self.region(edit.span),
                    "insertedContent": { "text": edit.text },
                })
            })
            .collect();
        json!({
            "description": { "text": fix.title },
            "artifactChanges": [{ "artifactLocation": self.artifact(), "replacements": replacements }],
        })
    }
}

/// A path as a URI reference (RFC 3986): letters that have a meaning there escaped.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Nothing, check};
    use crate::lower::LowerOptions;

    fn log_of(source: &str) -> Value {
        let report = check(source.as_bytes(), &LowerOptions::default(), &mut Nothing);
        log(&report, "my dir/Dockerfile", source.as_bytes(), "1.2.3")
    }

    /// What the schema asks for, and what makes the parts fit each other.
    #[test]
    fn parts_fit() {
        for source in [
            "FROM debian AS Build\nRUN apt-get install x\nCMD x\n",
            "FROM scratch\nRUNN\n",
            "",
            "FROM scratch\n",
        ] {
            let log = log_of(source);
            assert_eq!(log["version"], "2.1.0");
            let run = &log["runs"][0];
            let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
            assert_eq!(run["artifacts"][0]["location"]["uri"], "my%20dir/Dockerfile");
            for result in run["results"].as_array().expect("results") {
                let number = usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("small");
                assert_eq!(result["ruleId"], rules[number]["id"]);
                assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
                let place = &result["locations"][0]["physicalLocation"];
                assert_eq!(place["artifactLocation"]["index"], 0);
                if let Some(region) = place.get("region") {
                    let number = |name: &str| region[name].as_u64().expect(name);
                    assert!(number("startLine") >= 1 && number("startColumn") >= 1);
                    let (start, end) = (
                        (number("startLine"), number("startColumn")),
                        (number("endLine"), number("endColumn")),
                    );
                    assert!(start <= end, "{region}");
                }
            }
        }
    }

    #[test]
    fn fixes_are_replacements() {
        let log = log_of("FROM debian:12 AS Build\n");
        let change = &log["runs"][0]["results"][0]["fixes"][0]["artifactChanges"][0]["replacements"][0];
        assert_eq!(change["insertedContent"]["text"], "build");
        assert_eq!(change["deletedRegion"]["startColumn"], 19);
        assert_eq!(change["deletedRegion"]["endColumn"], 24);
    }
}
