//! Tables: one word, words, what was looked up, errors and their places.

use super::*;

fn home() -> BTreeMap<String, String> {
    let pairs = [
        ("PWD", "/home"),
        ("SHELL", "bash"),
        ("KOREAN", "한국어"),
        ("NULL", ""),
        ("BLANKS", "a  b "),
        ("STARS", "a*b?c\\d"),
        ("PATHS", "/usr/lib:/usr/local/lib"),
        ("FILE", "dir/archive.tar.gz"),
        ("LINES", "ab\ncd"),
        ("1", "one"),
        ("12", "twelve"),
        ("_x1", "under"),
        ("é", "accent"),
        ("?", "status"),
        ("@", "all"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn word(word: &str) -> Result<String, String> {
    Expander::new('\\').word(word, &home()).map(|expanded| expanded.text).map_err(|error| error.message)
}

#[test]
fn quotes_and_escapes() {
    let table = [
        ("", ""),
        ("hello", "hello"),
        (" he llo ", " he llo "),
        ("he'll'o", "hello"),
        ("'hello'", "hello"),
        ("\"hello\"", "hello"),
        ("he\"l\"'l'o", "hello"),
        ("''\"\"", ""),
        ("'he\"llo'", "he\"llo"),
        ("\"he'llo\"", "he'llo"),
        ("he\\llo", "hello"),
        ("he\\\\llo", "he\\llo"),
        ("he\\\\\\llo", "he\\llo"),
        ("he\\'llo", "he'llo"),
        ("he\\\"llo", "he\"llo"),
        ("he\\$PWD", "he$PWD"),
        ("he\\ llo", "he llo"),
        ("hello\\", "hello"),
        ("'he\\llo'", "he\\llo"),
        ("'he\\\\llo'", "he\\\\llo"),
        ("'$PWD'", "$PWD"),
        ("\"he\\llo\"", "he\\llo"),
        ("\"he\\\\llo\"", "he\\llo"),
        ("\"he\\\"llo\"", "he\"llo"),
        ("\"he\\$PWD\"", "he$PWD"),
        ("\"he\\'llo\"", "he\\'llo"),
        ("안녕\\하'세'요", "안녕하세요"),
        ("\"안녕\\하\"", "안녕\\하"),
        ("a<b<<c", "a<b<<c"),
        ("a<< b", "a<< b"),
    ];
    for (input, expected) in table {
        assert_eq!(word(input).as_deref(), Ok(expected), "{input}");
    }
}

#[test]
fn plain_variables() {
    let table = [
        ("$PWD", "/home"),
        ("x$PWD.y", "x/home.y"),
        ("$PWD$SHELL", "/homebash"),
        ("\"$PWD\"", "/home"),
        ("${PWD}", "/home"),
        ("x${PWD}y", "x/homey"),
        ("\"${PWD}\"", "/home"),
        ("$PWDx", ""),
        ("$NOT_SET.", "."),
        ("${NOT_SET}.", "."),
        ("$NULL.", "."),
        ("$", "$"),
        ("$.", "$."),
        ("a$ b", "a$ b"),
        ("$$PWD", "PWD"),
        ("$\\x", "$x"),
        ("$'x'", "$x"),
        ("\"$\"", "$"),
        ("$KOREAN", "한국어"),
        ("$é.", "accent."),
        ("$_x1-", "under-"),
        // Digits end a name that begins with one, and there may be several of them.
        ("$1a", "onea"),
        ("$12", "twelve"),
        ("$123", ""),
        ("${1}", "one"),
        // The shell's own variables are variables like others, of one character.
        ("$?x", "statusx"),
        ("${@}", "all"),
        ("$#x", "x"),
        ("$BLANKS|", "a  b |"),
        ("'x'$PWD\"y\"", "x/homey"),
    ];
    for (input, expected) in table {
        assert_eq!(word(input).as_deref(), Ok(expected), "{input}");
    }
}

#[test]
fn defaults_and_alternatives() {
    let table = [
        ("${PWD:-x}", "/home"),
        ("${PWD-x}", "/home"),
        ("${NULL:-x}", "x"),
        ("${NULL-x}", ""),
        ("${NO:-x}", "x"),
        ("${NO-x}", "x"),
        ("${NO:-}", ""),
        ("${NO-}", ""),
        ("${NO:-a b}", "a b"),
        ("${NO:-$PWD}", "/home"),
        ("${NO:-${PWD}/x}", "/home/x"),
        ("${NO:-${NO2:-${NO3:-deep}}}", "deep"),
        ("${NO:-'a}b'}", "a}b"),
        ("${NO:-\"a}b\"}", "a}b"),
        ("${NO:-a\\}b}", "a}b"),
        ("${NO:-$NO2}", ""),
        ("\"${NO:-'x'}\"", "x"),
        ("${NO:--x}", "-x"),
        ("${PWD:+x}", "x"),
        ("${PWD+x}", "x"),
        ("${NULL:+x}", ""),
        ("${NULL+x}", "x"),
        ("${NO:+x}", ""),
        ("${NO+x}", ""),
        ("${PWD:+$SHELL}", "bash"),
        ("${PWD:+-${SHELL}}", "-bash"),
        ("${PWD:+}", ""),
        ("${PWD:?x}", "/home"),
        ("${PWD?x}", "/home"),
        ("${NULL?x}", ""),
    ];
    for (input, expected) in table {
        assert_eq!(word(input).as_deref(), Ok(expected), "{input}");
    }
}

#[test]
fn patterns() {
    let table = [
        ("${FILE#dir/}", "archive.tar.gz"),
        ("${FILE#archive}", "dir/archive.tar.gz"),
        ("${FILE#*a}", "rchive.tar.gz"),
        ("${FILE##*a}", "r.gz"),
        ("${FILE##*/}", "archive.tar.gz"),
        ("${FILE#*}", "dir/archive.tar.gz"),
        ("${FILE##*}", ""),
        ("${FILE#???}", "/archive.tar.gz"),
        ("${FILE#?????????????????????}", "dir/archive.tar.gz"),
        ("${FILE#}", "dir/archive.tar.gz"),
        ("${FILE##}", "dir/archive.tar.gz"),
        ("${FILE:#dir/}", "archive.tar.gz"),
        ("${FILE%.*}", "dir/archive.tar"),
        ("${FILE%%.*}", "dir/archive"),
        ("${FILE%gz}", "dir/archive.tar."),
        ("${FILE%x}", "dir/archive.tar.gz"),
        ("${FILE%*}", "dir/archive.tar.gz"),
        ("${FILE%%*}", ""),
        ("${FILE%}", "dir/archive.tar.gz"),
        ("${KOREAN%?}", "한국"),
        ("${KOREAN#?}", "국어"),
        ("${FILE#$NO}", "dir/archive.tar.gz"),
        ("${FILE%${NO:-.gz}}", "dir/archive.tar"),
        ("${STARS#a\\*}", "b?c\\d"),
        ("${STARS#*\\?}", "c\\d"),
        ("${STARS%\\\\d}", "a*b?c"),
        ("${STARS%%\\**}", "a"),
        ("${NO#x}", ""),
        ("${LINES#*c}", "ab\ncd"),
        ("${LINES%%b*}", "ab\ncd"),
        ("${FILE/archive/x}", "dir/x.tar.gz"),
        ("${FILE/a/A}", "dir/Archive.tar.gz"),
        ("${FILE//a/A}", "dir/Archive.tAr.gz"),
        ("${FILE//a/}", "dir/rchive.tr.gz"),
        ("${FILE/x/y}", "dir/archive.tar.gz"),
        ("${FILE/a*r/x}", "dir/x.gz"),
        ("${FILE//a?/x}", "dir/xchive.tx.gz"),
        ("${FILE/\\//-}", "dir-archive.tar.gz"),
        ("${PATHS//\\/usr/}", "/lib:/local/lib"),
        ("${PATHS//\\//\\/}", "\\/usr\\/lib:\\/usr\\/local\\/lib"),
        ("${PATHS//lib/$SHELL}", "/usr/bash:/usr/local/bash"),
        ("${PATHS/${NO:-usr}/x}", "/x/lib:/usr/local/lib"),
        ("${SHELL//$NULL/-}", "-b-a-s-h-"),
        ("${SHELL/$NULL/-}", "-bash"),
        ("${SHELL//*/-}", "-"),
        ("${NO/a/b}", ""),
        ("${NO///}", ""),
        ("${SHELL///}", "bash"),
        ("${LINES//?/x}", "xx\nxx"),
        ("${LINES/*/x}", "x\ncd"),
        ("${NULL//x/y}", ""),
        // Brackets mean nothing.
        ("${STARS#[a]}", "a*b?c\\d"),
    ];
    for (input, expected) in table {
        assert_eq!(word(input).as_deref(), Ok(expected), "{input}");
    }
}

#[test]
fn errors_and_their_places() {
    let single = "unexpected end of statement while looking for matching single-quote";
    let double = "unexpected end of statement while looking for matching double-quote";
    let table = [
        ("a'b", single, 1..3),
        ("'", single, 0..1),
        ("a \"b 'c'", double, 2..8),
        ("\"b\\\"", double, 0..4),
        ("\"b\\", double, 0..3),
        ("x$PWD${", "syntax error: missing '}'", 5..7),
        ("${PWD", "syntax error: missing '}'", 0..5),
        ("${PWD:", "syntax error: missing '}'", 0..6),
        ("${PWD:-x", "syntax error: missing '}'", 0..8),
        ("${NO:-\"x}", "syntax error: missing '}'", 0..9),
        ("${PWD/a", "syntax error: missing '/' in ${}", 0..7),
        ("${PWD//a}", "syntax error: missing '/' in ${}", 0..9),
        ("${PWD/a/b", "syntax error: missing '}'", 0..9),
        ("${}", "syntax error: bad substitution", 0..2),
        ("${{x}}", "syntax error: bad substitution", 0..2),
        ("${:x}", "syntax error: bad substitution", 0..2),
        ("x ${PWD=x}", "unsupported modifier (=) in substitution", 2..8),
        ("${PWD:=x}", "unsupported modifier (:=) in substitution", 0..9),
        ("${PWD!x}", "unsupported modifier (!) in substitution", 0..6),
        ("${PWD x}", "unsupported modifier ( ) in substitution", 0..6),
        ("${NO?}", "NO: is not allowed to be unset", 0..6),
        ("${NO:?}", "NO: is not allowed to be unset", 0..7),
        ("${NULL:?}", "NULL: is not allowed to be empty", 0..9),
        ("a ${NO:?say $SHELL} b", "NO: say bash", 2..19),
        ("${PWD#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'", 0..9),
    ];
    for (input, message, range) in table {
        let error = Expander::new('\\').word(input, &home()).expect_err(input);
        assert_eq!(error.message, message, "{input}");
        assert_eq!(error.range, range, "{input}");
    }
}

#[test]
fn the_escape_character_may_be_a_backtick() {
    let backtick = Expander::new('`');
    let table = [
        ("a\\b", "a\\b"),
        ("c:\\dir\\", "c:\\dir\\"),
        ("a`b", "ab"),
        ("``", "`"),
        ("`$PWD", "$PWD"),
        ("\"`\"`x\"", "\"`x"),
        ("'`'", "`"),
    ];
    for (input, expected) in table {
        let expanded = backtick.word(input, &home()).expect(input);
        assert_eq!(expanded.text, expected, "{input}");
    }
}

#[test]
fn contents_of_heredocs_keep_their_quotes() {
    let text = "say \"$SHELL\" 'it''s' \\$PWD ${NO:-'x'}\n<< x\n";
    let expanded = Expander::raw().word(text, &home()).expect("it is good");
    assert_eq!(expanded.text, "say \"bash\" 'it''s' $PWD 'x'\n<< x\n");
    assert_eq!(Expander::raw().word("it's", &home()).map(|expanded| expanded.text), Ok("it's".to_owned()));
}

#[test]
fn words_split_outside_of_quotes() {
    let table: &[(&str, &[&str])] = &[
        ("", &[]),
        ("  ", &[]),
        ("hello", &["hello"]),
        (" hello  world ", &["hello", "world"]),
        ("a\\ b c", &["a b", "c"]),
        ("\"a b\" 'c d'", &["a b", "c d"]),
        ("a' 'b c", &["a b", "c"]),
        ("$BLANKS", &["a", "b"]),
        ("x$BLANKS.y", &["xa", "b", ".y"]),
        ("\"$BLANKS\"", &["a  b "]),
        ("'$BLANKS'", &["$BLANKS"]),
        ("$NULL a", &["a"]),
        ("\"\" a", &["a"]),
        ("${NO:-a b}", &["a", "b"]),
        ("\"${NO:-a b}\"", &["a b"]),
        ("a\tb\u{a0}c", &["a", "b", "c"]),
        ("a <<  EOF b", &["a", "<<  EOF", "b"]),
        ("a < EOF", &["a", "<", "EOF"]),
    ];
    for (input, expected) in table {
        let words = Expander::new('\\').words(input, &home()).expect(input);
        assert_eq!(words, *expected, "{input}");
    }
}

#[test]
fn words_know_where_they_come_from() {
    let expander = Expander { raw_quotes: true, keep_unset: true, ..Expander::new('\\') };
    let input = "RUN 'a b' <<  EOF ${x:-y} é";
    let words = expander.words_at(input, &NoVariables).expect("it is good");
    let parts: Vec<&str> = words.iter().map(|(_, range)| &input[range.clone()]).collect();
    assert_eq!(parts, ["RUN", "'a b'", "<<  EOF", "${x:-y}", "é"]);
    assert!(words.iter().zip(&parts).all(|((word, _), part)| word == part));
}

#[test]
fn what_was_looked_up() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("x", &[], &[]),
        ("$PWD ${NO} '$SHELL'", &["PWD"], &["NO"]),
        ("${PWD-$SHELL} ${NULL:-$NO}", &["NULL", "PWD", "SHELL"], &["NO"]),
        ("${NO:-x} ${NO2+x}", &[], &["NO", "NO2"]),
        ("${PWD#$SHELL} ${PWD/$NO/$NULL}", &["NULL", "PWD", "SHELL"], &["NO"]),
    ];
    for (input, used, unset) in table {
        let expanded = Expander::new('\\').word(input, &home()).expect(input);
        assert!(expanded.used.iter().eq(used.iter()), "{input}: {:?}", expanded.used);
        assert!(expanded.unset.iter().eq(unset.iter()), "{input}: {:?}", expanded.unset);
    }
}

#[test]
fn variables_as_pairs() {
    let pairs: Vec<String> = ["a=1", "b", "a=2", "c=x=y"].map(str::to_owned).into();
    assert_eq!(Variables::get(&pairs, "a"), Some("2"));
    assert_eq!(Variables::get(&pairs, "b"), Some(""));
    assert_eq!(Variables::get(&pairs, "c"), Some("x=y"));
    assert_eq!(Variables::get(&pairs, "d"), None);
}

#[test]
fn nothing_grows_without_bound() {
    let mut variables = BTreeMap::new();
    variables.insert("x".to_owned(), "x".repeat(1 << 20));
    let expander = Expander::new('\\');
    assert!(expander.word(&"$x".repeat(10), &variables).is_ok());
    let error = expander.word(&"$x".repeat(1000), &variables).expect_err("it is too long");
    assert_eq!(error.message, "the expanded text is longer than 16 MiB");
    assert!(expander.word("${x//x/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}", &variables).is_err());
    let nested = format!("{}{}", "${a:-".repeat(100_000), "}".repeat(100_000));
    assert_eq!(
        expander.word(&nested, &variables).map_err(|error| error.message),
        Err("variables are nested too deeply".to_owned())
    );
    let nested = format!("{}y{}", "${a:-".repeat(50), "}".repeat(50));
    assert_eq!(expander.word(&nested, &variables).map(|expanded| expanded.text), Ok("y".to_owned()));
}
