//! Names and IDs of containers.

use std::fs::File;
use std::io::Read;

use crate::{Error, Result};

const LEFT: &[&str] = &[
    "amber", "brave", "calm", "clever", "cosy", "eager", "fair", "fond", "frank", "gentle", "glad", "keen",
    "kind", "lively", "lucid", "merry", "mild", "neat", "nimble", "plain", "proud", "quick", "quiet",
    "sharp", "steady", "sunny", "sure", "swift", "tidy", "vivid", "warm", "wise",
];
const RIGHT: &[&str] = &[
    "anchor", "beam", "bollard", "bow", "brig", "buoy", "cleat", "cutter", "deck", "dory", "ferry", "galley",
    "hatch", "helm", "hull", "jib", "keel", "ketch", "lugger", "mast", "oar", "pier", "prow", "quay",
    "rudder", "sail", "schooner", "skiff", "sloop", "spar", "stern", "yawl",
];

/// A new ID: 64 random hex digits.
pub(crate) fn new_id() -> Result<String> {
    Ok(random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A new name of two words, with a number where a plain one is taken too often.
pub(crate) fn new_name(taken: impl Fn(&str) -> bool) -> Result<String> {
    for attempt in 0.. {
        let bytes = random::<4>()?;
        let left = LEFT[usize::from(bytes[0]) % LEFT.len()];
        let right = RIGHT[usize::from(bytes[1]) % RIGHT.len()];
        let name = match attempt {
            0..8 => format!("{left}_{right}"),
            _ => format!("{left}_{right}{}", u16::from_le_bytes([bytes[2], bytes[3]])),
        };
        if !taken(&name) {
            return Ok(name);
        }
    }
    unreachable!("because the loop has no end but a free name")
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| Error::io("read /dev/urandom", &e))?;
    Ok(bytes)
}
