//! A report: a page that needs nothing else, with a table and charts.

use super::chart::{self, Chart, escaped};

const STYLE: &str = "\
body{margin:2rem auto;max-width:64rem;padding:0 1rem;background:var(--ground);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
h1{font-size:1.4rem;margin-bottom:0}p{color:var(--faint);overflow-wrap:anywhere}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}\
th{color:var(--faint);font-weight:600;font-size:.8rem}th:last-child,td:last-child{text-align:left}\
svg{width:100%;height:auto;margin-top:2rem}";

/// What is on a page.
pub(crate) struct Page {
    pub(crate) title: &'static str,
    /// What was measured, in one line.
    pub(crate) subject: String,
    /// The table, its head first.
    pub(crate) rows: Vec<Vec<String>>,
    /// What the numbers do not say by themselves.
    pub(crate) notes: Vec<String>,
    pub(crate) charts: Vec<Chart>,
    pub(crate) foot: String,
}

impl Page {
    pub(crate) fn html(&self) -> String {
        let mut table = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            let tag = if at == 0 { "th" } else { "td" };
            let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
            table.push_str(&format!("<tr>{cells}</tr>\n"));
        }
        let notes: String = self.notes.iter().map(|note| format!("<p>{}</p>\n", escaped(note))).collect();
        let title = self.title;
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>{}{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{}</p>\n\
             <div class=\"wide\"><table>\n{table}</table></div>\n{notes}{}\n\
             <p>{}</p>\n</body>\n</html>\n",
            chart::STYLE,
            escaped(&self.subject),
            chart::svg(&self.charts, false),
            escaped(&self.foot),
        )
    }

    /// The charts alone.
    pub(crate) fn svg(&self) -> String {
        chart::svg(&self.charts, true)
    }
}
