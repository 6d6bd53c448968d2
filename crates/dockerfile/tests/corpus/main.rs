//! Dockerfiles in the style of real projects: each is parsed, checked and planned, and what comes out
//! is compared with the files beside it. `UPDATE_EXPECT=1` writes them anew.
//!
//! `tests/data/corpus/<case>/Dockerfile` gives `tree`, a line for each instruction; `report`, what
//! `build --check` says; `plan`, a line for each step of a build of the last stage. The fixes of a
//! report leave the plan as it was, but for what they are about.

#[path = "../expect/mod.rs"]
mod expect;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use dockerfile::LineIndex;
use dockerfile::ast::Kind;
use dockerfile::check::text::{self, Detail};
use dockerfile::check::{Fix, Nothing, Rule, apply, check, mend};
use dockerfile::lower::{ConfigResolver, LowerOptions, ResolvedImage, lower};
use oci::{DiffId, Digest, ImageConfig, ImageId, Platform, Reference};

use crate::expect::{compare, judged};

#[test]
fn cases() {
    judged("data/corpus", 60, judge);
}

fn judge(case: &Path) -> Result<(), String> {
    let source = fs::read(case.join("Dockerfile")).expect("it can be read");
    let name = case.file_name().expect("a name").to_string_lossy().into_owned();
    let system = if name.contains("windows") { "windows" } else { "linux" };
    let options = LowerOptions {
        platform: Platform::new(system, "amd64", ""),
        build_platform: Platform::new("linux", "amd64", ""),
        source: source.clone(),
        ..LowerOptions::default()
    };
    let report = check(&source, &options, &mut Nothing);
    let mut shown = text::warnings(&report, "Dockerfile", &source, Detail::More);
    shown.push_str(&text::errors(&report, "Dockerfile", &source, Detail::More));
    compare(&case.join("tree"), Some(tree(&source)))?;
    compare(&case.join("report"), Some(shown))?;
    let plan = plan(&source, &options)?;
    compare(&case.join("plan"), Some(plan))?;

    // Fixes that are about the writing alone change nothing of what is built.
    let fixes: Vec<&Fix> = report
        .warnings
        .iter()
        .filter(|warning| warning.rule.is_some_and(is_of_writing))
        .filter_map(|warning| warning.fix.as_deref())
        .collect();
    let (fixed, _) = apply(&source, fixes);
    assert_eq!(steps(&fixed, &options)?, steps(&source, &options)?, "{}", case.display());
    let mended = mend(&source, &options, &mut Nothing).source;
    assert!(lower_all(&mended, &options).is_ok(), "{}: fixed, and broken", case.display());
    assert_eq!(mend(&mended, &options, &mut Nothing).source, mended, "{}", case.display());
    Ok(())
}

fn is_of_writing(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::StageNameCasing
            | Rule::FromAsCasing
            | Rule::NoEmptyContinuation
            | Rule::ConsistentInstructionCasing
            | Rule::LegacyKeyValueFormat
            | Rule::RedundantTargetPlatform
            | Rule::ExposeProtoCasing
            | Rule::ExposeInvalidFormat
    )
}

/// A line for each instruction: its lines, its keyword, how many heredocs and comments it has.
fn tree(source: &[u8]) -> String {
    let index = LineIndex::new(source);
    let parsed = match dockerfile::parse(source) {
        Ok(parsed) => parsed,
        Err(errors) => {
            return errors
                .iter()
                .map(|it| format!("{}\n", dockerfile::render(it, "Dockerfile", source)))
                .collect();
        }
    };
    let mut text = String::new();
    let directives = &parsed.dockerfile.directives;
    if let Some(syntax) = &directives.syntax {
        let _ = writeln!(text, "syntax {syntax}");
    }
    if directives.escape != '\\' {
        let _ = writeln!(text, "escape {}", directives.escape);
    }
    let line = |text: &mut String, span, comments: &[String], source: &str| {
        let (first, last) = index.lines(span);
        let lines = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let note = if comments.is_empty() { String::new() } else { format!(" # {}", comments.join(" # ")) };
        let _ =
            writeln!(text, "{lines:>7} {}{note}", source.split_whitespace().collect::<Vec<_>>().join(" "));
    };
    for arg in &parsed.dockerfile.global_args {
        line(&mut text, arg.span, &arg.comments, &arg.source);
    }
    for stage in &parsed.dockerfile.stages {
        line(&mut text, stage.span, &stage.comments, &stage.source);
        for instruction in &stage.instructions {
            line(&mut text, instruction.span, &instruction.comments, &instruction.source);
            if let Kind::Run(run) = &instruction.kind {
                for heredoc in &run.heredocs {
                    let (first, last) = index.lines(heredoc.content_span);
                    let _ = writeln!(text, "        heredoc {} of lines {first}-{last}", heredoc.name);
                }
            }
        }
    }
    text
}

/// A line for each step: its Dockerfile lines, its name, the steps that it takes from.
fn plan(source: &[u8], options: &LowerOptions) -> Result<String, String> {
    let lowered = lower_all(source, options)?;
    let mut text = String::new();
    for (id, vertex) in lowered.graph.iter() {
        let lines = vertex.location.map_or("-".to_owned(), |at| match at.line == at.end_line {
            true => at.line.to_string(),
            false => format!("{}-{}", at.line, at.end_line),
        });
        let inputs: Vec<String> = vertex.inputs.iter().map(|input| input.index().to_string()).collect();
        let name = vertex.name.replace('\n', "⏎");
        let _ = writeln!(text, "{:>3} {lines:>7} {name} <{}>", id.index(), inputs.join(" "));
    }
    let config = &lowered.config.config;
    let _ = writeln!(text, "target {}", lowered.target.index());
    for (name, value) in [
        ("user", format!("{:?}", config.user)),
        ("cwd", format!("{:?}", config.working_dir)),
        ("entrypoint", format!("{:?}", config.entrypoint)),
        ("cmd", format!("{:?}", config.cmd)),
        ("env", format!("{:?}", config.env)),
    ] {
        let _ = writeln!(text, "{name} {value}");
    }
    Ok(text)
}

/// What each step does, without its name and place, and what the config says.
fn steps(source: &[u8], options: &LowerOptions) -> Result<String, String> {
    let lowered = lower_all(source, options)?;
    let mut text = String::new();
    for (_, vertex) in lowered.graph.iter() {
        let _ = writeln!(text, "{:?} {:?}", vertex.op, vertex.inputs);
    }
    let mut config = lowered.config;
    // History tells how an instruction was written.
    config.history.clear();
    let _ = writeln!(text, "{config:?}");
    Ok(text)
}

fn lower_all(source: &[u8], options: &LowerOptions) -> Result<dockerfile::lower::Lowered, String> {
    let options = LowerOptions { source: source.to_vec(), ..options.clone() };
    let show = |errors: Vec<dockerfile::Diagnostic>| {
        errors.iter().map(|it| dockerfile::render(it, "Dockerfile", source)).collect::<Vec<_>>().join("\n")
    };
    let parsed = dockerfile::parse(source).map_err(show)?;
    lower(&parsed.dockerfile, &options, &mut Images).map_err(show)
}

/// Every image is at hand: of one layer, with a PATH.
struct Images;

impl ConfigResolver for Images {
    fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, String> {
        let name = reference.to_string();
        let mut config = ImageConfig::scratch(platform);
        if name.contains("windows") || name.contains("dotnet/framework") {
            config.os = "windows".to_owned();
        } else {
            config.config.env.push("PATH=/usr/local/bin:/usr/bin:/bin".to_owned());
        }
        config.rootfs.diff_ids = vec![DiffId(Digest::sha256(name.as_bytes()))];
        Ok(ResolvedImage {
            image_id: ImageId(Digest::sha256(name.as_bytes())),
            config,
            digest: None,
            reference: reference.clone(),
        })
    }
}
