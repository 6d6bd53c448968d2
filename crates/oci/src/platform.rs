//! Platforms: operating system, architecture and variant, in Go's names, compared as
//! containerd's `platforms` package does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture: `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// Operating system: `linux`, `windows`, …
    pub os: String,
    /// Version of the operating system (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features of the operating system (Windows).
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the architecture: `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {text:?}: {reason} (write os/architecture[/variant], such as linux/amd64)")]
pub struct PlatformError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Platform {
    /// A platform from its parts, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Platform {
        Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            os_version: String::new(),
            os_features: Vec::new(),
        }
        .normalized()
    }

    /// The platform of this machine.
    pub fn host() -> Platform {
        Platform::new(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    /// The same platform in the usual spelling: `x86_64` is `amd64`, `aarch64` and `arm64/v8` are
    /// `arm64`, `arm` alone is `arm/v7`.
    pub fn normalized(mut self) -> Platform {
        self.os = self.os.to_lowercase();
        if self.os == "macos" {
            self.os = "darwin".to_owned();
        }
        let architecture = self.architecture.to_lowercase();
        let variant = self.variant.to_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "x86" | "386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", v) => ("arm64", v),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7" | "v7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            (a, v) => (a, v),
        };
        (self.architecture, self.variant) = (architecture.to_owned(), variant.to_owned());
        self
    }

    /// How well an image for `self` serves `wanted`: `None` not at all, 0 exactly, more for an
    /// older variant of the same architecture (32-bit arm on arm64 last).
    pub fn rank(&self, wanted: &Platform) -> Option<u32> {
        let (have, want) = (self.clone().normalized(), wanted.clone().normalized());
        if have.os != want.os {
            return None;
        }
        let version = |p: &Platform| match (p.architecture.as_str(), p.variant.as_str()) {
            ("amd64", "") => Some(1),
            ("arm64", "") => Some(8),
            (_, v) => v.strip_prefix('v').and_then(|n| n.split('.').next()?.parse::<u32>().ok()),
        };
        match (have.architecture.as_str(), want.architecture.as_str()) {
            (a, b) if a == b => {
                if have.variant == want.variant {
                    return Some(0);
                }
                let (h, w) = (version(&have)?, version(&want)?);
                (h <= w).then(|| w - h + 1)
            }
            ("arm", "arm64") => Some(100 + 8u32.saturating_sub(version(&have)?)),
            ("386", "amd64") => Some(100),
            _ => None,
        }
    }

    /// Whether an image for `self` runs where `wanted` is asked for.
    pub fn matches(&self, wanted: &Platform) -> bool {
        self.rank(wanted).is_some()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let bad = |reason| PlatformError { text: text.chars().take(200).collect(), reason };
        let parts: Vec<&str> = text.split('/').collect();
        let ok = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(ok) {
            return Err(bad("an empty part, or a character that no platform has"));
        }
        let host = Platform::host();
        match parts.as_slice() {
            ["local"] => Ok(host),
            [one] => match one.to_lowercase().as_str() {
                "linux" | "windows" | "darwin" | "freebsd" => {
                    Ok(Platform::new(one, &host.architecture, &host.variant))
                }
                "amd64" | "x86_64" | "arm64" | "aarch64" | "arm" | "armhf" | "armel" | "386" | "i386"
                | "riscv64" | "ppc64le" | "s390x" | "mips64le" | "loong64" => {
                    Ok(Platform::new(&host.os, one, ""))
                }
                _ => Err(bad("neither an operating system nor an architecture")),
            },
            [os, architecture] => Ok(Platform::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Platform::new(os, architecture, variant)),
            _ => Err(bad("more than three parts")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(have: &str, want: &str) -> Option<u32> {
        have.parse::<Platform>().unwrap().rank(&want.parse().unwrap())
    }

    #[test]
    fn variants_fall_back_to_older_ones() {
        assert_eq!(rank("linux/arm64/v8", "linux/arm64"), Some(0));
        assert_eq!(rank("linux/x86_64", "linux/amd64"), Some(0));
        assert!(rank("linux/arm/v7", "linux/arm64") < rank("linux/arm/v6", "linux/arm64"));
        assert!(rank("linux/arm/v6", "linux/arm/v7").is_some());
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), None);
        assert_eq!(rank("linux/arm64", "linux/amd64"), None);
        assert_eq!(rank("windows/amd64", "linux/amd64"), None);
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), None);
    }

    #[test]
    fn parse_refuses() {
        for bad in ["", "linux/", "a/b/c/d", "lin ux/amd64", "nonsense"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?} was taken");
        }
    }
}
