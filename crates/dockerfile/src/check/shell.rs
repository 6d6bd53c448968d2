//! The command of a `RUN`, taken apart as far as reviewing needs: which programs are called, with
//! which words, and how the calls are joined.
//!
//! No shell: nothing is expanded, and what is substituted (`$(…)`) is not looked into. What it cannot
//! follow it leaves out, so that a rule stays silent rather than wrong. Takes any text, in linear time.

use std::ops::Range;

use crate::span::{Span, Text};
use crate::work;

/// A word of a call, quotes removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its letters; variables and substitutions as they are written.
    pub(crate) text: String,
    /// It holds no variable and no substitution.
    pub(crate) literal: bool,
    /// Its place in the text.
    pub(crate) range: Range<usize>,
}

/// How a call follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    /// It is the first.
    First,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `;`, a line end, or what separates the parts of a loop.
    Then,
    /// `|`
    Pipe,
    /// `&`
    Beside,
}

/// A call of a program or a builtin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The program's name, then its arguments; at least one word. Assignments before it, `sudo` and
    /// the like are left out.
    pub(crate) words: Vec<Word>,
    /// How it follows.
    pub(crate) joint: Joint,
    /// How many subshells, groups, loops and conditions it is within.
    pub(crate) depth: usize,
    /// Files that it writes by `>`.
    pub(crate) writes: Vec<Word>,
}

impl Call {
    /// The program's name without its directory.
    pub(crate) fn program(&self) -> &str {
        let name = self.words[0].text.as_str();
        name.rsplit('/').next().unwrap_or(name)
    }

    /// Its arguments.
    pub(crate) fn arguments(&self) -> &[Word] {
        &self.words[1..]
    }

    /// The first argument that is no option: the verb of `apt-get` and its like.
    pub(crate) fn verb(&self) -> Option<&Word> {
        self.arguments().iter().find(|word| !word.text.starts_with('-'))
    }

    /// Whether one of its arguments is one of `options`: `--long`, or `-s` alone or among others.
    pub(crate) fn has(&self, options: &[&str]) -> bool {
        self.arguments().iter().any(|word| {
            options.iter().any(|option| {
                let short = option.len() == 2 && option.starts_with('-');
                let bundle = word.text.starts_with('-') && !word.text.starts_with("--");
                word.text == *option || (short && bundle && word.text[1..].contains(&option[1..]))
            })
        })
    }
}

/// The calls of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Script {
    pub(crate) calls: Vec<Call>,
    /// A `#` comment ends the text, so that nothing can be added to it.
    pub(crate) commented: bool,
    /// All calls are joined by `&&` and stand on the outermost level.
    pub(crate) is_chain: bool,
}

impl Script {
    /// Reads the line of a shell form, or a script.
    pub(crate) fn read(text: &str) -> Script {
        Reader::new(text).read()
    }

    /// The one call that an exec form is.
    pub(crate) fn of_words(words: &[Text]) -> Script {
        let words =
            words.iter().map(|word| Word { text: word.raw.clone(), literal: true, range: 0..0 }).collect();
        let words = without_wrappers(words);
        let call = Call { words, joint: Joint::First, depth: 0, writes: Vec::new() };
        let calls = if call.words.is_empty() { Vec::new() } else { vec![call] };
        Script { calls, commented: false, is_chain: false }
    }
}

/// The place of a word in the source.
pub(crate) fn span(text: &Text, word: &Word) -> Span {
    text.span_of(word.range.clone())
}

/// Reserved words that begin something which another ends.
const OPENERS: [&str; 7] = ["if", "for", "while", "until", "case", "select", "{"];
/// Those that end it.
const CLOSERS: [&str; 4] = ["fi", "done", "esac", "}"];
/// Those after which a command follows.
const MIDDLES: [&str; 7] = ["then", "else", "elif", "do", "!", "in", "function"];
/// Programs that run the one named in their arguments.
const WRAPPERS: [&str; 10] =
    ["sudo", "env", "exec", "command", "time", "nice", "nohup", "ionice", "eatmydata", "chronic"];

struct Reader<'a> {
    text: &'a str,
    at: usize,
    script: Script,
    words: Vec<Word>,
    writes: Vec<Word>,
    joint: Joint,
    depth: usize,
    /// The next word is the file of a redirection; whether it is written.
    redirects: Option<bool>,
    /// Up to the next separator, words are no call: the list of a `for`, the subject of a `case`.
    skips: bool,
    /// A separator other than `&&` was passed since the last call: what follows makes it no chain.
    broken: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Reader<'a> {
        Reader {
            text,
            at: 0,
            script: Script { is_chain: true, ..Script::default() },
            words: Vec::new(),
            writes: Vec::new(),
            joint: Joint::First,
            depth: 0,
            redirects: None,
            skips: false,
            broken: false,
        }
    }

    fn peek(&self, offset: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + offset).copied()
    }

    fn read(mut self) -> Script {
        while let Some(byte) = self.peek(0) {
            work::spend(1);
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' => self.separate(1, Joint::Then),
                b'\\' if self.peek(1) == Some(b'\n') => self.at += 2,
                b'#' => self.comment(),
                b';' if self.peek(1) == Some(b';') => self.separate(2, Joint::Then),
                b';' => self.separate(1, Joint::Then),
                b'&' if self.peek(1) == Some(b'&') => self.separate(2, Joint::And),
                b'&' if self.peek(1) == Some(b'>') => self.redirect(true, 2),
                b'&' => self.separate(1, Joint::Beside),
                b'|' if self.peek(1) == Some(b'|') => self.separate(2, Joint::Or),
                b'|' if self.peek(1) == Some(b'&') => self.separate(2, Joint::Pipe),
                b'|' => self.separate(1, Joint::Pipe),
                b'(' => {
                    // `name()` begins a function, whose body is as a group.
                    self.separate(1, Joint::Then);
                    self.depth += 1;
                    self.script.is_chain = false;
                }
                b')' => {
                    self.separate(1, Joint::Then);
                    self.depth = self.depth.saturating_sub(1);
                }
                b'<' | b'>' => {
                    let run = (1..3).take_while(|at| matches!(self.peek(*at), Some(b'<' | b'>'))).count();
                    let more = usize::from(matches!(self.peek(run + 1), Some(b'|' | b'&' | b'-')));
                    self.redirect(byte == b'>', run + 1 + more);
                }
                _ => self.word(),
            }
        }
        self.separate(0, Joint::Then);
        self.script.is_chain &= self.depth == 0;
        self.script
    }

    fn comment(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest.find('\n').unwrap_or(rest.len());
        work::spend(length);
        self.at += length;
        self.script.commented |= length == rest.len();
    }

    fn redirect(&mut self, write: bool, length: usize) {
        // The number before it (`2>`) is no word.
        let number = |word: &Word| word.text.bytes().all(|byte| byte.is_ascii_digit());
        if self.words.last().is_some_and(|word| word.range.end == self.at && number(word)) {
            self.words.pop();
        }
        self.at += length;
        self.redirects = Some(write);
    }

    /// Ends the call at hand.
    fn separate(&mut self, length: usize, next: Joint) {
        self.at += length;
        self.redirects = None;
        self.skips = false;
        let words = without_wrappers(std::mem::take(&mut self.words));
        let writes = std::mem::take(&mut self.writes);
        if !words.is_empty() {
            self.script.is_chain &= !self.broken;
            self.script.calls.push(Call { words, joint: self.joint, depth: self.depth, writes });
            self.joint = next;
            self.broken = next != Joint::And;
        } else if self.script.calls.is_empty() {
            self.joint = Joint::First;
        } else if self.joint == Joint::Then {
            self.joint = next;
        }
        // A line end or the text's joins nothing; these do.
        self.script.is_chain &= !matches!(next, Joint::Or | Joint::Pipe | Joint::Beside);
    }

    fn word(&mut self) {
        let start = self.at;
        let (text, literal, plain) = self.letters();
        let word = Word { text, literal, range: start..self.at };
        if let Some(write) = self.redirects.take() {
            if write {
                self.writes.push(word);
            }
            return;
        }
        if self.skips {
            return;
        }
        if plain && self.words.is_empty() {
            let text = word.text.as_str();
            if OPENERS.contains(&text) {
                self.depth += 1;
                self.skips = matches!(text, "for" | "case" | "select");
                self.script.is_chain = false;
                return;
            }
            if CLOSERS.contains(&text) {
                self.depth = self.depth.saturating_sub(1);
                return;
            }
            if MIDDLES.contains(&text) {
                self.script.is_chain = false;
                return;
            }
        }
        self.words.push(word);
    }

    fn character(&self) -> usize {
        self.text[self.at..].chars().next().map_or(0, char::len_utf8)
    }

    /// The letters of a word, whether nothing is substituted in it, and whether nothing is quoted.
    fn letters(&mut self) -> (String, bool, bool) {
        let mut text = String::new();
        let (mut literal, mut plain) = (true, true);
        let mut from = self.at;
        while let Some(byte) = self.peek(0) {
            work::spend(1);
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' => break,
                b'\\' => {
                    plain = false;
                    text.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    from = self.at;
                    if self.peek(0) == Some(b'\n') {
                        from += 1;
                    }
                    self.at += self.character();
                }
                b'\'' => {
                    plain = false;
                    text.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    let rest = &self.text[self.at..];
                    let length = rest.find('\'').unwrap_or(rest.len());
                    work::spend(length);
                    text.push_str(&rest[..length]);
                    self.at = (self.at + length + 1).min(self.text.len());
                    from = self.at;
                }
                b'"' => {
                    plain = false;
                    text.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    literal &= self.double_quoted(&mut text);
                    from = self.at;
                }
                b'$' | b'`' => literal &= !self.substitution(),
                _ => self.at += 1,
            }
        }
        text.push_str(&self.text[from..self.at]);
        (text, literal, plain && literal)
    }

    /// Up to the closing quote; whether nothing is substituted.
    fn double_quoted(&mut self, text: &mut String) -> bool {
        let mut literal = true;
        let mut from = self.at;
        while let Some(byte) = self.peek(0) {
            work::spend(1);
            match byte {
                b'"' => {
                    text.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    return literal;
                }
                b'\\' => {
                    text.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    from = self.at;
                    self.at += self.character();
                }
                b'$' | b'`' => literal &= !self.substitution(),
                _ => self.at += 1,
            }
        }
        text.push_str(&self.text[from..self.at]);
        false
    }

    /// Passes over `$x`, `${…}`, `$(…)` or `` `…` ``; whether it is one.
    fn substitution(&mut self) -> bool {
        let opening = self.peek(0);
        self.at += 1;
        let (opens, closes) = match (opening, self.peek(0)) {
            (Some(b'`'), _) => (None, b'`'),
            (_, Some(b'(')) => (Some(b'('), b')'),
            (_, Some(b'{')) => (Some(b'{'), b'}'),
            (_, Some(byte)) => return byte.is_ascii_alphanumeric() || b"_@*#?-$!".contains(&byte),
            _ => return false,
        };
        let mut open = usize::from(opens.is_none());
        let mut quote = None;
        while let Some(byte) = self.peek(0) {
            work::spend(1);
            self.at += 1;
            match quote {
                Some(b'\'') if byte == b'\'' => quote = None,
                Some(b'\'') => {}
                _ if byte == b'\\' => self.at += self.character(),
                Some(opened) if byte == opened => quote = None,
                Some(_) => {}
                None if byte == b'\'' || byte == b'"' => quote = Some(byte),
                None if byte == closes => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        break;
                    }
                }
                None if Some(byte) == opens => open += 1,
                None => {}
            }
        }
        // A byte was passed at a time: what is left begins with a whole character all the same,
        // for all that ends this is ASCII.
        true
    }
}

/// A call without the assignments and the programs before it that only run it.
fn without_wrappers(mut words: Vec<Word>) -> Vec<Word> {
    let mut from = 0;
    let mut wrapped = false;
    while let Some(word) = words.get(from) {
        let name = word.text.rsplit('/').next().unwrap_or_default();
        if is_assignment(&word.text) || (wrapped && word.text.starts_with('-')) {
            from += 1;
        } else if WRAPPERS.contains(&name) {
            wrapped = true;
            from += 1;
        } else {
            break;
        }
    }
    words.drain(..from);
    words
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls as `joint depth: words`, words that hold variables with a `~`.
    fn read(text: &str) -> Vec<String> {
        let script = Script::read(text);
        let show = |call: &Call| {
            let joint = match call.joint {
                Joint::First => "",
                Joint::And => "&& ",
                Joint::Or => "|| ",
                Joint::Then => "; ",
                Joint::Pipe => "| ",
                Joint::Beside => "& ",
            };
            let mark = |word: &Word| format!("{}{}", if word.literal { "" } else { "~" }, word.text);
            let words: Vec<String> = call.words.iter().map(mark).collect();
            let depth = "(".repeat(call.depth);
            let writes: String = call.writes.iter().map(|word| format!(" >{}", word.text)).collect();
            format!("{joint}{depth}{}{writes}", words.join(" "))
        };
        script.calls.iter().map(show).collect()
    }

    #[test]
    fn calls() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("make", &["make"]),
            ("a b && c || d; e | f & g", &["a b", "&& c", "|| d", "; e", "| f", "& g"]),
            ("a 'b c' \"d $e\" f\\ g", &["a b c ~d $e f g"]),
            ("a $(b c && d) `e` ${f:-g h}", &["a ~$(b c && d) ~`e` ~${f:-g h}"]),
            ("a > b 2>&1 >>c <d", &["a >b >1 >c"]),
            ("DEBIAN_FRONTEND=x sudo -E apt-get install a", &["apt-get install a"]),
            ("(cd a && b) && c", &["(cd a", "&& (b", "&& c"]),
            ("if [ -f a ]; then b; else c; fi; d", &["([ -f a ]", "; (b", "; (c", "; d"]),
            ("for x in a b; do c $x; done && e", &["(c ~$x", "&& e"]),
            ("a # b && c", &["a"]),
            ("a\nb\n\n# no\nc", &["a", "; b", "; c"]),
            ("a \\\n b", &["a b"]),
            ("a#b", &["a#b"]),
            ("a \"b", &["a ~b"]),
            ("a $(b", &["a ~$(b"]),
            ("))) a", &["a"]),
            ("a é\\", &["a é"]),
            ("a $é ${é} `é", &["a $é ~${é} ~`é"]),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), *expected, "{text}");
        }
    }

    #[test]
    fn chains() {
        for chain in ["a", "a && b", "a &&\n b", "a && b\n", "A=1 a && b > c"] {
            assert!(Script::read(chain).is_chain, "{chain:?}");
        }
        for other in ["a; b", "a || b", "a | b", "(a && b)", "if a; then b; fi", "a &", "a && { b; }", "a\nb"]
        {
            assert!(!Script::read(other).is_chain, "{other:?}");
        }
        assert!(Script::read("a # b").commented);
        assert!(!Script::read("a # b\n c").commented);
    }

    #[test]
    fn options() {
        let script = Script::read("apt-get -qy install --no-install-recommends x");
        let call = &script.calls[0];
        assert!(call.has(&["-y"]) && call.has(&["--no-install-recommends"]) && !call.has(&["-n"]));
        assert_eq!(call.verb().map(|word| word.text.as_str()), Some("install"));
    }
}
