//! `--cache-from` and `--cache-to`: shared caches, in buildx's comma-separated words.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use engine::build::cache::{CacheFrom, CacheFromPlace, CacheMode, CacheTo, CacheToPlace, S3Cache};
use engine::push::Method;
use engine::registry::s3::BucketOptions;
use oci::Reference;

use crate::cli::CliError;

/// What separates several ids of cache mounts, and several names of an S3 cache: a comma would end the field.
const SEPARATOR: char = ';';

#[derive(Debug, clap::Args)]
pub(crate) struct SharedCacheArgs {
    /// Shared cache to look results up in: `REF`, or `type=registry|local|s3` with its options
    #[arg(long = "cache-from", value_name = "CACHE")]
    pub cache_from: Vec<String>,
    /// Shared cache to write: `REF`, or `type=registry|local|inline|s3` with its options
    #[arg(long = "cache-to", value_name = "CACHE")]
    pub cache_to: Vec<String>,
}

impl SharedCacheArgs {
    /// The caches to look in.
    pub fn from(&self) -> Result<Vec<CacheFrom>, CliError> {
        each(&self.cache_from, |entry| entry.cache_from())
    }

    /// The caches to write. `BUILDKIT_INLINE_CACHE=1` among the build arguments asks for one within the image.
    pub fn to(&self, build_args: &BTreeMap<String, String>) -> Result<Vec<CacheTo>, CliError> {
        let mut all = each(&self.cache_to, |entry| entry.cache_to())?;
        let asked = build_args.get("BUILDKIT_INLINE_CACHE").is_some_and(|value| is_true(value) == Some(true));
        if asked && !all.iter().any(|cache| matches!(cache.place, CacheToPlace::Inline)) {
            all.push(CacheTo::new(CacheToPlace::Inline));
        }
        Ok(all)
    }
}

impl SharedCacheArgs {
    /// The registries, `HOST[:PORT]`, of caches that say `registry.insecure=true`.
    pub fn insecure(&self) -> Result<Vec<String>, CliError> {
        let mut hosts = Vec::new();
        for text in self.cache_from.iter().chain(&self.cache_to).filter(|text| text.contains("insecure")) {
            let mut entry = Entry::parse(text)?;
            if entry.flag("registry.insecure", false)? | entry.flag("insecure", false)? {
                hosts.push(entry.reference()?.registry);
            }
        }
        Ok(hosts)
    }
}

fn each<T>(
    given: &[String],
    read: impl Fn(&mut Entry) -> Result<Option<T>, CliError>,
) -> Result<Vec<T>, CliError> {
    let mut all = Vec::new();
    for text in given.iter().filter(|text| !text.is_empty()) {
        // As in buildx, references alone may be separated by commas.
        let entries = match text.contains('=') {
            true => vec![Entry::parse(text)?],
            false => fields(text).into_iter().map(|field| Entry::parse(&field)).collect::<Result<_, _>>()?,
        };
        for mut entry in entries {
            let Some(read) = read(&mut entry)? else { continue };
            entry.end()?;
            all.push(read);
        }
    }
    Ok(all)
}

/// One cache's options.
struct Entry {
    text: String,
    kind: String,
    options: BTreeMap<String, String>,
}

impl Entry {
    fn parse(text: &str) -> Result<Entry, CliError> {
        let fields = fields(text);
        let mut entry = Entry { text: text.to_owned(), kind: String::new(), options: BTreeMap::new() };
        if let [name] = fields.as_slice()
            && !name.contains('=')
        {
            entry.kind = "registry".to_owned();
            entry.options.insert("ref".to_owned(), name.clone());
            return Ok(entry);
        }
        for field in fields {
            let Some((name, value)) = field.split_once('=') else {
                return Err(CliError::new(format!("invalid value {field}")));
            };
            match name.to_lowercase().as_str() {
                "type" => entry.kind = value.to_owned(),
                name => drop(entry.options.insert(name.to_owned(), value.to_owned())),
            }
        }
        match entry.kind.is_empty() {
            true => Err(CliError::new(format!("type required for {text:?}"))),
            false => Ok(entry),
        }
    }

    fn cache_from(&mut self) -> Result<Option<CacheFrom>, CliError> {
        let place = match self.kind.as_str() {
            "registry" => CacheFromPlace::Registry(self.reference()?),
            "local" => {
                let path = self.needed("src")?.into();
                let tag = self.take("tag");
                CacheFromPlace::Local { path, name: self.take("digest").or(tag) }
            }
            "s3" => CacheFromPlace::S3(self.s3()?),
            other => return Err(self.unsupported(other, "registry, local and s3")),
        };
        self.ignored(&["mode"]);
        Ok(Some(CacheFrom { place, mounts: self.take("mounts").map(|ids| list(&ids)) }))
    }

    fn cache_to(&mut self) -> Result<Option<CacheTo>, CliError> {
        let place = match self.kind.as_str() {
            "inline" => CacheToPlace::Inline,
            "registry" => CacheToPlace::Registry(self.reference()?),
            "local" => CacheToPlace::Local {
                path: PathBuf::from(self.needed("dest")?),
                tag: self.take("tag").unwrap_or_else(|| "latest".to_owned()),
            },
            "s3" => CacheToPlace::S3(self.s3()?),
            other => return Err(self.unsupported(other, "registry, local, inline and s3")),
        };
        let mode = match self.take("mode").as_deref() {
            None | Some("" | "min") => CacheMode::Min,
            Some("max") => CacheMode::Max,
            Some(other) => return Err(self.bad(&format!("mode {other:?} is neither min nor max"))),
        };
        let level = self.take("compression-level");
        let level = level.map(|text| text.parse::<i64>().map_err(|_| self.bad(&format!("level {text:?}"))));
        let level = level.transpose()?;
        let compression = self.take("compression");
        let compression = Method::new(compression.as_deref().unwrap_or("gzip"), level);
        let compression = compression.map_err(|e| self.bad(&e.to_string()))?;
        let made = CacheTo::new(place);
        Ok(Some(CacheTo {
            mode,
            compression,
            force_compression: self.flag("force-compression", made.force_compression)?,
            oci_media_types: self.flag("oci-mediatypes", made.oci_media_types)?,
            image_manifest: self.flag("image-manifest", made.image_manifest)?,
            required: !self.flag("ignore-error", !made.required)?,
            mounts: self.take("mounts").map(|ids| list(&ids)).unwrap_or_default(),
            ..made
        }))
    }

    fn reference(&mut self) -> Result<Reference, CliError> {
        let text = self.needed("ref")?;
        // Asked for before: it is the client's.
        self.ignored(&["registry.insecure", "insecure"]);
        let reference = Reference::parse(&text).map_err(|e| self.bad(&format!("ref: {e}")))?;
        Ok(reference.with_default_tag())
    }

    fn s3(&mut self) -> Result<S3Cache, CliError> {
        let key = self.or_environment("access_key_id", "AWS_ACCESS_KEY_ID");
        let secret = self.or_environment("secret_access_key", "AWS_SECRET_ACCESS_KEY");
        let token = self.or_environment("session_token", "AWS_SESSION_TOKEN");
        let bucket = BucketOptions {
            name: self
                .or_environment("bucket", "AWS_BUCKET")
                .ok_or_else(|| self.bad("bucket ($AWS_BUCKET) not set for s3 cache"))?,
            region: self
                .or_environment("region", "AWS_REGION")
                .ok_or_else(|| self.bad("region ($AWS_REGION) not set for s3 cache"))?,
            endpoint: self.take("endpoint_url").filter(|url| !url.is_empty()),
            path_style: self.flag("use_path_style", false)?,
            key: key.zip(secret),
            session_token: token,
        };
        let settings = S3Cache {
            bucket,
            prefix: self.take("prefix").unwrap_or_default(),
            manifests_prefix: self.take("manifests_prefix").unwrap_or_else(|| "manifests/".to_owned()),
            blobs_prefix: self.take("blobs_prefix").unwrap_or_else(|| "blobs/".to_owned()),
            names: self.take("name").map_or_else(|| vec!["buildkit".to_owned()], |names| list(&names)),
        };
        self.ignored(&["touch_refresh", "upload_parallelism", "retry_mode", "retry_max_attempts"]);
        match settings.names.is_empty() {
            true => Err(self.bad("name is empty")),
            false => Ok(settings),
        }
    }

    fn or_environment(&mut self, name: &str, variable: &str) -> Option<String> {
        self.take(name).or_else(|| env::var(variable).ok()).filter(|value| !value.is_empty())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.options.remove(name)
    }

    fn needed(&mut self, name: &str) -> Result<String, CliError> {
        match self.take(name).filter(|value| !value.is_empty()) {
            Some(value) => Ok(value),
            None => Err(self.bad(&format!("{name} is required for a cache of type {}", self.kind))),
        }
    }

    fn flag(&mut self, name: &str, otherwise: bool) -> Result<bool, CliError> {
        let Some(text) = self.take(name) else { return Ok(otherwise) };
        is_true(&text).ok_or_else(|| self.bad(&format!("{name} is {text:?}: true or false")))
    }

    /// Takes what has no meaning here, for the sake of command lines that were written for BuildKit.
    fn ignored(&mut self, names: &[&str]) {
        for name in names {
            self.options.remove(*name);
        }
    }

    /// Whatever is left was not understood.
    fn end(self) -> Result<(), CliError> {
        match self.options.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.bad(&format!("a cache of type {} has no option {name:?}", self.kind))),
        }
    }

    fn unsupported(&self, kind: &str, supported: &str) -> CliError {
        self.bad(&format!("a cache of type {kind:?} is not supported here: {supported} are"))
    }

    /// The error, with as much of the option as holds no secret.
    fn bad(&self, reason: &str) -> CliError {
        let shown: Vec<String> = fields(&self.text)
            .into_iter()
            .map(|field| match field.split_once('=') {
                Some((name, _)) if name.to_lowercase().contains("secret") || name.contains("token") => {
                    format!("{name}=…")
                }
                _ => field,
            })
            .collect();
        CliError::new(format!("invalid cache {:?}: {reason}", shown.join(",")))
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(SEPARATOR).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// As Go's `strconv.ParseBool`.
fn is_true(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The fields of one line of CSV: one that begins with a quote goes to the next that stands alone.
fn fields(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut chars = quoted.char_indices().peekable();
            rest = "";
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                        field.push('"');
                        chars.next();
                    }
                    '"' => {
                        rest = &quoted[at + 1..];
                        break;
                    }
                    c => field.push(c),
                }
            }
        }
        let end = rest.find(',').unwrap_or(rest.len());
        field.push_str(&rest[..end]);
        fields.push(field);
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => return fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: &CliError) -> String {
        format!("{error:?}").replace('\\', "")
    }

    fn from(text: &str) -> Result<Vec<CacheFrom>, String> {
        let args = SharedCacheArgs { cache_from: vec![text.to_owned()], cache_to: Vec::new() };
        args.from().map_err(|e| said(&e))
    }

    fn to(text: &str) -> Result<CacheTo, String> {
        let args = SharedCacheArgs { cache_from: Vec::new(), cache_to: vec![text.to_owned()] };
        args.to(&BTreeMap::new()).map(|mut all| all.remove(0)).map_err(|e| said(&e))
    }

    #[test]
    fn fields_of_csv() {
        for (text, expected) in [
            ("a=1,b=2", vec!["a=1", "b=2"]),
            (r#"type=local,"dest=/a,b",x=1"#, vec!["type=local", "dest=/a,b", "x=1"]),
            (r#""a=""q""",b"#, vec![r#"a="q""#, "b"]),
            ("a,", vec!["a", ""]),
            ("", vec![""]),
            ("\"open", vec!["open"]),
        ] {
            assert_eq!(fields(text), expected, "{text}");
        }
    }

    #[test]
    fn references_alone() {
        let all = from("localhost:5000/a:b,localhost:5000/c").unwrap();
        let names: Vec<String> = all
            .iter()
            .map(|cache| match &cache.place {
                CacheFromPlace::Registry(reference) => reference.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["localhost:5000/a:b", "localhost:5000/c:latest"]);
    }

    #[test]
    fn options_of_a_cache() {
        let cache = to("type=registry,ref=localhost/a,mode=max,compression=zstd,compression-level=9,ignore-error=false,mounts=go;npm").unwrap();
        assert_eq!(cache.mode, CacheMode::Max);
        assert_eq!(cache.compression, Method::Zstd(9));
        assert!(cache.required && cache.image_manifest && cache.oci_media_types);
        assert_eq!(cache.mounts, ["go", "npm"]);
        let cache = to("type=local,dest=/c,image-manifest=false").unwrap();
        assert!(!cache.image_manifest && !cache.required);
        assert!(matches!(cache.place, CacheToPlace::Local { tag, .. } if tag == "latest"));
    }

    #[test]
    fn an_s3_cache() {
        let text = "type=s3,region=r,bucket=b,prefix=p/,name=one;two,endpoint_url=http://127.0.0.1:1,use_path_style=true,access_key_id=i,secret_access_key=hidden";
        let CacheToPlace::S3(s3) = to(text).unwrap().place else { panic!() };
        assert_eq!((s3.prefix.as_str(), s3.names.len(), s3.bucket.path_style), ("p/", 2, true));
        assert_eq!(s3.bucket.key, Some(("i".to_owned(), "hidden".to_owned())));
        assert!(!format!("{s3:?}").contains("hidden"));
        let error = to(&format!("{text},mode=some")).unwrap_err();
        assert!(error.contains("neither min nor max") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, reason) in [
            ("ref=x", "type required"),
            ("type=gha", "\"gha\" is not supported"),
            ("type=registry", "ref is required"),
            ("type=local,src=/x", "dest is required"),
            ("type=registry,ref=x,moed=max", "no option \"moed\""),
            ("type=registry,ref=x,compression=estargz", "estargz"),
            ("type=registry,ref=x,compression=brotli", "brotli"),
            ("type=registry,ref=x,image-manifest=perhaps", "true or false"),
            ("type=registry,ref=X Y", "ref:"),
            ("type=registry,ref", "invalid value ref"),
        ] {
            let error = to(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(from("type=inline").unwrap_err().contains("not supported"));
    }
}
