//! What the curves were to show, and whether they do.

use std::fmt::Write as _;

/// The table stands between these in `benches/README.md`.
const BEGIN: &str = "<!-- written by cargo bench --bench curves -->\n";
const END: &str = "<!-- end -->\n";

/// One ratio of two costs.
pub(crate) struct Mark {
    pub(crate) what: &'static str,
    pub(crate) ratio: f64,
    /// What it may be; nothing where it is told for orientation.
    pub(crate) most: Option<f64>,
}

impl Mark {
    fn verdict(&self) -> &'static str {
        match self.most {
            None => "",
            Some(most) if self.ratio <= most => "met",
            Some(_) => "not met",
        }
    }

    /// As it stands over a curve.
    pub(crate) fn line(&self) -> String {
        let Self { what, ratio, most, .. } = self;
        match most {
            Some(most) => format!("{what}: {ratio:.2} times (mark {most}: {})", self.verdict()),
            None => format!("{what}: {ratio:.2} times"),
        }
    }
}

/// As Markdown.
pub(crate) fn table(conditions: &str, marks: &[Mark]) -> String {
    let mut table = String::from("| what | times | mark | |\n| --- | --- | --- | --- |\n");
    for mark in marks {
        let most = mark.most.map_or_else(String::new, |most| format!("at most {most}"));
        // Writing to a `String` does not fail.
        let _ = writeln!(table, "| {} | {:.2} | {most} | {} |", mark.what, mark.ratio, mark.verdict());
    }
    let _ = write!(table, "\n{conditions}.\n");
    table
}

/// `page` with this table in place of the one before.
pub(crate) fn put_into(page: &str, table: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    format!("{before}{BEGIN}{table}{END}{after}")
}
