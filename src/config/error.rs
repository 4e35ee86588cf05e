//! What can be wrong with a configuration: each error says where, which key, what was found and what is allowed.

use std::fmt;

use super::origin::Origin;

/// One thing wrong, and where.
#[derive(Debug)]
pub struct ConfigError {
    /// The place that is wrong.
    pub origin: Origin,
    /// The way to the key inside that place, such as `runners[0] "iris_clf": cpu`; empty where the origin says it all.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a place.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// The layers cannot be merged.
    #[error("cannot be merged: {0}")]
    Merge(#[source] config::ConfigError),
    /// Not TOML; the message is the parser's.
    #[error("{message}")]
    Syntax {
        /// Counted in characters from 1.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// A key, runner, method or section that does not exist.
    #[error("unknown {what} {name:?}{}{}", Suggestion(nearest.as_deref()), Allowed(allowed, nearest.is_some()))]
    Unknown {
        /// What was named: `key`, `runner`, `method`, `runnable`.
        what: &'static str,
        /// The name as found.
        name: String,
        /// The nearest valid name, in the spelling to use at this place.
        nearest: Option<String>,
        /// All valid names.
        allowed: Vec<String>,
    },
    /// The place names a group of options, but none of them.
    #[error("names no option{}", Allowed(allowed, false))]
    Incomplete {
        /// All options of the group.
        allowed: Vec<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("expected {expected}, found {found}{}", Suggestion(nearest.as_deref()))]
    Value {
        /// What is allowed.
        expected: String,
        /// What was there.
        found: String,
        /// The nearest valid value, for words.
        nearest: Option<String>,
    },
    /// A required key is missing.
    #[error("needs {what}")]
    Missing {
        /// What to write.
        what: &'static str,
    },
    /// A name that must be unique was used before.
    #[error("{name:?} is already taken by {first}")]
    Duplicate {
        /// The name.
        name: String,
        /// Who has it.
        first: String,
    },
    /// Two places of one layer set the same option.
    #[error("is already set by {first}")]
    SetTwice {
        /// The other place.
        first: String,
    },
    /// A variable could mean several runners or methods.
    #[error("could mean {}; use --set instead", Quoted(names, " or "))]
    Ambiguous {
        /// The candidates.
        names: Vec<String>,
    },
    /// `--set` without a key and a value.
    #[error("expected KEY=VALUE, such as server.bind=127.0.0.1:3000, found {found:?}")]
    Assignment {
        /// The argument.
        found: String,
    },
    /// A variable's value is not UTF-8.
    #[error("the value is not UTF-8")]
    NotUnicode,
}

impl Problem {
    /// An unknown name with the valid ones, the nearest of them suggested.
    pub fn unknown(what: &'static str, name: &str, allowed: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let allowed: Vec<String> = allowed.into_iter().map(Into::into).collect();
        let nearest = nearest(name, allowed.iter().map(String::as_str)).map(str::to_owned);
        Self::Unknown { what, name: name.to_owned(), nearest, allowed }
    }

    /// The same problem with the suggestion written in full, such as a whole variable name for a part of one.
    pub(super) fn suggest(mut self, write: impl FnOnce(&str) -> String) -> Self {
        if let Self::Unknown { nearest: Some(nearest), .. } = &mut self {
            *nearest = write(nearest);
        }
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path in code begins with `Runner "x" in code`: the origin would only repeat it.
        if self.origin != Origin::Code || self.path.is_empty() {
            write!(f, "{}", self.origin)?;
            if let Problem::Syntax { column, .. } = self.problem {
                write!(f, ":{column}")?;
            }
            f.write_str(": ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// Everything that is wrong, weakest layer first and in the order of lines. Never empty. Prints one error a line.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Ok` where nothing is wrong.
    ///
    /// # Errors
    /// All of `errors`, in order, if there are any.
    pub fn check(mut errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by(|a, b| (&a.origin, &a.path).cmp(&(&b.origin, &b.path)));
        Err(Self(errors))
    }

    /// The errors, at least one.
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The candidate that `name` was most likely meant to be: at most a third of the letters differ, or `name` is a part of
/// it, as where a unit or a prefix was left out.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = name.chars().count();
    // Edit distance costs the product of the lengths; a name that long is no typo of a key.
    if letters > 200 {
        return None;
    }
    let name = name.to_lowercase();
    let near = |candidate: &'a str| {
        let lower = candidate.to_lowercase();
        let distance = strsim::osa_distance(&name, &lower);
        match letters > 2 && lower.contains(&name) {
            // As good as one wrong letter, and better than one: `gpu` is `nvidia_gpu` rather than `cpu`.
            true => Some((distance.min(1), false, distance, candidate)),
            false => (distance <= (letters / 3).max(1)).then_some((distance, true, distance, candidate)),
        }
    };
    candidates.into_iter().filter_map(near).min().map(|(.., candidate)| candidate)
}

struct Suggestion<'a>(Option<&'a str>);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest:?}?"))
    }
}

/// The list of what is allowed; whether a suggestion, which ends in a question mark, stands before it.
struct Allowed<'a>(&'a [String], bool);

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.join(", ");
        f.write_str(if self.1 { " " } else { "; " })?;
        write!(f, "allowed: {}", if names.is_empty() { "none" } else { &names })
    }
}

struct Quoted<'a>(&'a [String], &'static str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}{name:?}", if index > 0 { self.1 } else { "" })?;
        }
        Ok(())
    }
}
