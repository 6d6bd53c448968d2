//! The roles a digest plays in an image, one type each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// The digest itself.
            pub fn digest(&self) -> &Digest {
                &self.0
            }

            /// The lower-case hex digits.
            pub fn hex(&self) -> &str {
                self.0.hex()
            }

            /// The first 12 hex digits, as Docker prints IDs.
            pub fn short(&self) -> &str {
                self.0.short()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<$name, DigestError> {
                text.parse().map($name)
            }
        }
    };
}

role! {
    /// Digest of a layer's uncompressed tar.
    DiffId
}
role! {
    /// Identity of a stack of layers (OCI image specification, "Layer ChainID").
    ChainId
}
role! {
    /// Digest of an image config's bytes: what Docker calls the image ID.
    ImageId
}

impl ChainId {
    /// The ChainID of `layer` put on the stack `parent`.
    pub fn extend(parent: Option<&ChainId>, layer: &DiffId) -> ChainId {
        match parent {
            None => ChainId(layer.0.clone()),
            Some(parent) => ChainId(Digest::sha256(format!("{parent} {layer}").as_bytes())),
        }
    }

    /// The ChainID of a whole stack, bottom layer first; `None` for no layers (`scratch`).
    pub fn of(layers: &[DiffId]) -> Option<ChainId> {
        layers.iter().fold(None, |parent, layer| Some(ChainId::extend(parent.as_ref(), layer)))
    }

    /// The ChainIDs of every prefix of a stack, bottom layer first.
    pub fn prefixes(layers: &[DiffId]) -> Vec<ChainId> {
        let mut all: Vec<ChainId> = Vec::with_capacity(layers.len());
        for layer in layers {
            let next = ChainId::extend(all.last(), layer);
            all.push(next);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_is_folded_from_the_bottom() {
        let a = DiffId(Digest::sha256(b"a"));
        let b = DiffId(Digest::sha256(b"b"));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(std::slice::from_ref(&a)), Some(ChainId(a.0.clone())));
        let both = ChainId(Digest::sha256(format!("{a} {b}").as_bytes()));
        assert_eq!(ChainId::of(&[a.clone(), b.clone()]), Some(both.clone()));
        assert_eq!(ChainId::prefixes(&[a.clone(), b]), vec![ChainId(a.0), both]);
    }
}
