//! Cache keys: what a result depends on, hashed.
//!
//! A key is the SHA-256 of a list of named parts; the parts themselves are kept in the record, so
//! that a miss can be explained by the part that differs. A *fast* key takes its inputs by ChainID;
//! a *slow* key takes them by the content of what the step reads from them.

use oci::{ChainId, Digest, Hasher};
use serde::{Deserialize, Serialize};

/// Bumped when the same step would give other bytes than before.
const VERSION: &str = "1";

/// The named parts of a key, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    parts: Vec<(String, String)>,
}

impl Key {
    /// A key of a step on `base`: `definition` is the operation's serialised form.
    pub fn new(kind: &str, definition: String, base: Option<&ChainId>, epoch: Option<i64>) -> Key {
        let mut key = Key { parts: vec![("version".into(), VERSION.into()), ("kind".into(), kind.into())] };
        key.part("definition", definition);
        key.part("base", chain_text(base));
        key.part("epoch", epoch.map_or_else(|| "none".to_owned(), |e| e.to_string()));
        key
    }

    /// Adds a part.
    pub fn part(&mut self, name: &str, value: String) {
        self.parts.push((name.to_owned(), value));
    }

    /// Adds an input's tree, by ChainID.
    pub fn tree(&mut self, input: usize, chain: Option<&ChainId>) {
        self.part(&format!("input {input}"), chain_text(chain));
    }

    /// The trees by ChainID in which `known` differs from this key, by number of the input, with what `known` has; `None`
    /// where it differs in anything else, or in nothing.
    pub fn other_trees(&self, known: &Key) -> Option<Vec<(usize, ChainId)>> {
        if self.parts.len() != known.parts.len() {
            return None;
        }
        let mut trees = Vec::new();
        for ((name, value), (known_name, known_value)) in self.parts.iter().zip(&known.parts) {
            if name != known_name {
                return None;
            }
            if value != known_value {
                let number = name.strip_prefix("input ")?.parse().ok()?;
                trees.push((number, ChainId(known_value.parse().ok()?)));
            }
        }
        (!trees.is_empty()).then_some(trees)
    }

    /// Reads what [`Key::to_json`] wrote.
    pub fn from_json(text: &str) -> Option<Key> {
        Some(Key { parts: serde_json::from_str(text).ok()? })
    }

    /// The digest of all parts.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for (name, value) in &self.parts {
            // Lengths first, so that no two lists of parts read the same.
            hasher.update(format!("{}:{name}={}:", name.len(), value.len()).as_bytes());
            hasher.update(value.as_bytes());
        }
        hasher.finish()
    }

    /// The parts as JSON, for the record.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.parts).expect("because strings always serialise")
    }
}

fn chain_text(chain: Option<&ChainId>) -> String {
    chain.map_or_else(|| "scratch".to_owned(), |c| c.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_changes_the_key() {
        let base = ChainId(Digest::sha256(b"base"));
        let key = |definition: &str, base: Option<&ChainId>, epoch| {
            Key::new("exec", definition.to_owned(), base, epoch).digest()
        };
        let first = key("a", None, None);
        assert_eq!(first, key("a", None, None));
        assert_ne!(first, key("b", None, None));
        assert_ne!(first, key("a", Some(&base), None));
        assert_ne!(first, key("a", None, Some(0)));
        let mut more = Key::new("exec", "a".into(), None, None);
        more.tree(1, Some(&base));
        assert_ne!(first, more.digest());
        let mut other = Key::new("exec", "a".into(), None, None);
        let tree = ChainId(Digest::sha256(b"other"));
        other.tree(1, Some(&tree));
        let other = Key::from_json(&other.to_json()).unwrap();
        assert_eq!(more.other_trees(&other), Some(vec![(1, tree)]));
        assert_eq!(more.other_trees(&more), None);
        let mut elsewhere = Key::new("exec", "b".into(), None, None);
        elsewhere.tree(1, Some(&base));
        assert_eq!(more.other_trees(&elsewhere), None);
    }
}
