// SPDX-License-Identifier: GPL-2.0
//! What the benchmark measured, as pictures in SVG.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use plotters::{element::DashedPathElement, prelude::*};
use vfio_bench::{
    table::{grouped, Curve, Table},
    By, Chart,
};

/// What a picture says besides the lines.
struct Picture {
    chart: Chart,
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// How a number on the horizontal axis reads.
    label: fn(f64) -> String,
    /// By how much numbers grow from one mark of the vertical axis to the next.
    step: f64,
}

const PICTURES: [Picture; 2] = [
    Picture {
        chart: Chart::Size,
        file: "size.svg",
        title: "One request for transparent huge pages, by size",
        x: "bytes",
        y: "instructions a request",
        label: |bytes| format!("{} MiB", bytes / f64::from(1 << 20)),
        step: 10.0,
    },
    Picture {
        chart: Chart::Mappings,
        file: "mappings.svg",
        title: "A page more or less, by the number of mappings",
        x: "mappings",
        y: "instructions a request",
        label: |count| match count as u64 {
            count @ ..1024 => format!("{count}"),
            count @ ..1_048_576 => format!("{} Ki", count >> 10),
            count => format!("{} Mi", count >> 20),
        },
        step: 2.0,
    },
];

const SIZE: (u32, u32) = (760, 420);
const FONT: &str = "sans-serif";
/// How long the line is in front of its name.
const LEGEND: u32 = 24;

/// Draws all pictures into a directory.
pub(crate) fn draw(table: &Table, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    for picture in &PICTURES {
        let curves = table.curves(picture.chart);
        let path = dir.join(picture.file);
        picture
            .draw(&curves, &path)
            .with_context(|| format!("draw {}", path.display()))?;
        println!("picture: {}", path.display());
    }
    Ok(())
}

/// The smallest and the largest of some numbers.
fn range(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    numbers.fold((f64::INFINITY, 0.0), |(least, most), number| {
        (least.min(number), most.max(number))
    })
}

fn color(by: By) -> RGBColor {
    match by {
        By::C => RGBColor(0x1f, 0x5f, 0xa8),
        By::Rust => RGBColor(0xc4, 0x3c, 0x00),
        By::Iommufd | By::Floor => RGBColor(0x80, 0x80, 0x80),
    }
}

impl Picture {
    fn draw(&self, curves: &[Curve], path: &Path) -> Result<()> {
        ensure!(!curves.is_empty(), "nothing of it was measured");
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let (left, right) = range(points().map(|point| point.0));
        let (low, high) = range(points().map(|point| point.1));

        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, (FONT, 18))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(80)
            .build_cartesian_2d(
                (left..right * 1.05).log_scale().base(2.0),
                // Above the lines is room for their names.
                (low / 1.5..high * 3.0).log_scale().base(self.step),
            )?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14))
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| (self.label)(*x))
            .y_label_formatter(&|y| grouped(&format!("{y:.0}")))
            .draw()?;
        for curve in curves {
            let style = color(curve.by).stroke_width(2);
            let points = || curve.points.iter().copied();
            // What removes something is dashed.
            let dash = if curve.verb == "unmap" { 6 } else { LEGEND };
            let series = match dash {
                LEGEND => chart.draw_series(LineSeries::new(points(), style))?,
                _ => chart.draw_series(DashedLineSeries::new(points(), dash, 4, style))?,
            };
            series
                .label(format!("{}, {}", curve.verb, name(curve.by)))
                .legend(move |(x, y)| {
                    let end = x + LEGEND as i32;
                    DashedPathElement::new([(x, y), (end, y)], dash, 4, style)
                });
            let dot = |point| Circle::new(point, 3, style.filled());
            chart.draw_series(points().map(dot))?;
        }
        chart
            .configure_series_labels()
            .label_font((FONT, 13))
            .legend_area_size(LEGEND + 6)
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

/// Who it is, in words.
fn name(by: By) -> &'static str {
    match by {
        By::C => "C",
        By::Rust => "Rust",
        By::Iommufd => "iommufd",
        By::Floor => "floor",
    }
}

#[cfg(test)]
mod tests {
    use vfio_bench::{Measurement, Point, Row, Target};

    use super::*;

    /// A table with a point for each size of each verb.
    fn table() -> Table {
        let mut table = Table::default();
        for (chart, xs) in [
            (
                Chart::Size,
                [2.0, 256.0].map(|mib| mib * f64::from(1 << 20)),
            ),
            (Chart::Mappings, [1.0, f64::from(1 << 20)]),
        ] {
            for (verb, by) in [("map", By::C), ("unmap", By::Rust)] {
                for x in xs {
                    table.add(Measurement {
                        row: Row {
                            work: format!("{verb} {x}"),
                            unit: "call".to_owned(),
                            target: Target::None,
                            point: Some(Point {
                                chart,
                                verb: verb.to_owned(),
                                x,
                            }),
                        },
                        by,
                        value: Ok(1000.0 + x),
                        flushes: None,
                    });
                }
            }
        }
        table
    }

    #[test]
    fn pictures_have_all_lines() {
        let dir = tempfile::tempdir().unwrap();
        draw(&table(), dir.path()).unwrap();
        for picture in PICTURES {
            let svg = std::fs::read_to_string(dir.path().join(picture.file)).unwrap();
            for text in [picture.title, "map, C", "unmap, Rust"] {
                assert!(svg.contains(text), "{text} is not in {}", picture.file);
            }
        }
        assert!(draw(&Table::default(), dir.path()).is_err());
    }

    #[test]
    fn numbers_of_mappings_are_short() {
        let label = PICTURES[1].label;
        assert_eq!(
            [1.0, 1024.0, 32768.0, 1048576.0].map(label),
            ["1", "1 Ki", "32 Ki", "1 Mi"]
        );
    }
}
