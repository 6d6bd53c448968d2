//! A tar of a stranger: whatever its headers say, it is read to an end or refused, and what is read holds together.

#![no_main]

use libfuzzer_sys::fuzz_target;
use snapshot::tar_reader::{TarReader, Type};

fuzz_target!(|bytes: &[u8]| {
    let mut tar = TarReader::new(bytes, 1 << 16);
    while let Ok(Some(entry)) = tar.next() {
        assert!(!entry.path.contains(&0));
        assert!(entry.mode <= 0o7777 && entry.mtime.nsec < 1_000_000_000);
        assert!(entry.kind == Type::File || entry.size == 0);
        let mut stored = 0;
        while let Ok(piece) = tar.content() {
            let n = piece.len();
            if n == 0 {
                break;
            }
            stored += n as u64;
            tar.consume(n);
        }
        assert!(stored <= entry.size && stored <= bytes.len() as u64);
        if let Some(segments) = &entry.sparse {
            let inside = segments.windows(2).all(|pair| pair[0].offset + pair[0].len <= pair[1].offset);
            assert!(inside && segments.last().is_none_or(|last| last.offset + last.len <= entry.size));
        }
    }
});
