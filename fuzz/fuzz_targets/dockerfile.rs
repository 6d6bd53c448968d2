//! A Dockerfile: read, each word expanded, each diagnostic shown; checked by all rules, and fixed until
//! there is nothing to fix.

#![no_main]

use dockerfile::check::text::{self, Detail};
use dockerfile::check::{Nothing, check, mend};
use dockerfile::lower::LowerOptions;
use dockerfile::{Diagnostic, Expander};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &[u8]| {
    let variables: Vec<String> = vec!["a=x*y".to_owned(), "b=".to_owned()];
    let (errors, warnings): (Vec<Diagnostic>, Vec<Diagnostic>) = match dockerfile::parse(source) {
        Ok(parsed) => (Vec::new(), parsed.warnings),
        Err(errors) => {
            assert!(!errors.is_empty());
            (errors, Vec::new())
        }
    };
    for diagnostic in errors.iter().chain(&warnings) {
        let span = diagnostic.span.unwrap_or_default();
        assert!(span.start <= span.end && span.end as usize <= source.len());
        dockerfile::render(diagnostic, "Dockerfile", source);
    }
    let options = LowerOptions { source: source.to_vec(), ..LowerOptions::default() };
    let report = check(source, &options, &mut Nothing);
    for diagnostic in report.warnings.iter().chain(&report.errors) {
        let span = diagnostic.span.unwrap_or_default();
        assert!(span.start <= span.end && span.end as usize <= source.len());
    }
    text::warnings(&report, "Dockerfile", source, Detail::More);
    let options = LowerOptions::default();
    let mended = mend(source, &options, &mut Nothing);
    // Twenty rounds are enough for all but what is made to need more.
    if mended.made.len() < 20 {
        assert!(mend(&mended.source, &options, &mut Nothing).made.is_empty());
    }
    if let Ok(text) = std::str::from_utf8(source) {
        for expander in [Expander::new('\\'), Expander::new('`'), Expander::raw()] {
            match expander.word(text, &variables) {
                Ok(_) => assert!(expander.words(text, &variables).is_ok()),
                Err(error) => assert!(text.get(error.range).is_some()),
            }
        }
        let _ = dockerfile::parse_trigger(text);
    }
});
