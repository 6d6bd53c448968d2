//! Tables: single patterns, whole files, walks.

use super::*;

fn excluded(patterns: &[&str], path: &str) -> bool {
    let patterns = Patterns::new(patterns.iter().copied()).expect("the patterns are good");
    patterns.decide(path.as_bytes()).excluded
}

/// Whether the pattern fits the path itself, not one above it.
fn fits(pattern: &str, path: &str) -> bool {
    let patterns = Patterns::new([pattern]).expect(pattern);
    patterns.file(&patterns.root(), path.as_bytes()).excluded
}

#[test]
fn patterns_that_fit() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("a", &["a"], &["b", "aa", "a/b", "b/a"]),
        ("a/b", &["a/b"], &["a", "b", "x/a/b"]),
        ("*", &["a", ".a", "a b", ""], &["a/b"]),
        ("*.go", &["x.go", ".go", "ä.go"], &["x.goo", "d/x.go", "xgo"]),
        ("a*", &["a", "abc"], &["ba", "ab/c"]),
        ("a*/b", &["a/b", "abc/b"], &["a/c/b", "ab"]),
        ("a*b*c*d*e*/f", &["axbxcxdxe/f", "axbxcxdxexxx/f"], &["axbxcxdxe/xxx/f", "axbxcxdxexxx/fff"]),
        ("a*b?c*x", &["abxbbxdbxebxczzx"], &["abxbbxdbxebxczzy"]),
        ("?", &["a", "é", "🚀"], &["", "ab", "/"]),
        ("a?b", &["axb", "a☺b"], &["ab", "a/b", "axxb"]),
        ("**", &["a", "a/b", "a/b/c", ""], &[]),
        ("**/**", &["a", "a/b"], &[]),
        ("a/**", &["a/b", "a/b/c", "a/"], &["a", "ab", "b/a/c"]),
        ("a**", &["a", "ab", "ab/c"], &["ba"]),
        ("**/a", &["a", "b/a", "b/c/a"], &["ba", "a/b", "b/aa"]),
        ("**a", &["a", "ba", "b/a", "b/ca"], &["ab"]),
        ("**/a/b", &["a/b", "x/a/b"], &["xa/b", "a/x/b"]),
        ("**/.a", &[".a", "b/.a"], &["b.a"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "x/a/b"]),
        ("a**b", &["ab", "ax/b", "a/b"], &["axb", "ab/x"]),
        ("a**/*.txt", &["a/f.txt", "a/d/d/f.txt", "a.txt"], &["b/f.txt", "ab.text"]),
        ("**/d/*", &["d/f", "x/d/f"], &["d", "d/x/f", "xd/f"]),
        ("**/d/**", &["d/f", "x/d/y/f"], &["d", "xd/f"]),
        ("**/f*.txt*", &["f.txt", "d/d/fx.txtx"], &["d/x.txt"]),
        ("**/**/*.txt", &["f.txt", "d/d/f.txt"], &["f.txt2"]),
        ("a/*.txt**", &["a/f.txt", "a/f.txtx/y"], &["a/x/f.txt"]),
        ("a[b-d]e", &["abe", "ace", "ade"], &["ae", "aae", "a-e"]),
        ("a[^b-d]e", &["aze", "a/e"], &["ace", "ae"]),
        ("[a-ζ]*", &["α", "b"], &["A"]),
        ("[\\]a]", &["]", "a"], &["\\"]),
        ("[x\\-]", &["x", "-"], &["z"]),
        ("[\\^x]", &["^", "x"], &["a"]),
        ("x[*?]", &["x*", "x?"], &["xa", "x/", "x"]),
        ("[[:alpha:]]", &["a]", ":]", "[]"], &["b", "b]", "a"]),
        ("a\\*b", &["a*b"], &["ab", "axb"]),
        ("a\\\\", &["a\\"], &["a"]),
        ("\\a\\d", &["ad"], &["a1"]),
        ("a]", &["a]"], &["a"]),
        ("a(b)c.|)$(}+{^", &["a(b)c.|)$(}+{^"], &["abc"]),
        ("abc.def", &["abc.def"], &["abcdef", "abcZdef"]),
        ("a\nb", &["a\nb"], &["a"]),
        ("a*b", &["a\nb"], &[]),
        ("**/a*", &["x/y/a"], &["x\ny/a"]),
        // Cleaned first.
        ("a/", &["a"], &["a/b"]),
        ("./a//b/../c", &["a/c"], &["a/b"]),
        (" a ", &["a"], &[" a "]),
        ("..", &[".."], &["a"]),
        ("/a", &["/a"], &["a"]),
    ];
    for (pattern, good, bad) in table {
        for path in *good {
            assert!(fits(pattern, path), "{pattern:?} fits {path:?}");
        }
        for path in *bad {
            assert!(!fits(pattern, path), "{pattern:?} does not fit {path:?}");
        }
    }
}

#[test]
fn bad_patterns() {
    for pattern in [
        "[", "[^", "[^bc", "a[", "a[b", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[z-a]", "\\", "a\\",
        "[\\", "[a\\", "!", "! ", "!/", "![",
    ] {
        assert!(Patterns::new([pattern]).is_err(), "{pattern:?}");
        let errors = Patterns::parse(format!("ok\n  {pattern}\nok").as_bytes()).expect_err(pattern);
        let at = errors[0].span.expect("it has a place").start;
        assert_eq!(at, 5, "{pattern:?}");
    }
}

#[test]
fn the_last_pattern_counts_and_directories_count_for_what_is_in_them() {
    let table: &[(&[&str], &str, bool)] = &[
        (&[], "a", false),
        (&["*.go"], ".", false),
        (&["!a.go", "*.go"], "a.go", true),
        (&["*.go", "!a.go"], "a.go", false),
        (&["docs"], "docs/README.md", true),
        (&["docs", "!docs/README.md"], "docs/README.md", false),
        (&["docs/", "!docs/README.md"], "docs/README.md", false),
        (&["docs/*", "!docs/README.md"], "docs/README.md", false),
        (&["docs", "!docs/README.md"], "docs/other", true),
        (&["**", "!a/b/web"], "a/b/web/foo", false),
        (&["**", "!a/b/web", "a/b/web/foo"], "a/b/web/foo", true),
        (&["**", "!dist/*.whl"], "dist/a-1+g0.whl", false),
        (&["*", "!a"], "a/b/c", false),
        (&["*", "!a", "a/b"], "a/b/c", true),
        (&["*", "!a", "a/b", "!a/b/c"], "a/b/c", false),
        (&["a/b"], "a/b/c/d", true),
        (&["**/d", "!**/keep"], "x/d/y/keep", false),
        (&["**/d", "!**/keep"], "x/d/y/drop", true),
        (&["a*"], "ab/c", true),
    ];
    for (patterns, path, expected) in table {
        assert_eq!(excluded(patterns, path), *expected, "{patterns:?} {path:?}");
    }
}

#[test]
fn files_are_read_as_docker_reads_them() {
    let source =
        "\u{feff}first\n/second\r\n/a/file/here\n\n  # no comment\n# comment\n! /inverted/abs \n/\n.\n#x";
    let patterns = Patterns::parse(source.as_bytes()).expect("it is good");
    let found: Vec<(bool, String, u32)> = patterns
        .patterns()
        .iter()
        .map(|pattern| {
            (pattern.negated, String::from_utf8_lossy(&pattern.cleaned).into_owned(), pattern.line)
        })
        .collect();
    let expected = [
        (false, "first", 1),
        (false, "second", 2),
        (false, "a/file/here", 3),
        (false, "# no comment", 5),
        (true, "inverted/abs", 7),
        (false, "/", 8),
        (false, ".", 9),
    ];
    assert_eq!(found, expected.map(|(negated, text, line)| (negated, text.to_owned(), line)));
    for pattern in patterns.patterns() {
        assert_eq!(source[pattern.span.range()], *pattern.raw);
    }
}

#[test]
fn the_verdict_names_the_line() {
    let patterns = Patterns::parse(b"# all\n*\n!src\nsrc/*.o\n*.o\n").expect("it is good");
    let by = |path: &str| {
        let verdict = patterns.decide(path.as_bytes());
        (verdict.excluded, verdict.by.map(|pattern| (pattern.line, pattern.raw.as_str())))
    };
    assert_eq!(by("README"), (true, Some((2, "*"))));
    assert_eq!(by("README/x"), (true, Some((2, "*"))));
    assert_eq!(by("src"), (false, Some((3, "!src"))));
    assert_eq!(by("src/a.c"), (false, Some((3, "!src"))));
    assert_eq!(by("src/a.o"), (true, Some((4, "src/*.o"))));
    let none = Patterns::parse(b"a").expect("it is good");
    assert_eq!(none.decide(b"b"), Verdict { excluded: false, by: None });
}

#[test]
fn directories_that_nothing_comes_back_from_are_skipped() {
    let table: &[(&[&str], &str, bool)] = &[
        (&["a"], "a", true),
        (&["*", "!a/b"], "a", false),
        (&["*", "!a/b"], "a/b", false),
        (&["*", "!a/b/**"], "a/b", false),
        (&["*", "!a/b/*"], "a", false),
        (&["*", "!a/b"], "ab", true),
        (&["*", "!ab/c"], "a", true),
        (&["*", "!a/b"], "a/b/c", true),
        (&["*", "!a/*.md"], "b", false),
        (&["*", "!**/x"], "b", false),
        (&["a/b/c", "!x"], "a/b/c", true),
        // BuildKit takes this one for `a`, and so misses `a/b/c`.
        (&["*", "!a/*/**"], "a", false),
        (&["*", "!a/*/**"], "a/b", true),
    ];
    for (patterns, path, expected) in table {
        let patterns = Patterns::new(patterns.iter().copied()).expect("the patterns are good");
        assert_eq!(patterns.may_skip(path.as_bytes()), *expected, "{patterns:?} {path:?}");
    }
}

#[test]
fn names_that_are_not_utf8() {
    let patterns = Patterns::parse(b"a\xff\n*\xfe\n").expect("it is good");
    assert!(patterns.decide(b"a\xff").excluded);
    assert!(!patterns.decide(b"a\xfd").excluded || patterns.decide(b"b\xfe").excluded);
    assert!(fits("a?", std::str::from_utf8(b"ab").expect("it is")));
    let any = Patterns::new(["a?c"]).expect("it is good");
    assert!(any.decide(b"a\xffc").excluded);
    assert!(!any.decide(b"a\xff\xffc").excluded);
}
