// SPDX-License-Identifier: GPL-2.0
//! What the program prints: text for people, or JSON for programs.

use std::io::{self, ErrorKind, Write};

use anyhow::Result;
use comfy_table::{presets::NOTHING, Table};
use serde::Serialize;

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Format {
    /// Prints a value as JSON, or the text that stands for it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written, unless nobody reads it any more.
    pub(crate) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        match self {
            Self::Text => write(text().trim_end()),
            Self::Json => write(&serde_json::to_string_pretty(value)?),
        }
    }

    /// Prints a value of a series: JSON is one line.
    ///
    /// # Errors
    ///
    /// As `print`.
    pub(crate) fn print_one_of_many(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        match self {
            Self::Text => write(text().trim_end()),
            Self::Json => write(&serde_json::to_string(value)?),
        }
    }
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever reads, such as `head`, has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Makes a table without lines, as `ps` does.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// What stands for nothing.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Joins the texts of several things.
pub(crate) fn joined<T: ToString>(items: &[T], between: &str) -> String {
    let texts: Vec<_> = items.iter().map(T::to_string).collect();
    texts.join(between)
}

/// Writes a number of bytes in the largest unit in which it is whole, or else with one
/// digit behind the point.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10).clamp(1, 5);
    let unit = 1_u64 << (10 * power);
    let name = UNITS.get(power as usize - 1).unwrap_or(&"");
    if bytes % unit == 0 {
        format!("{} {name}", bytes / unit)
    } else {
        format!("{:.1} {name}", bytes as f64 / unit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_the_largest_unit_that_fits() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(8 << 20), "8 MiB");
        assert_eq!(size((1 << 30) + (1 << 29)), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16384.0 PiB");
    }
}
