//! `--change`: Dockerfile instructions that change an image's config, for `commit` and `import`.

use dockerfile::lower::{ConfigResolver, LowerOptions, ResolvedImage, lower};
use dockerfile::render;
use oci::{Config, Digest, ImageConfig, ImageId, Platform, Reference};

use crate::{Error, Result};

/// The instructions that `--change` takes, as in Docker.
const ALLOWED: &[&str] = &[
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Changes `config` as `changes`, an instruction each, say.
pub(crate) fn apply(config: &mut Config, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut text = String::from("FROM changed\n");
    for change in changes {
        let keyword = change.split_whitespace().next().unwrap_or_default().to_uppercase();
        if !ALLOWED.contains(&keyword.as_str()) {
            return Err(Error::invalid(format!("{keyword:?} is not a valid change command"))
                .hint(format!("one of: {}", ALLOWED.join(", "))));
        }
        text.push_str(change.trim());
        text.push('\n');
    }
    let wrong = |all: Vec<dockerfile::Diagnostic>| {
        let texts: Vec<String> = all.iter().map(|d| render(d, "--change", text.as_bytes())).collect();
        Error::invalid(texts.join("\n"))
    };
    let parsed = dockerfile::parse(text.as_bytes()).map_err(wrong)?;
    let mut image = Image(config.clone());
    let lowered = lower(&parsed.dockerfile, &LowerOptions::default(), &mut image).map_err(wrong)?;
    let has_path = |env: &[String]| env.iter().any(|variable| variable.starts_with("PATH="));
    let had_path = has_path(&config.env) || changes.iter().any(|change| change.contains("PATH"));
    *config = lowered.config.config;
    if !had_path {
        // What a FROM brings, which no change said.
        config.env.retain(|variable| !variable.starts_with("PATH="));
    }
    Ok(())
}

/// The image that is being changed, as the base of the instructions.
struct Image(Config);

impl ConfigResolver for Image {
    fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, String> {
        let mut config = ImageConfig::scratch(platform);
        config.config = self.0.clone();
        // Triggers are for images built on this one, not for a change of it.
        let _ = std::mem::take(&mut config.config.onbuild);
        Ok(ResolvedImage {
            image_id: ImageId(Digest::sha256(b"")),
            config,
            digest: None,
            reference: reference.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_config() {
        let mut config = Config { env: vec!["A=1".into()], ..Config::default() };
        let changes = ["ENV A=2 B=$A", "CMD [\"sh\"]", "EXPOSE 80", "user app"].map(str::to_owned);
        apply(&mut config, &changes).unwrap();
        assert_eq!(config.cmd, Some(vec!["sh".to_owned()]));
        assert!(config.env.contains(&"A=2".to_owned()) && config.env.contains(&"B=1".to_owned()));
        assert!(config.exposed_ports.is_some_and(|ports| ports.contains_key("80/tcp")));
        assert_eq!(config.user, "app");
        assert!(!config.env.iter().any(|variable| variable.starts_with("PATH=")));
    }

    #[test]
    fn what_changes_files_is_refused() {
        let error = apply(&mut Config::default(), &["RUN true".to_owned()]).unwrap_err();
        assert!(error.message.contains("RUN"), "{error}");
    }
}
