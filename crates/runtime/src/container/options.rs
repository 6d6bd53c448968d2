//! Mount options by name, as the runtime spec's table lists them (config.md, "Linux mount options").

use crate::Error;
use crate::spec::Mount;

/// The options of one mount, sorted by who takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `MOUNT_ATTR_*` bits to set on the mount.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear, for binds: `rw`, `exec`, `suid`.
    pub clear: u64,
    /// The same, for everything below as well: `rro`.
    pub recursive_set: u64,
    /// As `clear`, for everything below as well.
    pub recursive_clear: u64,
    /// `MS_PRIVATE` and its like, and whether for everything below.
    pub propagation: Option<(u64, bool)>,
    /// Whether it is a bind mount with everything below.
    pub recursive_bind: bool,
    /// Flags of the file system: `sync`.
    pub flags: Vec<String>,
    /// The file system's own options: `size=64m`.
    pub data: Vec<(String, Option<String>)>,
}

enum Effect {
    Set(u64),
    Clear(u64),
}

use Effect::{Clear, Set};

fn attribute(name: &str) -> Option<Effect> {
    Some(match name {
        "ro" => Set(libc::MOUNT_ATTR_RDONLY),
        "rw" => Clear(libc::MOUNT_ATTR_RDONLY),
        "nosuid" => Set(libc::MOUNT_ATTR_NOSUID),
        "suid" => Clear(libc::MOUNT_ATTR_NOSUID),
        "nodev" => Set(libc::MOUNT_ATTR_NODEV),
        "dev" => Clear(libc::MOUNT_ATTR_NODEV),
        "noexec" => Set(libc::MOUNT_ATTR_NOEXEC),
        "exec" => Clear(libc::MOUNT_ATTR_NOEXEC),
        "noatime" => Set(libc::MOUNT_ATTR_NOATIME),
        "strictatime" => Set(libc::MOUNT_ATTR_STRICTATIME),
        "atime" | "relatime" | "norelatime" | "nostrictatime" => Clear(libc::MOUNT_ATTR__ATIME),
        "nodiratime" => Set(libc::MOUNT_ATTR_NODIRATIME),
        "diratime" => Clear(libc::MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => Set(libc::MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow" => Clear(libc::MOUNT_ATTR_NOSYMFOLLOW),
        _ => return None,
    })
}

/// Sorts `mount`'s options.
///
/// # Errors
/// On those that we do not do: id-mapped mounts, `remount`, `tmpcopyup`.
pub(crate) fn parse(mount: &Mount) -> Result<Options, Error> {
    let mut options = Options::default();
    for option in &mount.options {
        let apply = |effect: Effect, set: &mut u64, clear: &mut u64| match effect {
            Set(bit) => {
                // The access time modes are one field of several bits, not bits of their own.
                if bit & libc::MOUNT_ATTR__ATIME != 0 {
                    *set &= !libc::MOUNT_ATTR__ATIME;
                    *clear |= libc::MOUNT_ATTR__ATIME;
                }
                *set |= bit;
                if bit & libc::MOUNT_ATTR__ATIME == 0 {
                    *clear &= !bit;
                }
            }
            Clear(bit) => {
                *set &= !bit;
                *clear |= bit;
            }
        };
        if let Some(effect) = attribute(option) {
            apply(effect, &mut options.set, &mut options.clear);
            continue;
        }
        let propagation = |name: &str| match name {
            "shared" => Some(libc::MS_SHARED),
            "slave" => Some(libc::MS_SLAVE),
            "private" => Some(libc::MS_PRIVATE),
            "unbindable" => Some(libc::MS_UNBINDABLE),
            _ => None,
        };
        if let Some(kind) = propagation(option) {
            options.propagation = Some((kind, false));
            continue;
        }
        if let Some(rest) = option.strip_prefix('r') {
            if let Some(kind) = propagation(rest) {
                options.propagation = Some((kind, true));
                continue;
            }
            if let Some(effect) = attribute(rest) {
                apply(effect, &mut options.recursive_set, &mut options.recursive_clear);
                continue;
            }
        }
        match option.as_str() {
            "" | "bind" | "defaults" | "async" | "loud" | "nomand" | "noiversion" | "nolazytime" => {}
            "rbind" => options.recursive_bind = true,
            "sync" | "dirsync" | "mand" | "lazytime" | "iversion" | "silent" => {
                options.flags.push(option.clone());
            }
            "remount" | "idmap" | "ridmap" | "tmpcopyup" => {
                return Err(Error::Spec(format!(
                    "mount {}: the option \"{option}\" is not supported by the embedded runtime",
                    mount.destination.display()
                )));
            }
            data => options.data.push(match data.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (data.to_owned(), None),
            }),
        }
    }
    Ok(options)
}

impl Options {
    /// The file system's option `key`, if given a value.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.data.iter().rev().find(|(k, _)| k == key)?.1.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[&str]) -> Options {
        parse(&Mount::new("/x", "tmpfs", "tmpfs", list)).expect("known options")
    }

    #[test]
    fn sorts() {
        let o = options(&["nosuid", "noexec", "nodev", "mode=1777", "size=64m", "ro"]);
        assert_eq!(o.set, 0b1111);
        assert_eq!(o.data[0], ("mode".into(), Some("1777".into())));
        assert_eq!(o.data.len(), 2);

        let o = options(&["rbind", "rprivate", "ro"]);
        assert!(o.recursive_bind);
        assert_eq!(o.propagation, Some((libc::MS_PRIVATE, true)));
        assert_eq!((o.set, o.recursive_set), (libc::MOUNT_ATTR_RDONLY, 0));

        let o = options(&["rro", "rnoexec"]);
        assert_eq!(o.recursive_set, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC);

        // The last one wins.
        let o = options(&["ro", "rw"]);
        assert_eq!((o.set, o.clear), (0, libc::MOUNT_ATTR_RDONLY));
        let o = options(&["noatime", "strictatime"]);
        assert_eq!(o.set, libc::MOUNT_ATTR_STRICTATIME);
        assert_eq!(o.clear, libc::MOUNT_ATTR__ATIME);
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for option in ["idmap", "remount", "tmpcopyup"] {
            assert!(parse(&Mount::new("/x", "bind", "/y", &[option])).is_err(), "{option}");
        }
    }
}
