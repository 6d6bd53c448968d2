//! `tags`: the tags of a repository, as they come.

use registry::Client;

use crate::remote::reference;
use crate::{Error, Result};

/// The tags of a repository in the registry's order, fetched page by page.
pub struct Tags {
    /// The repository in familiar form.
    pub repository: String,
    tags: Box<dyn Iterator<Item = std::result::Result<String, registry::Error>>>,
}

/// The tags of the repository that `text` names, without tag or digest.
pub fn tags(client: &Client, text: &str) -> Result<Tags> {
    let reference = reference(text)?;
    if reference.tag.is_some() || reference.digest.is_some() {
        return Err(Error::invalid(format!("{text}: a repository is wanted, without a tag or digest"))
            .hint(format!("strake tags {}", reference.familiar_name())));
    }
    let tags = client.repository(&reference).tags();
    Ok(Tags { repository: reference.familiar_name(), tags: Box::new(tags) })
}

impl Iterator for Tags {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        Some(self.tags.next()?.map_err(Error::from))
    }
}
