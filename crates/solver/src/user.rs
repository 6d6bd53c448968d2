//! Users and groups of an image, looked up as Docker does: names in the image's own `/etc/passwd`
//! and `/etc/group`, numbers taken as they are.

use std::collections::BTreeSet;

/// Why a user cannot be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No such name in `/etc/passwd`.
    #[error("unable to find user {0}: no matching entries in passwd file of the image")]
    NoUser(String),
    /// No such name in `/etc/group`.
    #[error("unable to find group {0}: no matching entries in group file of the image")]
    NoGroup(String),
    /// A number out of range.
    #[error("uids and gids must be in range 0-2147483647: {0}")]
    Range(String),
}

/// What a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id in the image.
    pub uid: u32,
    /// Group id in the image.
    pub gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    /// Home directory, a path in the image; `/` where the user has no entry.
    pub home: String,
}

/// One line of `/etc/passwd`.
struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Looks `spec` (`user[:group]`, empty for root) up in the texts of `/etc/passwd` and `/etc/group`.
///
/// Supplementary groups are those that name the user, unless `spec` names a group itself, as in
/// runc's `GetExecUser`.
pub fn lookup(spec: &str, passwd: &str, group: &str) -> Result<User, Error> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = id(user)?;
    let entry = lines(passwd).filter_map(passwd_line).find(|p| p.name == user || Some(p.uid) == number);
    let (uid, mut gid, home, name) = match (&entry, number) {
        (Some(p), _) => (p.uid, p.gid, p.home.to_owned(), Some(p.name)),
        (None, Some(uid)) => (uid, 0, "/".to_owned(), None),
        (None, None) => return Err(Error::NoUser(user.to_owned())),
    };
    let mut groups = BTreeSet::new();
    match wanted_group {
        Some(wanted) => gid = group_id(wanted, group)?,
        None => {
            for (_, group_gid, members) in lines(group).filter_map(group_line) {
                if name.is_some_and(|name| members.split(',').any(|m| m == name)) {
                    groups.insert(group_gid);
                }
            }
        }
    }
    // The primary group is a supplementary one too, so that a setgid program cannot drop it (CVE-2022-36109).
    groups.insert(gid);
    let home = if home.is_empty() { "/".to_owned() } else { home };
    Ok(User { uid, gid, groups: groups.into_iter().collect(), home })
}

/// The numbers of `owner` (`user[:group]`) for a file: without a group, the user's own number as
/// Docker's `--chown` has it.
pub fn owner(spec: &str, passwd: &str, group: &str) -> Result<(u32, u32), Error> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    let uid = match id(user)? {
        Some(uid) => uid,
        None if user.is_empty() => 0,
        None => {
            let entry = lines(passwd).filter_map(passwd_line).find(|p| p.name == user);
            entry.ok_or_else(|| Error::NoUser(user.to_owned()))?.uid
        }
    };
    let gid = match wanted_group {
        Some(wanted) => group_id(wanted, group)?,
        None => match id(user)? {
            Some(number) => number,
            None => lines(passwd).filter_map(passwd_line).find(|p| p.name == user).map_or(0, |p| p.gid),
        },
    };
    Ok((uid, gid))
}

fn group_id(wanted: &str, group: &str) -> Result<u32, Error> {
    let entry = lines(group).filter_map(group_line).find(|(name, _, _)| *name == wanted);
    match (entry, id(wanted)?) {
        (Some((_, gid, _)), _) | (None, Some(gid)) => Ok(gid),
        (None, None) => Err(Error::NoGroup(wanted.to_owned())),
    }
}

/// The number that `text` is, if it is one.
fn id(text: &str) -> Result<Option<u32>, Error> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(number) if number <= i32::MAX as u32 => Ok(Some(number)),
        _ => Err(Error::Range(text.to_owned())),
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn passwd_line(line: &str) -> Option<Passwd<'_>> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Passwd { name, uid, gid, home: fields.nth(1).unwrap_or("") })
}

fn group_line(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some((name, gid, fields.next().unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\n# note\napp:x:1000:1001::/home/app:/bin/sh\nbare:x:7:8\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\naudio:x:29:app,other\nvideo:x:44:app\n";

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> Result<User, Error> {
        Ok(User { uid, gid, groups: groups.to_vec(), home: home.to_owned() })
    }

    #[test]
    fn looked_up_as_runc_does() {
        for (spec, expected) in [
            ("", user(0, 0, &[0], "/root")),
            ("root", user(0, 0, &[0], "/root")),
            ("app", user(1000, 1001, &[29, 44, 1001], "/home/app")),
            ("1000", user(1000, 1001, &[29, 44, 1001], "/home/app")),
            ("app:audio", user(1000, 29, &[29], "/home/app")),
            ("app:77", user(1000, 77, &[77], "/home/app")),
            ("4711", user(4711, 0, &[0], "/")),
            ("4711:audio", user(4711, 29, &[29], "/")),
            ("bare", user(7, 8, &[8], "/")),
            ("nobody", Err(Error::NoUser("nobody".into()))),
            ("app:none", Err(Error::NoGroup("none".into()))),
            ("99999999999", Err(Error::Range("99999999999".into()))),
        ] {
            assert_eq!(lookup(spec, PASSWD, GROUP), expected, "{spec}");
        }
    }

    #[test]
    fn owners_of_copied_files() {
        assert_eq!(owner("app", PASSWD, GROUP), Ok((1000, 1001)));
        assert_eq!(owner("55", PASSWD, GROUP), Ok((55, 55)));
        assert_eq!(owner("app:audio", PASSWD, GROUP), Ok((1000, 29)));
        assert_eq!(owner("55:66", "", ""), Ok((55, 66)));
        assert_eq!(owner("who", PASSWD, GROUP), Err(Error::NoUser("who".into())));
    }
}
