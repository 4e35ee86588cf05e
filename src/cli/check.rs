//! `ekiden check`.

use std::path::PathBuf;

use super::{ConfigArgs, Failure, app, print};

pub(super) fn check(file: Option<PathBuf>, set: Vec<String>) -> Result<(), Failure> {
    let (builder, source) = app(ConfigArgs { config: file, set });
    let checked = builder.check()?;
    print(format_args!("{}\n{source} is valid\n", checked.report()))
}
