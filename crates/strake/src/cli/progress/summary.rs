//! The few lines at the end of a build: what was cached, what took longest, how large the image and its layers are.

use std::time::Duration;

use engine::build::{Ending, LayerSize, Summary};
use engine::printable;

use crate::cli::units;

/// Steps that are named as the longest, and layers as the largest.
const MOST: usize = 3;
/// Steps of less are not worth a word.
const SHORT: Duration = Duration::from_millis(100);
const NAME: usize = 40;

/// The lines; `image` names what was made.
pub(super) fn text(summary: &Summary, image: &str) -> String {
    let mut text = String::new();
    let (cached, ran) = (summary.cached(), summary.ran());
    if cached + ran > 0 {
        text.push_str(&format!("{cached} of {} steps cached", cached + ran));
        let mut timed: Vec<(&str, Duration)> = summary
            .steps
            .iter()
            .filter_map(|step| match step.ending {
                Ending::Done(took) if took >= SHORT => Some((step.name.as_str(), took)),
                _ => None,
            })
            .collect();
        timed.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        let longest: Vec<String> = timed
            .iter()
            .take(MOST)
            .map(|(name, took)| format!("{} {:.1}s", short(name), took.as_secs_f64()))
            .collect();
        if !longest.is_empty() {
            text.push_str(&format!("; longest: {}", longest.join(", ")));
        }
        text.push('\n');
    }
    if !image.is_empty() {
        text.push_str(&format!("image {image}, {}", units::size3(summary.size())));
        let layers = layers(&summary.layers);
        if !layers.is_empty() {
            text.push_str(&format!(": {layers}"));
        }
        text.push('\n');
    }
    text
}

fn layers(all: &[LayerSize]) -> String {
    let (base, own): (Vec<&LayerSize>, Vec<&LayerSize>) =
        all.iter().partition(|layer| layer.made_by.is_none());
    let mut parts = Vec::new();
    if !base.is_empty() {
        let known: u64 = base.iter().filter_map(|layer| layer.size).sum();
        let size = if base.iter().any(|layer| layer.size.is_some()) {
            units::size3(known)
        } else {
            "not here".into()
        };
        parts.push(format!("base {size}"));
    }
    let mut largest: Vec<&LayerSize> =
        own.iter().copied().filter(|layer| layer.size.unwrap_or(0) > 0).collect();
    largest.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    largest.truncate(MOST);
    // In the order in which they lie.
    let named: Vec<&LayerSize> = own
        .iter()
        .copied()
        .filter(|layer| largest.iter().any(|large| std::ptr::eq(*large, *layer)))
        .collect();
    let rest: u64 = own
        .iter()
        .filter(|layer| !named.iter().any(|named| std::ptr::eq(*named, **layer)))
        .filter_map(|layer| layer.size)
        .sum();
    for layer in &named {
        let name = layer.made_by.as_deref().unwrap_or_default();
        parts.push(format!("{} {}", short(name), units::size3(layer.size.unwrap_or(0))));
    }
    if own.len() > named.len() && (rest > 0 || named.is_empty()) {
        let count = own.len() - named.len();
        let more = if named.is_empty() { "" } else { " more" };
        let plural = if count == 1 { "" } else { "s" };
        parts.push(format!("{count}{more} layer{plural} {}", units::size3(rest)));
    }
    parts.join(", ")
}

/// The instruction of a step's name, no longer than fits.
fn short(name: &str) -> String {
    let line = printable::one_line(name);
    let what =
        line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line.as_str(), |(_, w)| w);
    units::ellipsis(what, NAME)
}

#[cfg(test)]
mod tests {
    use engine::build::Timed;
    use oci::{DiffId, Digest};

    use super::*;

    #[test]
    fn a_build_in_two_lines() {
        let step =
            |step, name: &str, ending| Timed { step, name: name.into(), is_instruction: step > 1, ending };
        let layer = |made_by: Option<&str>, size| LayerSize {
            diff_id: DiffId(Digest::sha256(made_by.unwrap_or_default().as_bytes())),
            made_by: made_by.map(str::to_owned),
            size,
        };
        let summary = Summary {
            steps: vec![
                step(1, "[internal] load metadata", Ending::Done(Duration::from_millis(900))),
                step(2, "[1/3] WORKDIR /app", Ending::Cached),
                step(3, "[2/3] RUN make", Ending::Done(Duration::from_secs(12))),
                step(4, "[3/3] COPY . .", Ending::Done(Duration::from_millis(5))),
            ],
            layers: vec![
                layer(None, Some(4_000_000)),
                layer(None, None),
                layer(Some("[1/3] WORKDIR /app"), Some(0)),
                layer(Some("[2/3] RUN make"), Some(2_500_000)),
                layer(Some("[3/3] COPY . ."), Some(1_000)),
            ],
        };
        assert_eq!(
            text(&summary, "abc"),
            "1 of 3 steps cached; longest: RUN make 12.0s, load metadata 0.9s\n\
             image abc, 6.5MB: base 4MB, RUN make 2.5MB, COPY . . 1kB\n"
        );
        assert_eq!(text(&Summary::default(), ""), "");
    }
}
