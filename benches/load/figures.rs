//! Figures of several rounds, and what is asked of them.

use crate::scene::spread::Spread;

/// The figure at this share of all, the least first.
pub(crate) fn percentile(mut figures: Vec<f64>, share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a list")]
    let index = (figures.len() as f64 * share) as usize;
    figures.get(index.min(figures.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

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
}
