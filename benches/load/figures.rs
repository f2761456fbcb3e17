//! Figures of several rounds, and how they are written.

use std::fmt;

/// The median, and what it lies between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of one figure at least.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Spread {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        let middle = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        Spread { median, least: at(0), most: at(figures.len().saturating_sub(1)) }
    }
}

/// `{:.1}`: `8.3 (8.1 to 8.6)`; one figure alone stands by itself.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let Spread { median, least, most } = self;
        write!(f, "{median:.digits$}")?;
        if least < most { write!(f, " ({least:.digits$} to {most:.digits$})") } else { Ok(()) }
    }
}

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
