//! `docs/abi/README.md`: the table of system calls, made from `kernel/linux/src/table.rs` and the handlers' doc comments.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::paths;

/// A row of the system-call table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    number: u32,
    name: String,
    handler: String,
    status: String,
}

/// Parses rows of the form `NUMBER NAME => PATH : STATUS;`.
fn rows(table: &str) -> Vec<Row> {
    let row = |line: &str| {
        let line = line.trim().strip_suffix(';')?;
        let (left, right) = line.split_once("=>")?;
        let (number, name) = left.trim().split_once(' ')?;
        let (handler, status) = right
            .rsplit_once(" : ")
            .or_else(|| right.rsplit_once(": "))?;
        let number = number.parse().ok()?;
        let text = |s: &str| s.trim().to_string();
        Some(Row {
            number,
            name: text(name),
            handler: text(handler),
            status: text(status),
        })
    };
    table.lines().filter_map(row).collect()
}

fn path() -> PathBuf {
    paths::root().join("docs/abi/README.md")
}

fn render() -> Result<String> {
    let table = paths::root().join("kernel/linux/src/table.rs");
    let text = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
    let rows = rows(&text);
    ensure!(
        rows.len() > 50,
        "{} rows found in {}: has its format changed?",
        rows.len(),
        table.display()
    );
    let mut out = String::from(
        "# System calls\n\nMade by `cargo xtask abi-docs` from `kernel/linux/src/table.rs`; what a call supports is in its handler's doc comment. \
         A call that is not listed returns `ENOSYS` and leaves a trace event.\n\n| number | name | handler | status |\n|---|---|---|---|\n",
    );
    for Row {
        number,
        name,
        handler,
        status,
    } in &rows
    {
        let file = handler.split("::").next().unwrap_or_default();
        let _ = writeln!(
            out,
            "| {number} | `{name}` | [`{handler}`](../../kernel/linux/src/sys/{file}.rs) | {status} |"
        );
    }
    let _ = writeln!(out, "\n{} calls.", rows.len());
    Ok(out)
}

/// Writes the page.
///
/// # Errors
/// When the table can't be read or the page can't be written.
pub(crate) fn write() -> Result<()> {
    fs::write(path(), render()?).context("docs/abi/README.md can't be written")
}

/// Checks that the page is what [`write`] would write.
///
/// # Errors
/// When it is not.
pub(crate) fn check() -> Result<()> {
    let is_fresh =
        fs::read_to_string(path()).is_ok_and(|page| render().is_ok_and(|fresh| fresh == page));
    ensure!(
        is_fresh,
        "docs/abi/README.md is stale: run 'cargo xtask abi-docs' and commit it"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_among_other_lines() {
        let table = "macro\n    0 read => rw::sys_read : full;\n    202 futex => futex::sys_futex : partial;\n const X: u8 = 1;\n";
        let found = rows(table);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[1].number, found[1].handler.as_str()),
            (202, "futex::sys_futex")
        );
        assert_eq!(found[0].status, "full");
    }
}
