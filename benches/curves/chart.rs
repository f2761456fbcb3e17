//! One picture: costs over sizes, as SVG. It follows the reader's dark mode, and is the same for the same figures.

use std::fmt::Write as _;

use super::measure::Sample;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
/// Of the plot itself.
const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 28.0;
const TOP: f64 = 100.0;
const BOTTOM: f64 = HEIGHT - 52.0;

/// The second set is that of dark mode. Lines differ in lightness, too, and are drawn differently where they meet.
const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#52514e}\
.title{font-size:16px;font-weight:600;fill:#0b0b0b}.name,.value{fill:#0b0b0b}\
.value{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}\
.page{fill:#fff}.grid{stroke:#e4e3df}.axis{stroke:#8a8984}\
.l0{stroke:#2a78d6;fill:#2a78d6}.l1{stroke:#1a8f63;fill:#1a8f63}.l2{stroke:#8a63c9;fill:#8a63c9}.limit{stroke:#c2410c}\
.line,.limit,.grid,.axis{fill:none}.line{stroke-width:2}.limit{stroke-width:1.5;stroke-dasharray:6 4}\
.band{stroke:none;fill-opacity:.22}.dot{stroke:none}\
@media(prefers-color-scheme:dark){text{fill:#c3c2b7}.title,.name,.value{fill:#fff}\
.value{stroke:#161615}\
.page{fill:#161615}.grid{stroke:#33322f}.axis{stroke:#7d7c76}\
.l0{stroke:#5aa2f0;fill:#5aa2f0}.l1{stroke:#3fc793;fill:#3fc793}.l2{stroke:#b79af0;fill:#b79af0}.limit{stroke:#fb923c}\
.line,.limit,.grid,.axis{fill:none}.band{stroke:none}.dot{stroke:none}}";

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// What is to be seen, in figures.
    pub(crate) said: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// The first is what the picture is about; its ends are labelled.
    pub(crate) lines: Vec<Line>,
    pub(crate) limit: Option<Limit>,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) samples: Vec<Sample>,
}

/// What the first line has to stay under.
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) struct Axis {
    label: &'static str,
    from: f64,
    to: f64,
    is_logarithmic: bool,
    ticks: Vec<f64>,
    /// `B` for bytes; else the numbers stand alone.
    unit: &'static str,
}

impl Axis {
    /// Logarithmic, with a tick at each power of ten times the first digit of `from`.
    pub(crate) fn decades(label: &'static str, from: f64, to: f64, unit: &'static str) -> Self {
        let ticks = std::iter::successors(Some(from), |tick| Some(tick * 10.0)).take_while(|tick| *tick <= to * 1.001);
        Self { label, from, to, is_logarithmic: true, ticks: ticks.collect(), unit }
    }

    /// Logarithmic, between powers of ten.
    pub(crate) fn whole_decades(label: &'static str, from: f64, to: f64) -> Self {
        Self::decades(label, 10_f64.powf(from.log10().floor()), 10_f64.powf(to.log10().ceil()), "")
    }

    /// Linear, with a tick at each 1, 2 or 5 of some power of ten.
    pub(crate) fn from_zero(label: &'static str, to: f64) -> Self {
        let decade = 10_f64.powf((to / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|step| to / step <= 8.0);
        let step = step.unwrap_or(decade);
        let ticks = (0..).map(|tick| f64::from(tick) * step).take_while(|tick| *tick <= to * 1.001).collect();
        Self { label, from: 0.0, to, is_logarithmic: false, ticks, unit: "" }
    }

    /// The share of the axis that lies before a figure.
    fn share(&self, at: f64) -> f64 {
        let scale = |at: f64| if self.is_logarithmic { at.log10() } else { at };
        (scale(at) - scale(self.from)) / (scale(self.to) - scale(self.from))
    }

    fn tick(&self, at: f64) -> String {
        match (self.unit, at) {
            ("B", 1e6..) => format!("{} MB", at / 1e6),
            ("B", _) => format!("{} kB", at / 1e3),
            (_, 1000.0..) => format!("{},{:03}", (at / 1000.0) as u64, at as u64 % 1000),
            // Sums of steps: 0.30000000000000004.
            _ => format!("{}", (at * 1000.0).round() / 1000.0),
        }
    }
}

impl Chart {
    /// What a y axis from zero has to reach, with room for what stands over it.
    pub(crate) fn highest(samples: &[Sample], limit: &Option<Limit>) -> f64 {
        let limits = limit.iter().flat_map(|limit| &limit.points).map(|(_, y)| *y);
        samples.iter().map(|sample| sample.quartiles().1).chain(limits).fold(0.0, f64::max) * 1.12
    }

    /// The medians of the first line.
    pub(crate) fn values(&self) -> String {
        let values = self.lines[0].samples.iter().map(|sample| format!("{}: {:.2}", sample.x, sample.median()));
        format!("{} ({})", values.collect::<Vec<_>>().join(", "), self.y.label)
    }

    pub(crate) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
             <title>{}</title>\n<desc>{}; {}</desc>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\"/>\n",
            self.title,
            self.said,
            self.values(),
        );
        text(&mut svg, (24.0, 32.0), "title", "start", self.title);
        text(&mut svg, (24.0, 53.0), "said", "start", &self.said);
        self.legend(&mut svg);
        self.axes(&mut svg);
        for (number, line) in self.lines.iter().enumerate() {
            self.line(&mut svg, number, line);
        }
        if let Some(Limit { points, .. }) = &self.limit {
            path(&mut svg, "limit", points.iter().map(|&(x, y)| self.place(x, y)), "");
        }
        self.ends(&mut svg);
        svg + "</svg>\n"
    }

    fn legend(&self, svg: &mut String) {
        let names = self.lines.iter().enumerate().map(|(number, line)| (format!("line l{number}"), line.name));
        let limit = self.limit.iter().map(|limit| ("limit".to_owned(), limit.name.as_str()));
        let mut x = 24.0;
        for (class, name) in names.chain(limit) {
            path(svg, &class, [(x, 72.0), (x + 22.0, 72.0)].into_iter(), "");
            text(svg, (x + 28.0, 76.0), "name", "start", name);
            // About as wide as the letters are.
            x += 50.0 + 6.3 * name.chars().count() as f64;
        }
    }

    fn axes(&self, svg: &mut String) {
        for &tick in &self.y.ticks {
            let (_, y) = self.place(self.x.from, tick);
            path(svg, "grid", [(LEFT, y), (RIGHT, y)].into_iter(), "");
            text(svg, (LEFT - 8.0, y + 4.0), "tick", "end", &self.y.tick(tick));
        }
        for &tick in &self.x.ticks {
            let (x, _) = self.place(tick, self.y.from);
            path(svg, "axis", [(x, BOTTOM), (x, BOTTOM + 5.0)].into_iter(), "");
            text(svg, (x, BOTTOM + 19.0), "tick", "middle", &self.x.tick(tick));
        }
        path(svg, "axis", [(LEFT, BOTTOM), (RIGHT, BOTTOM)].into_iter(), "");
        let scale = |axis: &Axis| if axis.is_logarithmic { " (logarithmic)" } else { "" };
        let label = format!("{}{}", self.x.label, scale(&self.x));
        text(svg, (LEFT, HEIGHT - 12.0), "label", "start", &label);
        text(svg, (RIGHT, HEIGHT - 12.0), "label", "end", "band: the middle half of the rounds");
        let label = format!("{}{}", self.y.label, scale(&self.y));
        // Upright, at the left edge.
        let (x, y) = (18.0, (TOP + BOTTOM) / 2.0);
        let _ =
            writeln!(svg, "<text transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"middle\">{label}</text>");
    }

    fn line(&self, svg: &mut String, number: usize, line: &Line) {
        let at = |of: fn(&Sample) -> f64| line.samples.iter().map(move |sample| self.place(sample.x, of(sample)));
        let upper = at(|sample| sample.quartiles().1);
        let lower = at(|sample| sample.quartiles().0);
        path(svg, &format!("band l{number}"), upper.chain(lower.rev()), "Z");
        path(svg, &format!("line l{number}"), at(Sample::median), "");
        for (x, y) in at(Sample::median) {
            let _ = writeln!(svg, "<circle class=\"dot l{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>");
        }
    }

    /// The figures at both ends of the first line, under it, as what it must not reach is above; the first over it where
    /// other lines are.
    fn ends(&self, svg: &mut String) {
        let [first, .., last] = &self.lines[0].samples[..] else { return };
        for (sample, anchor, shift, under) in [(first, "start", 6.0, 20.0), (last, "end", -2.0, 28.0)] {
            let (x, y) = self.place(sample.x, sample.median());
            let is_over = y + under > BOTTOM || (anchor == "start" && self.lines.len() > 1);
            let y = if is_over { y - 12.0 } else { y + under };
            let median = sample.median();
            let figure = if median < 100.0 { format!("{median:.1}") } else { self.y.tick(median.round()) };
            text(svg, (x + shift, y), "value", anchor, &format!("{figure} µs"));
        }
    }

    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + (RIGHT - LEFT) * self.x.share(x), BOTTOM - (BOTTOM - TOP) * self.y.share(y))
    }
}

// Writing to a `String` does not fail.

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn path(svg: &mut String, class: &str, points: impl Iterator<Item = (f64, f64)>, end: &str) {
    let _ = write!(svg, "<path class=\"{class}\" d=\"");
    for (number, (x, y)) in points.enumerate() {
        let _ = write!(svg, "{}{x:.1} {y:.1}", if number == 0 { 'M' } else { 'L' });
    }
    let _ = writeln!(svg, "{end}\"/>");
}
