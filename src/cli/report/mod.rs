//! What commands that measure share: tables, charts, pages.

pub(crate) mod chart;
pub(crate) mod output;
pub(crate) mod page;
pub(crate) mod table;
pub(crate) mod units;
