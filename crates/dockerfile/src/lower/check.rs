//! The build checks that need to know what lowering knows: values, shells, base images.
//!
//! Checks of syntax alone are the parser's. Each check has the name and the words of BuildKit's;
//! whether a warning is an error (`# check=error=true`) is decided where all of them are together.

use graph::names_secret;

use crate::ast::Check;
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::suggest;

/// More would not be read.
const MOST: usize = 1_000;

/// Among more names than this nothing is suggested: each takes its time.
const MOST_NAMES: usize = 500;

/// Collects warnings, those left out that are to be skipped.
#[derive(Debug)]
pub(crate) struct Warnings {
    all: Vec<Diagnostic>,
    check: Check,
    /// The instruction at hand.
    instruction: Option<Span>,
}

impl Warnings {
    pub(crate) fn new(check: Check) -> Warnings {
        Warnings { all: Vec::new(), check, instruction: None }
    }

    /// Says that what comes next is about the instruction at `span`.
    pub(crate) fn begin(&mut self, span: Span) {
        self.instruction = Some(span);
    }

    /// Adds a warning of the check `rule` about the instruction at hand.
    pub(crate) fn add(&mut self, rule: Rule, message: impl Into<String>, span: Span) {
        let warning = Diagnostic::warning(rule, message, span);
        self.push(Diagnostic { instruction: self.instruction, ..warning });
    }

    /// Adds a warning about the whole instruction at `span`.
    pub(crate) fn add_of(&mut self, rule: Rule, message: impl Into<String>, span: Span) {
        self.push(Diagnostic::warning(rule, message, span).of(span));
    }

    fn push(&mut self, warning: Diagnostic) {
        if !self.is_full() && self.check.shows(&warning) && !self.all.contains(&warning) {
            self.all.push(warning);
        }
    }

    fn is_full(&self) -> bool {
        self.all.len() >= MOST
    }

    /// `UndefinedVar`. Where not all variables are known (`guessed`), only what is likely a slip of
    /// the pen is told.
    pub(crate) fn undefined_variable(&mut self, name: &str, known: Vec<&str>, span: Span, guessed: bool) {
        let mut message = format!("Usage of undefined variable '${name}'");
        let near = match guessed {
            true => self.few(&known).then(|| suggest::one_off(name, known)).flatten(),
            false => self.nearest(name, known),
        };
        match near {
            Some(near) => message.push_str(&format!(" (did you mean ${near}?)")),
            None if guessed => return,
            None => {}
        }
        self.add(Rule::UndefinedVar, message, span);
    }

    /// `UndefinedArgInFrom`
    pub(crate) fn undefined_argument(&mut self, name: &str, known: Vec<&str>, span: Span) {
        let mut message = format!("FROM argument '{name}' is not declared");
        if let Some(near) = self.nearest(name, known) {
            message.push_str(&format!(" (did you mean {near}?)"));
        }
        self.add(Rule::UndefinedArgInFrom, message, span);
    }

    fn few(&self, known: &[&str]) -> bool {
        !self.is_full() && known.len() <= MOST_NAMES
    }

    fn nearest<'a>(&self, name: &str, known: Vec<&'a str>) -> Option<&'a str> {
        self.few(&known).then(|| suggest::nearest(name, known))?
    }

    /// `SecretsUsedInArgOrEnv`
    pub(crate) fn secret_name(&mut self, keyword: &str, name: &str, span: Span) {
        if names_secret(name) {
            self.add(
                Rule::SecretsUsedInArgOrEnv,
                format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})"),
                span,
            );
        }
    }

    /// What was found so far, which is forgotten here.
    pub(crate) fn take(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        for name in ["API_KEY", "apikey", "DB_PASSWORD", "token", "secret_message", "AUTH"] {
            assert!(names_secret(name), "{name}");
        }
        for name in ["PUBLIC_KEY", "KEY_FILE", "TOKEN_VERSION", "AUTHOR", "monkey", "api-key"] {
            assert!(!names_secret(name), "{name}");
        }
    }

    #[test]
    fn skipped_and_repeated() {
        let check = Check { skip: vec!["undefinedvar".into()], ..Check::all() };
        let mut warnings = Warnings::new(check);
        warnings.undefined_variable("X", vec![], Span::at(1), false);
        warnings.undefined_argument("FOX", vec!["FOO"], Span::at(1));
        warnings.undefined_argument("FOX", vec!["FOO"], Span::at(1));
        let all = warnings.take();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].message, "FROM argument 'FOX' is not declared (did you mean FOO?)");
    }

    #[test]
    fn of_a_base_that_is_not_known_only_slips_are_told() {
        let mut warnings = Warnings::new(Check::all());
        warnings.undefined_variable("JAVA_HOME", vec!["PATH"], Span::at(1), true);
        warnings.undefined_variable("GOPATH", vec!["PATH"], Span::at(1), true);
        assert_eq!(warnings.take(), []);
        warnings.undefined_variable("PAHT", vec!["PATH"], Span::at(1), true);
        assert_eq!(warnings.take().len(), 1);
    }
}
