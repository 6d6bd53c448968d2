//! `strake inspect`, and `image inspect`: the JSON of whatever a name or ID is, or a template over it.

use std::io::{self, Write};
use std::process::ExitCode;

use engine::{Engine, Error, Kind};
use gotemplate::{Options, Shape, Template};
use serde_json::Value;

use crate::cli::{CliError, Global, Outcome, format};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format output using a custom template: 'json' for one line of JSON, else a Go template
    #[arg(short, long, value_name = "STRING")]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type: container or image
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    #[command(flatten)]
    remote: Remote,
    /// Names or IDs
    #[arg(value_name = "NAME|ID", required = true)]
    names: Vec<String>,
}

/// Images that stay where they are.
#[derive(Debug, clap::Args)]
struct Remote {
    /// Show images at their registries, without pulling them
    #[arg(long)]
    remote: bool,
    /// With --remote: of an image for several platforms, the one for this (default: this machine's)
    #[arg(long, value_name = "PLATFORM", requires = "remote")]
    platform: Option<String>,
}

impl Remote {
    /// What finds images at their registries, if that is asked for.
    fn finder(
        &self,
        global: &Global,
    ) -> Result<Option<impl Fn(&str) -> Result<Value, Error> + use<>>, CliError> {
        if !self.remote {
            return Ok(None);
        }
        let platform = match &self.platform {
            Some(text) => {
                text.parse().map_err(|error: oci::PlatformError| CliError::new(error.to_string()))?
            }
            None => oci::Platform::host(),
        };
        let client = global.registry_client()?;
        Ok(Some(move |name: &str| engine::remote::inspect(&client, name, &platform)))
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let only = match args.kind.as_deref() {
        None | Some("") => None,
        Some("container") => Some(Object::Container),
        Some("image") => Some(Object::Image),
        Some(other) => {
            return Err(CliError::new(format!(
                "unknown type: {other:?}: must be one of \"container\", \"image\""
            )));
        }
    };
    if let Some(find) = args.remote.finder(global)? {
        if only == Some(Object::Container) {
            return Err(CliError::new("--remote shows images, and --type asks for containers"));
        }
        return print_found(find, args.format.as_deref(), &args.names);
    }
    print(global, only, args.size, args.format.as_deref(), &args.names)
}

/// `image inspect`: the same for images alone.
pub(crate) mod image {
    use super::{Global, Object, Outcome};

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Format output using a custom template: 'json' for one line of JSON, else a Go template
        #[arg(short, long, value_name = "STRING")]
        format: Option<String>,
        #[command(flatten)]
        remote: super::Remote,
        /// Names or IDs
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        if let Some(find) = args.remote.finder(global)? {
            return super::print_found(find, args.format.as_deref(), &args.images);
        }
        super::print(global, Some(Object::Image), false, args.format.as_deref(), &args.images)
    }
}

/// `container inspect`: the same for containers alone.
pub(crate) mod container {
    use super::{Global, Object, Outcome};

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// Format output using a custom template: 'json' for one line of JSON, else a Go template
        #[arg(short, long, value_name = "STRING")]
        format: Option<String>,
        /// Display total file sizes
        #[arg(short, long)]
        size: bool,
        /// Names or IDs
        #[arg(value_name = "CONTAINER", required = true)]
        containers: Vec<String>,
    }

    pub(crate) fn run(args: Args, global: &Global) -> Outcome {
        super::print(global, Some(Object::Container), args.size, args.format.as_deref(), &args.containers)
    }
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Container,
    Image,
}

/// Docker's exit code of `inspect` for a template that is none.
const BAD_TEMPLATE: u8 = 64;

pub(crate) fn print(
    global: &Global,
    only: Option<Object>,
    size: bool,
    format: Option<&str>,
    names: &[String],
) -> Outcome {
    let engine = if size { global.engine_in_namespace()? } else { global.engine()? };
    print_found(|name| find(&engine, only, size, name), format, names)
}

fn print_found(
    find: impl Fn(&str) -> Result<Value, Error>,
    format: Option<&str>,
    names: &[String],
) -> Outcome {
    let template = match format {
        None | Some("" | "json") => None,
        Some(text) => {
            Some(Template::parse(text).map_err(|error| format::parsing(error).with_code(BAD_TEMPLATE))?)
        }
    };
    let mut objects = Vec::new();
    let mut lines = String::new();
    let mut errors: Vec<CliError> = Vec::new();
    for name in names {
        let object = match find(name) {
            Ok(object) => object,
            Err(error) => {
                errors.push(error.into());
                continue;
            }
        };
        match &template {
            None => objects.push(object),
            Some(template) => {
                let options = Options { schema: shape, aliases: &[("ID", "Id")], ..Options::default() };
                match template.render(&object, &options) {
                    Ok(line) => {
                        lines.push_str(&line);
                        lines.push('\n');
                    }
                    Err(error) => errors.push(format::parsing(error)),
                }
            }
        }
    }
    let text = match (&template, format) {
        (Some(_), _) if lines.is_empty() => "\n".to_owned(),
        (Some(_), _) => lines,
        (None, _) if objects.is_empty() => "[]\n".to_owned(),
        (None, Some("json")) => format!("{}\n", Value::Array(objects)),
        (None, _) => format!("{}\n", indented(&Value::Array(objects))),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    match CliError::all(errors) {
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// A container of that name or ID, else an image, as Docker looks.
fn find(engine: &Engine, only: Option<Object>, size: bool, name: &str) -> Result<Value, Error> {
    match only {
        Some(Object::Image) => engine::inspect::image(engine, name),
        Some(Object::Container) => engine::container::inspect(engine, name, size),
        None => match engine::container::inspect(engine, name, size) {
            Err(error) if error.kind == Kind::NotFound => match engine::inspect::image(engine, name) {
                Err(error) if error.kind == Kind::NotFound => {
                    Err(Error::not_found(format!("No such object: {name}")))
                }
                found => found,
            },
            found => found,
        },
    }
}

/// JSON as Go indents it, by four spaces.
fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}

/// What Docker's types say of the fields: what null and a missing field stand for in a template.
fn shape(field: &str) -> Shape {
    match field {
        "Labels" | "Annotations" | "Options" | "Sysctls" => Shape::TextMap,
        "ExposedPorts" | "Volumes" | "Ports" | "PortBindings" | "Networks" | "Tmpfs" | "LogOpts" => {
            Shape::Map
        }
        "Cmd" | "Entrypoint" | "Env" | "OnBuild" | "Shell" | "RepoTags" | "RepoDigests" | "Layers"
        | "Test" | "Mounts" | "Args" | "Binds" | "CapAdd" | "CapDrop" | "ExecIDs" | "Dns" | "ExtraHosts" => {
            Shape::List
        }
        "Variant" | "OsVersion" | "StopSignal" | "Created" | "Comment" | "Author" | "DockerVersion" => {
            Shape::Text
        }
        "SizeRw" | "SizeRootFs" | "Healthcheck" | "Health" | "Base" => Shape::Pointer,
        "ArgsEscaped" | "AttachStdin" | "AttachStdout" | "AttachStderr" | "OpenStdin" | "StdinOnce"
        | "Tty" => Shape::Bool,
        _ => Shape::Any,
    }
}
