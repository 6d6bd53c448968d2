//! `manifest`: lists of images for several platforms.
//!
//! The words are Docker's (`create`, `annotate`, `inspect`, `push`, `rm`), with podman's `add`, `remove` and `exists`
//! and its flags beside them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::manifest::{self, Annotations, CreateOptions};
use engine::{Events, Silent};
use oci::Reference;

use crate::cli::push::{How, manifest_format, write_digest};
use crate::cli::transfer::Transfer;
use crate::cli::{CliError, Global, Outcome, output};

fn list_name(text: &str) -> Result<Reference, CliError> {
    let reference = Reference::parse(text).map_err(|error| CliError::new(error.to_string()))?;
    match reference.digest {
        Some(_) => Err(CliError::new(format!("{text}: a manifest list is named by a tag, not by a digest"))),
        None => Ok(reference.with_default_tag()),
    }
}

/// What podman and Docker let be said of an entry.
#[derive(Debug, clap::Args)]
pub(super) struct Said {
    /// Set architecture
    #[arg(long)]
    arch: Option<String>,
    /// Set operating system
    #[arg(long)]
    os: Option<String>,
    /// Set operating system feature
    #[arg(long, value_delimiter = ',')]
    os_features: Vec<String>,
    /// Set operating system version
    #[arg(long)]
    os_version: Option<String>,
    /// Set architecture variant
    #[arg(long)]
    variant: Option<String>,
    /// Set an annotation, `key=value`
    #[arg(long = "annotation", value_name = "ANNOTATION")]
    annotations: Vec<String>,
}

impl Said {
    fn annotations(&self) -> Annotations {
        let pair = |text: &String| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        let annotations: BTreeMap<String, String> = self.annotations.iter().map(pair).collect();
        Annotations {
            os: self.os.clone(),
            architecture: self.arch.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            annotations,
        }
    }
}

/// `manifest create`.
pub(super) mod create {
    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Name of the list
        list: String,
        /// Images, of the store or of a registry
        images: Vec<String>,
        /// Amend an existing manifest list
        #[arg(short, long)]
        amend: bool,
        /// Add all images of what is a list itself
        #[arg(long)]
        all: bool,
        /// Kind of list: oci or docker
        #[arg(long, default_value = "oci")]
        format: String,
        /// Taken for Docker's sake: which registries are insecure, registries.conf says
        #[arg(long, hide = true)]
        insecure: bool,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        let name = list_name(&args.list)?;
        let format = manifest_format(&args.format)?;
        let options = CreateOptions { amend: args.amend, all: args.all, format };
        let client = global.registry_client()?;
        manifest::create(&global.engine()?, &name, &args.images, options, &client)?;
        output::text(&format!("Created manifest list {name}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `manifest add`.
pub(super) mod add {
    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Name of the list
        list: String,
        /// Images, of the store or of a registry
        #[arg(required = true)]
        images: Vec<String>,
        /// Add all images of what is a list itself
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        said: Said,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        let name = list_name(&args.list)?;
        let client = global.registry_client()?;
        let with = args.said.annotations();
        let digest = manifest::add(&global.engine()?, &name, &args.images, args.all, &with, &client)?;
        output::text(&format!("{digest}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `manifest annotate`.
pub(super) mod annotate {
    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Name of the list
        list: String,
        /// The image in it, by its name or digest
        image: String,
        #[command(flatten)]
        said: Said,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        let name = list_name(&args.list)?;
        manifest::annotate(&global.engine()?, &name, &args.image, &args.said.annotations())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `manifest inspect`.
pub(super) mod inspect {
    use engine::manifest::Inspected;
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// A manifest or list, here or at a registry; with two names, an image in the list that the first one is
        #[arg(required = true, num_args = 1..=2, value_name = "[MANIFEST_LIST] MANIFEST")]
        names: Vec<String>,
        /// Output additional info including layers and platform
        #[arg(short, long)]
        verbose: bool,
        /// Taken for Docker's sake: which registries are insecure, registries.conf says
        #[arg(long, hide = true)]
        insecure: bool,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        let (list, name) = match args.names.as_slice() {
            [list, name] => (Some(list_name(list)?), name),
            [name] => (None, name),
            _ => return Err(CliError::new("one or two names are wanted")),
        };
        let client = global.registry_client()?;
        let found = manifest::inspect(&global.engine()?, list.as_ref(), name, args.verbose, &client)?;
        let text = match args.verbose {
            false => {
                let value: Value = serde_json::from_slice(&found.bytes).map_err(|error| {
                    CliError::new(format!("manifest {}: {error}", found.descriptor.digest))
                })?;
                // Docker indents the one with tabs and the other with three blanks.
                let is_list = oci::media_type::is_index(&found.descriptor.media_type);
                indented(&value, if is_list { b"   " } else { b"\t" })?
            }
            true if found.listed.is_empty() => indented(&verbose(&found), b"\t")?,
            true => indented(&Value::Array(found.listed.iter().map(verbose).collect()), b"\t")?,
        };
        output::text(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Docker's form of a manifest with what is known of it.
    fn verbose(found: &Inspected) -> Value {
        let document: Value = serde_json::from_slice(&found.bytes).unwrap_or_default();
        let kind = match found.descriptor.media_type.as_str() {
            oci::media_type::OCI_MANIFEST => "OCIManifest",
            oci::media_type::OCI_INDEX => "OCIIndex",
            oci::media_type::DOCKER_MANIFEST_LIST => "ManifestList",
            _ => "SchemaV2Manifest",
        };
        json!({
            "Ref": found.reference.to_string(),
            "Descriptor": found.descriptor,
            "Raw": base64(&found.bytes),
            kind: document,
        })
    }

    fn indented(value: &Value, indent: &[u8]) -> Result<String, CliError> {
        let mut out = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(indent);
        value
            .serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
            .map_err(|error| CliError::new(error.to_string()))?;
        out.push(b'\n');
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// RFC 4648, as Go writes bytes into JSON.
    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for three in bytes.chunks(3) {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - three.len()));
            for at in 0..4 {
                match at <= three.len() {
                    true => text.push(char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize])),
                    false => text.push('='),
                }
            }
        }
        text
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn base64() {
            for (bytes, text) in
                [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
            {
                assert_eq!(super::base64(bytes.as_bytes()), text);
            }
        }
    }
}

/// `manifest push`.
pub(super) mod push {
    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Name of the list
        list: String,
        /// Where to (default: where the list's name says)
        destination: Option<String>,
        /// Remove the local manifest list after push
        #[arg(short, long, visible_alias = "rm")]
        purge: bool,
        /// Print only the digest
        #[arg(short, long)]
        quiet: bool,
        /// Write the digest of what was pushed to this file
        #[arg(long, value_name = "FILE")]
        digestfile: Option<PathBuf>,
        #[command(flatten)]
        how: How,
        /// Taken for podman's sake: all images are pushed
        #[arg(long, hide = true)]
        all: bool,
        /// Taken for Docker's sake: which registries are insecure, registries.conf says
        #[arg(long, hide = true)]
        insecure: bool,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        let name = list_name(&args.list)?;
        let to =
            args.destination.as_deref().map(|text| list_name(text.strip_prefix("docker://").unwrap_or(text)));
        let to = to.transpose()?;
        let options = args.how.options()?;
        let engine = global.engine_in_namespace()?;
        let transfer = Transfer::new();
        let events: &dyn Events = if args.quiet { &Silent } else { &transfer };
        let pushed =
            manifest::push(&engine, &name, to.as_ref(), &options, &global.registry_client()?, events);
        drop(transfer);
        let pushed = pushed?;
        if args.purge {
            manifest::rm(&engine, &name)?;
        }
        if let Some(path) = &args.digestfile {
            write_digest(path, &pushed.digest)?;
        }
        output::text(&format!("{}\n", pushed.digest))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `manifest rm`.
pub(super) mod rm {
    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Names of the lists
        #[arg(required = true)]
        lists: Vec<String>,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        let engine = global.engine()?;
        let mut errors = Vec::new();
        for list in &args.lists {
            let removed = list_name(list).and_then(|name| Ok(manifest::rm(&engine, &name)?));
            errors.extend(removed.err());
        }
        match CliError::all(errors) {
            Some(error) => Err(error),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

/// `manifest remove`: podman's word for taking an image out of a list.
pub(super) mod remove {
    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Name of the list
        list: String,
        /// Digest of the image in it
        digest: String,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        let name = list_name(&args.list)?;
        let digest = args.digest.parse().map_err(|e: oci::DigestError| CliError::new(e.to_string()))?;
        let left = manifest::remove(&global.engine()?, &name, &digest)?;
        output::text(&format!("{left}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `manifest exists`: podman's question, answered by the exit code.
pub(super) mod exists {
    use super::*;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Name of the list
        list: String,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        Ok(match manifest::exists(&global.engine()?, &list_name(&args.list)?)? {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
