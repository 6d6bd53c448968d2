//! `RUN --mount=` and `--device=`: the comma-separated fields as written, and typed once expanded.
//!
//! A mount's values may hold variables, so that typing needs an expander: [`Mount::resolve`]. What
//! a mount then means (which stage, which cache) is not decided here.

use crate::diagnostic::Diagnostic;
use crate::directive::{parse_bool, shorten};
use crate::span::{Span, Text, TextBuilder};
use crate::suggest;

/// One `--mount=` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// All that follows `--mount=`.
    pub text: Text,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// One `--device=`; not expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device by its qualified name (`vendor/class=device`), class or vendor.
    pub name: Text,
    /// Fail without it.
    pub required: bool,
}

/// `key=value`, or a key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The whole field, quotes of the comma-separated form removed.
    pub text: Text,
    /// Left of the `=`, in lower case.
    pub key: String,
    /// Right of the `=`, not expanded.
    pub value: Option<Text>,
}

/// What a mount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountType {
    /// `type=bind`: a stage, image or context
    #[default]
    Bind,
    /// `type=cache`: a directory that lives from build to build
    Cache,
    /// `type=tmpfs`
    Tmpfs,
    /// `type=secret`
    Secret,
    /// `type=ssh`
    Ssh,
}

impl MountType {
    const ALL: [MountType; 5] =
        [MountType::Bind, MountType::Cache, MountType::Tmpfs, MountType::Secret, MountType::Ssh];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            MountType::Bind => "bind",
            MountType::Cache => "cache",
            MountType::Tmpfs => "tmpfs",
            MountType::Secret => "secret",
            MountType::Ssh => "ssh",
        }
    }
}

/// How several builds use one cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// `sharing=shared`: all at once
    Shared,
    /// `sharing=private`: each its own
    Private,
    /// `sharing=locked`: one after the other
    Locked,
}

/// One `--mount=`, expanded and typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// `type=`, bind if not written
    pub kind: MountType,
    /// `from=`: stage, image or named context
    pub from: Option<String>,
    /// `source=`, `src=`: path in it; of a secret, its id
    pub source: Option<String>,
    /// `target=`, `dst=`, `destination=`: path in the container, as written
    pub target: Option<String>,
    /// `ro`, `rw` or what the type has by default
    pub read_only: bool,
    /// `id=`
    pub id: Option<String>,
    /// `sharing=`
    pub sharing: Option<Sharing>,
    /// `required`
    pub required: bool,
    /// `env=`: the variable that holds the secret
    pub env: Option<String>,
    /// `size=` of a tmpfs, in bytes; 0 for no limit
    pub size: u64,
    /// `mode=`, as octal
    pub mode: Option<u32>,
    /// `uid=`
    pub uid: Option<u32>,
    /// `gid=`
    pub gid: Option<u32>,
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "id",
    "sharing",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

impl Mount {
    pub(crate) fn parse(text: Text) -> Result<Mount, Diagnostic> {
        let fields = fields(&text, "mounts")?;
        for field in &fields {
            // Which stages a stage needs must be known before anything is expanded.
            if let ("from", Some(value)) = (field.key.as_str(), &field.value)
                && value.raw.find('$').is_some_and(|at| at + 1 < value.raw.len())
            {
                let message = "'from' doesn't support variable expansion, define alias stage instead";
                return Err(Diagnostic::error(message, value.span)
                    .with_help("write FROM … AS NAME with the variable, and from=NAME here"));
            }
        }
        Ok(Mount { text, fields })
    }

    /// The value of `from=`, which is never expanded: the last one written counts.
    pub fn from(&self) -> Option<&Text> {
        let field = self.fields.iter().rfind(|field| field.key == "from")?;
        field.value.as_ref()
    }

    /// Expands each value with `expand` and types the whole.
    ///
    /// # Errors
    /// What `expand` returns; or an unknown key or type, a value that does not fit, or keys that
    /// do not go together, in BuildKit's words.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&Text) -> Result<String, Diagnostic>,
    ) -> Result<MountOptions, Diagnostic> {
        let mut options = MountOptions::default();
        let mut read_only = None;
        for field in &self.fields {
            let expanded = match &field.value {
                Some(value) => Some(expand(value)?),
                None => None,
            };
            set(&mut options, &mut read_only, field, expanded)?;
        }
        options.read_only = read_only.unwrap_or(!matches!(options.kind, MountType::Cache | MountType::Tmpfs));
        match conflict(&options) {
            Some(message) => Err(Diagnostic::error(message, self.text.span)),
            None => Ok(options),
        }
    }
}

/// Takes one field over.
fn set(
    options: &mut MountOptions,
    read_only: &mut Option<bool>,
    field: &Field,
    value: Option<String>,
) -> Result<(), Diagnostic> {
    let key = field.key.as_str();
    let written = shorten(&field.text.raw);
    let error = |message: String| Err(Diagnostic::error(message, field.text.span));
    let Some(value) = value else {
        match key {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" => return required(options, true, field.text.span),
            _ if KEYS.contains(&key) => {
                return error(format!("invalid field '{written}' must be a key=value pair"));
            }
            _ => return Err(unknown(&field.key, &written, &KEYS, field.text.span)),
        }
        return Ok(());
    };
    let shown = shorten(&value);
    let invalid = || Diagnostic::error(format!("invalid value for {key}: {shown}"), field.text.span);
    let number = |radix| {
        u32::from_str_radix(&value, radix)
            .map_err(|_| Diagnostic::error(format!("invalid value {shown} for {key}"), field.text.span))
    };
    let kind = options.kind.name();
    match key {
        "type" => {
            let name = value.to_lowercase();
            let Some(kind) = MountType::ALL.into_iter().find(|kind| kind.name() == name) else {
                let near = suggest::nearest(&value, MountType::ALL.map(MountType::name));
                let error = Diagnostic::error(format!("unsupported mount type {shown:?}"), field.text.span);
                return Err(match near {
                    Some(near) => error.with_help(format!("did you mean {near}?")),
                    None => error.with_help("the types are bind, cache, tmpfs, secret and ssh"),
                });
            };
            options.kind = kind;
        }
        "from" => options.from = Some(value).filter(|value| !value.is_empty()),
        "source" | "src" => options.source = Some(value).filter(|value| !value.is_empty()),
        "target" | "dst" | "destination" => options.target = Some(value).filter(|value| !value.is_empty()),
        "readonly" | "ro" => *read_only = Some(parse_bool(&value).ok_or_else(invalid)?),
        "readwrite" | "rw" => *read_only = Some(!parse_bool(&value).ok_or_else(invalid)?),
        "required" => {
            let value = parse_bool(&value).ok_or_else(invalid);
            required(options, false, field.text.span)?;
            options.required = value?;
        }
        "size" if options.kind == MountType::Tmpfs => options.size = bytes(&value).ok_or_else(invalid)?,
        "env" if options.kind == MountType::Secret => options.env = Some(value),
        "size" | "env" => return error(format!("unexpected key '{key}' for mount type '{kind}'")),
        "id" => options.id = Some(value).filter(|value| !value.is_empty()),
        "sharing" => {
            options.sharing = Some(match value.to_lowercase().as_str() {
                "shared" => Sharing::Shared,
                "private" => Sharing::Private,
                "locked" => Sharing::Locked,
                _ => {
                    let message = format!("unsupported sharing value {shown:?}");
                    let error = Diagnostic::error(message, field.text.span);
                    return Err(error.with_help("the values are shared, private and locked"));
                }
            });
        }
        "mode" => options.mode = Some(number(8)?),
        "uid" => options.uid = Some(number(10)?),
        "gid" => options.gid = Some(number(10)?),
        _ => return Err(unknown(key, &written, &KEYS, field.text.span)),
    }
    Ok(())
}

fn required(options: &mut MountOptions, value: bool, span: Span) -> Result<(), Diagnostic> {
    if !matches!(options.kind, MountType::Secret | MountType::Ssh) {
        let kind = options.kind.name();
        let message = format!("unexpected key 'required' for mount type '{kind}'");
        return Err(Diagnostic::error(message, span));
    }
    options.required = value;
    Ok(())
}

/// What does not go together.
fn conflict(options: &MountOptions) -> Option<String> {
    let kind = options.kind.name();
    if matches!(options.kind, MountType::Bind | MountType::Tmpfs) {
        for (key, set) in
            [("mode", options.mode.is_some()), ("uid", options.uid.is_some()), ("gid", options.gid.is_some())]
        {
            if set {
                return Some(format!("{key} not allowed for {kind:?} type mounts"));
            }
        }
    }
    if options.kind == MountType::Secret {
        let message = if options.from.is_some() {
            "secret mount should not have a from"
        } else if options.sharing.is_some() {
            "secret mount should not define sharing"
        } else if options.source.is_none() && options.target.is_none() && options.id.is_none() {
            "invalid secret mount. one of source, target required"
        } else if options.source.is_some() && options.id.is_some() {
            "both source and id can't be set"
        } else {
            return None;
        };
        return Some(message.to_owned());
    }
    if options.sharing.is_some() && options.kind != MountType::Cache {
        return Some(format!("invalid cache sharing set for {kind} mount"));
    }
    None
}

impl Device {
    pub(crate) fn parse(text: Text) -> Result<Device, Diagnostic> {
        let mut name: Option<Text> = None;
        let mut required = false;
        for field in fields(&text, "devices")? {
            let shown = shorten(&field.text.raw);
            match (field.key.as_str(), field.value) {
                ("required", None) => required = true,
                ("required", Some(value)) => {
                    required = parse_bool(&value.raw).ok_or_else(|| {
                        let value = shorten(&value.raw);
                        Diagnostic::error(format!("invalid value for required: {value}"), field.text.span)
                    })?;
                }
                ("name", Some(value)) => {
                    if let Some(name) = &name {
                        let message = format!("device name already set to {}", shorten(&name.raw));
                        return Err(Diagnostic::error(message, field.text.span));
                    }
                    name = Some(value);
                }
                _ if name.is_none() => name = Some(field.text),
                (_, None) => {
                    let message = format!("invalid field '{shown}' must be a key=value pair");
                    return Err(Diagnostic::error(message, field.text.span));
                }
                (key, Some(_)) => {
                    return Err(unknown(key, &shown, &["name", "required"], field.text.span));
                }
            }
        }
        let at = text.raw.len();
        let name = name.unwrap_or_else(|| text.slice(at..at));
        Ok(Device { name, required })
    }
}

fn unknown(key: &str, field: &str, known: &[&str], span: Span) -> Diagnostic {
    let error = Diagnostic::error(format!("unexpected key '{}' in '{field}'", shorten(key)), span);
    match suggest::nearest(key, known.iter().copied()) {
        Some(near) => error.with_help(format!("did you mean {near}?")),
        None => error.with_help(format!("the keys are {}", known.join(", "))),
    }
}

/// The fields of a comma-separated line. Quotes around a field keep its commas; one in the middle
/// is an error, as in Go's `encoding/csv`.
fn fields(text: &Text, what: &str) -> Result<Vec<Field>, Diagnostic> {
    let raw = text.raw.as_str();
    let error = |message: &str, at: usize| {
        let end = raw[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        let message = format!("failed to parse csv {what}: {message}");
        Err(Diagnostic::error(message, text.span_of(at..end)))
    };
    if raw.is_empty() {
        return error("it is empty", 0);
    }
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let (field, end) = if raw[at..].starts_with('"') {
            let mut builder = TextBuilder::at(text.source_offset(at));
            let mut from = at + 1;
            loop {
                let Some(length) = raw[from..].find('"') else {
                    return error("extraneous or missing \" in quoted-field", at);
                };
                let quote = from + length;
                if !raw[quote + 1..].starts_with('"') {
                    builder.push_part(text, from..quote);
                    break (builder.finish(), quote + 1);
                }
                builder.push_part(text, from..quote + 1);
                from = quote + 2;
            }
        } else {
            let end = raw[at..].find(',').map_or(raw.len(), |length| at + length);
            if let Some(quote) = raw[at..end].find('"') {
                return error("bare \" in non-quoted field", at + quote);
            }
            (text.slice(at..end), end)
        };
        let equals = field.raw.find('=');
        fields.push(Field {
            key: field.raw[..equals.unwrap_or(field.raw.len())].to_lowercase(),
            value: equals.map(|equals| field.slice(equals + 1..field.raw.len())),
            text: field,
        });
        match raw[end..].chars().next() {
            None => return Ok(fields),
            Some(',') => at = end + 1,
            Some(_) => return error("extraneous or missing \" in quoted-field", end),
        }
    }
}

/// A size with a unit of 1024 (`64m`, `1.5GiB`), as Docker reads sizes of memory.
fn bytes(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim_start_matches(' ').to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let size = number * 1024f64.powi(power);
    // Sizes have 63 bits; a float is turned into the nearest whole number that fits.
    (0.0..9e18).contains(&size).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(raw: &str) -> Result<MountOptions, String> {
        let text = Text::new(raw, Span::new(0, raw.len()));
        let mount = Mount::parse(text).map_err(|error| error.message)?;
        let mut expand = |text: &Text| Ok(text.raw.replace("$X", "y"));
        mount.resolve(&mut expand).map_err(|error| error.message)
    }

    #[test]
    fn types_and_their_keys() {
        let bind = MountOptions { read_only: true, ..MountOptions::default() };
        let some = |text: &str| Some(text.to_owned());
        let table = [
            ("target=/x", MountOptions { target: some("/x"), ..bind.clone() }),
            ("dst=/x,rw", MountOptions { target: some("/x"), read_only: false, ..bind.clone() }),
            ("destination=/x,readwrite=false", MountOptions { target: some("/x"), ..bind.clone() }),
            ("TYPE=Bind,From=a,SRC=/b", MountOptions { from: some("a"), source: some("/b"), ..bind.clone() }),
            ("from=", bind.clone()),
            (
                "type=cache,id=$X,target=/$X,sharing=Locked,mode=0700,uid=1,gid=2",
                MountOptions {
                    kind: MountType::Cache,
                    id: some("y"),
                    target: some("/y"),
                    sharing: Some(Sharing::Locked),
                    mode: Some(0o700),
                    uid: Some(1),
                    gid: Some(2),
                    ..MountOptions::default()
                },
            ),
            ("type=cache,ro", MountOptions { kind: MountType::Cache, read_only: true, ..bind.clone() }),
            (
                "type=tmpfs,size=1.5k",
                MountOptions { kind: MountType::Tmpfs, size: 1536, ..MountOptions::default() },
            ),
            (
                "type=secret,id=a,env=A,required",
                MountOptions {
                    kind: MountType::Secret,
                    id: some("a"),
                    env: some("A"),
                    required: true,
                    ..bind.clone()
                },
            ),
            ("type=ssh,required=0", MountOptions { kind: MountType::Ssh, ..bind.clone() }),
        ];
        for (raw, expected) in table {
            assert_eq!(resolve(raw), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn errors() {
        let table = [
            ("type=cahce", "unsupported mount type \"cahce\""),
            ("type=cache,sharing=all", "unsupported sharing value \"all\""),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("tragte=/x", "unexpected key 'tragte' in 'tragte=/x'"),
            ("x", "unexpected key 'x' in 'x'"),
            ("ro=maybe", "invalid value for ro: maybe"),
            ("required", "unexpected key 'required' for mount type 'bind'"),
            ("type=cache,required=true", "unexpected key 'required' for mount type 'cache'"),
            ("required,type=secret,id=x", "unexpected key 'required' for mount type 'bind'"),
            ("type=cache,size=1m", "unexpected key 'size' for mount type 'cache'"),
            ("type=tmpfs,size=big", "invalid value for size: big"),
            ("type=tmpfs,size=-1", "invalid value for size: -1"),
            ("type=cache,mode=9", "invalid value 9 for mode"),
            ("type=cache,uid=-1", "invalid value -1 for uid"),
            ("mode=755", "mode not allowed for \"bind\" type mounts"),
            ("type=tmpfs,gid=1", "gid not allowed for \"tmpfs\" type mounts"),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,from=a,id=b", "secret mount should not have a from"),
            ("type=secret,sharing=shared,id=b", "secret mount should not define sharing"),
            ("type=secret,id=a,src=b", "both source and id can't be set"),
            ("sharing=shared", "invalid cache sharing set for bind mount"),
            ("from=$X", "'from' doesn't support variable expansion, define alias stage instead"),
        ];
        for (raw, message) in table {
            assert_eq!(resolve(raw), Err(message.to_owned()), "{raw}");
        }
    }

    #[test]
    fn sizes() {
        let table = [
            ("0", Some(0)),
            ("42", Some(42)),
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("1 g", Some(1 << 30)),
            ("2T", Some(2 << 40)),
            ("9b", Some(9)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1mm", None),
            ("99999999p", None),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
