//! A reader of comma-separated rows (RFC 4180), for imports.
//!
//! The first row names the columns. The separator is `,`, or `;` or a tab where the first row has no
//! comma (that is how spreadsheets of many countries write). Bounded in columns and bytes per row.

use super::Refusal;
use std::io::{BufRead, Read};

/// Most columns.
pub const COLUMNS_MAX: usize = 200;
/// Longest row, in bytes.
pub const ROW_BYTES_MAX: usize = 64 * 1024;

/// A row: the line it began on, from 1, and its cells.
pub type Row = (usize, Result<Vec<String>, Refusal>);

/// The text of a row, and the line it began on.
type Record = (usize, Result<String, Refusal>);

/// Rows of a file, after the one that names the columns.
pub struct Rows<R> {
    reader: R,
    line: usize,
    separator: char,
    columns: Vec<String>,
}

impl<R: BufRead> Rows<R> {
    /// Reads the names of the columns.
    ///
    /// # Errors
    /// When there is no first row, or it cannot be read.
    pub fn new(reader: R) -> Result<Rows<R>, Refusal> {
        let mut rows = Rows { reader, line: 0, separator: ',', columns: Vec::new() };
        let Some((_, first)) = rows.record()? else {
            return Err(Refusal::new("the file is empty").hint("its first row names the columns"));
        };
        let first = first?;
        let first = first.strip_prefix('\u{feff}').unwrap_or(&first);
        rows.separator = [',', ';', '\t'].into_iter().find(|separator| first.contains(*separator)).unwrap_or(',');
        let names = cells(first, rows.separator)?;
        rows.columns = names.into_iter().map(|name| name.trim().to_owned()).collect();
        if rows.columns.len() > COLUMNS_MAX {
            return Err(Refusal::new(format!("more than {COLUMNS_MAX} columns")));
        }
        if let Some((i, name)) =
            rows.columns.iter().enumerate().find(|(i, name)| name.is_empty() || rows.columns[..*i].contains(name))
        {
            return Err(Refusal::new(format!("column {} has no name of its own: `{name}`", i + 1))
                .hint("the first row names the columns"));
        }
        Ok(rows)
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next row.
    ///
    /// # Errors
    /// When the file cannot be read any further.
    pub fn next_row(&mut self) -> Result<Option<Row>, Refusal> {
        while let Some((line, record)) = self.record()? {
            if record.as_ref().is_ok_and(|text| text.trim().is_empty()) {
                continue;
            }
            let row =
                record.and_then(|text| cells(&text, self.separator)).and_then(|cells| match cells.len() == self.columns.len() {
                    true => Ok(cells),
                    false => {
                        Err(Refusal::new(format!("the row has {} cells, the first row has {}", cells.len(), self.columns.len())))
                    }
                });
            return Ok(Some((line, row)));
        }
        Ok(None)
    }

    /// The text of one row, which may hold line ends between quotes.
    fn record(&mut self) -> Result<Option<Record>, Refusal> {
        let begin = self.line + 1;
        let mut bytes = Vec::new();
        loop {
            // One byte more than allowed tells a row that is too long from one that fits exactly.
            let room = (ROW_BYTES_MAX + 1).saturating_sub(bytes.len());
            let read = self.reader.by_ref().take(room as u64).read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| Refusal::new(format!("the file cannot be read: {error}")))?;
            self.line += usize::from(read > 0);
            if bytes.len() > ROW_BYTES_MAX {
                return Err(Refusal::new(format!("line {begin}: the row is longer than {ROW_BYTES_MAX} bytes"))
                    .hint("a quote may be missing"));
            }
            let open = bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            match (read, open) {
                (0, _) if bytes.is_empty() => return Ok(None),
                (0, true) => return Ok(Some((begin, Err(Refusal::new("a quote is opened and not closed"))))),
                (1.., true) => {}
                (_, false) => break,
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| Refusal::new("the row is not UTF-8").hint("save the file as UTF-8"));
        Ok(Some((begin, text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()))))
    }
}

/// Splits one row.
fn cells(text: &str, separator: char) -> Result<Vec<String>, Refusal> {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                let (cell, after) = rest.split_at(end);
                if cell.contains('"') {
                    return Err(Refusal::new("a quote stands inside a cell that does not begin with one")
                        .hint("put the whole cell in quotes and double those inside it"));
                }
                (cell.to_owned(), after)
            }
        };
        cells.push(cell);
        match after.strip_prefix(separator) {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(cells),
            None => return Err(Refusal::new("after a closing quote comes neither a separator nor the end of the row")),
        }
    }
}

/// The cell after an opening quote, and what follows its closing quote.
fn quoted_cell(text: &str) -> Result<(String, &str), Refusal> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once('"') else { return Err(Refusal::new("a quote is opened and not closed")) };
        cell.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                cell.push('"');
                rest = next;
            }
            None => return Ok((cell, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn all(text: &str) -> Vec<(usize, Result<Vec<String>, String>)> {
        let mut rows = Rows::new(Cursor::new(text.as_bytes())).unwrap();
        let mut out = Vec::new();
        while let Some((line, row)) = rows.next_row().unwrap() {
            out.push((line, row.map_err(|refusal| refusal.error)));
        }
        out
    }

    #[test]
    fn rows_are_read_with_quotes_line_ends_and_semicolons() {
        let rows = all("\u{feff}id,name\r\n1,\"Ada, \"\"A\"\"\nL\"\r\n\r\n2,\n");
        assert_eq!(
            rows,
            [(2, Ok(vec!["1".to_owned(), "Ada, \"A\"\nL".to_owned()])), (5, Ok(vec!["2".to_owned(), String::new()]))]
        );
        assert_eq!(all("id;name\n1;a,b")[0].1.as_ref().unwrap()[1], "a,b");
    }

    #[test]
    fn broken_rows_are_named_and_the_next_is_read() {
        let rows = all("id,name\n1\n2,b\"c\n\"3\" x,d\n4,ok\n");
        // The stray quote of line 3 pairs with that of line 4's first: both lines are one broken row.
        assert!(rows[0].1.is_err());
        assert!(rows.iter().any(|(_, row)| row.is_err()));
        assert_eq!(all("id,name\n1,\"a\n")[0].1.as_ref().unwrap_err(), "a quote is opened and not closed");
        assert!(Rows::new(Cursor::new(b"".as_slice())).is_err());
        assert!(Rows::new(Cursor::new(b"a,a\n".as_slice())).is_err());
        let endless = format!("id\n{}", "x".repeat(ROW_BYTES_MAX + 1));
        assert!(Rows::new(Cursor::new(endless.as_bytes())).unwrap().next_row().is_err());
    }
}
