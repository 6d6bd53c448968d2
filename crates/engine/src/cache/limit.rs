//! How large the build cache may grow: a setting of the store, kept to at the end of each build that ran something.
//!
//! Where nothing was set it is BuildKit's default policy: at most four fifths of the disk and 100 GB, a fifth of the
//! disk left free, but never less than a tenth of the disk or 10 GB. BuildKit's first rule, to drop cache mounts after
//! two days, is left out: they are the more dear the older they are, and the size is bounded anyhow.

use std::fmt;
use std::str::FromStr;

use store::CacheSpace;

use crate::{Engine, Error, Result};

/// The name of the setting.
const SETTING: &str = "cache.limit";
const GB: u64 = 1_000_000_000;

/// How large the build cache may grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheLimit {
    /// As BuildKit's default policy has it.
    #[default]
    Default,
    /// Bytes.
    Bytes(u64),
    /// Per cent of the disk, 1 to 100.
    Percent(u64),
    /// As the disk allows.
    Unlimited,
}

impl FromStr for CacheLimit {
    type Err = ();

    /// `default`, `none`, bytes, or `60%`.
    fn from_str(text: &str) -> std::result::Result<CacheLimit, ()> {
        match text {
            "default" => Ok(CacheLimit::Default),
            "none" => Ok(CacheLimit::Unlimited),
            _ => match text.strip_suffix('%') {
                Some(number) => match number.trim().parse() {
                    Ok(percent @ 1..=100) => Ok(CacheLimit::Percent(percent)),
                    _ => Err(()),
                },
                None => text.parse().map(CacheLimit::Bytes).map_err(|_| ()),
            },
        }
    }
}

impl fmt::Display for CacheLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheLimit::Default => f.write_str("default"),
            CacheLimit::Bytes(bytes) => write!(f, "{bytes}"),
            CacheLimit::Percent(percent) => write!(f, "{percent}%"),
            CacheLimit::Unlimited => f.write_str("none"),
        }
    }
}

impl CacheLimit {
    /// What it comes to on a disk of `disk` bytes; `None` for no limit.
    pub fn space(self, disk: u64) -> Option<CacheSpace> {
        match self {
            CacheLimit::Default => Some(CacheSpace {
                reserved: (disk / 10).min(10 * GB),
                max_used: (disk / 10 * 8).min(100 * GB),
                min_free: disk / 5,
            }),
            CacheLimit::Bytes(bytes) => Some(CacheSpace::at_most(bytes)),
            CacheLimit::Percent(percent) => Some(CacheSpace::at_most(disk / 100 * percent)),
            CacheLimit::Unlimited => None,
        }
    }
}

/// The store's setting.
pub fn limit(engine: &Engine) -> Result<CacheLimit> {
    match engine.store.setting(SETTING)? {
        None => Ok(CacheLimit::Default),
        // What another strake wrote and this one does not know is as good as nothing.
        Some(text) => Ok(text.parse().unwrap_or_default()),
    }
}

/// The bytes that the store's setting comes to at most; `None` for no limit.
pub fn most(engine: &Engine) -> Result<Option<u64>> {
    let disk = engine.store.disk_space().map_or(u64::MAX, |(disk, _)| disk);
    Ok(limit(engine)?.space(disk).map(|space| space.max_used))
}

/// Sets it; the next build keeps to it.
pub fn set_limit(engine: &Engine, limit: CacheLimit) -> Result<()> {
    let text = limit.to_string();
    Ok(engine.store.set_setting(SETTING, (limit != CacheLimit::Default).then_some(text.as_str()))?)
}

/// Drops of the build cache, least recently used first, what is over the limit; never what is in use, or what an image
/// needs. Returns the bytes that came free.
pub fn keep_within_limit(engine: &Engine) -> Result<u64> {
    let disk = engine.store.disk_space().map_or(u64::MAX, |(disk, _)| disk);
    match limit(engine)?.space(disk) {
        Some(space) => Ok(engine.store.keep_cache_within(&space).map_err(Error::from)?.freed()),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_limit_comes_to() {
        for text in ["default", "none", "1000", "60%"] {
            assert_eq!(text.parse::<CacheLimit>().unwrap().to_string(), text);
        }
        for text in ["", "x", "0%", "101%", "-1"] {
            assert!(text.parse::<CacheLimit>().is_err(), "{text}");
        }
        let space = |limit: CacheLimit| limit.space(1000 * GB).unwrap();
        assert_eq!(space(CacheLimit::Percent(60)), CacheSpace::at_most(600 * GB));
        let default = space(CacheLimit::Default);
        assert_eq!((default.reserved, default.max_used, default.min_free), (10 * GB, 100 * GB, 200 * GB));
        // Much is free: as much as is allowed; little is: what is lacking goes, down to what is reserved.
        assert_eq!(default.keep(150 * GB, 300 * GB), 100 * GB);
        assert_eq!(default.keep(50 * GB, 190 * GB), 40 * GB);
        assert_eq!(default.keep(50 * GB, 0), 10 * GB);
        assert_eq!(default.keep(5 * GB, 0), 10 * GB);
    }
}
