//! What the steps of builds printed, kept in the store: whole, however long, for `strake build logs`.
//!
//! Each build has a directory with a file for each step that printed anything, and a record of the steps. It is no part
//! of any result: where it cannot be written, the build goes on without. How many builds are kept is the store's to say.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use store::Store;

use crate::build::summary::{Ending, Timed};
use crate::event::PlannedStep;
use crate::{Engine, Error, Result};

const RECORD: &str = "build.json";

/// A build that was begun, as it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Its ID: 25 letters and digits, which sort by time.
    pub id: String,
    /// What was built: the Dockerfile's or the context's name.
    pub name: String,
    /// Milliseconds since 1970 when it began.
    pub began: u64,
    /// How long it took, in milliseconds; `None`: it has not ended, or was killed.
    pub took: Option<u64>,
    /// Why it failed; `None`: it did not.
    pub error: Option<String>,
    /// Its steps, in the order of their numbers.
    pub steps: Vec<LoggedStep>,
}

/// A step, as it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedStep {
    /// Its number.
    pub step: u32,
    /// Its name.
    pub name: String,
    /// `cached`, `done`, `failed` or `canceled`; empty: it did not end, or did not begin.
    pub ending: String,
    /// How long it took, in milliseconds.
    pub took: u64,
}

/// What one build writes.
pub(crate) struct Log {
    dir: Option<PathBuf>,
    record: Mutex<BuildRecord>,
    files: Mutex<HashMap<u32, Written>>,
}

struct Written {
    file: File,
    lines: u64,
}

impl Log {
    /// Begins the record of a build of `name`.
    pub fn begin(store: &Store, name: &str) -> Log {
        let begun = store.begin_build().ok();
        let (id, dir) = begun.map_or_else(|| (String::new(), None), |(id, dir)| (id, Some(dir)));
        let record = BuildRecord { id, name: name.to_owned(), began: now(), ..BuildRecord::default() };
        Log { dir, record: Mutex::new(record), files: Mutex::default() }
    }

    /// The build's ID; empty where nothing is kept.
    pub fn id(&self) -> String {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).id.clone()
    }

    /// The steps that there will be.
    pub fn plan(&self, planned: &[PlannedStep]) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.steps.extend(planned.iter().map(|planned| LoggedStep {
            step: planned.step,
            name: planned.name.clone(),
            ..LoggedStep::default()
        }));
        // A build that is killed has its steps' names all the same.
        self.write(&record);
    }

    /// What a step printed.
    pub fn output(&self, step: u32, bytes: &[u8]) {
        let Some(dir) = &self.dir else { return };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match files.entry(step) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let Ok(file) = File::create(dir.join(file_name(step))) else { return };
                entry.insert(Written { file, lines: 0 })
            }
        };
        written.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        // A full disk is the build's to find, not the log's.
        let _ = written.file.write_all(bytes);
    }

    /// How many lines the step printed.
    pub fn lines(&self, step: u32) -> u64 {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(&step).map_or(0, |written| written.lines)
    }

    /// The build is over.
    pub fn finish(&self, ended: &[Timed], failed: Option<&Error>) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        for timed in ended {
            let (ending, took) = match timed.ending {
                Ending::Cached => ("cached", Duration::ZERO),
                Ending::Done(took) => ("done", took),
                Ending::Failed(took) => ("failed", took),
                Ending::Canceled(took) => ("canceled", took),
            };
            let step = LoggedStep {
                step: timed.step,
                name: timed.name.clone(),
                ending: ending.to_owned(),
                took: milliseconds(took),
            };
            match record.steps.iter_mut().find(|known| known.step == timed.step) {
                Some(known) => *known = step,
                None => record.steps.push(step),
            }
        }
        record.steps.sort_by_key(|step| step.step);
        record.took = Some(now().saturating_sub(record.began));
        record.error = failed.map(|error| error.message.lines().next().unwrap_or_default().to_owned());
        self.write(&record);
    }

    fn write(&self, record: &BuildRecord) {
        let Some(dir) = &self.dir else { return };
        let part = dir.join(".build.json");
        if let Ok(json) = serde_json::to_vec(record)
            && fs::write(&part, json).is_ok()
        {
            let _ = fs::rename(part, dir.join(RECORD));
        }
    }
}

/// The builds that are remembered, newest first.
///
/// # Errors
/// If the store cannot be read.
pub fn builds(engine: &Engine) -> Result<Vec<BuildRecord>> {
    let mut records = Vec::new();
    for id in engine.store.builds()? {
        // One that just begins has no record yet.
        let read = fs::read(engine.store.build_dir(&id).join(RECORD));
        if let Some(mut record) = read.ok().and_then(|json| serde_json::from_slice::<BuildRecord>(&json).ok())
        {
            record.id = id;
            records.push(record);
        }
    }
    Ok(records)
}

/// The build that `id` means, a part of its ID that no other has; the last one without.
///
/// # Errors
/// [`crate::Kind::NotFound`], and [`crate::Kind::Invalid`] for what several have.
pub fn find_build(engine: &Engine, id: Option<&str>) -> Result<BuildRecord> {
    let mut records = builds(engine)?;
    let Some(id) = id else {
        let last = (!records.is_empty()).then(|| records.swap_remove(0));
        return last.ok_or_else(|| Error::not_found("no build is remembered here"));
    };
    records.retain(|record| record.id.contains(id));
    match records.len() {
        0 => Err(Error::not_found(format!("no build {id:?} is remembered"))
            .hint("strake build history lists those that are")),
        1 => Ok(records.swap_remove(0)),
        several => Err(Error::invalid(format!("{id:?} is in the IDs of {several} builds"))),
    }
}

/// The steps of `record` that `text` means: a number, `2/5` or `build 2/5` of a name's brackets, or words of the name.
///
/// # Errors
/// [`crate::Kind::NotFound`], naming the steps that there are.
pub fn find_steps<'a>(record: &'a BuildRecord, text: &str) -> Result<Vec<&'a LoggedStep>> {
    let text = text.trim_start_matches('#').trim();
    let by = |means: &dyn Fn(&LoggedStep) -> bool| -> Vec<&'a LoggedStep> {
        record.steps.iter().filter(|step| means(step)).collect()
    };
    let wanted = text.to_lowercase();
    let brackets = |step: &LoggedStep| {
        let (place, _) = step.name.strip_prefix('[')?.split_once(']')?;
        Some(place.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
    };
    let place_is = |step: &LoggedStep| {
        brackets(step).is_some_and(|place| place == wanted || place.ends_with(&format!(" {wanted}")))
    };
    let mut found = match text.parse::<u32>() {
        Ok(number) => by(&|step| step.step == number),
        Err(_) => by(&place_is),
    };
    if found.is_empty() && !wanted.is_empty() {
        found = by(&|step| step.name.to_lowercase().contains(&wanted));
    }
    if found.is_empty() {
        let steps: Vec<String> =
            record.steps.iter().map(|step| format!("#{} {}", step.step, step.name)).collect();
        return Err(Error::not_found(format!("build {} has no step {text:?}", record.id))
            .hint(format!("its steps are:\n{}", steps.join("\n"))));
    }
    Ok(found)
}

/// Writes what the step printed, both streams as they came, to `out`.
///
/// # Errors
/// What reading or writing says.
pub fn write_log(engine: &Engine, record: &BuildRecord, step: u32, out: &mut dyn Write) -> io::Result<()> {
    match open_log(&engine.store.build_dir(&record.id), step)? {
        Some(mut file) => io::copy(&mut file, out).map(drop),
        None => Ok(()),
    }
}

fn open_log(dir: &Path, step: u32) -> io::Result<Option<File>> {
    match File::open(dir.join(file_name(step))) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn file_name(step: u32) -> String {
    format!("{step}.log")
}

fn now() -> u64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_by_number_place_and_words() {
        let steps =
            ["[internal] load build definition from Dockerfile", "[build 2/5] RUN make", "[ 2/12] COPY . ."]
                .iter()
                .zip(1..)
                .map(|(name, step)| LoggedStep { step, name: (*name).to_owned(), ..LoggedStep::default() })
                .collect();
        let record = BuildRecord { steps, ..BuildRecord::default() };
        let found = |text: &str| -> Vec<u32> {
            find_steps(&record, text).map(|found| found.iter().map(|s| s.step).collect()).unwrap_or_default()
        };
        assert_eq!(found("2"), [2]);
        assert_eq!(found("#3"), [3]);
        assert_eq!(found("2/5"), [2]);
        assert_eq!(found("build 2/5"), [2]);
        assert_eq!(found("2/12"), [3]);
        assert_eq!(found("run make"), [2]);
        assert_eq!(found("7"), [0u32; 0]);
        assert_eq!(found(""), [0u32; 0]);
    }
}
