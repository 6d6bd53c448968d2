//! The accounts of a person, where Docker keeps them: `config.json`, the credential helpers it names, and, to read
//! only, `DOCKER_AUTH_CONFIG` and containers' `auth.json`.
//!
//! Where these files are is the caller's knowledge.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config_file::{Account, ConfigFile, Names, key};
use super::helper::{Helper, PATIENCE};
use super::replace::Replacement;
use super::{Credential, Credentials, Secret};
use crate::error::Error;
use crate::hosts::bounded;

/// The largest file taken, in bytes.
const LIMIT: u64 = 4 << 20;

/// Where accounts are kept.
#[derive(Debug, Clone)]
pub struct Accounts {
    config: PathBuf,
    environment: Option<Secret>,
    fallbacks: Vec<PathBuf>,
    patience: Duration,
    path: OsString,
    runner: Vec<OsString>,
}

/// Where an account was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// In this file (on the host), readable to whoever may read it.
    File(PathBuf),
    /// With the credential helper of this name.
    Helper(String),
    /// It was in the file already.
    Unchanged(PathBuf),
}

impl Accounts {
    /// Accounts in Docker's `config.json` at `config` (on the host), and with the helpers it names, which are looked
    /// for in the directories of `path`.
    pub fn new(config: PathBuf, path: OsString) -> Accounts {
        Accounts {
            config,
            environment: None,
            fallbacks: Vec::new(),
            patience: PATIENCE,
            path,
            runner: Vec::new(),
        }
    }

    /// Also those in `text`, of the same form: the value of `DOCKER_AUTH_CONFIG`. They come first.
    pub fn with_environment(mut self, text: Option<Secret>) -> Accounts {
        self.environment = text;
        self
    }

    /// Also those in these files of containers' tools (on the host), in their order, for what is nowhere else.
    pub fn with_fallbacks(mut self, paths: Vec<PathBuf>) -> Accounts {
        self.fallbacks = paths;
        self
    }

    /// Lets helpers take so long; two minutes unless told.
    pub fn with_patience(mut self, patience: Duration) -> Accounts {
        self.patience = patience;
        self
    }

    /// Runs helpers by a program that is told what to run: these words stand before theirs.
    pub fn with_runner(mut self, words: Vec<OsString>) -> Accounts {
        self.runner = words;
        self
    }

    /// The account at `registry`: the user's name, which may be empty beside a token, and the credential.
    ///
    /// # Errors
    /// [`Error::Credentials`].
    pub fn find(&self, registry: &str) -> Result<Option<(String, Credential)>, Error> {
        let known = |account: Account| Some((account.user, account.credential?));
        if let Some(text) = &self.environment
            && let Ok(config) = ConfigFile::parse(text.reveal().as_bytes())
            && let Ok(Some(account)) = config.account(registry, Names::Docker)
            && let Some(found) = known(account)
        {
            return Ok(Some(found));
        }
        let account = self.kept(&self.config, registry, Names::Docker)?;
        if let Some(found) = account.and_then(known) {
            return Ok(Some(found));
        }
        for path in &self.fallbacks {
            let account = self.kept(path, registry, Names::Containers)?;
            if let Some(found) = account.and_then(known) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps the account of `user` at `registry`, as Docker does: with the helper that `config.json` names, else in
    /// `config.json` itself.
    ///
    /// # Errors
    /// [`Error::Credentials`].
    pub fn store(&self, registry: &str, user: &str, credential: &Credential) -> Result<Stored, Error> {
        let changing = self.change(registry)?;
        let mut config = read(changing.target(), registry)?.unwrap_or_default();
        let mut account = Account { user: user.to_owned(), credential: Some(credential.clone()) };
        let helper = config.helper(key(registry)).map(str::to_owned);
        if let Some(name) = &helper {
            let kept = self.helper(name).store(key(registry), user, credential);
            kept.map_err(|reason| failed(registry, reason))?;
            // An empty entry in the file tells that there is one elsewhere.
            account = Account { user: String::new(), credential: None };
        }
        let changed = config.set(key(registry), &account);
        if changed {
            self.put(&changing, &config, registry)?;
        }
        Ok(match helper {
            Some(name) => Stored::Helper(name),
            None if changed => Stored::File(self.config.clone()),
            None => Stored::Unchanged(self.config.clone()),
        })
    }

    /// Forgets the account at `registry`, under whichever of its names Docker may have kept it. Where there is none
    /// nothing happens.
    ///
    /// # Errors
    /// [`Error::Credentials`], if none of the names could be forgotten.
    pub fn erase(&self, registry: &str) -> Result<(), Error> {
        let keys = match registry {
            "docker.io" => vec![key(registry).to_owned()],
            host => vec![host.to_owned(), format!("http://{host}"), format!("https://{host}")],
        };
        if !self.config.exists() {
            return Ok(());
        }
        let changing = self.change(registry)?;
        let mut config = read(changing.target(), registry)?.unwrap_or_default();
        let (mut changed, mut failures) = (false, Vec::new());
        for key in &keys {
            if let Some(name) = config.helper(key)
                && let Err(reason) = self.helper(name).erase(key)
            {
                failures.push(reason);
                continue;
            }
            changed |= config.remove(key);
        }
        if changed {
            self.put(&changing, &config, registry)?;
        }
        match failures.into_iter().next() {
            Some(reason) if !changed => Err(failed(registry, reason)),
            _ => Ok(()),
        }
    }

    fn kept(&self, path: &Path, registry: &str, names: Names) -> Result<Option<Account>, Error> {
        let Some(config) = read(path, registry)? else { return Ok(None) };
        if let Some(name) = config.helper(key(registry)) {
            return self
                .helper(name)
                .get(key(registry))
                .map_err(|reason| failed(registry, format!("{reason} (it is named in {})", path.display())));
        }
        config
            .account(registry, names)
            .map_err(|reason| failed(registry, format!("{}: {reason}", path.display())))
    }

    fn helper<'a>(&'a self, name: &'a str) -> Helper<'a> {
        Helper { name, patience: self.patience, path: &self.path, runner: &self.runner }
    }

    fn change(&self, registry: &str) -> Result<Replacement, Error> {
        Replacement::begin(&self.config)
            .map_err(|error| failed(registry, format!("{}: {error}", self.config.display())))
    }

    fn put(&self, changing: &Replacement, config: &ConfigFile, registry: &str) -> Result<(), Error> {
        changing
            .put(&config.text())
            .map_err(|error| failed(registry, format!("{}: {error}", changing.target().display())))
    }
}

impl Credentials for Accounts {
    fn get(&self, registry: &str) -> Result<Option<Credential>, Error> {
        Ok(self.find(registry)?.map(|(_, credential)| credential))
    }
}

fn read(path: &Path, registry: &str) -> Result<Option<ConfigFile>, Error> {
    let refused = |reason: String| failed(registry, format!("{}: {reason}", path.display()));
    match bounded(path, LIMIT).map_err(|error| refused(error.to_string()))? {
        Some(bytes) => ConfigFile::parse(&bytes).map(Some).map_err(refused),
        None => Ok(None),
    }
}

fn failed(registry: &str, reason: String) -> Error {
    Error::Credentials { registry: registry.to_owned(), reason }
}
