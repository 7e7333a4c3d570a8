//! The ratios of a comparison as a picture.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::result::Comparison;

const WIDTH: u32 = 900;
const ROW_HEIGHT: u32 = 36;
const MARGIN: u32 = 10;
const LABELS: u32 = 260;
/// Where the axis ends: as many times faster or slower.
const RATIO_MAX: f64 = 32.0;

/// One pair of bars a workload: how many times the other's throughput, and how many times less
/// processor time; to the right of the middle is better.
pub(super) fn draw(path: &Path, comparisons: &[Comparison]) -> Result<(), Box<dyn Error>> {
    let rows: Vec<_> = comparisons
        .iter()
        .filter_map(|it| Some((it.workload().to_owned(), it.ratios()?)))
        .collect();
    let height = ROW_HEIGHT * u32::try_from(rows.len() + 3)?;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let end = RATIO_MAX.log2();
    let rows_end = f64::from(u32::try_from(rows.len())?);
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "berth to etcd: throughput (dark), work per processor second (light)",
            ("sans-serif", 16),
        )
        .margin(MARGIN)
        .x_label_area_size(ROW_HEIGHT)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(-end..end, 0.0..rows_end)?;
    let name = |row: &f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a row's number"
        )]
        let place = (rows_end - row).round() as usize;
        rows.get(place.wrapping_sub(1)).map_or(String::new(), |(name, _)| name.clone())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(rows.len() + 1)
        .y_label_formatter(&|row| name(&(row + 1.0)))
        .x_label_formatter(&|exponent| format!("{:.3} x", exponent.exp2()))
        .draw()?;
    for (place, (_, (throughput, cpu))) in rows.iter().enumerate() {
        let top = rows_end - f64::from(u32::try_from(place)?);
        let bar = |ratio: f64, from: f64, to: f64, style: ShapeStyle| {
            let length = ratio.log2().clamp(-end, end);
            Rectangle::new([(0.0, top - from), (length, top - to)], style)
        };
        chart.draw_series([
            bar(*throughput, 0.15, 0.5, BLUE.filled()),
            bar(1.0 / cpu, 0.5, 0.85, BLUE.mix(0.4).filled()),
        ])?;
    }
    area.present()?;
    Ok(())
}
