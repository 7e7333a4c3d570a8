//! Figures and the tables that they are printed in.

use std::fmt;
use std::time::Duration;

use comfy_table::{Table, presets};

/// A figure with its unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figure {
    Time(Duration),
    Rate(f64),
    Bytes(i64),
    Count(usize),
}

impl Figure {
    #[expect(clippy::cast_precision_loss, reason = "printed as a whole number")]
    pub(crate) fn rate(count: usize, time: Duration) -> Self {
        Self::Rate(count as f64 / time.as_secs_f64())
    }

    /// In the unit's base: seconds, bytes, or as it is.
    #[expect(clippy::cast_precision_loss, reason = "compared and printed with two digits")]
    fn amount(&self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Rate(rate) => *rate,
            Self::Bytes(bytes) => *bytes as f64,
            Self::Count(count) => *count as f64,
        }
    }

    /// How many times `other` this is; counts are not compared: most are zero.
    pub(crate) fn ratio(&self, other: &Self) -> Option<f64> {
        let (this, divisor) = (self.amount(), other.amount());
        let comparable = !matches!(self, Self::Count(_)) && this > 0.0 && divisor > 0.0;
        comparable.then(|| this / divisor)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) if time.as_millis() >= 10_000 => {
                write!(f, "{:.1} s", time.as_secs_f64())
            }
            Self::Time(time) if time.as_millis() >= 100 => write!(f, "{} ms", time.as_millis()),
            Self::Time(time) => write!(f, "{:.1} ms", time.as_secs_f64() * 1000.0),
            Self::Rate(rate) => write!(f, "{rate:.0}/s"),
            Self::Bytes(bytes) => write!(f, "{} MiB", bytes >> 20),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// Rows by subject, in groups; under each group of two stands how the first compares with the
/// second.
pub(crate) struct Report(Table);

impl Report {
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header([&["server"], columns].concat());
        Self(table)
    }

    /// Adds a group: `what` is told of all its rows, and may be empty.
    pub(crate) fn group(&mut self, what: &str, rows: &[(String, Vec<Figure>)]) {
        let named =
            |name: &str| if what.is_empty() { name.into() } else { format!("{name}, {what}") };
        for (name, figures) in rows {
            let cells = figures.iter().map(Figure::to_string);
            self.0.add_row([named(name)].into_iter().chain(cells));
        }
        let [(first, these), (second, others)] = rows else { return };
        let ratios = these.iter().zip(others).map(|(this, other)| {
            this.ratio(other).map(|ratio| format!("{ratio:.2}")).unwrap_or_default()
        });
        self.0.add_row([named(&format!("{first} / {second}"))].into_iter().chain(ratios));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The smallest of `times` that `percent` of them do not exceed; zero if there are none.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Figure {
    times.sort_unstable();
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    Figure::Time(times.get(place).copied().unwrap_or_default())
}

/// The one in the middle of figures of one kind; `None` of no figures.
pub(crate) fn median(mut figures: Vec<Figure>) -> Option<Figure> {
    figures.sort_by(|this, other| this.amount().total_cmp(&other.amount()));
    let middle = figures.len() / 2;
    (!figures.is_empty()).then(|| figures.swap_remove(middle))
}
