//! Golden tests of `build --check`: `tests/check/<case>/Dockerfile` is checked by all rules, with the
//! settings of `options`, and what comes out is compared with `report` beside it, as people see it, and
//! with `fixed`, the Dockerfile as `--fix` leaves it. `UPDATE_EXPECT=1` writes them anew.
//!
//! What a fix leaves is fixed no further, and is a Dockerfile.

#[path = "../expect/mod.rs"]
mod expect;

use std::fs;
use std::path::Path;

use dockerfile::check::text::{self, Detail};
use dockerfile::check::{Known, check, mend};
use dockerfile::ignore::Patterns;
use dockerfile::lower::{LowerOptions, ResolvedImage};
use oci::{Digest, ImageConfig, ImageId, Platform, Reference};

use crate::expect::{compare, judged};

#[test]
fn cases() {
    judged("check", 21, judge);
}

fn judge(case: &Path) -> Result<(), String> {
    let source = fs::read(case.join("Dockerfile")).expect("it can be read");
    let settings = fs::read_to_string(case.join("options")).unwrap_or_default();
    let (options, mut images) = settings_of(&settings);
    let report = check(&source, &options, &mut images);
    let mut shown = text::warnings(&report, "Dockerfile", &source, Detail::More);
    let errors = text::errors(&report, "Dockerfile", &source, Detail::More);
    if !errors.is_empty() {
        shown.push_str(&format!("\nerror: {errors}\n"));
    }
    let mended = mend(&source, &options, &mut images);
    let again = mend(&mended.source, &options, &mut images);
    assert_eq!(again.made, [""; 0], "{}: fixed twice", case.display());
    assert_eq!(again.source, mended.source, "{}: fixed twice", case.display());
    let fixed = (mended.source != source)
        .then(|| String::from_utf8(mended.source).expect("a Dockerfile of letters stays one"));
    compare(&case.join("report"), Some(shown))?;
    compare(&case.join("fixed"), fixed)
}

/// Each line of `settings` is a key and its value.
fn settings_of(settings: &str) -> (LowerOptions, Images) {
    let mut options =
        LowerOptions { platform: Platform::new("linux", "amd64", ""), ..LowerOptions::default() };
    let mut images = Images::default();
    let mut ignore = Vec::new();
    for line in settings.lines() {
        match line.split_once(' ').expect("a key and a value") {
            ("build-arg", pair) => {
                let (name, value) = pair.split_once('=').expect("NAME=value");
                options.build_args.insert(name.to_owned(), value.to_owned());
            }
            ("target", name) => options.target = Some(name.to_owned()),
            ("ignore", pattern) => ignore.push(pattern),
            // An image that is in the store, with what its config says.
            ("image", value) => images.known.push(value.to_owned()),
            ("context", name) => images.contexts.push(name.to_owned()),
            other => panic!("unknown setting {other:?}"),
        }
    }
    options.ignore = Patterns::parse(ignore.join("\n").as_bytes()).expect("sound patterns");
    (options, images)
}

/// Images at hand: `name user=U env=NAME=value`.
#[derive(Default)]
struct Images {
    known: Vec<String>,
    contexts: Vec<String>,
}

impl Known for Images {
    fn image(&mut self, reference: &Reference, platform: &Platform) -> Option<ResolvedImage> {
        let name = reference.familiar();
        let line = self.known.iter().find(|line| line.split(' ').next() == Some(name.as_str()))?;
        let mut config = ImageConfig::scratch(platform);
        for setting in line.split(' ').skip(1) {
            match setting.split_once('=') {
                Some(("user", user)) => config.config.user = user.to_owned(),
                Some(("env", pair)) => config.config.env.push(pair.to_owned()),
                _ => panic!("unknown setting {setting:?}"),
            }
        }
        let image_id = ImageId(Digest::sha256(name.as_bytes()));
        Some(ResolvedImage { image_id, config, digest: None, reference: reference.clone() })
    }

    fn is_context(&mut self, name: &str) -> bool {
        self.contexts.iter().any(|context| context == name)
    }
}
