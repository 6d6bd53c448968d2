//! What Docker 28.2.2 printed for `docker images --no-trunc --format TEMPLATE` on one image, line by line of
//! tests/data/docker.jsonl, and what this crate makes of the same row. Parse errors there have no column.

use gotemplate::{Error, Missing, Options, Template};
use serde_json::{Value, json};

fn row() -> Value {
    json!({
        "Containers": "N/A",
        "CreatedAt": "2026-11-24 05:47:50 +0000 UTC",
        "CreatedSince": "8 minutes ago",
        "Digest": "<none>",
        "ID": "sha256:31cb8b0d2a5318dd263a69b53a7e1a748f2153fc12b320f43cf3531266be1e5c",
        "Repository": "base",
        "SharedSize": "N/A",
        "Size": "1.98MB",
        "Tag": "v1",
        "UniqueSize": "N/A",
        "VirtualSize": "1.982MB"
    })
}

/// As Docker prints it: no column in parse errors, no list of the fields there are.
fn as_docker(error: &Error) -> String {
    let text = match error {
        Error::Parse { line, message, .. } => format!("template: :{line}: {message}"),
        error => error.to_string(),
    };
    text.split(" (it has ").next().unwrap_or_default().to_owned()
}

#[test]
fn prints_what_docker_prints() {
    let options = Options {
        missing: Missing::Field("*formatter.imageContext"),
        escape_objects: true,
        ..Options::default()
    };
    let mut failures = Vec::new();
    for line in include_str!("data/docker.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a line of the table");
        let template = case["template"].as_str().expect("a template");
        let got = match Template::parse(template).and_then(|parsed| parsed.render(&row(), &options)) {
            Ok(text) => json!({"template": template, "output": text}),
            Err(error) => json!({"template": template, "error": as_docker(&error)}),
        };
        if got != case {
            failures.push(format!("want {case}\n got {got}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
