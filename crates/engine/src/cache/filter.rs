//! `--filter` of `builder du` and `builder prune`, with BuildKit's names and buildx's operators.

use super::CacheType;
use crate::filter::Filters;
use crate::{Error, Result};

/// Names with a text to compare.
const TEXTS: [&str; 4] = ["id", "type", "description", "parents"];
/// Names that hold or do not.
const SWITCHES: [&str; 5] = ["inuse", "mutable", "immutable", "shared", "private"];

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The entry's ID.
    pub id: &'a str,
    /// What it is.
    pub kind: CacheType,
    /// The step's text.
    pub description: &'a str,
    /// The entries that it stands on.
    pub parents: &'a [String],
    /// Whether an image has it, too.
    pub shared: bool,
    /// Whether a live process uses it.
    pub in_use: bool,
}

/// Which entries of the build cache are meant.
#[derive(Debug, Clone, Default)]
pub struct CacheFilter {
    /// Those not used since this moment, in nanoseconds since the Unix epoch.
    pub unused_since: Option<i64>,
    texts: Vec<(&'static str, How, String)>,
    switches: Vec<(&'static str, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Is,
    IsNot,
    Has,
}

impl CacheFilter {
    /// Reads `name=value` (`type=regular`), `name!=value`, `name~=part`, and `until` (also as `unused-for`).
    pub fn of(filters: &Filters) -> Result<CacheFilter> {
        let mut filter = CacheFilter { unused_since: until(filters)?, ..CacheFilter::default() };
        for (name, values) in filters.iter() {
            if matches!(name, "until" | "unused-for") {
                continue;
            }
            let [value] = values else {
                return Err(Error::invalid(format!("{name:?} filter expects only one value")));
            };
            let (plain, how) = match name.strip_suffix('!') {
                Some(plain) => (plain, How::IsNot),
                None => match name.strip_suffix('~') {
                    Some(plain) => (plain, How::Has),
                    None => (name, How::Is),
                },
            };
            if let Some(known) = TEXTS.into_iter().find(|known| *known == plain) {
                // IDs are long: a part will do, as with buildx.
                let how = if known == "id" && how == How::Is { How::Has } else { how };
                filter.texts.push((known, how, value.clone()));
            } else if let (Some(known), How::Is) = (SWITCHES.into_iter().find(|known| *known == plain), how) {
                let wanted = filters.boolean(known)?.unwrap_or(true);
                filter.switches.push((known, wanted));
            } else {
                return Err(Error::invalid(format!("invalid filter '{name}'")).hint(format!(
                    "filters here: until, {}, {}",
                    TEXTS.join(", "),
                    SWITCHES.join(", ")
                )));
            }
        }
        Ok(filter)
    }

    /// Whether it says nothing but perhaps an age.
    pub fn is_plain(&self) -> bool {
        self.texts.is_empty() && self.switches.is_empty()
    }

    /// Whether an entry is meant, whatever its age.
    pub fn passes(&self, fields: &Fields<'_>) -> bool {
        let text = |(name, how, value): &(&str, How, String)| {
            let compare = |text: &str| match how {
                How::Is => text == value,
                How::IsNot => text != value,
                How::Has => text.contains(value.as_str()),
            };
            match *name {
                "id" => compare(fields.id),
                "type" => compare(fields.kind.name()),
                "description" => compare(fields.description),
                _ => compare(&fields.parents.join(";")),
            }
        };
        let switch = |(name, wanted): &(&str, bool)| {
            let mutable = fields.kind != CacheType::Regular;
            let holds = match *name {
                "inuse" => fields.in_use,
                "mutable" => mutable,
                "immutable" => !mutable,
                "shared" => fields.shared,
                _ => !fields.shared,
            };
            holds == *wanted
        };
        self.texts.iter().all(text) && self.switches.iter().all(switch)
    }
}

fn until(filters: &Filters) -> Result<Option<i64>> {
    match (filters.get("until"), filters.get("unused-for")) {
        (_, []) => filters.until(),
        ([], values) => {
            let mut renamed = Filters::default();
            for value in values {
                renamed.add("until", value);
            }
            renamed.until()
        }
        _ => Err(Error::invalid("conflicting filters \"until\" and \"unused-for\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filters: &[(&str, &str)]) -> Result<bool> {
        let mut all = Filters::default();
        for (name, value) in filters {
            all.add(*name, *value);
        }
        let fields = Fields {
            id: "abcdef",
            kind: CacheType::CacheMount,
            description: "cached mount /c from exec make",
            parents: &[],
            shared: false,
            in_use: false,
        };
        Ok(CacheFilter::of(&all)?.passes(&fields))
    }

    #[test]
    fn what_passes() {
        for (filters, expected) in [
            (vec![], true),
            (vec![("id", "cde")], true),
            (vec![("id!", "abcdef")], false),
            (vec![("type", "exec.cachemount")], true),
            (vec![("type", "regular")], false),
            (vec![("type!", "regular"), ("description~", "make")], true),
            (vec![("mutable", "true")], true),
            (vec![("immutable", "true")], false),
            (vec![("inuse", "false"), ("private", "1")], true),
            (vec![("shared", "true")], false),
        ] {
            assert_eq!(passes(&filters).unwrap(), expected, "{filters:?}");
        }
        assert!(passes(&[("typ", "regular")]).unwrap_err().message.contains("invalid filter 'typ'"));
        assert!(passes(&[("inuse", "perhaps")]).is_err());
        assert!(
            passes(&[("until", "1h"), ("unused-for", "1h")]).unwrap_err().message.contains("conflicting")
        );
    }
}
