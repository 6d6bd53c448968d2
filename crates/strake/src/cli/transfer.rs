//! How a pull goes, on standard error: a line for each thing that happens to a layer, as Docker prints where there is
//! no terminal.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use engine::{Event, Events};

/// Prints what happens to the layers.
#[derive(Default)]
pub(crate) struct Transfer {
    /// What was last said of each layer.
    said: Mutex<HashMap<String, &'static str>>,
}

impl Events for Transfer {
    fn event(&self, event: Event) {
        let line = match event {
            Event::Warning(text) => format!("WARNING: {text}\n"),
            Event::Status(text) => format!("{text}\n"),
            // How far it is would be a line every moment.
            Event::Progress { status: "Downloading", .. } => return,
            Event::Progress { id, status, .. } => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.insert(id.clone(), status) == Some(status) {
                    return;
                }
                format!("{id}: {status}\n")
            }
            _ => return,
        };
        // Where nobody is left to be told, the pull goes on.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}
