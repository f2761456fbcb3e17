//! What is asked of figures, and whether it holds.

use super::spread::Spread;

/// What is asked of a figure, and whether it holds.
pub(crate) struct Mark {
    pub(crate) what: String,
    pub(crate) found: String,
    pub(crate) asked: String,
    pub(crate) is_met: bool,
}

impl Mark {
    /// At most `limit`, by the median.
    pub(crate) fn at_most(what: impl Into<String>, found: Spread, limit: f64, unit: &str, digits: usize) -> Mark {
        Mark {
            what: what.into(),
            found: format!("{found:.digits$}{unit}"),
            asked: format!("at most {limit}{unit}"),
            is_met: found.median <= limit,
        }
    }

    /// Which are met, and which are not, in Markdown.
    pub(crate) fn table(marks: &[Mark]) -> String {
        let rows = marks.iter().map(|Mark { what, found, asked, is_met }| {
            format!("| {what} | {found} | {asked} | {} |\n", if *is_met { "met" } else { "**not met**" })
        });
        format!("| what | found | mark | |\n| --- | --- | --- | --- |\n{}", rows.collect::<String>())
    }
}
