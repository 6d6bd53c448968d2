//! The build checks that need to know what lowering knows: values, shells, base images.
//!
//! Checks of syntax alone are the parser's. Each check has the name and the words of BuildKit's;
//! whether a warning is an error (`# check=error=true`) is decided where all of them are together.

use crate::ast::Check;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::suggest;

/// More would not be read.
const MOST: usize = 1_000;

/// Among more names than this nothing is suggested: each takes its time.
const MOST_NAMES: usize = 500;

/// Collects warnings, those left out that the Dockerfile says to skip.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    all: Vec<Diagnostic>,
    check: Option<Check>,
}

impl Warnings {
    pub(crate) fn new(check: Option<&Check>) -> Warnings {
        Warnings { all: Vec::new(), check: check.cloned() }
    }

    /// Adds a warning of the check `rule`.
    pub(crate) fn add(&mut self, rule: &'static str, message: impl Into<String>, span: Span) {
        if self.is_full() || self.check.as_ref().is_some_and(|check| !check.runs(rule)) {
            return;
        }
        let warning = Diagnostic::warning(rule, message, span);
        if !self.all.contains(&warning) {
            self.all.push(warning);
        }
    }

    fn is_full(&self) -> bool {
        self.all.len() >= MOST
    }

    /// `UndefinedVar`
    pub(crate) fn undefined_variable(&mut self, name: &str, known: Vec<&str>, span: Span) {
        let mut message = format!("Usage of undefined variable '${name}'");
        if let Some(near) = self.nearest(name, known) {
            message.push_str(&format!(" (did you mean ${near}?)"));
        }
        self.add("UndefinedVar", message, span);
    }

    /// `UndefinedArgInFrom`
    pub(crate) fn undefined_argument(&mut self, name: &str, known: Vec<&str>, span: Span) {
        let mut message = format!("FROM argument '{name}' is not declared");
        if let Some(near) = self.nearest(name, known) {
            message.push_str(&format!(" (did you mean {near}?)"));
        }
        self.add("UndefinedArgInFrom", message, span);
    }

    fn nearest<'a>(&self, name: &str, known: Vec<&'a str>) -> Option<&'a str> {
        (!self.is_full() && known.len() <= MOST_NAMES).then(|| suggest::nearest(name, known))?
    }

    /// `SecretsUsedInArgOrEnv`
    pub(crate) fn secret_name(&mut self, keyword: &str, name: &str, span: Span) {
        if is_secret(name) {
            self.add(
                "SecretsUsedInArgOrEnv",
                format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})"),
                span,
            );
        }
    }

    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        self.all
    }
}

/// Whether the name of a variable says that its value is a secret.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let lowered = name.to_lowercase();
    let has = |words: &[&str]| lowered.split('_').any(|word| words.contains(&word));
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        for name in ["API_KEY", "apikey", "DB_PASSWORD", "token", "secret_message", "AUTH"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PUBLIC_KEY", "KEY_FILE", "TOKEN_VERSION", "AUTHOR", "monkey", "api-key"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn skipped_and_repeated() {
        let check = Check { skip: vec!["undefinedvar".into()], ..Check::all() };
        let mut warnings = Warnings::new(Some(&check));
        warnings.undefined_variable("X", vec![], Span::at(1));
        warnings.undefined_argument("FOX", vec!["FOO"], Span::at(1));
        warnings.undefined_argument("FOX", vec!["FOO"], Span::at(1));
        let all = warnings.finish();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].message, "FROM argument 'FOX' is not declared (did you mean FOO?)");
    }
}
