//! What somebody may have meant by a path that is not there.

/// How many names are offered.
const MOST: usize = 3;

/// Names like the first one of `path` that is not there, as whole paths, the nearest first. `names` tells what is in a
/// directory.
pub(super) fn names(path: &[u8], names: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<String> {
    let mut dir = Vec::new();
    for name in snapshot::copy::path::names(path) {
        let there = names(&dir);
        if there.iter().any(|other| other == name) {
            dir = snapshot::copy::path::join(&dir, name);
            continue;
        }
        let mut near: Vec<(usize, &Vec<u8>)> = there
            .iter()
            .filter_map(|other| {
                let distance = distance(&lower(name), &lower(other));
                // A third of the name may differ, and its extension.
                let alike = distance <= name.len().max(other.len()) / 3 || same_stem(name, other);
                alike.then_some((distance, other))
            })
            .collect();
        near.sort();
        let shown = |name: &Vec<u8>| {
            format!("{:?}", String::from_utf8_lossy(&snapshot::copy::path::join(&dir, name)))
        };
        return near.into_iter().take(MOST).map(|(_, name)| shown(name)).collect();
    }
    Vec::new()
}

fn lower(name: &[u8]) -> Vec<u8> {
    name.to_ascii_lowercase()
}

/// Whether two names differ in what comes after the first dot only.
fn same_stem(a: &[u8], b: &[u8]) -> bool {
    let stem = |name: &[u8]| name.split(|b| *b == b'.').next().map(<[u8]>::to_ascii_lowercase);
    stem(a) == stem(b) && stem(a).is_some_and(|stem| stem.len() > 2)
}

/// How many bytes have to be put in, taken out or exchanged to make `b` of `a`; neighbours that changed places count
/// as one.
fn distance(a: &[u8], b: &[u8]) -> usize {
    // Names are at most 255 bytes.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_first() {
        let there = |dir: &[u8]| -> Vec<Vec<u8>> {
            let names: &[&str] = match dir {
                b"" => &["src", "package.json", "package-lock.json", "README.md"],
                b"src" => &["main.rs", "mian.rs", "lib.rs"],
                _ => &[],
            };
            names.iter().map(|n| n.as_bytes().to_vec()).collect()
        };
        for (path, expected) in [
            ("packge.json", &["\"package.json\""][..]),
            ("readme.txt", &["\"README.md\""]),
            ("scr/main.rs", &["\"src\""]),
            ("src/man.rs", &["\"src/main.rs\"", "\"src/mian.rs\""]),
            ("zzz", &[]),
            ("src/main.rs", &[]),
        ] {
            assert_eq!(names(path.as_bytes(), there), expected, "{path}");
        }
    }
}
