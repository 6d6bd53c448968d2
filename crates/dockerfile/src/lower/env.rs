//! Ordered variables: the environment of a stage, and the arguments it declared.
//!
//! Both keep each name once. They differ in what a second assignment does to the order, which is
//! seen in cache keys and in history: it moves an environment variable to the end and leaves an
//! argument where it was.

use std::collections::BTreeMap;

use crate::expand::Variables;

/// Environment variables in the order in which they were last set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    entries: BTreeMap<String, (u64, String)>,
    next: u64,
}

impl Env {
    /// Sets `name`, moving it to the end.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.entries.insert(name.into(), (self.next, value.into()));
        self.next += 1;
    }

    /// Bytes that a copy of it takes.
    pub(crate) fn size(&self) -> usize {
        self.entries.iter().map(|(name, (_, value))| name.len() + value.len() + 2).sum()
    }

    /// The variables in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut all: Vec<_> = self.entries.iter().map(|(name, (at, value))| (*at, name, value)).collect();
        all.sort_unstable_by_key(|(at, ..)| *at);
        all.into_iter().map(|(_, name, value)| (name.as_str(), value.as_str()))
    }

    /// The variables in order, as `NAME=value`.
    pub(crate) fn to_vec(&self) -> Vec<String> {
        self.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

impl Variables for Env {
    fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|(_, value)| value.as_str())
    }
    fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }
}

/// The arguments that a stage declared, in the order in which they were first declared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args {
    names: Vec<String>,
    values: BTreeMap<String, Option<String>>,
}

impl Args {
    /// Declares `name`, with its value where it has one.
    pub(crate) fn declare(&mut self, name: &str, value: Option<String>) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.names.push(name.to_owned());
        }
    }

    /// Whether `name` was declared.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The arguments in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> {
        self.names.iter().map(|name| (name.as_str(), self.values.get(name).and_then(|v| v.as_deref())))
    }
}

/// Splits `NAME=value`; without `=` the value is empty.
pub(crate) fn pair(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_moves_and_an_argument_stays() {
        let mut env = Env::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
            env.set(name, value);
        }
        assert_eq!(env.to_vec(), ["B=2", "A=3"]);
        assert_eq!(Variables::get(&env, "A"), Some("3"));
        let mut args = Args::default();
        for (name, value) in [("A", Some("1")), ("B", None), ("A", None)] {
            args.declare(name, value.map(str::to_owned));
        }
        assert_eq!(args.iter().collect::<Vec<_>>(), [("A", None), ("B", None)]);
    }
}
