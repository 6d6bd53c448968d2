//! Annotations of the manifests and indexes that a build makes, by the level that they are for.

use std::collections::BTreeMap;

use oci::Platform;

/// What an annotation is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// An image's manifest.
    Manifest,
    /// The entry of a manifest, in the index that lists it.
    ManifestDescriptor,
    /// The index of several platforms.
    Index,
    /// The entry of that index in the `index.json` of a layout.
    IndexDescriptor,
}

impl Level {
    /// By its name in `--annotation`.
    pub fn parse(name: &str) -> Option<Level> {
        match name {
            "manifest" => Some(Level::Manifest),
            "manifest-descriptor" => Some(Level::ManifestDescriptor),
            "index" => Some(Level::Index),
            "index-descriptor" => Some(Level::IndexDescriptor),
            _ => None,
        }
    }

    /// Whether it is of an image, not of an index.
    pub fn is_of_manifest(self) -> bool {
        matches!(self, Level::Manifest | Level::ManifestDescriptor)
    }
}

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// What it is of.
    pub level: Level,
    /// The platform whose manifest is meant; `None`: every one.
    pub platform: Option<Platform>,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// All annotations of one output; later ones hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations(pub Vec<Annotation>);

impl Annotations {
    /// Whether any is of this level.
    pub fn has(&self, level: Level) -> bool {
        self.0.iter().any(|annotation| annotation.level == level)
    }

    /// Those of `level` for `platform`. What is said of one platform holds before what is said of all.
    pub(super) fn of(&self, level: Level, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for named in [false, true] {
            for annotation in self.0.iter().filter(|a| a.level == level && a.platform.is_some() == named) {
                let meant = match (&annotation.platform, platform) {
                    (None, _) => true,
                    (Some(wanted), Some(platform)) => {
                        wanted.clone().normalized() == platform.clone().normalized()
                    }
                    (Some(_), None) => false,
                };
                if meant {
                    found.insert(annotation.key.clone(), annotation.value.clone());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_platform_hold_before_those_of_all() {
        let annotation = |platform: Option<&str>, key: &str, value: &str| Annotation {
            level: Level::Manifest,
            platform: platform.map(|text| text.parse().unwrap()),
            key: key.into(),
            value: value.into(),
        };
        let all = Annotations(vec![
            annotation(Some("linux/amd64"), "a", "of amd64"),
            annotation(None, "a", "of all"),
            annotation(None, "b", "1"),
            annotation(None, "b", "2"),
        ]);
        let of = |platform: &str| all.of(Level::Manifest, Some(&platform.parse().unwrap()));
        assert_eq!((&of("linux/amd64")["a"][..], &of("linux/amd64")["b"][..]), ("of amd64", "2"));
        assert_eq!(of("linux/arm64")["a"], "of all");
        assert!(all.of(Level::Index, None).is_empty());
    }
}
