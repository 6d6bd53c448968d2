//! Golden tests: `tests/data/<case>/Dockerfile` is read, and what comes out is compared with the
//! files beside it. `UPDATE_EXPECT=1` writes them anew.
//!
//! `ast` is the syntax tree with its places, `warnings` what was odd, `errors` what is wrong, as
//! people see it. A case has either `ast` or `errors`.

mod dump;
#[path = "../expect/mod.rs"]
mod expect;

use std::fs;
use std::path::Path;

use crate::expect::{compare, judged};

#[test]
fn cases() {
    judged("data", 21, check);
}

fn check(case: &Path) -> Result<(), String> {
    let source = fs::read(case.join("Dockerfile")).expect("it can be read");
    let render = |diagnostics: &[dockerfile::Diagnostic]| -> String {
        let shown: Vec<String> = diagnostics
            .iter()
            .map(|diagnostic| dockerfile::render(diagnostic, "Dockerfile", &source) + "\n")
            .collect();
        shown.join("\n")
    };
    let (ast, warnings, errors) = match dockerfile::parse(&source) {
        Ok(parsed) => (
            Some(dump::dump(&parsed.dockerfile, &source)),
            Some(render(&parsed.warnings)).filter(|text| !text.is_empty()),
            None,
        ),
        Err(errors) => (None, None, Some(render(&errors))),
    };
    compare(&case.join("ast"), ast)?;
    compare(&case.join("warnings"), warnings)?;
    compare(&case.join("errors"), errors)
}
