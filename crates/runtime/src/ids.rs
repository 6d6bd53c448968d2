//! Which ids a user namespace of ours can have: the ranges that /etc/subuid and /etc/subgid give a user, and the lines
//! of an id map.
//!
//! Only text and numbers; [`crate::namespace`] writes maps. Names from a directory service (the `subid` line of
//! nsswitch.conf) are not asked for ranges, as no file lists them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More lines than this the kernel does not take in one map (`UID_GID_MAP_MAX_EXTENTS`).
const MAX_LINES: usize = 340;

/// The most that is read of a file that another may have written.
const MAX_FILE: u64 = 1 << 20;

/// `count` ids from `start` on, on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// One line of /proc/PID/uid_map: `count` ids from `inside` on are those from `outside` on in the parent namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// The lines of an id map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map(pub(crate) Vec<Line>);

impl Map {
    /// Id 0 is `id`, and no other exists.
    pub(crate) fn single(id: u32) -> Map {
        Map(vec![Line { inside: 0, outside: id, count: 1 }])
    }

    /// Id 0 is `id`; 1 and up are the ids of the ranges, in their order.
    pub(crate) fn with_ranges(id: u32, ranges: &[Range]) -> Map {
        let mut map = Map::single(id);
        let mut next: u32 = 1;
        for range in ranges.iter().take(MAX_LINES - 1) {
            // The last id is reserved (-1 means "no id").
            let count = range.count.min(u32::MAX - next);
            if count == 0 {
                break;
            }
            map.0.push(Line { inside: next, outside: range.start, count });
            next += count;
        }
        map
    }

    /// This process's own map, as it is now.
    pub(crate) fn own(file: &str) -> io::Result<Map> {
        Ok(Map::parse(&read_bounded(Path::new(file))?))
    }

    /// Every id that exists here, mapped to itself in a namespace below.
    pub(crate) fn identity(&self) -> Map {
        Map(self.0.iter().map(|line| Line { outside: line.inside, ..*line }).collect())
    }

    fn parse(text: &str) -> Map {
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
            let mut next = || numbers.next().flatten();
            Some(Line { inside: next()?, outside: next()?, count: next()? })
        };
        Map(text.lines().filter_map(line).collect())
    }

    /// How many ids there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|line| u64::from(line.count)).sum()
    }

    /// The arguments of newuidmap(1) after the pid.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|line| [line.inside, line.outside, line.count]).map(|n| n.to_string())
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { inside, outside, count } in &self.0 {
            writeln!(f, "{inside} {outside} {count}")?;
        }
        Ok(())
    }
}

/// The ranges that `file` (subuid(5), subgid(5)) gives the user, by name or by number. A missing file gives none.
pub(crate) fn ranges(file: &Path, uid: u32, name: Option<&str>) -> io::Result<Vec<Range>> {
    match read_bounded(file) {
        Ok(text) => Ok(parse_ranges(&text, uid, name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn parse_ranges(text: &str, uid: u32, name: Option<&str>) -> Vec<Range> {
    let number = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != number && Some(owner) != name {
            return None;
        }
        let start: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let fits = start.checked_add(count).is_some();
        (fits && count > 0 && fields.next().is_none()).then_some(Range { start, count })
    };
    text.lines().filter_map(range).collect()
}

/// Reads a small text file, tolerating what is not UTF-8.
pub(crate) fn read_bounded(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_name_and_by_number() {
        let text = "root:1000000:65536\ntester:100000:65536\n# a comment\n1001:300000:10\nother:5:5\n";
        let found = parse_ranges(text, 1001, Some("tester"));
        assert_eq!(found, [Range { start: 100_000, count: 65536 }, Range { start: 300_000, count: 10 }]);
        assert_eq!(parse_ranges(text, 1001, None), [Range { start: 300_000, count: 10 }]);
        assert_eq!(parse_ranges(text, 7, Some("nobody")), []);
    }

    #[test]
    fn malformed_ranges_are_passed_over() {
        for line in
            ["t", "t:", "t:1", "t:1:", "t:x:1", "t:1:0", "t:4294967295:2", "t:1:2:3", "t:-1:5", ":1:2"]
        {
            assert_eq!(parse_ranges(line, 1, Some("t")), [], "{line}");
        }
    }

    #[test]
    fn a_map_starts_with_the_user_and_goes_on_with_the_ranges() {
        let ranges = [Range { start: 100_000, count: 65536 }, Range { start: 300_000, count: 10 }];
        let map = Map::with_ranges(1001, &ranges);
        assert_eq!(map.to_string(), "0 1001 1\n1 100000 65536\n65537 300000 10\n");
        assert_eq!(map.len(), 65547);
        assert_eq!(map.arguments().collect::<Vec<_>>()[..4], ["0", "1001", "1", "1"]);
        assert_eq!(Map::parse(&map.to_string()), map);
    }

    #[test]
    fn identity_keeps_what_exists() {
        let map = Map::parse("         0       1000          1\n         1     100000      65536\n");
        assert_eq!(map.identity().to_string(), "0 0 1\n1 1 65536\n");
    }

    #[test]
    fn a_map_never_reaches_the_last_id() {
        let map =
            Map::with_ranges(0, &[Range { start: 1, count: u32::MAX - 1 }, Range { start: 1, count: 9 }]);
        assert_eq!(map.0.len(), 2);
        assert_eq!(map.0[1].inside + (map.0[1].count - 1), u32::MAX - 1);
    }
}
