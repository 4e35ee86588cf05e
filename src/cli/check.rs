//! `ekiden check`.

use std::path::PathBuf;

use super::{ConfigArgs, Failure, app};

pub(super) fn check(file: Option<PathBuf>, set: Vec<String>) -> Result<(), Failure> {
    let (builder, source) = app(ConfigArgs { config: file, set });
    let checked = builder.check()?;
    print!("{}", checked.report());
    println!("\n{source} is valid");
    Ok(())
}
