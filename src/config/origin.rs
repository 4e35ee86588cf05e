//! Where a value comes from: layers, from weak to strong, and the exact place in one.

use std::fmt;
use std::sync::Arc;

/// The layers of configuration, weakest first: a stronger layer's value hides a weaker one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Built in.
    Default,
    /// The developer's code.
    Code,
    /// The operator's `runners.toml`.
    File,
    /// `EKIDEN__…` variables.
    Environment,
    /// Flags and `--set`.
    CommandLine,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Code => "code",
            Self::File => "file",
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        })
    }
}

/// The place that said a value. Prints as users would look for it: `runners.toml:7`, a variable's name, a flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// The developer's code.
    Code,
    /// A line of a file.
    File {
        /// The file as the user named it.
        name: Arc<str>,
        /// Counted from 1; 0 is the file as a whole.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its full name.
        variable: Arc<str>,
    },
    /// The command line.
    CommandLine {
        /// The flag, with the key for `--set`.
        flag: Arc<str>,
    },
}

impl Origin {
    /// The layer that this place belongs to.
    pub const fn layer(&self) -> Layer {
        match self {
            Self::Default => Layer::Default,
            Self::Code => Layer::Code,
            Self::File { .. } => Layer::File,
            Self::Environment { .. } => Layer::Environment,
            Self::CommandLine { .. } => Layer::CommandLine,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default | Self::Code => self.layer().fmt(f),
            Self::File { name, line: 0 } => f.write_str(name),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment { variable } => f.write_str(variable),
            Self::CommandLine { flag } => f.write_str(flag),
        }
    }
}

/// One option set somewhere: its value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value, already valid.
    pub value: T,
    /// The place that said it.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// A value with its origin.
    pub const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// A built-in default.
    pub const fn default(value: T) -> Self {
        Self::new(value, Origin::Default)
    }

    /// A value that the developer's code gave.
    pub const fn code(value: T) -> Self {
        Self::new(value, Origin::Code)
    }

    /// The layer of the origin.
    pub const fn layer(&self) -> Layer {
        self.origin.layer()
    }
}
