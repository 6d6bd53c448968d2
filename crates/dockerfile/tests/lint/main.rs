//! BuildKit's own cases of its build checks (`dockerfile_lint_test.go`): the same rule, at the same
//! line, with the same words.
//!
//! `tests/lint/<case>/Dockerfile` is checked, with the build arguments of `options` and the
//! `dockerignore` beside it. `warnings` holds what BuildKit finds as `line rule words`, through all
//! stages; `build` what it finds in a build, where that is less; `error` how its error begins. These
//! are written by hand: nothing makes them anew.

#[path = "../expect/mod.rs"]
mod expect;

use std::fs;
use std::path::Path;

use dockerfile::ast::Check;
use dockerfile::check::{Nothing, Origin, check};
use dockerfile::ignore::Patterns;
use dockerfile::lower::{ConfigResolver, LowerOptions, ResolvedImage, lower};
use dockerfile::{Diagnostic, LineIndex};
use oci::{DiffId, Digest, ImageConfig, ImageId, Platform, Reference};

#[test]
fn cases() {
    let failed: Vec<String> = expect::cases("lint", 71).iter().flat_map(|case| compare(case)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn compare(case: &Path) -> Vec<String> {
    let source = fs::read(case.join("Dockerfile")).expect("it can be read");
    let options = options(case);
    let text = |name: &str| fs::read_to_string(case.join(name)).ok();
    let name = case.file_name().expect("a name").to_string_lossy().into_owned();
    let mut failed = Vec::new();
    let mut expect = |what: &str, found: String, expected: String| {
        if found != expected {
            failed.push(format!("{name}, {what}:\n{found}expected:\n{expected}"));
        }
    };

    let report = check(&source, &options, &mut Nothing);
    let expected = text("warnings").expect("each case has them");
    expect("check", lines(&report.warnings, &source), expected.clone());
    let error = report.errors.first().map_or("", |error| error.message.as_str());
    let begins = text("error").unwrap_or_default();
    match begins.trim_end() {
        "" => expect("error", error.to_owned(), String::new()),
        begins => assert!(error.starts_with(begins), "{name}: {error:?}"),
    }

    // A build of the last stage, as the engine does it.
    let reading = dockerfile::read(&source);
    let settings = Check::in_force(&reading.directives, &options.build_args).expect("sound settings");
    let mut warnings = reading.warnings;
    warnings.retain(|warning| settings.shows(warning));
    match reading.dockerfile.map(|it| lower(&it, &options, &mut Empty)) {
        Ok(Ok(lowered)) => warnings.extend(lowered.warnings),
        // What lowering had found goes with its error.
        Ok(Err(_)) => return failed,
        Err(_) => {}
    }
    expect("build", lines(&warnings, &source), text("build").unwrap_or(expected));
    failed
}

fn options(case: &Path) -> LowerOptions {
    let mut options =
        LowerOptions { platform: Platform::new("linux", "amd64", ""), ..LowerOptions::default() };
    let settings = fs::read_to_string(case.join("options")).unwrap_or_default();
    for line in settings.lines() {
        let pair = line.strip_prefix("build-arg ").and_then(|pair| pair.split_once('='));
        let (name, value) = pair.expect("only build arguments");
        options.build_args.insert(name.to_owned(), value.to_owned());
    }
    if let Ok(text) = fs::read(case.join("dockerignore")) {
        options.ignore = Patterns::parse(&text).expect("sound patterns");
    }
    options
}

/// BuildKit's findings, a line each, in the order of its own test.
fn lines(warnings: &[Diagnostic], source: &[u8]) -> String {
    let index = LineIndex::new(source);
    let mut all: Vec<(u32, String, &str)> = warnings
        .iter()
        .filter_map(|warning| Some((warning, warning.rule?)))
        .filter(|(_, rule)| rule.origin() == Origin::BuildKit)
        .map(|(warning, rule)| {
            (warning.lines(&index).expect("a place").0, warning.message.clone(), rule.id())
        })
        .collect();
    all.sort();
    all.iter().map(|(line, message, rule)| format!("{line} {rule} {message}\n")).collect()
}

/// Every image is an empty one of the platform that is asked for.
struct Empty;

impl ConfigResolver for Empty {
    fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, String> {
        let mut config = ImageConfig::scratch(platform);
        config.rootfs.diff_ids = vec![DiffId(Digest::sha256(b"a layer"))];
        Ok(ResolvedImage {
            image_id: ImageId(Digest::sha256(b"an image")),
            config,
            digest: None,
            reference: reference.clone(),
        })
    }
}
