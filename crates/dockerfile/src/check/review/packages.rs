//! Rules of package managers: what they fetch beside what was asked for, and what they leave behind.

use super::{Commands, Reviewed};
use crate::check::shell::{Call, Word};
use crate::check::{Fix, Rule};
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Text};

const APT_LISTS: &str = "/var/lib/apt/lists";
/// Verbs of apt that fetch packages.
const FETCHES: [&str; 7] =
    ["install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "reinstall", "source"];

pub(super) fn review(
    it: &Reviewed<'_>,
    stage: usize,
    commands: &Commands<'_>,
    warnings: &mut Vec<Diagnostic>,
) {
    let calls = &commands.script.calls;
    let verb = |call: &Call| call.verb().map_or(String::new(), |word| word.text.clone());
    for (index, call) in calls.iter().enumerate() {
        let name = verb(call);
        let after = &calls[index + 1..];
        match call.program() {
            "apt-get" | "apt" => {
                confirmation(it, commands, call, &name, warnings);
                if it.shipped[stage] && name == "install" {
                    recommends(it, commands, call, warnings);
                }
                if name == "update" {
                    lists(it, stage, commands, index, warnings);
                }
            }
            _ if !it.shipped[stage] => {}
            "apk" if matches!(name.as_str(), "add" | "update" | "upgrade") => {
                apk(commands, call, &name, after, warnings);
            }
            "dnf" | "yum" | "microdnf" | "tdnf"
                if matches!(
                    name.as_str(),
                    "install" | "update" | "upgrade" | "groupinstall" | "makecache"
                ) =>
            {
                let clean = |call: &Call| verb(call) == "clean" || removes(call, "/var/cache/");
                let kept = ["/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5"];
                let last = !after.iter().any(|call| fetches(call, &verb));
                if last && !after.iter().any(clean) && !kept.iter().any(|path| commands.is_kept_out(path)) {
                    let program = call.program();
                    let message = format!("{program} leaves its caches in this layer");
                    let order = format!("{program} clean all");
                    warnings.push(left(commands, call, message, order));
                }
            }
            "zypper" if matches!(name.as_str(), "install" | "in" | "update" | "up" | "refresh" | "ref") => {
                let clean = |call: &Call| {
                    matches!(verb(call).as_str(), "clean" | "cc") || removes(call, "/var/cache/zypp")
                };
                let last = !after.iter().any(|call| call.program() == "zypper" && !clean(call));
                if last && !after.iter().any(clean) && !commands.is_kept_out("/var/cache/zypp") {
                    let message = "zypper leaves its caches in this layer".to_owned();
                    warnings.push(left(commands, call, message, "zypper clean --all".to_owned()));
                }
            }
            _ => pip(it, commands, call, after, warnings),
        }
    }
}

fn fetches(call: &Call, verb: &dyn Fn(&Call) -> String) -> bool {
    matches!(call.program(), "dnf" | "yum" | "microdnf" | "tdnf") && verb(call) != "clean"
}

/// Whether a call removes something in or above `path`.
fn removes(call: &Call, path: &str) -> bool {
    let trimmed = path.trim_end_matches('/');
    match call.program() {
        "rm" => call.arguments().iter().any(|word| {
            let target = word.text.trim_end_matches(['*', '/']);
            target.starts_with(trimmed) || (!target.is_empty() && super::is_within(trimmed, target))
        }),
        "find" => {
            call.has(&["-delete"]) && call.arguments().iter().any(|word| word.text.starts_with(trimmed))
        }
        // A script of the project's own, by the name of what it does.
        program => program.contains("clean"),
    }
}

/// `AptGetNoConfirm`
fn confirmation(
    it: &Reviewed<'_>,
    commands: &Commands<'_>,
    call: &Call,
    name: &str,
    warnings: &mut Vec<Diagnostic>,
) {
    let asks =
        ["install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "remove", "purge", "autoremove"];
    let told = call.has(&[
        "-y",
        "--yes",
        "--assume-yes",
        "-qq",
        "-q=2",
        "--force-yes",
        "-s",
        "--simulate",
        "--dry-run",
        "-d",
        "--download-only",
        "--print-uris",
        "--help",
    ]);
    let unclear = call.arguments().iter().any(|word| !word.literal && word.text.starts_with('$'));
    let piped = call.joint == crate::check::shell::Joint::Pipe;
    if !asks.contains(&name) || told || unclear || piped || it.settings.assume_yes {
        return;
    }
    let Some(verb) = call.verb() else { return };
    let program = call.program();
    let message = format!("{program} {name} asks before it goes on, and nobody is there to answer");
    let fix =
        commands.after(verb).map(|place| Fix::replace(format!("tell {program} {name} -y"), place, " -y"));
    warnings.push(commands.warn(Rule::AptGetNoConfirm, message, verb).with_help("add -y").with_fix(fix));
}

/// `AptGetRecommends`
fn recommends(it: &Reviewed<'_>, commands: &Commands<'_>, call: &Call, warnings: &mut Vec<Diagnostic>) {
    let told = call.has(&["--no-install-recommends", "--install-recommends", "-s", "--simulate"]);
    let unclear =
        call.arguments().iter().any(|word| !word.literal && word.text.starts_with('$') && is_option(word));
    if told || unclear || it.settings.recommends {
        return;
    }
    let Some(verb) = call.verb() else { return };
    let message = format!("{} install takes along what the packages recommend", call.program());
    warnings.push(
        commands
            .warn(Rule::AptGetRecommends, message, verb)
            .with_help("add --no-install-recommends, and name those of them that are needed"),
    );
}

/// Whether a variable is likely one of options, by its name.
fn is_option(word: &Word) -> bool {
    let name = word.text.to_lowercase();
    name.contains("opt") || name.contains("flag") || name.contains("arg")
}

/// `AptGetUpdateAlone` and `PackageListsLeft`, for the `apt-get update` at `index`.
fn lists(
    it: &Reviewed<'_>,
    stage: usize,
    commands: &Commands<'_>,
    index: usize,
    warnings: &mut Vec<Diagnostic>,
) {
    if commands.is_kept_out(APT_LISTS) {
        return;
    }
    let calls = &commands.script.calls;
    let call = &calls[index];
    let is_apt = |call: &Call| matches!(call.program(), "apt-get" | "apt" | "aptitude");
    let fetches = calls
        .iter()
        .any(|call| is_apt(call) && call.verb().is_some_and(|verb| FETCHES.contains(&verb.text.as_str())));
    let others = calls.iter().any(|call| {
        !is_apt(call) && !matches!(call.program(), "set" | "echo" | "true" | "rm" | "export" | ":" | "sleep")
    });
    let after = &calls[index + 1..];
    let removed = after.iter().any(|call| {
        removes(call, APT_LISTS) || (is_apt(call) && call.verb().is_some_and(|verb| verb.text == "distclean"))
    });
    if !fetches && !others && !removed {
        let message =
            format!("{} update alone is cached: what is installed later comes of old lists", call.program());
        warnings.push(
            commands
                .warn(Rule::AptGetUpdateAlone, message, &call.words[0])
                .with_help("do it in the RUN that installs: apt-get update && apt-get install -y …"),
        );
        return;
    }
    let again =
        after.iter().any(|call| is_apt(call) && call.verb().is_some_and(|verb| verb.text == "update"));
    if it.shipped[stage] && !removed && !again {
        let message = format!("The package lists that {} update fetches stay in this layer", call.program());
        warnings.push(left(commands, call, message, format!("rm -rf {APT_LISTS}/*")));
    }
}

fn apk(commands: &Commands<'_>, call: &Call, name: &str, after: &[Call], warnings: &mut Vec<Diagnostic>) {
    let kept = commands.is_kept_out("/var/cache/apk") || commands.is_kept_out("/etc/apk/cache");
    let cleaned = after
        .iter()
        .any(|call| removes(call, "/var/cache/apk") || (call.program() == "apk" && call.has(&["clean"])));
    let unclear = call.arguments().iter().any(|word| !word.literal && is_option(word));
    if kept || cleaned || unclear || call.has(&["--no-cache", "--cache-dir", "--root", "-p"]) {
        return;
    }
    let Some(verb) = call.verb() else { return };
    let message = format!("apk {name} leaves its index in this layer");
    let fix = (name == "add")
        .then(|| commands.after(verb))
        .flatten()
        .map(|place| Fix::replace("tell apk add --no-cache", place, " --no-cache"));
    let help = "add --no-cache to apk add; apk update is not needed then";
    warnings.push(commands.warn(Rule::PackageListsLeft, message, verb).with_help(help).with_fix(fix));
}

fn pip(
    it: &Reviewed<'_>,
    commands: &Commands<'_>,
    call: &Call,
    after: &[Call],
    warnings: &mut Vec<Diagnostic>,
) {
    let program = call.program();
    let is_module = program.starts_with("python")
        && call.words.get(1).is_some_and(|word| word.text == "-m")
        && call.words.get(2).is_some_and(|word| word.text == "pip");
    if !is_module && !matches!(program, "pip" | "pip3" | "pip2") {
        return;
    }
    let from = if is_module { 3 } else { 1 };
    let Some(verb) = call.words[from..].iter().find(|word| !word.text.starts_with('-')) else { return };
    let cache = ["/root/.cache/pip", "/root/.cache"];
    let kept = commands.kept_out.iter().any(|path| path.contains("cache"))
        || cache.iter().any(|path| commands.is_kept_out(path));
    let cleaned = after.iter().any(|call| {
        removes(call, "/root/.cache")
            || (call.program() == "rm" && call.arguments().iter().any(|word| word.text.contains(".cache")))
            || (call.words.iter().any(|word| word.text == "cache")
                && call.words.iter().any(|word| word.text == "purge"))
    });
    let unclear = call.arguments().iter().any(|word| !word.literal && is_option(word));
    if verb.text != "install"
        || kept
        || cleaned
        || unclear
        || call.has(&["--no-cache-dir", "--no-cache"])
        || it.settings.pip_cache
    {
        return;
    }
    let fix = commands
        .after(verb)
        .map(|place| Fix::replace("tell pip install --no-cache-dir", place, " --no-cache-dir"));
    let message = "pip install leaves its cache in this layer";
    let help = "add --no-cache-dir, or keep the cache by RUN --mount=type=cache,target=/root/.cache/pip";
    warnings.push(commands.warn(Rule::PackageListsLeft, message, verb).with_help(help).with_fix(fix));
}

/// `PackageListsLeft`, mended by one more call at the end of the chain.
fn left(commands: &Commands<'_>, call: &Call, message: String, order: String) -> Diagnostic {
    let help = format!("end the RUN with && {order}");
    let fix = commands
        .text
        .as_ref()
        .filter(|_| !commands.is_heredoc && commands.script.is_chain && !commands.script.commented)
        .and_then(|text| append(commands, text, &order));
    commands.warn(Rule::PackageListsLeft, message, &call.words[0]).with_help(help).with_fix(fix)
}

/// The chain with one more call, on a line of its own where the calls before it are.
fn append(commands: &Commands<'_>, text: &Text, order: &str) -> Option<Fix> {
    if !commands.run.heredocs.is_empty() {
        return None;
    }
    let end = text.span.end as usize;
    let last = commands.script.calls.last()?.words.last()?;
    // The line must end with the last word or the file it writes: what else is there is not known.
    let tail = &text.raw[last.range.end.min(text.raw.len())..];
    if tail.contains(['\'', '"', '#', '\\']) || text.raw.ends_with(commands.escape) {
        return None;
    }
    let title = format!("end the RUN with {order}");
    let insertion = match commands.indent(text) {
        Some(indent) => format!(" {}\n{indent}&& {order}", commands.escape),
        None => format!(" && {order}"),
    };
    Some(Fix::replace(title, Span::at(end), insertion))
}
