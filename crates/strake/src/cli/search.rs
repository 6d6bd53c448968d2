//! `search`: repositories of a term at Docker Hub, or at another registry.

use std::process::ExitCode;

use engine::search::{LIMIT, SearchRequest, search};
use serde_json::json;

use crate::cli::filter::{self, Filter};
use crate::cli::format::{self, Format, Rows};
use crate::cli::{Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only repositories that match: is-official, stars
    #[arg(short, long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Filter>,
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Max number of search results, at most 100
    #[arg(long, value_name = "INT", default_value_t = i64::try_from(LIMIT).unwrap_or(25), hide_default_value = true, allow_negative_numbers = true)]
    limit: i64,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// What to search for; HOST/TERM searches the registry at HOST instead of Docker Hub
    #[arg(value_name = "TERM")]
    term: String,
}

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";

const ROWS: Rows<'_> = Rows {
    kind: "search result",
    headers: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
    ],
    methods: &[],
};

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let format = Format::parse(args.format.as_deref(), TABLE, false)?;
    // Docker's client leaves it to the registry's default where it is nothing or less.
    let limit = usize::try_from(args.limit).unwrap_or(0);
    let request = SearchRequest {
        term: args.term,
        limit,
        filters: filter::collect(args.filters),
        index: global.search_index(),
    };
    let found = search(&global.registry_client()?, &request)?;
    let rows: Vec<_> = found
        .iter()
        .map(|one| {
            let description = one.description.clone();
            let official = match (one.official, format.is_json()) {
                (true, false) => "[OK]",
                (false, false) => "",
                (true, true) => "true",
                (false, true) => "false",
            };
            format::row([
                ("Name", json!(one.name)),
                (
                    "Description",
                    json!(if args.no_trunc { description } else { units::ellipsis(&description, 45) }),
                ),
                ("StarCount", json!(one.stars.to_string())),
                ("IsOfficial", json!(official)),
            ])
        })
        .collect();
    format.print(&ROWS, &rows)?;
    Ok(ExitCode::SUCCESS)
}
