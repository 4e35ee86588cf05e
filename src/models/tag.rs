//! How models are addressed: `name`, `name:latest`, `name:version`, or as much of a version as is unique.

use std::fmt;
use std::str::FromStr;

use super::ModelError;

/// What a model and a version may be called, for messages.
pub(super) const NAME_RULE: &str =
    "1 to 63 characters of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit";

/// The most characters of a name.
const LONGEST: usize = 63;

/// The word that stands for the newest version, and so is none.
const LATEST: &str = "latest";

/// Lower case letters and digits.
fn word(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether every character may stand in a name.
fn plain(text: &str) -> bool {
    text.bytes().all(|byte| word(byte) || b"-._".contains(&byte))
}

/// Whether it is `[a-z0-9]([-._a-z0-9]*[a-z0-9])?` of at most 63 characters.
fn valid(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= LONGEST && plain(text) && ends.into_iter().all(|end| end.is_some_and(word))
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident, $what:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ModelError;

            fn from_str(text: &str) -> Result<Self, ModelError> {
                let is_valid: fn(&str) -> bool = $valid;
                match is_valid(text) {
                    true => Ok(Self(text.to_owned())),
                    false => Err(ModelError::Name { what: $what, found: text.to_owned() }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

names! {
    /// The name of a model: `[a-z0-9]([-._a-z0-9]*[a-z0-9])?`, at most 63 characters; so it is a folder's name on every
    /// system, and needs no quotes in a shell.
    ModelName, "name", valid
}

names! {
    /// A version of a model, by the same rule as its name. `latest` is none, since it means the newest.
    Version, "version", |text| valid(text) && text != LATEST
}

impl ModelName {
    /// The nearest valid name to a file's: `Iris CLF` becomes `iris-clf`.
    pub(super) fn near(text: &str) -> Option<Self> {
        let plain = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || "-._".contains(c) => c,
            _ => '-',
        };
        let text: String = text.chars().map(plain).collect();
        let trim = |text: &str| text.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        let text: String = trim(&text).chars().take(LONGEST).collect();
        trim(&text).parse().ok()
    }
}

/// Which model, and which of its versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The model's name.
    pub name: ModelName,
    /// Which version.
    pub version: Selector,
}

/// Which version of a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The one that was created last.
    Latest,
    /// The one of this name, else the only one that begins like this. Never empty.
    Version(String),
}

impl Tag {
    /// One version, named in full.
    pub fn new(name: &ModelName, version: &Version) -> Self {
        Self { name: name.clone(), version: Selector::Version(version.0.clone()) }
    }
}

impl FromStr for Tag {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let bad = |_| ModelError::Tag { found: text.to_owned() };
        let (name, version) = text.split_once(':').unwrap_or((text, LATEST));
        let version = match version {
            LATEST => Selector::Latest,
            "" => return Err(bad(())),
            // A beginning of a version may end in any character that a version may contain.
            version if plain(version) && version.len() <= LONGEST => Selector::Version(version.to_owned()),
            _ => return Err(bad(())),
        };
        Ok(Self { name: name.parse().map_err(|_| bad(()))?, version })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latest => LATEST,
            Self::Version(version) => version,
        })
    }
}
