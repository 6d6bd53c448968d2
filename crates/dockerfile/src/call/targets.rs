//! The stages of a Dockerfile (`--call=targets`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::{Place, description, table};
use crate::ast::Dockerfile;
use crate::check::json::ranges;
use crate::span::LineIndex;

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name; empty where it has none.
    pub name: String,
    /// It is built where no target is named.
    pub default: bool,
    /// What the comment above it says of it.
    pub description: String,
    /// What it is built on, as written.
    pub base: String,
    /// Its `--platform`, as written; empty where it has none.
    pub platform: String,
    /// Its `FROM`.
    pub span: Place,
}

/// All stages, in order.
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let last = dockerfile.stages.len();
    let stages = dockerfile.stages.iter().enumerate();
    stages
        .map(|(index, stage)| {
            let name = stage.name.as_ref().map_or(String::new(), |name| name.raw.clone());
            Target {
                description: description(&stage.comments, &name),
                name,
                default: index + 1 == last,
                base: stage.base.raw.clone(),
                platform: stage.platform.as_ref().map_or(String::new(), |text| text.raw.clone()),
                span: stage.span,
            }
        })
        .collect()
}

impl Target {
    /// As buildx prints them.
    pub fn text(all: &[Target]) -> String {
        let mut rows = vec![vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
        rows.extend(all.iter().map(|target| {
            let name = match (target.name.as_str(), target.default) {
                ("", true) => "(default)".to_owned(),
                (name, true) => format!("{name} (default)"),
                (name, false) => name.to_owned(),
            };
            vec![name, target.description.clone()]
        }));
        table(&rows, 1)
    }

    /// In the JSON of BuildKit.
    pub fn json(all: &[Target], source: &[u8]) -> Value {
        let index = LineIndex::new(source);
        let targets: Vec<Value> = all
            .iter()
            .map(|target| {
                let mut value = Map::new();
                let mut text = |name: &str, text: &str| {
                    if !text.is_empty() {
                        value.insert(name.to_owned(), text.into());
                    }
                };
                text("name", &target.name);
                text("description", &target.description);
                text("base", &target.base);
                text("platform", &target.platform);
                if target.default {
                    let at = usize::from(!target.name.is_empty());
                    value.shift_insert(at, "default".to_owned(), true.into());
                }
                value.insert("location".to_owned(), ranges(index.lines(target.span)));
                Value::Object(value)
            })
            .collect();
        json!({ "targets": targets, "sources": [BASE64_STANDARD.encode(source)] })
    }
}
