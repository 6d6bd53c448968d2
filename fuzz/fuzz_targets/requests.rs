//! What stands in requests and answers of registries besides documents: paths, queries, ranges, challenges; and, after a
//! NUL byte, a pushed manifest.

#![no_main]
#![allow(dead_code, reason = "modules that are wanted in part")]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/server/src/manifest.rs"]
mod manifest;
#[path = "../../crates/server/src/query.rs"]
mod query;
#[path = "../../crates/server/src/range.rs"]
mod range;
#[path = "../../crates/server/src/route.rs"]
mod route;

#[path = "."]
mod auth {
    #[path = "../../crates/registry/src/auth/challenge.rs"]
    pub mod challenge;
    #[path = "../../crates/registry/src/auth/scope.rs"]
    pub mod scope;
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let head = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (path, text) = head.split_once('?').unwrap_or((&head, ""));
    if let Some(route::Route::Blob { name, .. }) = route::Route::parse(path)
        && route::is_name(&name)
    {
        assert!(!name.contains("..") && !name.starts_with('/'));
    }
    if route::is_tag(path) {
        assert!(!path.contains(['/', ':']));
    }
    query::Query::parse(Some(text));
    assert_eq!(query::decode(&query::encode(&head)), head);
    for size in [0, 1, 1000, u64::MAX] {
        if let range::Part::Bytes(part) = range::part(Some(&head), size) {
            assert!(part.start < part.end && part.end <= size);
        }
    }
    range::chunk(&head);
    auth::challenge::Challenge::best([head.as_str(), text].into_iter());
    if let Some(document) = parts.next() {
        let _ = manifest::read(None, document);
        let _ = manifest::read(Some(&head), document);
    }
});
