//! "Did you mean": the nearest of a few known words to one that is not known.
//!
//! The measure is BuildKit's: at most two letters added, dropped or changed; letters swapped with
//! their neighbour count once here, so that `FORM` finds `FROM`.

/// Longer words are never typing mistakes, and the measure takes quadratic time.
const LONGEST: usize = 32;

/// The candidate nearest to `word`, if one is near; none if `word` is itself a candidate.
/// Upper and lower case count as different.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearer_than(3, word, candidates)
}

/// The candidate that is but one letter, or one swap of neighbours, away from `word`; as [`nearest`]
/// else.
pub(crate) fn one_off<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearer_than(2, word, candidates)
}

fn nearer_than<'a>(
    limit: usize,
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let mut best = None;
    // A change of everything is no resemblance.
    let mut limit = word.chars().count().min(limit);
    for candidate in candidates {
        if candidate == word {
            return None;
        }
        if candidate.len() > LONGEST {
            continue;
        }
        let distance = distance(word, candidate);
        if distance < limit {
            limit = distance;
            best = Some(candidate);
        }
    }
    best
}

/// The number of insertions, removals, changes and swaps of neighbours between two words.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let mut last = None;
    for (row, a) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let mut cost =
                (above[column] + usize::from(a != *b)).min(above[column + 1] + 1).min(current[column] + 1);
            if column > 0 && last == Some(*b) && a == right[column - 1] {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut above, current);
        last = Some(a);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        let known = ["FROM", "RUN", "COPY", "ENTRYPOINT"];
        assert_eq!(nearest("FORM", known), Some("FROM"));
        assert_eq!(nearest("RUNN", known), Some("RUN"));
        assert_eq!(nearest("ENTRYPONT", known), Some("ENTRYPOINT"));
        assert_eq!(nearest("RUN", known), None);
        assert_eq!(nearest("apt-get", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"R".repeat(1 << 20), known), None);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("abcd", "acbd"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
