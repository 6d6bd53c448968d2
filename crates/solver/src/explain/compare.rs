//! Two sets of facts compared.

use std::collections::{BTreeMap, BTreeSet};

use graph::names_secret;
use serde_json::{Map, Value};

use super::facts::{Facts, ImageFact, TreeFact};
use super::reason::{HIDDEN, Reason};

/// What differs.
#[derive(Debug, PartialEq)]
pub(super) struct Differences {
    pub reasons: Vec<Reason>,
    /// Names of contents that differ: which of their files do is not looked at yet.
    pub contents: Vec<String>,
}

impl Differences {
    /// How far apart the two are.
    pub fn weight(&self) -> usize {
        let each = self.reasons.iter().map(|reason| match reason {
            // Another instruction is rather another step.
            Reason::Command { .. } => 4,
            _ => 1,
        });
        each.sum::<usize>() + self.contents.len()
    }
}

/// What is different in `now`; `rebuilt` says that its base was made in this build.
pub(super) fn differences(before: &Facts, now: &Facts, rebuilt: bool) -> Differences {
    let mut reasons = Vec::new();
    if before.base.chain != now.base.chain {
        reasons.push(match (&before.base.image, &now.base.image) {
            (Some(from), Some(to)) => {
                let (from, to) = (Some(image(from)), Some(image(to)));
                Reason::Base { from, to }
            }
            _ => Reason::Parent { step: now.base.name.clone(), rebuilt },
        });
    }
    operation(before, now, &mut reasons);
    setting("network", Some(&before.network), Some(&now.network), &mut reasons);
    let epoch = |facts: &Facts| facts.epoch.map(|epoch| epoch.to_string());
    setting("SOURCE_DATE_EPOCH", epoch(before).as_ref(), epoch(now).as_ref(), &mut reasons);
    let contents: Vec<String> = (now.contents.iter())
        .filter(|(name, digest)| before.contents.get(*name).is_some_and(|known| known != *digest))
        .map(|(name, _)| name.clone())
        .collect();
    // A copy is known by the content of what it takes, not by the trees that it takes it from.
    let by_content = |facts: &Facts| facts.contents.contains_key("");
    if !(by_content(before) && by_content(now)) {
        trees(before, now, &mut reasons);
    }
    Differences { reasons, contents }
}

fn trees(before: &Facts, now: &Facts, reasons: &mut Vec<Reason>) {
    for (number, tree) in &now.trees {
        if let Some(known) = before.trees.get(number).filter(|known| known.chain != tree.chain) {
            let (from, to) = (tree_name(known), tree_name(tree));
            reasons.push(Reason::Tree { mount: mount_of(&now.op, *number), from, to });
        }
    }
}

fn tree_name(tree: &TreeFact) -> String {
    tree.image.as_ref().map_or_else(|| tree.name.clone(), image)
}

fn image(image: &ImageFact) -> String {
    match image.digest.is_empty() {
        true => image.reference.clone(),
        false => format!("{} ({})", image.reference, image.digest),
    }
}

/// The mount that shows input `number`.
fn mount_of(op: &Value, number: u32) -> Option<String> {
    let mounts = op.get("Exec")?.get("mounts")?.as_array()?;
    let shows =
        |mount: &&Value| mount.pointer("/kind/Bind/input").and_then(Value::as_u64) == Some(u64::from(number));
    Some(mounts.iter().find(shows)?.get("target")?.as_str()?.to_owned())
}

fn operation(before: &Facts, now: &Facts, reasons: &mut Vec<Reason>) {
    if before.op == now.op {
        return;
    }
    let (Some(old), Some(new)) = (before.op.get("Exec"), now.op.get("Exec")) else {
        let (from, to) = (instruction(&before.step), instruction(&now.step));
        if from != to {
            reasons.push(Reason::Command { from: from.to_owned(), to: to.to_owned() });
        } else {
            leaves("operation", &before.op, &now.op, reasons);
        }
        return;
    };
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (from, to) = (old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null));
        if from == to {
            continue;
        }
        let called = match name.as_str() {
            "args" => {
                reasons.push(command(before, now, from, to));
                continue;
            }
            "env" => {
                variables(from, to, reasons);
                continue;
            }
            "mounts" => {
                mounts(from, to, reasons);
                continue;
            }
            "files" => "here-document",
            "cwd" => "working directory",
            "extra_hosts" => "hosts",
            other => other,
        };
        setting(&called.replace('_', " "), Some(&text(from)), Some(&text(to)), reasons);
    }
}

fn command(before: &Facts, now: &Facts, from: &Value, to: &Value) -> Reason {
    let (old, new) = (instruction(&before.step), instruction(&now.step));
    if old != new {
        return Reason::Command { from: old.to_owned(), to: new.to_owned() };
    }
    let line = |args: &Value| {
        let words = args.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    Reason::Command { from: line(from), to: line(to) }
}

/// A step's name without its place: `[build 2/5] RUN make` is `RUN make`.
fn instruction(step: &str) -> &str {
    step.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(step, |(_, text)| text)
}

fn variables(from: &Value, to: &Value, reasons: &mut Vec<Reason>) {
    let pairs = |list: &Value| -> BTreeMap<String, String> {
        let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        texts.map(pair).collect()
    };
    let (old, new) = (pairs(from), pairs(to));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (from, to) = (old.get(name), new.get(name));
        if from != to {
            let shown = |value: Option<&String>| {
                value.map(|value| if names_secret(name) { HIDDEN.to_owned() } else { value.clone() })
            };
            let (from, to) = (shown(from), shown(to));
            reasons.push(Reason::Variable { name: name.clone(), argument: false, from, to });
        }
    }
}

fn mounts(from: &Value, to: &Value, reasons: &mut Vec<Reason>) {
    let by_target = |list: &Value| -> BTreeMap<String, Value> {
        let each = list.as_array().into_iter().flatten();
        each.filter_map(|mount| Some((mount.get("target")?.as_str()?.to_owned(), mount.get("kind")?.clone())))
            .collect()
    };
    let (old, new) = (by_target(from), by_target(to));
    let targets: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let before = reasons.len();
    for target in targets {
        let (from, to) = (old.get(target), new.get(target));
        if from != to {
            let (from, to) = (from.map(text), to.map(text));
            reasons.push(Reason::Mount { target: target.clone(), from, to });
        }
    }
    if reasons.len() == before {
        setting("mounts", Some(&text(from)), Some(&text(to)), reasons);
    }
}

/// What differs in the leaves of two values of the same form; `name` is what the values are called.
fn leaves(name: &str, from: &Value, to: &Value, reasons: &mut Vec<Reason>) {
    match (from, to) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let get = |map: &Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or_default();
            for name in names {
                leaves(name, &get(old, name), &get(new, name), reasons);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (old, new) in old.iter().zip(new) {
                leaves(name, old, new, reasons);
            }
        }
        _ => {
            let name = match name {
                "dest" | "path" => "destination",
                other => other,
            };
            let value = |value: &Value| (!value.is_null()).then(|| text(value));
            setting(name, value(from).as_ref(), value(to).as_ref(), reasons);
        }
    }
}

fn setting(name: &str, from: Option<&String>, to: Option<&String>, reasons: &mut Vec<Reason>) {
    if from != to {
        reasons.push(Reason::Setting { name: name.to_owned(), from: from.cloned(), to: to.cloned() });
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(op: Value) -> Facts {
        let base = TreeFact { chain: "sha256:1".into(), name: "[1/3] FROM busybox".into(), image: None };
        Facts {
            step: "[2/3] RUN make".into(),
            op,
            base,
            network: "Host".into(),
            epoch: None,
            trees: BTreeMap::new(),
            contents: BTreeMap::new(),
        }
    }

    fn exec(env: &[&str], args: &str) -> Value {
        json!({"Exec": {"args": ["/bin/sh", "-c", args], "env": env, "cwd": "/", "user": "", "mounts": []}})
    }

    #[track_caller]
    fn check(before: &Facts, now: &Facts, expected: &[&str]) {
        let found: Vec<String> =
            differences(before, now, true).reasons.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_part_is_told_by_name() {
        let before = facts(exec(&["PATH=/bin", "V=1", "API_KEY=x"], "make"));
        check(&before, &before, &[]);
        let now = facts(exec(&["PATH=/bin", "V=2", "W=3", "API_KEY=y"], "make"));
        let expected = [
            "ENV API_KEY: \"****\" -> \"****\" (another value)",
            "ENV V: \"1\" -> \"2\"",
            "ENV W: not set -> \"3\"",
        ];
        check(&before, &now, &expected);
        let mut now = facts(exec(&["PATH=/bin", "V=1", "API_KEY=x"], "make all"));
        now.step = "[2/3] RUN make all".into();
        now.op["Exec"]["cwd"] = json!("/src");
        now.epoch = Some(5);
        let expected = [
            "instruction RUN make -> RUN make all",
            "working directory: \"/\" -> \"/src\"",
            "SOURCE_DATE_EPOCH: not set -> \"5\"",
        ];
        check(&before, &now, &expected);
    }

    #[test]
    fn bases_are_told_as_images_or_steps() {
        let mut before = facts(json!({}));
        let mut now = before.clone();
        now.base.chain = "sha256:2".into();
        check(&before, &now, &["parent step [1/3] FROM busybox was rebuilt with another result"]);
        let image = |digest: &str| Some(ImageFact { reference: "busybox:1".into(), digest: digest.into() });
        before.base.image = image("sha256:a");
        now.base.image = image("sha256:b");
        check(&before, &now, &["base image busybox:1 (sha256:a) -> busybox:1 (sha256:b)"]);
    }

    #[test]
    fn mounts_and_copies_are_told_by_their_settings() {
        let mounting = |kind: Value| {
            let mut op = exec(&[], "make");
            op["Exec"]["mounts"] = json!([{"target": "/m", "kind": kind}]);
            facts(op)
        };
        let before = mounting(json!({"Tmpfs": {"size": null}}));
        let now = mounting(json!({"Tmpfs": {"size": 5}}));
        check(&before, &now, &[r#"mount /m: {"Tmpfs":{"size":null}} -> {"Tmpfs":{"size":5}}"#]);
        let copy =
            |dest: &str| facts(json!({"File": {"actions": [{"Copy": {"dest": dest, "sources": ["/a"]}}]}}));
        check(&copy("/x/"), &copy("/y/"), &["destination: \"/x/\" -> \"/y/\""]);
        let bound = |chain: &str| {
            let mut facts = mounting(json!({"Bind": {"input": 1, "source": "/"}}));
            let tree = TreeFact { chain: chain.into(), name: "[build 2/2] RUN make".into(), image: None };
            facts.trees.insert(1, tree);
            facts
        };
        let expected = ["mount /m: [build 2/2] RUN make was rebuilt with another result"];
        check(&bound("sha256:1"), &bound("sha256:2"), &expected);
    }

    #[test]
    fn names_that_sound_like_secrets() {
        for name in ["NPM_TOKEN", "password", "API_KEY", "GITHUB_SECRET"] {
            assert!(names_secret(name), "{name}");
        }
        for name in ["VERSION", "KEYBOARD", "PUBLIC_KEY", "AUTHOR"] {
            assert!(!names_secret(name), "{name}");
        }
    }
}
