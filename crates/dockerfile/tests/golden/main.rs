//! Golden tests: `tests/data/<case>/Dockerfile` is read, and what comes out is compared with the
//! files beside it. `UPDATE_EXPECT=1` writes them anew.
//!
//! `ast` is the syntax tree with its places, `warnings` what was odd, `errors` what is wrong, as
//! people see it. A case has either `ast` or `errors`.

mod dump;

use std::fs;
use std::path::Path;

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut cases: Vec<_> = fs::read_dir(&root)
        .expect("the cases are there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.join("Dockerfile").exists())
        .collect();
    cases.sort();
    assert!(cases.len() > 20, "the cases are there");
    let failed: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(failed.is_empty(), "{}\n\nUPDATE_EXPECT=1 takes the new ones", failed.join("\n"));
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

fn compare(path: &Path, found: Option<String>) -> Result<(), String> {
    let expected = fs::read_to_string(path).ok();
    if expected == found {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        match found {
            Some(text) => fs::write(path, text).expect("it can be written"),
            None => fs::remove_file(path).expect("it can be removed"),
        }
        return Ok(());
    }
    let (expected, found) = (expected.unwrap_or_default(), found.unwrap_or_default());
    let line = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{}:{}: expected {:?}, found {:?}",
        path.display(),
        line + 1,
        expected.lines().nth(line).unwrap_or("nothing"),
        found.lines().nth(line).unwrap_or("nothing"),
    ))
}
