//! A secret's bytes in a layer that a step made: the step fails, so that no layer holds them.
//!
//! Which strings are looked for, and whether at all, is the session's to say; the message names the secret and the
//! file, and never the bytes.

use std::path::Path;

use snapshot::search::Part;

use crate::error::Failure;
use crate::session::Session;

/// Fails where what is looked for is in the layer directory `layer` (on the host), in which something like it went by.
pub(crate) fn refuse(session: &Session<'_>, layer: &Path) -> Result<(), Failure> {
    let Some(search) = session.search else { return Ok(()) };
    match search.locate(layer)? {
        None => Ok(()),
        Some(hit) => {
            let part = match hit.part {
                Part::Content => String::new(),
                Part::Name => " (in its name)".to_owned(),
                Part::Target => " (as where the link leads)".to_owned(),
                Part::Xattr(name) => format!(" (in its xattr {name})"),
            };
            Err(Failure::SecretInLayer { id: hit.name, place: format!("/{}{part}", hit.path) })
        }
    }
}
