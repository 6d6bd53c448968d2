//! The patterns of `--exclude` and `--parents`, in order, with what `!` takes back: moby's `patternmatcher`.

use graph::Pattern;

/// Patterns in order.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<(Pattern, bool)>);

/// Which patterns fit a directory or one above it; handed down to what is in it.
#[derive(Debug, Clone, Default)]
pub struct Above(Vec<bool>);

impl Patterns {
    /// Reads patterns; empty ones count for nothing.
    ///
    /// # Errors
    /// The first one that cannot be read, and what is wrong with it.
    pub fn parse<'p>(
        patterns: impl IntoIterator<Item = &'p str>,
    ) -> Result<Patterns, (String, &'static str)> {
        let mut all = Vec::new();
        for text in patterns {
            let trimmed = text.trim();
            if trimmed.is_empty() {
                continue;
            }
            let cleaned = clean(trimmed);
            let (pattern, negated) = match cleaned.strip_prefix('!') {
                Some("") => return Err((text.to_owned(), "illegal exclusion pattern: \"!\"")),
                Some(rest) => (rest, true),
                None => (cleaned.as_str(), false),
            };
            let parsed = Pattern::parse(pattern.as_bytes()).map_err(|message| (text.to_owned(), message))?;
            all.push((parsed, negated));
        }
        Ok(Patterns(all))
    }

    /// Whether `path` fits, and what is to be known below it. `above` is what came out for its directory; the default
    /// at the root.
    pub fn fits(&self, path: &[u8], above: &Above) -> (bool, Above) {
        let mut fits = false;
        let mut here = vec![false; self.0.len()];
        for (index, (pattern, negated)) in self.0.iter().enumerate() {
            let inherited = above.0.get(index).copied().unwrap_or(false);
            // One that could not change anything is not asked, and hands nothing down either.
            if !inherited && (*negated != fits || !pattern.matches(path)) {
                continue;
            }
            here[index] = true;
            fits = !negated;
        }
        (fits, Above(here))
    }
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(patterns: &[&str], path: &str) -> bool {
        let patterns = Patterns::parse(patterns.iter().copied()).unwrap();
        let mut above = Above::default();
        let mut result = false;
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            (result, above) = patterns.fits(&path.as_bytes()[..at], &above);
        }
        result
    }

    #[test]
    fn order_and_directories_above() {
        for (patterns, path, expected) in [
            (&["bar"][..], "bar/foo", true),
            (&["bar", "!bar/foo"], "bar/foo", false),
            (&["bar", "!bar/foo"], "bar/baz", true),
            (&["bar*", "!bar/baz"], "bar/baz/x", false),
            (&["**", "!bar/baz", "bar/baz/foo3"], "bar/baz/foo3", true),
            (&["!a", "a"], "a", true),
            (&["*.md", " ", "./x/../y/"], "y/z", true),
            (&["**/foo3"], "bar/baz/foo3", true),
            (&["*.txt"], "a/b.txt", false),
        ] {
            assert_eq!(excluded(patterns, path), expected, "{patterns:?} {path}");
        }
        assert_eq!(Patterns::parse(["a", "!"]).unwrap_err().0, "!");
        assert_eq!(Patterns::parse(["["]).unwrap_err(), ("[".to_owned(), "syntax error in pattern"));
    }
}
