//! The `--filter name=value` option.

use std::str::FromStr;

use engine::filter::Filters;

/// One filter as given.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    name: String,
    value: String,
}

impl FromStr for Filter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Filter, &'static str> {
        let (name, value) = text.split_once('=').ok_or("bad format of filter (expected name=value)")?;
        // `label!=x` splits behind the exclamation mark, as in Docker.
        Ok(Filter { name: name.trim().to_lowercase(), value: value.trim().to_owned() })
    }
}

/// All of a command line's filters.
pub(crate) fn collect(filters: Vec<Filter>) -> Filters {
    let mut all = Filters::default();
    for filter in filters {
        all.add(filter.name, filter.value);
    }
    all
}

/// One filter, of which a name alone means that it holds: `mutable` is `mutable=true`.
#[derive(Debug, Clone)]
pub(crate) struct Loose(Filter);

impl FromStr for Loose {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Loose, &'static str> {
        match text.contains('=') {
            true => text.parse().map(Loose),
            false => format!("{text}=true").parse().map(Loose),
        }
    }
}

/// All of a command line's filters.
pub(crate) fn collect_loose(filters: Vec<Loose>) -> Filters {
    collect(filters.into_iter().map(|Loose(filter)| filter).collect())
}
