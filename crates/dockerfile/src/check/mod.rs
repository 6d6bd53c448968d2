//! Build checks: what is odd in a Dockerfile that can be built, and what a reviewer would say of it.
//!
//! [`check`] finds it all without a base image and without a network: what is known of images is
//! asked through [`Known`], and nothing is held against a Dockerfile for what is not known. [`mend`]
//! makes the safe ones of the changes that the findings come with. No I/O.

pub(crate) mod file;
mod fix;
mod fixes;
mod guess;
pub mod json;
mod review;
mod rule;
pub mod sarif;
mod shell;
pub mod text;

use crate::ast::Check;
use crate::diagnostic::Diagnostic;
use crate::lower::{LowerOptions, survey};
use crate::parser::{Reading, read};

pub use fix::{Edit, Fix, apply};
pub use guess::{Known, Nothing};
pub use rule::{Origin, Rule};

/// The most rounds of changes that [`mend`] makes; what is left then is left.
const ROUNDS: usize = 20;

/// What a check finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Warnings, in the order of the source.
    pub warnings: Vec<Diagnostic>,
    /// Why nothing could be built of it, if so: then there are no warnings of what comes after.
    pub errors: Vec<Diagnostic>,
}

impl Report {
    /// Whether it found nothing.
    pub fn is_clean(&self) -> bool {
        self.warnings.is_empty() && self.errors.is_empty()
    }
}

/// Checks a Dockerfile by all rules that `# check=` or the build argument
/// `BUILDKIT_DOCKERFILE_CHECK` does not leave out. Where `options` name no target, all stages are
/// checked, and the last is taken for the one that is shipped.
pub fn check(source: &[u8], options: &LowerOptions, known: &mut dyn Known) -> Report {
    let Reading { dockerfile, directives, mut warnings } = read(source);
    let settings = match Check::in_force(&directives, &options.build_args) {
        Ok(settings) => settings,
        Err(error) => return Report { warnings: Vec::new(), errors: vec![error] },
    };
    let mut errors = Vec::new();
    match dockerfile {
        Ok(dockerfile) => {
            let mut guess = guess::Guess::new(known);
            let (found, error) = survey(&dockerfile, options, &settings, &mut guess);
            warnings.extend(found);
            review::review(&dockerfile, source, options, known, &mut warnings);
            fixes::attach(&dockerfile, source, &mut warnings);
            errors.extend(error);
        }
        Err(all) => errors.extend(all),
    }
    warnings.retain(|warning| settings.shows(warning));
    if errors.is_empty() {
        errors.extend(settings.violation(&warnings));
    }
    let place = |warning: &Diagnostic| {
        let instruction = warning.instruction.or(warning.span).unwrap_or_default();
        (instruction.start, warning.span.unwrap_or_default().start)
    };
    warnings.sort_by_key(place);
    Report { warnings, errors }
}

/// A Dockerfile with the safe changes made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// Its bytes; those of the source where nothing could be done.
    pub source: Vec<u8>,
    /// What was done, in order: the titles of the fixes.
    pub made: Vec<String>,
}

/// Makes the changes that the findings of [`check`] come with, until there are no more: what comes
/// of it is changed no further. What would make it no Dockerfile is not done.
pub fn mend(source: &[u8], options: &LowerOptions, known: &mut dyn Known) -> Mended {
    let mut mended = Mended { source: source.to_vec(), made: Vec::new() };
    for _ in 0..ROUNDS {
        let report = check(&mended.source, options, known);
        let fixes: Vec<&Fix> = report.warnings.iter().filter_map(|warning| warning.fix.as_deref()).collect();
        let Some((next, titles)) = next(&mended.source, &fixes) else { break };
        mended.source = next;
        mended.made.extend(titles);
    }
    mended
}

/// The source with as many of the fixes made as leave it a Dockerfile.
fn next(source: &[u8], fixes: &[&Fix]) -> Option<(Vec<u8>, Vec<String>)> {
    let sound = |bytes: &[u8]| bytes != source && read(bytes).dockerfile.is_ok();
    let (all, made) = apply(source, fixes.iter().copied());
    if !made.is_empty() && sound(&all) {
        return Some((all, made));
    }
    // One of them is to blame: each is tried alone.
    fixes.iter().take(ROUNDS).find_map(|fix| {
        let (one, made) = apply(source, [*fix]);
        (!made.is_empty() && sound(&one)).then_some((one, made))
    })
}
