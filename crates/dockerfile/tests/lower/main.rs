//! Golden tests of lowering: `tests/lower/<case>/Dockerfile` is lowered with the images of
//! `images` and the settings of the file `options`, if there is one, and what comes out is compared
//! with the files beside it. `UPDATE_EXPECT=1` writes them anew.
//!
//! `graph` is the build graph, `config` the image config, `notes` the rest, `errors` what is wrong,
//! as people see it. A case has either `errors` or the other three.

#[path = "../expect/mod.rs"]
mod expect;
mod images;
mod properties;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use dockerfile::lower::{LowerOptions, Lowered, lower};
use oci::Platform;

use crate::images::Images;

use crate::expect::{compare, judged};

#[test]
fn cases() {
    judged("lower", 61, check);
}

fn check(case: &Path) -> Result<(), String> {
    let source = fs::read(case.join("Dockerfile")).expect("it can be read");
    let settings = fs::read_to_string(case.join("options")).unwrap_or_default();
    let (options, mut images) = settings_of(&source, &settings);
    let parsed = dockerfile::parse(&source).map_err(|errors| {
        format!("{}: {}", case.display(), dockerfile::render(&errors[0], "Dockerfile", &source))
    })?;
    let (graph, config, notes, errors) = match lower(&parsed.dockerfile, &options, &mut images) {
        Ok(lowered) => {
            let again = lower(&parsed.dockerfile, &options, &mut images).expect("as before");
            assert_eq!(lowered.graph, again.graph, "{}: the same input, another graph", case.display());
            check_invariants(case, &lowered);
            let mut config = serde_json::to_string_pretty(&lowered.config).expect("it is JSON");
            config.push('\n');
            let graph = format!("{}target {}\n", lowered.graph, lowered.target.index());
            (Some(graph), Some(config), Some(notes(&lowered, &source)), None)
        }
        Err(errors) => {
            let shown: Vec<String> =
                errors.iter().map(|error| dockerfile::render(error, "Dockerfile", &source) + "\n").collect();
            (None, None, None, Some(shown.join("\n")))
        }
    };
    compare(&case.join("graph"), graph)?;
    compare(&case.join("config"), config)?;
    compare(&case.join("notes"), notes)?;
    compare(&case.join("errors"), errors)
}

/// The history tells of each layer of the target once.
fn check_invariants(case: &Path, lowered: &Lowered) {
    let told = lowered.config.history.iter().filter(|entry| !entry.empty_layer).count();
    assert_eq!(told, layers(&lowered.graph, lowered.target), "{}: history and layers", case.display());
    assert!(lowered.config.rootfs.diff_ids.is_empty());
}

/// How many layers the tree of a vertex has.
fn layers(graph: &graph::Graph, id: graph::VertexId) -> usize {
    let vertex = graph.vertex(id);
    match &vertex.op {
        graph::Op::Source(graph::Source::Scratch) => 0,
        graph::Op::Source(graph::Source::Image(image)) => image.diff_ids.len(),
        graph::Op::Source(graph::Source::Local(_) | graph::Source::Http(_) | graph::Source::Git(_)) => 1,
        graph::Op::Exec(_) | graph::Op::File(_) => layers(graph, vertex.inputs[0]) + 1,
        graph::Op::Merge => vertex.inputs.iter().map(|input| layers(graph, *input)).sum(),
    }
}

fn notes(lowered: &Lowered, source: &[u8]) -> String {
    let mut text = String::new();
    if let Some(base) = &lowered.base {
        let digest = base.digest.as_ref().map_or("no digest", |digest| digest.as_str());
        let _ = writeln!(text, "base {} {digest}", base.name);
    }
    for stage in &lowered.stages {
        let runs = if stage.runs { " runs" } else { "" };
        let _ = writeln!(text, "stage {} {}{runs}", stage.name, stage.platform);
    }
    for context in &lowered.contexts {
        let _ = writeln!(text, "context {context}");
    }
    if let Some(epoch) = lowered.source_date_epoch {
        let _ = writeln!(text, "epoch {epoch}");
    }
    for name in &lowered.unused_build_args {
        let _ = writeln!(text, "unused {name}");
    }
    for warning in &lowered.warnings {
        let _ = write!(text, "\n{}\n", dockerfile::render(warning, "Dockerfile", source));
    }
    text
}

/// Each line of `settings` is a key and its value.
fn settings_of(source: &[u8], settings: &str) -> (LowerOptions, Images) {
    let platform = Platform::new("linux", "amd64", "");
    let mut options = LowerOptions {
        source: source.to_vec(),
        platform: platform.clone(),
        build_platform: platform,
        implicit_platform: true,
        created: "2026-01-02T03:04:05Z".to_owned(),
        ..LowerOptions::default()
    };
    let mut images = Images::default();
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').expect("NAME=VALUE");
        (name.to_owned(), value.to_owned())
    };
    for line in settings.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "target" => options.target = Some(value.to_owned()),
            "build-arg" => options.build_args.extend([pair(value)]),
            "proxy" => options.proxies.extend([pair(value)]),
            "label" => options.labels.extend([pair(value)]),
            "platform" => {
                options.platform = value.parse().expect("a platform");
                options.implicit_platform = false;
            }
            "multi-platform" => options.multi_platform = true,
            "no-cache" => options.no_cache = true,
            "no-cache-filter" => options.no_cache_filter.push(value.to_owned()),
            "add-host" => options.add_hosts.push(pair(value)),
            "hostname" => options.hostname = value.to_owned(),
            "network" => {
                options.network = if value == "host" { graph::Network::Host } else { graph::Network::None }
            }
            "epoch" => options.source_date_epoch = Some(value.parse().expect("seconds")),
            "stage-context" => options.stage_contexts.extend([pair(value)]),
            "context" => images.contexts.extend([pair(value)]),
            other => panic!("no option {other:?}"),
        }
    }
    (options, images)
}
