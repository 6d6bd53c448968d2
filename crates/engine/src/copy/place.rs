//! How the places are written that images are copied from and to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use oci::Reference;

use crate::Error;

/// A place that holds images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A registry.
    Registry(Reference),
    /// An OCI image layout in a directory on the host.
    Layout {
        /// The directory.
        path: PathBuf,
        /// The image's name or digest in it.
        tag: Option<String>,
    },
    /// The store.
    Store(Reference),
}

impl FromStr for Place {
    type Err = Error;

    /// `REFERENCE` or `docker://REFERENCE`; `oci:PATH[:TAG]`; `store:REFERENCE` (or `containers-storage:`, as others
    /// call theirs).
    fn from_str(text: &str) -> Result<Place, Error> {
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') && !tag.is_empty() => {
                    match path.rsplit_once("@sha256") {
                        // oci:PATH@sha256:HEX
                        Some((path, "")) => (path, Some(format!("sha256:{tag}"))),
                        _ => (path, Some(tag.to_owned())),
                    }
                }
                _ => (rest, None),
            };
            if path.is_empty() {
                return Err(Error::invalid(format!("{text}: no directory is named: oci:PATH[:TAG]")));
            }
            return Ok(Place::Layout { path: path.into(), tag });
        }
        for prefix in ["store:", "containers-storage:"] {
            if let Some(rest) = text.strip_prefix(prefix) {
                return Ok(Place::Store(Reference::parse(rest)?.with_default_tag()));
            }
        }
        let rest = text.strip_prefix("docker://").unwrap_or(text);
        Ok(Place::Registry(Reference::parse(rest)?.with_default_tag()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Registry(reference) => f.write_str(&reference.familiar()),
            Place::Store(reference) => write!(f, "store:{}", reference.familiar()),
            Place::Layout { path, tag: None } => write!(f, "oci:{}", path.display()),
            Place::Layout { path, tag: Some(tag) } => write!(f, "oci:{}:{tag}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, shown) in [
            ("alpine", "alpine:latest"),
            ("docker://h:5000/a:1", "h:5000/a:1"),
            ("oci:dir", "oci:dir"),
            ("oci:/a/b:1.0", "oci:/a/b:1.0"),
            ("oci:/a:b/c", "oci:/a:b/c"),
            ("store:app", "store:app:latest"),
            ("containers-storage:app:2", "store:app:2"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", "oci:", "store:", "docker://", "A"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
