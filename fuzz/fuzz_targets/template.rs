//! A Go template (`--format`) over a value that has one of each kind.

#![no_main]

use gotemplate::{Missing, Options, Template, align};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(template) = Template::parse(text) else { return };
    let value = json!({
        "A": "text", "B": 7, "C": -1.5, "D": true, "E": null, "F": [1, "two", [3], {"x": "y"}],
        "G": {"a": {"b": "c"}, "n": 1e300}, "H": "", "I": [], "J": "ä\u{0}\u{202e}\n",
    });
    for missing in [Missing::Key, Missing::Field("type")] {
        for header in [false, true] {
            let options = Options { missing, header, escape_objects: header, ..Options::default() };
            let whole = template.render(&value, &options);
            let partial = template.render_partial(&value, &options);
            assert!(whole.is_err() || whole.is_ok_and(|whole| whole == partial));
            align(&partial);
        }
    }
});
