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

    /// All three, each as `write` has it.
    pub(crate) fn text(self, write: impl Fn(f64) -> String) -> String {
        format!("{} ({} to {})", write(self.median), write(self.least), write(self.most))
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
