//! The image that a container is to be made of: here, or pulled now.

use engine::Engine;
use engine::pull::{PullRequest, PullSource};
use oci::{Platform, Reference};

use crate::cli::container_args::ContainerArgs;
use crate::cli::transfer::Transfer;
use crate::cli::{CliError, Global};

impl ContainerArgs {
    /// Pulls the image where it is missing, or always, as asked.
    pub(crate) fn ensure_image(&self, engine: &Engine, global: &Global) -> Result<(), CliError> {
        let here = engine.store.resolve(self.image());
        let wanted = self.wanted_platform()?;
        let other = match (&here, &wanted) {
            (Ok(_), Some(wanted)) => engine.image_for(self.image(), wanted)?.is_none(),
            _ => false,
        };
        let pull = match (self.pull.as_str(), &here) {
            ("always", _) => true,
            ("never", _) => false,
            // An ID names nothing in a registry.
            (_, Err(engine::ResolveError::NotFound { .. })) => !is_id(self.image()),
            _ => other,
        };
        if !pull {
            if wanted.is_none()
                && let Ok(id) = &here
            {
                warn_of_platform(engine, id);
            }
            return Ok(());
        }
        let reference = Reference::parse(self.image()).map_err(|e| CliError::new(e.to_string()))?;
        let reference = reference.with_default_tag();
        let name = reference.familiar();
        if here.is_err() && !self.quiet {
            crate::cli::output::say(&format!("Unable to find image '{name}' locally"));
        }
        let transfer = Transfer::new();
        let events: &dyn engine::Events = if self.quiet { &engine::Silent } else { &transfer };
        let platform = wanted.unwrap_or_else(Platform::host);
        let request = PullRequest::new(PullSource::Registry(reference), platform);
        engine::pull::pull(engine, &request, &global.registry_client()?, events).map_err(|error| {
            let error = CliError::from(error);
            match here {
                Ok(_) => error,
                Err(_) => {
                    error.hint(format!("no image {name} is in the store either: strake images lists what is"))
                }
            }
        })?;
        Ok(())
    }
}

impl ContainerArgs {
    /// `--platform`, if it was given.
    pub(crate) fn wanted_platform(&self) -> Result<Option<Platform>, CliError> {
        let wanted = self.platform.as_ref().map(|text| text.parse::<Platform>());
        wanted.transpose().map_err(|e| CliError::new(e.to_string()))
    }
}

fn is_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Says so where the image is for another machine than this: its programs will hardly run.
fn warn_of_platform(engine: &Engine, id: &oci::ImageId) {
    let Ok(Some(image)) = engine.store.image(id) else { return };
    let (platform, host) = (image.config.value.platform(), Platform::host());
    if !platform.architecture.is_empty() && !platform.matches(&host) {
        crate::cli::output::say(&format!(
            "WARNING: The requested image's platform ({platform}) does not match the detected host platform ({host}) and no specific platform was requested"
        ));
    }
}
