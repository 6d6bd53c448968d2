//! The images that the cases stand on.

use std::collections::BTreeMap;

use dockerfile::lower::{ConfigResolver, NamedContext, ResolvedImage};
use dockerfile::remote::{Remote, parse};
use graph::{HttpSource, Source};
use oci::{DiffId, Digest, Document, ImageConfig, ImageId, Platform, Reference};

/// A store with some images, and the named contexts of a case: `local` or an image's name.
#[derive(Debug, Default)]
pub struct Images {
    pub contexts: BTreeMap<String, String>,
}

impl ConfigResolver for Images {
    fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, String> {
        let name = reference.familiar_name();
        let text = IMAGES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let text = text.ok_or_else(|| "no such image in the store, and no registry was asked".to_owned())?;
        let mut config: ImageConfig = serde_json::from_str(text).expect("a config");
        for layer in &mut config.rootfs.diff_ids {
            // The numbers stand for digests; one for each image.
            *layer = DiffId(Digest::sha256(format!("{name} {layer}").as_bytes()));
        }
        if config.architecture.is_empty() {
            config.architecture = platform.architecture.clone();
            config.variant = platform.variant.clone();
        }
        let image_id = ImageId(Document::of(config.clone()).digest);
        let digest = Some(Digest::sha256(name.as_bytes())).filter(|_| name != "local/built");
        Ok(ResolvedImage { image_id, config, digest, reference: reference.clone() })
    }

    fn context(&mut self, name: &str, platform: &Platform) -> Result<Option<NamedContext>, String> {
        match self.contexts.get(&name.to_lowercase()).cloned() {
            None => Ok(None),
            Some(kind) if kind == "local" => Ok(Some(NamedContext::Local(name.to_owned()))),
            Some(kind) if kind == "scratch" => Ok(Some(NamedContext::Scratch)),
            Some(text) if text.contains("://") => Ok(Some(NamedContext::Remote(match parse(&text)? {
                Some(Remote::Git(git)) => Source::Git(git.source(false)),
                _ => Source::Http(HttpSource { url: text, name: Some("context".to_owned()), checksum: None }),
            }))),
            Some(image) => {
                let reference = Reference::parse(&image).expect("a reference").with_default_tag();
                Ok(Some(NamedContext::Image(Box::new(self.resolve(&reference, platform)?))))
            }
        }
    }
}

/// By familiar name. Where there is no architecture, the image exists for all. The digests are
/// numbers that [`Images::resolve`] makes distinct.
const IMAGES: &[(&str, &str)] = &[
    (
        "alpine",
        r#"{"os":"linux","created":"2024-05-06T07:08:09Z","config":{"Env":["PATH=/usr/local/sbin:/usr/bin"],"Cmd":["/bin/sh"],"WorkingDir":"/"},"history":[{"created":"2024-05-06T07:08:08Z","created_by":"ADD rootfs / # buildkit","comment":"buildkit.dockerfile.v0"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "debian",
        r#"{"os":"linux","created":"2024-05-06T07:08:09Z","docker_version":"20.10","container_config":{"Cmd":["x"]},"config":{"Hostname":"abc","Env":["LANG=C.UTF-8"],"Cmd":["bash"],"Labels":{"maintainer":"d"}},"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001","sha256:0000000000000000000000000000000000000000000000000000000000000002"]}}"#,
    ),
    (
        "app",
        r#"{"os":"linux","author":"me","config":{"User":"app","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin","A=1","B=2","A=3"],"Entrypoint":["/entry"],"Cmd":["serve"],"Volumes":{"/data":{}},"WorkingDir":"/srv/","Labels":{"a":"1"},"StopSignal":"SIGINT","Shell":["/bin/bash","-ec"],"Healthcheck":{"Test":["CMD","true"]}},"history":[{"created_by":"one"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "triggers",
        r#"{"os":"linux","config":{"Env":["PATH=/bin"],"WorkingDir":"/","OnBuild":["ARG VERSION=1","COPY . /src","RUN make $VERSION","ENV DONE=yes"]},"history":[{"created_by":"one"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "triggers-from",
        r#"{"os":"linux","config":{"OnBuild":["COPY --from=build /out /","RUN --mount=from=alpine,target=/a ls /a"]},"history":[{"created_by":"one"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "triggers-bad",
        r#"{"os":"linux","config":{"OnBuild":["RUN true","RUNN make"]},"history":[{"created_by":"one"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "triggers-wrong",
        r#"{"os":"linux","config":{"OnBuild":["EXPOSE $PORT/http"]},"history":[{"created_by":"one"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "triggers-missing",
        r#"{"os":"linux","config":{"OnBuild":["COPY --from=nowhere /a /b"]},"history":[{"created_by":"one"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    ("empty", r#"{"os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#),
    (
        "arm",
        r#"{"os":"linux","architecture":"arm64","variant":"v8","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "windows",
        r#"{"os":"windows","architecture":"amd64","os.version":"10.0.1","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
    (
        "local/built",
        r#"{"os":"linux","config":{},"history":[{"created_by":"a"},{"created_by":"b"},{"created_by":"c"},{"created":"2024-05-06T07:08:09Z","created_by":"base","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000001"]}}"#,
    ),
];
