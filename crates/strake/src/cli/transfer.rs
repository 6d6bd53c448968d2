//! How a pull or push goes, on standard error: bars on a terminal; elsewhere a line for each thing that happens to a
//! layer, as Docker prints where there is no terminal.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use engine::{Event, Events};

use crate::cli::bars::Bars;
use crate::cli::live;

/// Prints what happens to the layers. On a terminal the last state is drawn, and stays, when this is dropped.
pub(crate) struct Transfer(Form);

enum Form {
    /// What was last said of each layer.
    Lines(Mutex<HashMap<String, &'static str>>),
    Live(Bars),
}

impl Transfer {
    /// In the form that standard error is for.
    pub(crate) fn new() -> Transfer {
        match live::is_possible() {
            true => Transfer(Form::Live(Bars::new())),
            false => Transfer(Form::Lines(Mutex::default())),
        }
    }
}

impl Events for Transfer {
    fn event(&self, event: Event) {
        let said = match &self.0 {
            Form::Live(bars) => return bars.event(event),
            Form::Lines(said) => said,
        };
        let line = match event {
            Event::Warning(text) => format!("WARNING: {text}\n"),
            Event::Status(text) => format!("{text}\n"),
            // How far it is would be a line every moment.
            Event::Progress { status: "Downloading" | "Extracting" | "Pushing", .. } => return,
            Event::Progress { id, status, .. } => {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
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
