//! Properties of the whole front half: it takes anything, its places are right, and its work grows
//! with the length of what it reads.

use proptest::prelude::*;

use crate::ast::{Command, Copy, Instruction, Kind, Source};
use crate::check::text::Detail;
use crate::check::{self, Nothing};
use crate::expand::Expander;
use crate::ignore::Patterns;
use crate::lower::LowerOptions;
use crate::span::Text;
use crate::{Diagnostic, LineIndex, parse, parse_trigger, render, work};

/// Pieces that Dockerfiles are made of, so that chance finds its way into the corners.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"FROM ",
        b"RUN ",
        b"COPY ",
        b"ADD ",
        b"ENV ",
        b"LABEL ",
        b"ARG ",
        b"ONBUILD ",
        b"HEALTHCHECK ",
        b"CMD ",
        b"SHELL ",
        b"VOLUME ",
        b"EXPOSE ",
        b"USER ",
        b"STOPSIGNAL ",
        b"WORKDIR ",
        b"MAINTAINER ",
        b"ENTRYPOINT ",
        b"\n",
        b"\n",
        b"\n",
        b"\r\n",
        b"\\\n",
        b"`\n",
        b"\\",
        b"`",
        b" ",
        b"\t",
        b"#",
        b"# escape=`\n",
        b"# syntax=x\n",
        b"# check=skip=all\n",
        b"\"",
        b"'",
        b"<<EOF",
        b"<<-'EOF'",
        b"<< ",
        b"EOF\n",
        b"=",
        b"a",
        b"b",
        b"a=b",
        b"$",
        b"${",
        b"}",
        b":-",
        b"/",
        b"%",
        b"##",
        b"[",
        b"]",
        b"[\"a\", \"b\"]",
        b",",
        b"--from=a ",
        b"--mount=type=cache,target=/x ",
        b"--",
        b"AS x",
        b"NONE",
        b"CMD",
        b"\xff",
        b"\xef\xbb\xbf",
        "é🚀".as_bytes(),
        "\u{2028}\u{a0}".as_bytes(),
        b"\0",
        b"\\u00e9",
        b"*",
        b"?",
        b"**/",
        b"!",
        b"..",
    ];
    prop_oneof![
        8 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ]
}

fn source() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

fn check_diagnostic(diagnostic: &Diagnostic, source: &[u8]) {
    let span = diagnostic.span.unwrap_or_default();
    assert!(span.start <= span.end && span.end as usize <= source.len(), "{diagnostic:?}");
    assert!(!diagnostic.message.contains('\n'), "{diagnostic:?}");
    let shown = render(diagnostic, "Dockerfile", source);
    assert!(shown.len() < 4000, "{shown}");
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

/// The texts of an instruction that keep the source's own letters.
fn texts(instruction: &Instruction) -> Vec<&Text> {
    let mut texts = vec![&instruction.keyword];
    match &instruction.kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            texts.extend(pairs.iter().flat_map(|pair| [&pair.key, &pair.value]));
        }
        Kind::Arg(arguments) => {
            texts.extend(arguments.iter().flat_map(|arg| std::iter::once(&arg.name).chain(&arg.default)));
        }
        Kind::Copy(Copy { sources, dest, from, chown, .. }) => {
            texts.extend(sources.iter().filter_map(|source| match source {
                Source::Path(path) => Some(path),
                Source::Inline(_) => None,
            }));
            texts.push(dest);
            texts.extend(from.iter().chain(chown));
        }
        Kind::Run(run) => {
            if let Command::Shell(line) = &run.command {
                texts.push(line);
            }
            for field in run.mounts.iter().flat_map(|mount| &mount.fields) {
                texts.push(&field.text);
                texts.extend(&field.value);
            }
        }
        Kind::User(text) | Kind::Workdir(text) | Kind::Stopsignal(text) => texts.push(text),
        Kind::Expose(list) => texts.extend(list),
        _ => {}
    }
    texts
}

/// Each letter of a text is in the source where the text says it is.
fn check_places(text: &Text, source: &[u8]) {
    let json = source[text.span.range()].contains(&b'\\');
    for (at, c) in text.raw.char_indices() {
        if c == char::REPLACEMENT_CHARACTER {
            continue;
        }
        let span = text.span_of(at..at + c.len_utf8());
        let found = &source[span.range()];
        assert!(json || found == c.to_string().as_bytes(), "{c:?} of {text:?} is {found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken(source in source()) {
        match parse(&source) {
            Ok(parsed) => {
                parsed.warnings.iter().for_each(|warning| check_diagnostic(warning, &source));
                for stage in &parsed.dockerfile.stages {
                    check_places(&stage.base, &source);
                    for text in stage.instructions.iter().flat_map(texts) {
                        check_places(text, &source);
                    }
                }
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                errors.iter().for_each(|error| check_diagnostic(error, &source));
            }
        }
        let options = LowerOptions { source: source.clone(), ..LowerOptions::default() };
        let report = check::check(&source, &options, &mut Nothing);
        report.warnings.iter().chain(&report.errors).for_each(|it| check_diagnostic(it, &source));
        for detail in [Detail::Buildx, Detail::More] {
            check::text::warnings(&report, "Dockerfile", &source, detail);
            check::text::errors(&report, "Dockerfile", &source, detail);
        }
        let text = String::from_utf8_lossy(&source);
        let _ = parse_trigger(&text);
        for expander in [Expander::new('\\'), Expander::new('`'), Expander::raw()] {
            let variables: Vec<String> = vec!["a=x*y".to_owned(), "b=".to_owned()];
            if let Err(error) = expander.word(&text, &variables) {
                prop_assert!(error.range.start <= error.range.end && error.range.end <= text.len());
                prop_assert!(text.get(error.range).is_some());
            }
            let _ = expander.words(&text, &variables);
        }
    }

    /// What is not a Dockerfile's own letters comes through as it is written.
    #[test]
    fn quoting_comes_back(value in "[ -~é🚀]{0,30}") {
        let quoted = format!("'{}'", value.replace('\'', "'\\''"));
        let expanded = Expander::new('\\').word(&quoted, &Vec::new()).map(|expanded| expanded.text);
        prop_assert_eq!(expanded, Ok(value.clone()));
        let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
        let expanded = Expander::new('\\').word(&escaped, &Vec::new()).map(|expanded| expanded.text);
        prop_assert_eq!(expanded, Ok(value));
    }

    /// `trim_prefix` and the like against the definition: all ways to cut, tried one by one.
    #[test]
    fn patterns_match_their_definition(pattern in "[ab*?]{0,6}", value in "[ab\n]{0,8}") {
        fn fits(pattern: &[u8], value: &[u8]) -> bool {
            match (pattern, value) {
                ([], []) => true,
                ([b'*', rest @ ..], _) if fits(rest, value) => true,
                ([b'*', ..], [c, tail @ ..]) => *c != b'\n' && fits(pattern, tail),
                ([b'?', rest @ ..], [c, tail @ ..]) => *c != b'\n' && fits(rest, tail),
                ([p, rest @ ..], [c, tail @ ..]) => p == c && fits(rest, tail),
                _ => false,
            }
        }
        let pattern_bytes = pattern.as_bytes();
        let cuts: Vec<usize> = (0..=value.len()).collect();
        let expand = |operator: &str| {
            let variables = vec![format!("v={value}")];
            let word = format!("${{v{operator}{pattern}}}");
            Expander::new('\\').word(&word, &variables).map(|expanded| expanded.text)
        };
        let prefix = |cut: &&usize| fits(pattern_bytes, &value.as_bytes()[..**cut]);
        let suffix = |cut: &&usize| fits(pattern_bytes, &value.as_bytes()[**cut..]);
        let after = |cut: Option<&usize>| value[cut.copied().unwrap_or(0)..].to_owned();
        let before = |cut: Option<&usize>| value[..cut.copied().unwrap_or(value.len())].to_owned();
        prop_assert_eq!(expand("#"), Ok(after(cuts.iter().find(prefix))));
        prop_assert_eq!(expand("##"), Ok(after(cuts.iter().rfind(prefix))));
        prop_assert_eq!(expand("%"), Ok(before(cuts.iter().rfind(suffix))));
        prop_assert_eq!(expand("%%"), Ok(before(cuts.iter().find(suffix))));
        // The first place at which it fits at all, and there the longest.
        let first = cuts.iter().find_map(|start| {
            let end = cuts[*start..].iter().rfind(|end| fits(pattern_bytes, &value.as_bytes()[*start..**end]))?;
            Some((*start, *end))
        });
        let expected = match first {
            Some((start, end)) => format!("{}-{}", &value[..start], &value[end..]),
            None => value.clone(),
        };
        let variables = vec![format!("v={value}")];
        let word = format!("${{v/{pattern}/-}}");
        let replaced = Expander::new('\\').word(&word, &variables).map(|expanded| expanded.text);
        // Without a pattern it is `${v//-}`, which is something else.
        prop_assert!(pattern.is_empty() || replaced == Ok(expected));
    }

    /// A directory that may be skipped holds nothing that is not excluded.
    #[test]
    fn nothing_is_lost_by_skipping(
        lines in proptest::collection::vec("!?(a|b|\\*|\\*\\*|c\\?)(/(a|b|\\*|\\*\\*|\\[ab\\])){0,2}", 0..6),
        path in "[abc](/[abc]){0,3}",
    ) {
        let Ok(patterns) = Patterns::parse(lines.join("\n").as_bytes()) else { return Ok(()) };
        let decided = patterns.decide(path.as_bytes()).excluded;
        let mut parent = patterns.root();
        for (at, _) in path.match_indices('/') {
            parent = patterns.directory(&parent, &path.as_bytes()[..at]).1;
        }
        let walked = patterns.file(&parent, path.as_bytes());
        // BuildKit passes over `a/b` for `!a/*/**`, though `a/b/c` fits: so do we.
        let passed_over = lines.iter().any(|line| line.starts_with('!') && line.ends_with("/*/**"));
        prop_assert!(decided == walked.excluded || passed_over && decided);
        prop_assert!(!walked.excluded || walked.by.is_some_and(|pattern| !pattern.negated));
    }

    #[test]
    fn any_ignore_file_is_taken(source in source(), path in proptest::collection::vec(any::<u8>(), 0..12)) {
        match Patterns::parse(&source) {
            Ok(patterns) => {
                patterns.decide(&path);
                for pattern in patterns.patterns() {
                    prop_assert_eq!(&String::from_utf8_lossy(&source[pattern.span.range()]), &pattern.raw);
                    prop_assert!(LineIndex::new(&source).line(pattern.span.start) == pattern.line);
                }
            }
            Err(errors) => errors.iter().for_each(|error| check_diagnostic(error, &source)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// What fixes leave can be built where the Dockerfile could, and is fixed no further.
    #[test]
    fn fixing_ends(body in proptest::collection::vec(line(), 0..12)) {
        let source = format!("FROM alpine:3.20 as Base\n{}", body.join("\n"));
        let options = LowerOptions::default();
        let mended = check::mend(source.as_bytes(), &options, &mut Nothing);
        let again = check::mend(&mended.source, &options, &mut Nothing);
        prop_assert_eq!(&again.source, &mended.source);
        prop_assert!(again.made.is_empty());
        let errors = |source: &[u8]| check::check(source, &options, &mut Nothing).errors;
        prop_assert_eq!(errors(source.as_bytes()).is_empty(), errors(&mended.source).is_empty());
    }
}

/// Instructions that fixes are about, some of them broken or folded.
fn line() -> impl Strategy<Value = String> {
    let lines = vec![
        "env a b",
        "ENV a b c",
        "ENV a 'b c'",
        "ENV a b \\\n c",
        "LABEL x \"y\" z",
        "MAINTAINER me <a@b>",
        "maintainer x\"",
        "EXPOSE 80/TCP",
        "EXPOSE 1:2/UDP 3:4",
        "CMD a b",
        "CMD a && b",
        "CMD [\"a\"]",
        "ENTRYPOINT x",
        "entrypoint [\"x\"]",
        "HEALTHCHECK CMD x",
        "HEALTHCHECK NONE",
        "from --platform=$TARGETPLATFORM base AS B",
        "FROM scratch as C",
        "RUN a \\\n\n b",
        "RUN a \\\n # c\n\n\n b",
        "RUN apt-get update && apt-get install x",
        "RUN apt-get update && \\\n  apt-get install -y x",
        "RUN apk add y # c",
        "RUN pip install z",
        "RUN <<E\napk add x\nE",
        "RUN dnf install x",
        "ADD a.txt /b",
        "add . /",
        "COPY <<E /x\nENV a b\nE",
        "# comment",
        "",
        "ARG a",
        "USER x",
        "RUN cd /x",
        "SHELL [\"bash\"]",
        "\tENV t u",
        "RUN apk add x \\",
    ];
    proptest::sample::select(lines).prop_map(str::to_owned)
}

/// Twice the input is about twice the work, whatever is repeated.

#[test]
fn the_work_is_linear() {
    let shapes: &[(&str, &str, &str)] = &[
        ("", "FROM a\n", ""),
        ("FROM a\n", "RUN echo $x \"y\" && true\n", ""),
        ("FROM a\n", "# comment\n\n", ""),
        ("FROM a\nRUN true", " \\\n  && true", ""),
        ("FROM a\nRUN true \\\n", "# comment\n\n", "end"),
        ("FROM a\nENV", " a=\"b c\"", ""),
        ("FROM a\nENV", " \\\n a=b", ""),
        ("FROM a\nENV a=\"", "$b ", ""),
        ("FROM a\nLABEL a ", "b ", ""),
        ("FROM a\nARG", " a=b", ""),
        ("FROM a\nCOPY", " a", " /"),
        ("FROM a\nCOPY", " --exclude=\"a b\"", " a /"),
        ("FROM a\nCOPY", " --link", " a /"),
        ("FROM a\nRUN", " \\\n --mount=type=cache,target=/x", " true"),
        ("FROM a\nRUN --mount=", "a,", "b true"),
        ("FROM a\nRUN [\"a\"", ", \"b\\n\"", "]"),
        ("FROM a\nRUN [\"a\"", ", \"b\"", "] && no json"),
        ("FROM a\nRUN ", "[", ""),
        ("FROM a\nRUN [", "1,", "1]"),
        ("FROM a\nRUN <<EOF\n", "a line\n", "EOF\n"),
        ("FROM a\nRUN <<EOF\n", "a line\n", ""),
        ("FROM a\n", "RUM <<EOF\n", ""),
        ("FROM a\n", "RUN <<EOF\n", ""),
        ("FROM a\nCOPY", " <<EOF", " /x\nEOF\n"),
        ("FROM a\nRUN <<EOF ", "'a' ${b:-c} \\\\", "\nEOF\n"),
        ("FROM a\nRUN <<EOF ", "${a:-", "\nEOF\n"),
        ("FROM a\nRUN <<EOF ", "\"$a", "\nEOF\n"),
        ("FROM a\n", "ONBUILD ", "RUN true"),
        ("FROM a\n", "ONBUILD RUN true\n", ""),
        ("FROM a\nONBUILD RUN true", " \\\n true", ""),
        ("FROM a\n", "FOO\n", ""),
        ("FROM a\nEXPOSE", " \\\n 80", ""),
        ("FROM a\nRUN ", "\u{fffd}\\\n", ""),
        ("", "#", ""),
        ("# check=skip=a", ",b", "\nFROM a"),
        ("FROM a\nHEALTHCHECK CMD true", " x", ""),
    ];
    for (head, repeated, tail) in shapes {
        let count = |times: usize| {
            let mut source = (head.to_string() + &repeated.repeat(times) + tail).into_bytes();
            // Broken bytes as well, which have places of their own.
            source.iter_mut().filter(|byte| **byte == 0xef).for_each(|byte| *byte = 0xff);
            work::measure(|| drop(parse(&source)))
        };
        let (once, twice, four) = (count(1000), count(2000), count(4000));
        let shape = format!("{head:?} {repeated:?} {tail:?}: {once}, {twice}, {four}");
        assert!(once > 0 && twice * 10 <= once * 21 + 10_000, "{shape}");
        assert!(four * 10 <= twice * 21 + 10_000, "{shape}");
        let length = (head.len() + repeated.len() * 4000 + tail.len()) as u64;
        assert!(four < length * 64, "{shape}");
    }
}

/// The same for the checks: of the text, of lowering and of reviewing.
#[test]
fn the_work_of_checks_is_linear() {
    let shapes: &[(&str, &str, &str)] = &[
        ("FROM a\n", "RUN apt-get update && apt-get install x\n", ""),
        ("FROM a\nRUN true", " && apt-get install x", ""),
        ("FROM a\nRUN true", " \\\n && apk add x", ""),
        ("FROM a\nRUN ", "$(", ""),
        ("FROM a\nRUN ", "( a ", ""),
        ("FROM a\nRUN ", "'a' \"b\" `c` ", ""),
        ("FROM a\nRUN ", "; if a", ""),
        ("FROM a\nRUN <<E\n", "rm -rf /a && curl -O https://x/y\n", "E\n"),
        ("FROM a\n", "COPY a.tgz /a.tgz\nRUN rm /a.tgz\n", ""),
        ("FROM a\nRUN", " -----BEGIN ", ""),
        ("FROM a\nRUN", " https://a:b@", ""),
        ("", "FROM a AS a\nCOPY --from=x a b\nCMD x\n", ""),
        ("FROM a AS s0\n", "FROM s0 AS s0\nRUN x\n", ""),
        ("FROM a\nRUN a", " \\\n\n", " b"),
        ("FROM a\n", "ENV a b\nEXPOSE 80/TCP\n", ""),
        ("ARG a=b\nFROM a\n", "# x y\nARG a\n", ""),
    ];
    for (head, repeated, tail) in shapes {
        let count = |times: usize| {
            let source = (head.to_string() + &repeated.repeat(times) + tail).into_bytes();
            let options = LowerOptions { source: source.clone(), ..LowerOptions::default() };
            work::measure(|| drop(check::check(&source, &options, &mut Nothing)))
        };
        let (once, twice, four) = (count(500), count(1000), count(2000));
        let shape = format!("{head:?} {repeated:?} {tail:?}: {once}, {twice}, {four}");
        assert!(once > 0 && twice * 10 <= once * 21 + 10_000, "{shape}");
        assert!(four * 10 <= twice * 21 + 10_000, "{shape}");
    }
}

/// Ten megabytes of one thing or the other: no deep recursion, no blow-up.
#[test]
fn large_files_are_taken() {
    let long = |head: &str, repeated: &str, tail: &str| {
        head.to_string() + &repeated.repeat((10 << 20) / repeated.len()) + tail
    };
    assert!(parse(long("FROM a\n", "RUN true && true && true && true\n", "").as_bytes()).is_ok());
    assert!(parse(long("FROM a\nRUN true", " \\\n", "").as_bytes()).is_ok());
    assert!(parse(long("FROM a\nRUN ", "[", "").as_bytes()).is_ok());
    assert!(parse(long("FROM a\nRUN <<E ", "${a:-", "\n").as_bytes()).is_ok());
    assert!(parse(long("FROM a\nRUN <<EOF\n", "x\n", "EOF\n").as_bytes()).is_ok());
    let errors = parse(long("FROM a\n", "ONBUILD ", "").as_bytes()).expect_err("chains are not allowed");
    assert_eq!(errors.len(), 1);
    let errors = parse(long("FROM a\n", "FOO\n", "").as_bytes()).expect_err("it is unknown");
    assert_eq!(errors.len(), 50);
    assert!(parse(&vec![b'#'; crate::parser::MAX_LENGTH + 1]).is_err());
}
