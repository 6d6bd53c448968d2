//! The file `registries.conf` of github.com/containers/image (version 2, and what version 1 says of insecure and
//! blocked registries): where a registry's repositories really are, its mirrors, and which it may not be.
//!
//! Short names are not looked at: a name without a registry is of docker.io, as with Docker. Tables for single tags or
//! digests are not used: what is known of a repository does not depend on them here. Several files are put together
//! by [`Registries::add`].

use std::path::Path;

use oci::Reference;
use serde::Deserialize;

use super::ConfigError;

/// The tables of one or more files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    rules: Vec<Rule>,
}

/// A `[[registry]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// What names have to begin with: `host[:port][/path]`, or `*.host`.
    prefix: String,
    /// What stands in the prefix's place at the real registry; empty where nothing changes.
    location: String,
    pub insecure: bool,
    pub blocked: bool,
    pub mirrors: Vec<Mirror>,
}

/// A `[[registry.mirror]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    location: String,
    pub insecure: bool,
    pub serves: super::Mirror,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry: Vec<RegistryTable>,
    /// Version 1.
    #[serde(default)]
    registries: Lists,
}

#[derive(Deserialize, Default)]
struct Lists {
    #[serde(default)]
    insecure: List,
    #[serde(default)]
    block: List,
}

#[derive(Deserialize, Default)]
struct List {
    #[serde(default)]
    registries: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

impl Registries {
    /// Parses a file's text; `path` (on the host) is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Registries, ConfigError> {
        let refused = |reason: String| ConfigError { path: path.to_owned(), reason };
        let file: File = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        let mut rules = Vec::new();
        for table in file.registry {
            rules.push(rule(table).map_err(refused)?);
        }
        let mut listed = |hosts: Vec<String>, blocked: bool| {
            for prefix in hosts {
                match rules.iter_mut().find(|rule| rule.prefix == prefix) {
                    Some(rule) if blocked => rule.blocked = true,
                    Some(rule) => rule.insecure = true,
                    None => rules.push(Rule {
                        prefix,
                        location: String::new(),
                        insecure: !blocked,
                        blocked,
                        mirrors: Vec::new(),
                    }),
                }
            }
        };
        listed(file.registries.insecure.registries, false);
        listed(file.registries.block.registries, true);
        Ok(Registries { rules })
    }

    /// Adds the tables of a file that is read later: they stand for those of the same prefix.
    pub fn add(&mut self, later: Registries) {
        self.rules.retain(|rule| later.rules.iter().all(|other| other.prefix != rule.prefix));
        self.rules.extend(later.rules);
    }

    /// The table for a name, `host[:port][/path]`, and how much of the name its prefix covers.
    pub(super) fn find(&self, name: &str) -> Option<(&Rule, usize)> {
        let covering = self.rules.iter().filter_map(|rule| Some((rule, rule.covers(name)?)));
        // The first of equals, as containers' does.
        covering.rev().max_by_key(|(_, covered)| *covered)
    }
}

fn rule(table: RegistryTable) -> Result<Rule, String> {
    let mut location = place(&table.location)?;
    let mut prefix = place(&table.prefix)?;
    if prefix.is_empty() {
        prefix.clone_from(&location);
    }
    if prefix.is_empty() {
        return Err("a [[registry]] has neither a prefix nor a location".to_owned());
    }
    let wild = prefix.starts_with("*.");
    if prefix.contains('*') && (!wild || prefix[2..].contains(['*', '/', ':', '@'])) {
        return Err(format!("prefix {prefix:?}: a wildcard stands only before a host, as in *.example.com"));
    }
    if location.is_empty() && !wild {
        return Err(format!("the [[registry]] of prefix {prefix:?} has no location"));
    }
    if location == prefix {
        location = String::new();
    }
    let mut mirrors = Vec::new();
    for mirror in table.mirror {
        let at = place(&mirror.location)?;
        if at.is_empty() {
            return Err(format!("a mirror of {prefix:?} has no location"));
        }
        let serves = match (mirror.pull_from_mirror.as_str(), table.mirror_by_digest_only) {
            ("", true) => super::Mirror::DigestOnly,
            ("" | "all", false) => super::Mirror::All,
            ("digest-only", false) => super::Mirror::DigestOnly,
            ("tag-only", false) => super::Mirror::TagOnly,
            (_, true) => {
                return Err(format!(
                    "mirror {at:?}: pull-from-mirror cannot stand beside mirror-by-digest-only of {prefix:?}"
                ));
            }
            (other, false) => {
                return Err(format!(
                    "mirror {at:?}: pull-from-mirror is {other:?}: all, digest-only or tag-only is wanted"
                ));
            }
        };
        mirrors.push(Mirror { location: at, insecure: mirror.insecure, serves });
    }
    Ok(Rule { prefix, location, insecure: table.insecure, blocked: table.blocked, mirrors })
}

fn place(text: &str) -> Result<String, String> {
    match text.contains("://") {
        true => Err(format!("{text:?} has a URL's scheme: only host[:port][/path] is wanted")),
        false => Ok(text.trim_end_matches('/').to_owned()),
    }
}

impl Rule {
    /// How many bytes of `name` the prefix covers.
    fn covers(&self, name: &str) -> Option<usize> {
        let end = match self.prefix.strip_prefix('*') {
            Some(suffix) => {
                let host = &name[..name.find(['/', ':', '@']).unwrap_or(name.len())];
                host.ends_with(suffix).then_some(host.len())?
            }
            None => name.starts_with(&self.prefix).then_some(self.prefix.len())?,
        };
        matches!(name.as_bytes().get(end), None | Some(b'/' | b':' | b'@')).then_some(end)
    }

    /// Where the repository called `name` is at the registry's own location: registry and path.
    pub fn relocated(&self, name: &str, covered: usize) -> Result<(String, String), String> {
        moved(&self.location, name, covered)
    }
}

impl Mirror {
    /// Where the repository called `name` is at this mirror: registry and path.
    pub fn relocated(&self, name: &str, covered: usize) -> Result<(String, String), String> {
        moved(&self.location, name, covered)
    }
}

fn moved(location: &str, name: &str, covered: usize) -> Result<(String, String), String> {
    let text = match location.is_empty() {
        true => name.to_owned(),
        false => format!("{location}{}", &name[covered..]),
    };
    let moved = Reference::parse(&text).map_err(|error| error.to_string())?;
    match moved.tag.is_none() && moved.digest.is_none() {
        true => Ok((moved.registry, moved.repository)),
        false => Err(format!("{text} is no repository")),
    }
}
