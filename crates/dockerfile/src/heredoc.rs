//! Heredocs: finding `<<NAME` in a line, and reading the bodies that follow it.
//!
//! A body is kept as it stands; tabs go, and variables are expanded, only when it is used.

use crate::ast::Heredoc;
use crate::diagnostic::Diagnostic;
use crate::directive::shorten;
use crate::expand::{Expander, NoVariables};
use crate::lines::Lines;
use crate::span::{Span, Text};

/// A `<<NAME` word, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) descriptor: u32,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
}

/// Always with a backslash, whatever the escape character of the file is: it is the shell's syntax.
fn lexer() -> Expander {
    Expander { keep_unset: true, ..Expander::new('\\') }
}

/// Reads a word; none if it is no heredoc.
///
/// # Errors
/// A quote in it that does not end.
pub(crate) fn mark(word: &str) -> Result<Option<Mark>, String> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Some(rest) = word[digits..].strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    // Read twice, with the quotes dropped and kept: if the number of quotes differs, some of them
    // were there to quote, and not escaped.
    let read = |raw_quotes| Expander { raw_quotes, ..lexer() }.words(rest, &NoVariables);
    let plain = read(false).map_err(|error| error.message)?;
    let quoted = read(true).map_err(|error| error.message)?;
    let (Ok([plain]), Ok([quoted])) = (<[String; 1]>::try_from(plain), <[String; 1]>::try_from(quoted))
    else {
        return Ok(None);
    };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    let expand = quotes(&plain) == quotes(&quoted);
    Ok(Some(Mark { name: plain, descriptor: word[..digits].parse().unwrap_or(0), expand, chomp }))
}

/// The heredoc words of an instruction's line, with their places.
fn marks(line: &Text) -> Result<Vec<(Mark, Span)>, Diagnostic> {
    if !line.raw.contains("<<") {
        return Ok(Vec::new());
    }
    let lexer = Expander { raw_quotes: true, raw_escapes: true, ..lexer() };
    // A line that the lexer cannot read has no heredocs: `RUN echo "<<` is for the shell to judge.
    let words = lexer.words_at(&line.raw, &NoVariables).unwrap_or_default();
    let mut marks = Vec::new();
    for (word, range) in words {
        let span = line.span_of(range);
        match mark(&word) {
            Ok(Some(mark)) => marks.push((mark, span)),
            Ok(None) => {}
            Err(message) => return Err(Diagnostic::error(message, span)),
        }
    }
    Ok(marks)
}

/// Reads the bodies of all heredocs of `line`, which `lines` has just passed.
///
/// # Errors
/// A body without an end; nothing of it is passed over then.
pub(crate) fn read(line: &Text, lines: &mut Lines<'_>) -> Result<Vec<Heredoc>, Diagnostic> {
    let mut heredocs = Vec::new();
    for (mark, span) in marks(line)? {
        let Some(body) = lines.heredoc_body(&mark.name, mark.chomp) else {
            let name = shorten(&mark.name);
            return Err(Diagnostic::error("unterminated heredoc", span)
                .with_help(format!("add a line that is `{name}` and nothing else after the content")));
        };
        heredocs.push(Heredoc {
            name: mark.name,
            span,
            descriptor: mark.descriptor,
            expand: mark.expand,
            chomp: mark.chomp,
            content: lines.source()[body.clone()].to_vec(),
            content_span: Span::new(body.start, body.end),
        });
    }
    Ok(heredocs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::{Kind, Source};

    /// Name, expand, chomp, descriptor.
    type Found = Option<(&'static str, bool, bool, u32)>;

    #[test]
    fn words() {
        let table: &[(&str, Found)] = &[
            ("<<EOF", Some(("EOF", true, false, 0))),
            ("<<-EOF", Some(("EOF", true, true, 0))),
            ("3<<EOF", Some(("EOF", true, false, 3))),
            ("<<'EOF'", Some(("EOF", false, false, 0))),
            ("<<-\"EOF\"", Some(("EOF", false, true, 0))),
            ("<<E\"O\"F", Some(("EOF", false, false, 0))),
            ("<<E\\'F", Some(("E'F", true, false, 0))),
            ("<<'E'O\\'F", Some(("EO'F", false, false, 0))),
            ("<< EOF", Some(("EOF", true, false, 0))),
            ("<<-  EOF", Some(("EOF", true, true, 0))),
            ("<< -EOF", Some(("-EOF", true, false, 0))),
            ("<<'a b'", Some(("a b", false, false, 0))),
            ("<<$EOF", Some(("$EOF", true, false, 0))),
            ("99999999999<<EOF", Some(("EOF", true, false, 0))),
            ("", None),
            ("EOF", None),
            ("<EOF", None),
            ("<<", None),
            ("<<-", None),
            ("<<<EOF", None),
            ("x<<EOF", None),
            ("<<a b", None),
            ("\"<<EOF\"", None),
        ];
        for (word, expected) in table {
            let found = mark(word).expect(word);
            let found =
                found.as_ref().map(|mark| (mark.name.as_str(), mark.expand, mark.chomp, mark.descriptor));
            assert_eq!(found, *expected, "{word}");
        }
        for word in ["<<'EOF", "<<EOF'", "<<\"EOF", "<<EOF\""] {
            assert!(mark(word).is_err(), "{word}");
        }
    }

    #[test]
    fn contents_know_their_places() {
        let source = b"FROM a\nCOPY <<-A /x\n\t\tone $\xff{\n\ttwo\n\tA\n";
        let parsed = crate::parse(source).expect("it is good");
        let Kind::Copy(copy) = &parsed.dockerfile.stages[0].instructions[0].kind else {
            panic!("it is a COPY")
        };
        let Source::Inline(heredoc) = &copy.sources[0] else { panic!("it is a heredoc") };
        let text = heredoc.located();
        assert_eq!(text.raw, heredoc.text());
        for (needle, at) in [("one", 22), ("{", 28), ("two", 31)] {
            let found = text.raw.find(needle).expect("it is there");
            assert_eq!(text.span_of(found..found + needle.len()).start, at, "{needle}");
        }
    }

    #[test]
    fn scripts() {
        let table = [
            ("RUN <<EOF\nEOF", true),
            ("RUN  <<-'E F' \nE F", true),
            ("RUN --network=none <<EOF\nEOF", true),
            ("RUN << EOF\nEOF", true),
            ("RUN <<EOF cat\nEOF", false),
            ("RUN cat <<EOF\nEOF", false),
            ("RUN true", false),
            ("RUN [\"<<EOF\"]", false),
        ];
        for (line, expected) in table {
            let parsed = crate::parse(format!("FROM a\n{line}").as_bytes()).expect(line);
            let Kind::Run(run) = &parsed.dockerfile.stages[0].instructions[0].kind else {
                panic!("it is a RUN")
            };
            assert_eq!(run.script().is_some(), expected, "{line}");
        }
    }
}
