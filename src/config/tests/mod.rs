//! Whole loads: text, variables and flags in; options or messages out.

mod errors;
mod layers;
mod reports;

use super::{Config, RunnerOptions, Sources};

/// A load without a process or a file behind it.
#[derive(Clone, Default)]
struct Case<'a> {
    file: &'a str,
    env: &'a [(&'a str, &'a str)],
    set: &'a [&'a str],
}

impl Case<'_> {
    fn sources(&self) -> Sources {
        let sources = Sources::new().text("runners.toml", self.file).variables(self.env.iter().copied());
        self.set.iter().fold(sources, |sources, set| sources.set(*set))
    }

    fn load(&self) -> Config {
        Config::load(self.sources()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn runner(&self) -> RunnerOptions {
        self.load().runners.into_iter().next().unwrap_or_else(|| panic!("no runner"))
    }

    #[track_caller]
    fn fails(&self, message: &str) {
        match Config::load(self.sources()) {
            Ok(config) => panic!("no error but {config:#?}"),
            Err(errors) => assert_eq!(errors.to_string(), message),
        }
    }
}

fn file(file: &str) -> Case<'_> {
    Case { file, ..Case::default() }
}
