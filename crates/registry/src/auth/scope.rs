//! What a token is to allow: `type:name:action,action`, several separated by spaces (distribution's
//! "Token Scope Documentation").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The most resources in a set: a challenge that asks for more is cut.
const COUNT_LIMIT: usize = 64;

/// A set of permissions, in one order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes {
    /// Actions by `type:name`.
    resources: BTreeMap<String, BTreeSet<String>>,
}

impl Scopes {
    /// Permission for `actions` on a repository.
    pub fn repository(name: &str, actions: &[&str]) -> Scopes {
        let actions = actions.iter().map(|&a| a.to_owned()).collect();
        Scopes { resources: BTreeMap::from([(format!("repository:{name}"), actions)]) }
    }

    /// Permission to list the registry's repositories.
    pub fn catalog() -> Scopes {
        Scopes::parse("registry:catalog:*")
    }

    /// Parses scopes; what is none is left out.
    pub fn parse(text: &str) -> Scopes {
        let mut scopes = Scopes::default();
        for word in text.split_ascii_whitespace().take(COUNT_LIMIT) {
            // A name may have a port in it, actions have no colon.
            let Some((resource, actions)) = word.rsplit_once(':') else { continue };
            if !resource.contains(':') || !word.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
                continue;
            }
            let actions = actions.split(',').filter(|a| !a.is_empty()).map(str::to_owned);
            scopes.resources.entry(resource.to_owned()).or_default().extend(actions);
        }
        scopes
    }

    /// Both sets.
    pub fn union(mut self, other: &Scopes) -> Scopes {
        for (resource, actions) in &other.resources {
            let known = self.resources.entry(resource.clone()).or_default();
            known.extend(actions.iter().cloned());
        }
        while self.resources.len() > COUNT_LIMIT {
            self.resources.pop_last();
        }
        self
    }

    /// Whether everything in `other` is in this set.
    pub fn covers(&self, other: &Scopes) -> bool {
        other.resources.iter().all(|(resource, actions)| {
            self.resources.get(resource).is_some_and(|known| known.is_superset(actions))
        })
    }

    /// Each resource as a `scope` parameter has it.
    pub fn each(&self) -> impl Iterator<Item = String> {
        self.resources.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.each().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let read = Scopes::repository("a/b", &["pull"]);
        let write = Scopes::repository("a/b", &["push", "pull"]);
        assert_eq!(write.to_string(), "repository:a/b:pull,push");
        assert!(write.covers(&read) && !read.covers(&write) && read.covers(&Scopes::default()));
        let mount = write.clone().union(&Scopes::repository("c", &["pull"]));
        assert_eq!(mount.to_string(), "repository:a/b:pull,push repository:c:pull");
        assert!(mount.covers(&write) && !write.covers(&mount));
        assert_eq!(read.union(&write), write);
    }

    #[test]
    fn parses() {
        for (text, whole) in [
            ("repository:a:pull", "repository:a:pull"),
            ("repository:h:5000/a:pull,push,pull", "repository:h:5000/a:pull,push"),
            ("  registry:catalog:*   x y:z ", "registry:catalog:*"),
            ("repository:a:", "repository:a:"),
            ("repository:a:pull repository:a:push", "repository:a:pull,push"),
            ("repository:ä:pull", ""),
        ] {
            assert_eq!(Scopes::parse(text).to_string(), whole, "{text}");
        }
    }
}
