//! `strake images` (`image ls`).

use std::collections::BTreeMap;
use std::process::ExitCode;

use engine::images::{ImageSummary, ImagesRequest, familiar_name};
use serde_json::{Value, json};

use crate::cli::filter::{self, Filter};
use crate::cli::format::{self, Format, Rows};
use crate::cli::{Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all images (here the same: there are no intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output: before, dangling, label, reference, since, until
    #[arg(short, long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Filter>,
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// Only images of this name, or that match this pattern
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
}

const TABLE: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

/// The fields of an image in lists.
pub(crate) const ROWS: Rows<'_> = Rows {
    kind: "image",
    headers: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Base", "BASE"),
    ],
    methods: &[],
};

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let table = if args.digests { TABLE_WITH_DIGESTS } else { TABLE };
    let option = args.format.map(|format| match args.digests && format.starts_with("table ") {
        true if !format.contains("{{.Digest}}") => format + "\t{{.Digest}}",
        _ => format,
    });
    let format = Format::parse(option.as_deref(), table, args.quiet)?;
    let mut filters = filter::collect(args.filters);
    if let Some(repository) = args.repository {
        filters.add("reference", repository);
    }
    let request = ImagesRequest { filters, count_containers: false };
    let images = engine::images::list(&global.engine()?, &request)?;
    let with_digests = args.digests || format.shows("Digest");
    let rows: Vec<Value> = images
        .iter()
        .flat_map(|image| {
            names(image, with_digests).into_iter().map(|name| row(image, &name, !args.no_trunc, None))
        })
        .collect();
    format.print(&ROWS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// One way an image is named: a line of the list.
pub(crate) struct Name {
    repository: String,
    tag: String,
    digest: String,
}

const NONE: &str = "<none>";

/// The lines of one image: its tags by repository, and the digests of repositories that have no tag of it.
fn names(image: &ImageSummary, with_digests: bool) -> Vec<Name> {
    let mut digests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for digest in &image.digests {
        digests.entry(familiar_name(&digest.name)).or_default().push(digest.digest.to_string());
    }
    let line = |repository: &str, tag: &str, digest: &str| Name {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
    };
    let mut names = Vec::new();
    let mut tagged = Vec::new();
    for reference in &image.tags {
        let repository = reference.familiar_name();
        let tag = reference.tag.as_deref().unwrap_or(NONE);
        match digests.get(&repository) {
            Some(digests) if with_digests => {
                names.extend(digests.iter().map(|digest| line(&repository, tag, digest)));
            }
            _ => names.push(line(&repository, tag, NONE)),
        }
        tagged.push(repository);
    }
    for (repository, digests) in digests.iter().filter(|(repository, _)| !tagged.contains(repository)) {
        if with_digests {
            names.extend(digests.iter().map(|digest| line(repository, NONE, digest)));
        } else {
            names.push(line(repository, NONE, ""));
        }
    }
    if names.is_empty() {
        names.push(line(NONE, NONE, NONE));
    }
    names
}

/// The first name only, without digests: what `system df` shows.
pub(crate) fn first_name(image: &ImageSummary) -> Name {
    match image.tags.first() {
        Some(tag) => Name {
            repository: tag.familiar_name(),
            tag: tag.tag.clone().unwrap_or_else(|| NONE.to_owned()),
            digest: NONE.to_owned(),
        },
        None => Name { repository: NONE.to_owned(), tag: NONE.to_owned(), digest: NONE.to_owned() },
    }
}

/// Bytes shared with other images, and those that are its own; where they were counted.
pub(crate) type Shares = Option<(u64, u64)>;

/// A line's fields.
pub(crate) fn row(image: &ImageSummary, name: &Name, short: bool, shares: Shares) -> Value {
    let id = image.id.to_string();
    let not_counted = || "N/A".to_owned();
    format::row([
        ("ID", json!(if short { units::short_id(&id) } else { &id })),
        ("Repository", json!(name.repository)),
        ("Tag", json!(name.tag)),
        ("Digest", json!(name.digest)),
        ("CreatedSince", json!(image.created.map(units::ago).unwrap_or_default())),
        ("CreatedAt", json!(image.created.map(units::timestamp).unwrap_or_default())),
        ("Size", json!(units::size3(image.size))),
        ("VirtualSize", json!(units::size(image.size))),
        ("SharedSize", json!(shares.map_or_else(not_counted, |(shared, _)| units::size(shared)))),
        ("UniqueSize", json!(shares.map_or_else(not_counted, |(_, unique)| units::size(unique)))),
        ("Containers", json!(image.containers.map_or_else(not_counted, |count| count.to_string()))),
        ("Base", json!(image.base.as_ref().map(|base| base.name.clone()).unwrap_or_default())),
    ])
}
