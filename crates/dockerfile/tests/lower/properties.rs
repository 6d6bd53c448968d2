//! Whatever can be parsed can be lowered, or is refused: nothing panics, and nothing takes long.

use dockerfile::lower::{LowerOptions, lower};
use dockerfile::{Diagnostic, LineIndex};
use proptest::prelude::*;

use crate::images::Images;

/// Pieces that Dockerfiles are made of, and such that they are not.
const PIECES: &[&str] = &[
    "FROM alpine",
    "FROM scratch",
    "FROM scratch AS a",
    "FROM alpine AS b",
    "FROM a AS c",
    "FROM b",
    "FROM triggers",
    "FROM triggers-from AS build",
    "FROM --platform=$BUILDPLATFORM app",
    "FROM $X",
    "FROM ${X:-debian}",
    "FROM 🦀",
    "ARG X",
    "ARG X=1 Y=$X",
    "ARG TARGETARCH",
    "ARG PATH=/x",
    "ENV A=$A$X B=${B:-$A}",
    "ENV A $A:b",
    "ENV \"$X\"=1",
    "LABEL a=\"b c\" $X=$Y",
    "EXPOSE 80 $X 1-3/udp",
    "EXPOSE $PATH",
    "EXPOSE 0-65535",
    "VOLUME [\"/a\", \"$X\"]",
    "VOLUME $X",
    "USER $X:b",
    "USER a",
    "WORKDIR a/../..",
    "WORKDIR /a/b/",
    "WORKDIR $X",
    "SHELL [\"/bin/bash\", \"-c\"]",
    "SHELL [\"\"]",
    "STOPSIGNAL 9",
    "STOPSIGNAL $X",
    "HEALTHCHECK NONE",
    "HEALTHCHECK --interval=1h2m CMD a \"b\"",
    "ONBUILD RUN a",
    "ONBUILD COPY --from=a /x /y",
    "MAINTAINER a\\b",
    "CMD a $X",
    "CMD [\"a\", \"\\u0000\"]",
    "CMD []",
    "ENTRYPOINT a",
    "ENTRYPOINT [\"a\"]",
    "RUN a $X ${Y}",
    "RUN [\"a\", \"b\"]",
    "RUN []",
    "RUN --network=none a",
    "RUN --mount=target=x,from=a ls",
    "RUN --mount=type=cache,target=/c,uid=1,from=b,source=/q a",
    "RUN --mount=type=secret,id=s,env=E echo $E",
    "RUN --mount=type=ssh --mount=type=tmpfs,target=$X,size=1k b",
    "RUN --mount=type=bind,target=/ x",
    "RUN --security=insecure x",
    "RUN --device=vendor/x a",
    "RUN <<E\necho $X\nE",
    "RUN <<E\n#!/bin/x\nE",
    "RUN <<A <<-B cat\n\ta\nA\n\tb\n\tB",
    "RUN <<'../x'\n#!a\n../x",
    "COPY . .",
    "COPY a b $X/",
    "COPY --from=a /x y/",
    "COPY --from=0 / /",
    "COPY --from=9 / /",
    "COPY --from=alpine a /",
    "COPY --from=$X a b",
    "COPY --link --chown=1:$X a /b/.",
    "COPY --chmod=u+x a b",
    "COPY --chmod=9 a b",
    "COPY --parents ../a/./b/** /",
    "COPY --exclude=*.$X a b",
    "COPY <<E <<'F' /x/\n$A ${X:?no}\nE\n$A\nF",
    "COPY <<a/b c\na/b",
    "ADD x.tar /",
    "ADD --unpack=false x /",
    "ADD https://a/b /",
    "ADD git@a:b /c",
    "ADD --checksum=sha256:00 x /",
    "# check=skip=all",
    "# escape=`",
    "# comment",
    "",
    "\\",
    "ENV A=${X//a/b}",
    "ENV A=${X#*b}",
    "ENV A=$A$A$A$A$A$A$A$A",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(
        lines in prop::collection::vec((prop::sample::select(PIECES), 0..40, "[a-zA-Z0-9$\\{\\}<>\"'/:,=\\. -]{0,12}"), 0..14),
        target in prop::option::weighted(0.1, prop::sample::select(&["a", "b", "C", "first", "x"][..])),
        no_cache in any::<bool>(),
    ) {
        let mut source = String::from("FROM alpine AS first\n");
        for (piece, noisy, noise) in &lines {
            source.push_str(piece);
            // A heredoc's end must be alone on its line.
            if *noisy == 0 && !piece.contains('\n') {
                source.push_str(noise);
            }
            source.push('\n');
        }
        // Each line that is refused is taken out, so that the rest is tried as well.
        while let Some(error) = check(&source, target, no_cache)? {
            let Some(span) = error.span.filter(|span| span.start > 0) else { break };
            let lines = LineIndex::new(source.as_bytes());
            let (first, last) = lines.lines(span);
            source.replace_range(lines.line_span(first).range().start..lines.line_span(last).range().end, "");
        }
    }

    #[test]
    fn soup(source in "(FROM (a|alpine|scratch|\\$X)( AS [a-c])?\n|(ENV|ARG|RUN|COPY|ADD|LABEL|WORKDIR|USER|CMD|EXPOSE|ONBUILD) [ -~]{0,30}\n){0,10}") {
        check(&source, None, false)?;
    }
}

/// Lowers `source`; returns the first error, if it is refused.
fn check(source: &str, target: Option<&str>, no_cache: bool) -> Result<Option<Diagnostic>, TestCaseError> {
    let parsed = match dockerfile::parse(source.as_bytes()) {
        Ok(parsed) => parsed,
        Err(errors) => return Ok(errors.into_iter().next()),
    };
    let options = LowerOptions {
        source: source.as_bytes().to_vec(),
        target: target.map(str::to_owned),
        build_args: [("Y".to_owned(), "why $X \"".to_owned())].into(),
        no_cache,
        ..LowerOptions::default()
    };
    match lower(&parsed.dockerfile, &options, &mut Images::default()) {
        Ok(lowered) => {
            let again = lower(&parsed.dockerfile, &options, &mut Images::default()).expect("as before");
            prop_assert_eq!(&lowered.graph, &again.graph);
            prop_assert_eq!(&lowered.config, &again.config);
            crate::check_invariants(std::path::Path::new(source), &lowered);
            prop_assert!(
                lowered
                    .graph
                    .iter()
                    .all(|(_, vertex)| vertex.ignore_cache == no_cache || vertex.inputs.is_empty())
            );
            for warning in &lowered.warnings {
                dockerfile::render(warning, "Dockerfile", source.as_bytes());
            }
        }
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            for error in &errors {
                prop_assert!(!error.message.is_empty());
                dockerfile::render(error, "Dockerfile", source.as_bytes());
            }
            return Ok(errors.into_iter().next());
        }
    }
    Ok(None)
}

/// A few lines that ask for a lot: each is refused, or done at once.
#[test]
fn bombs() {
    let doubling = format!("FROM scratch\nENV a=x\n{}", "ENV a=$a$a\n".repeat(64));
    let wide = format!("FROM scratch\nENV a={}\nENV b={}\n", "x".repeat(1 << 19), "$a".repeat(1 << 19));
    let stages: String = (1..5_000).map(|i| format!("FROM s{} AS s{i}\nENV a={i}\n", i - 1)).collect();
    let runs = format!("FROM scratch\n{}", "ENV a$b=1\nRUN x\n".repeat(20_000));
    let chain: String =
        (0..5_000).map(|i| format!("FROM scratch AS s{i}\nCOPY --from=s{} / /\n", i + 1)).collect();
    let ports = format!("FROM scratch\n{}", "EXPOSE 0-65535 0-65535/udp 0-65535/sctp\n".repeat(2_000));
    let variables: String =
        (0..20_000).fold("FROM scratch\n".to_owned(), |text, i| text + &format!("ENV v{i}=1\n"));
    for (source, refused) in [
        (doubling, true),
        (wide, true),
        (format!("FROM scratch AS s0\n{stages}"), true),
        (runs, false),
        (format!("{chain}FROM scratch AS s5000\n"), false),
        (ports, true),
        (variables, true),
    ] {
        let began = std::time::Instant::now();
        let parsed = dockerfile::parse(source.as_bytes()).expect("it is a Dockerfile");
        let lowered = lower(&parsed.dockerfile, &LowerOptions::default(), &mut Images::default());
        assert_eq!(lowered.is_err(), refused, "{:?}", &source[..40]);
        assert!(began.elapsed().as_secs() < 20, "{:?} took {:?}", &source[..40], began.elapsed());
    }
}
