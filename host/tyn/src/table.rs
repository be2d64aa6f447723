//! Tables of text: columns as wide as their longest cell, two blanks between.

use std::fmt;

/// A table with so many columns.
#[derive(Debug)]
pub(crate) struct Table<R> {
    head: R,
    rows: Vec<R>,
}

impl<const N: usize> Table<[String; N]> {
    /// Makes one with a head.
    pub(crate) fn new(head: [&str; N]) -> Self {
        Self {
            head: head.map(str::to_owned),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }
}

impl<R> Table<R> {
    /// Returns whether there is only the head.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<R: AsRef<[String]>> fmt::Display for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = || {
            std::iter::once(&self.head)
                .chain(&self.rows)
                .map(AsRef::as_ref)
        };
        let columns = self.head.as_ref().len();
        let width = |column: usize| {
            rows()
                .filter_map(|row| Some(row.get(column)?.chars().count()))
                .max()
        };
        let widths: Vec<usize> = (0..columns)
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for row in rows() {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}
