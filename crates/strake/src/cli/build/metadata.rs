//! `--metadata-file`: what was made, in buildx's keys, for programs.
//!
//! An image has no manifest until it leaves, by a push or into an archive: then `containerimage.digest` is the
//! manifest's, or the index's. Of an image that is in the store alone it is the image ID, as Docker's own builder has it.

use std::path::Path;

use engine::build::BuildResult;
use serde_json::{Map, Value, json};

use crate::cli::CliError;

/// The document, its keys sorted.
pub(super) fn document(result: &BuildResult) -> Value {
    let mut all = Map::new();
    let mut set = |key: &str, value: Value| drop(all.insert(key.to_owned(), value));
    if !result.id.is_empty() {
        set("buildx.build.ref", json!(format!("default/default/{}", result.id)));
    }
    let manifest = result.exported.iter().find_map(|exported| exported.manifest.as_ref());
    let is_index = manifest.is_some_and(|descriptor| oci::media_type::is_index(&descriptor.media_type));
    if !is_index {
        set("containerimage.config.digest", json!(result.image.to_string()));
    }
    match manifest {
        Some(descriptor) => {
            set("containerimage.descriptor", json!(descriptor));
            set("containerimage.digest", json!(descriptor.digest.to_string()));
        }
        None if result.exported.iter().any(|exported| !exported.names.is_empty()) => {
            set("containerimage.digest", json!(result.image.to_string()));
        }
        None => {}
    }
    let mut names: Vec<String> = Vec::new();
    for name in result.references.iter().map(ToString::to_string) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        set("image.name", json!(names.join(",")));
    }
    all.sort_keys();
    Value::Object(all)
}

/// What `--iidfile` and `--quiet` give: the image ID; of several platforms, where there is an index, its digest.
pub(super) fn image_id(result: &BuildResult) -> String {
    let manifest = result.exported.iter().find_map(|exported| exported.manifest.as_ref());
    match manifest.filter(|descriptor| oci::media_type::is_index(&descriptor.media_type)) {
        Some(index) => index.digest.to_string(),
        None => result.image.to_string(),
    }
}

/// Writes it, indented as buildx does.
pub(super) fn write(path: &Path, result: &BuildResult) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(&document(result)).expect("because it has string keys only");
    std::fs::write(path, text).map_err(|e| CliError::new(format!("cannot write {}: {e}", path.display())))
}
