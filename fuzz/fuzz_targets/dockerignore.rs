//! A `.dockerignore` and, after a NUL byte, a path.

#![no_main]

use dockerfile::ignore::Patterns;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let source = parts.next().unwrap_or_default();
    let path = parts.next().unwrap_or(b"src/lib/a.o");
    match Patterns::parse(source) {
        Ok(patterns) => {
            let decided = patterns.decide(path).excluded;
            // Going down step by step without passing over anything.
            let mut parent = patterns.root();
            for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                parent = patterns.directory(&parent, &path[..at]).1;
            }
            // Passing over directories, as BuildKit does, never takes more in.
            assert!(decided || !patterns.file(&parent, path).excluded);
        }
        Err(errors) => {
            for error in &errors {
                dockerfile::render(error, ".dockerignore", source);
            }
        }
    }
});
