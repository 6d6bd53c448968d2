//! An image reference: what is read is written so that it reads back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::Reference;

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        let full = reference.to_string();
        assert_eq!(Reference::parse(&full).ok().as_ref(), Some(&reference), "{full}");
        // The short form is Docker's, and not always the way back: `docker.io/a.b/c` is `a.b/c`.
        let _ = Reference::parse(&reference.familiar());
    }
});
