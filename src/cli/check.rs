//! `ekiden check`.

use ekiden::app::AppBuilder;

use super::{Failure, print};

pub(super) fn check((builder, source): (AppBuilder, String)) -> Result<(), Failure> {
    let checked = builder.check()?;
    print(format_args!("{}\n{source} is valid\n", checked.report()))
}
