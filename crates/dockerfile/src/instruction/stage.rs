//! `FROM`.

use super::Flags;
use crate::ast::Stage;
use crate::check::{Rule, file};
use crate::diagnostic::Diagnostic;
use crate::directive::shorten;
use crate::flags::Takes;
use crate::span::{Span, Text};
use crate::words::{self, Split};

pub(super) fn parse(
    split: Split,
    span: Span,
    source: String,
    comments: Vec<String>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Stage, Diagnostic> {
    let mut arguments = words::by_blanks(&split.arguments);
    let whole = split.keyword.span.to(split.arguments.span);
    let three = arguments.len() == 3 && arguments[1].raw.eq_ignore_ascii_case("as");
    if !three && arguments.len() != 1 {
        let help = "write FROM IMAGE or FROM IMAGE AS NAME";
        return Err(Diagnostic::error("FROM requires either one or three arguments", whole).with_help(help));
    }
    let name = match arguments.get(2) {
        Some(name) => Some(stage_name(name, warnings)?),
        None => None,
    };
    let as_keyword = arguments.get(1).cloned();
    if let Some(keyword) = &as_keyword {
        // A FROM in both cases is a matter of another check.
        let from = file::case(&split.keyword.raw);
        if from.is_some() && file::case(&keyword.raw) != from {
            let message = format!("'{keyword}' and '{}' keywords' casing do not match", split.keyword);
            warnings.push(Diagnostic::warning(Rule::FromAsCasing, message, keyword.span));
        }
    }
    let platform = Flags::parse(&split.flags, &[("platform", Takes::Value)])?.value("platform");
    let base = arguments.swap_remove(0);
    Ok(Stage {
        name,
        as_keyword,
        base,
        platform,
        keyword: split.keyword,
        span,
        source,
        comments,
        instructions: Vec::new(),
    })
}

/// A stage's name in lower case, as it is compared.
fn stage_name(written: &Text, warnings: &mut Vec<Diagnostic>) -> Result<Text, Diagnostic> {
    let name = written.raw.to_ascii_lowercase();
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    if !valid {
        let message = format!(
            "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
            shorten(&written.raw)
        );
        return Err(Diagnostic::error(message, written.span));
    }
    if name != written.raw {
        let message = format!("Stage name '{}' should be lowercase", shorten(&written.raw));
        warnings.push(Diagnostic::warning(Rule::StageNameCasing, message, written.span));
    }
    Ok(Text { raw: name, ..written.clone() })
}
