//! Tables of text: `.csv` with CSV quoting, `.tsv` split at tabs only, `.jsonl` with one object a line. Rows are indexed once
//! and read when asked for, so that memory stays small for files of any length.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::base::files::{self, PositionedFile};

use super::source::DataError;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Tsv,
    JsonLines,
}

impl Format {
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_lowercase();
        match extension.as_str() {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// Where a row lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    len: u32,
    /// From 1.
    line: u32,
}

/// See the module doc.
#[derive(Debug)]
pub struct Table {
    file: PositionedFile,
    path: PathBuf,
    format: Format,
    columns: Vec<String>,
    rows: Vec<Place>,
    /// Malformed rows that were left out, the first few with their reasons.
    skipped: usize,
    first_skipped: Vec<String>,
}

/// Bytes that are read at once where all rows are walked.
const BLOCK: usize = 1 << 20;

/// A row longer than this is a missing quote, not a text.
const MAX_ROW_BYTES: usize = 64 << 20;

impl Table {
    /// Reads the header and indexes the rows. Malformed rows are errors with their line, or skipped and counted.
    pub fn open(path: &Path, skip_bad_rows: bool) -> Result<Self, DataError> {
        let format = Format::of(path).ok_or_else(|| DataError::File {
            path: path.to_owned(),
            what: "unknown kind of table (use .csv, .tsv or .jsonl)".to_owned(),
        })?;
        let file = PositionedFile::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let mut table = Self {
            file,
            path: path.to_owned(),
            format,
            columns: Vec::new(),
            rows: Vec::new(),
            skipped: 0,
            first_skipped: Vec::new(),
        };
        match format {
            Format::Csv => table.index_csv(skip_bad_rows)?,
            Format::Tsv | Format::JsonLines => table.index_lines(skip_bad_rows)?,
        }
        if table.columns.is_empty() {
            return Err(table.wrong("the file is empty (a table needs a header line)"));
        }
        for (i, name) in table.columns.iter().enumerate() {
            if table.columns[..i].contains(name) {
                return Err(table.wrong(format!("two columns are called '{name}'")));
            }
        }
        Ok(table)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many malformed rows were left out, with the first few reasons.
    pub fn skipped(&self) -> (usize, &[String]) {
        (self.skipped, &self.first_skipped)
    }

    /// Index of a column; the error lists those that are there.
    pub fn column(&self, name: &str) -> Result<usize, DataError> {
        self.columns.iter().position(|c| c == name).ok_or_else(|| {
            self.wrong(format!("there is no column '{name}' (the columns are {})", self.columns.join(", ")))
        })
    }

    /// Line of a row in the file, from 1.
    pub fn line(&self, row: usize) -> u64 {
        self.rows.get(row).map_or(0, |p| u64::from(p.line))
    }

    /// An error that names a row's line.
    pub fn row_error(&self, row: usize, what: impl Into<String>) -> DataError {
        self.line_error(self.line(row), what)
    }

    fn line_error(&self, line: u64, what: impl Into<String>) -> DataError {
        DataError::Row { path: self.path.clone(), line, what: what.into() }
    }

    fn wrong(&self, what: impl Into<String>) -> DataError {
        DataError::File { path: self.path.clone(), what: what.into() }
    }

    /// The fields of a row, in the order of the columns.
    pub fn row(&self, row: usize) -> Result<Vec<String>, DataError> {
        let place = self.place(row)?;
        let mut bytes = vec![0; place.len as usize];
        self.read_at(&mut bytes, place.start)?;
        self.fields(&bytes, place)
    }

    fn place(&self, row: usize) -> Result<Place, DataError> {
        self.rows.get(row).copied().ok_or_else(|| self.wrong(format!("there is no row {row}")))
    }

    fn read_at(&self, bytes: &mut [u8], start: u64) -> Result<(), DataError> {
        self.file
            .read_exact_at(bytes, start)
            .map_err(|_| self.wrong("the file has become shorter since it was opened; start again"))
    }

    fn fields(&self, bytes: &[u8], place: Place) -> Result<Vec<String>, DataError> {
        let line = u64::from(place.line);
        let text = std::str::from_utf8(bytes).map_err(|_| self.line_error(line, "the row is not UTF-8"))?;
        match self.format {
            Format::Tsv => Ok(text.split('\t').map(str::to_owned).collect()),
            Format::JsonLines => self.json_row(text, line),
            // Without a quote every comma separates; the record's own line end is not part of the last field.
            Format::Csv if !text.contains('"') => {
                Ok(text.trim_end_matches(['\n', '\r']).split(',').map(str::to_owned).collect())
            }
            Format::Csv => {
                let mut reader = csv_reader(text.as_bytes(), text.len());
                let mut record = csv::StringRecord::new();
                reader.read_record(&mut record).map_err(|e| self.line_error(line, e.to_string()))?;
                Ok(record.iter().map(str::to_owned).collect())
            }
        }
    }

    fn json_row(&self, text: &str, line: u64) -> Result<Vec<String>, DataError> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|e| self.line_error(line, format!("not a JSON object: {e}")))?;
        self.columns
            .iter()
            .map(|c| match object.get(c) {
                Some(serde_json::Value::String(s)) => Ok(s.clone()),
                Some(serde_json::Value::Null) | None => Err(self.line_error(line, format!("'{c}' is missing"))),
                Some(other) => Ok(other.to_string()),
            })
            .collect()
    }

    /// One column of all rows in order, streamed through `f` in large reads.
    pub fn for_each(
        &self,
        column: usize,
        mut f: impl FnMut(usize, &str) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        if self.format == Format::Csv {
            return self.for_each_csv(column, f);
        }
        let mut block: Vec<u8> = Vec::new();
        let mut block_start = 0u64;
        for row in 0..self.rows.len() {
            let place = self.place(row)?;
            let end = place.start + u64::from(place.len);
            if row == 0 || end > block_start + block.len() as u64 {
                block_start = place.start;
                let wanted = (place.len as usize).max(BLOCK) as u64;
                block.resize(wanted.min(self.file.len().saturating_sub(block_start)) as usize, 0);
                self.read_at(&mut block, block_start)?;
            }
            let at = (place.start - block_start) as usize;
            let bytes = block.get(at..at + place.len as usize);
            let bytes = bytes.ok_or_else(|| self.wrong("the file has become shorter since it was opened"))?;
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            if self.format == Format::Tsv {
                // Only the one field is looked at, because this walks all rows.
                let field = text.split('\t').nth(column);
                f(row, field.ok_or_else(|| self.row_error(row, "the row has too few fields"))?)?;
                continue;
            }
            let fields = self.fields(bytes, place)?;
            let field = fields.get(column).ok_or_else(|| self.row_error(row, "the row has too few fields"))?;
            f(row, field)?;
        }
        Ok(())
    }

    /// As [`Table::for_each`], with one reader for the whole file, because making a reader costs more than reading a row.
    fn for_each_csv(
        &self,
        column: usize,
        mut f: impl FnMut(usize, &str) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut reader = csv_reader(self.open_stream()?, 1 << 18);
        let mut record = csv::ByteRecord::new();
        let (mut is_header, mut row) = (true, 0);
        while reader.read_byte_record(&mut record).map_err(|e| self.wrong(e.to_string()))? {
            let is_row = record.len() == self.columns.len() && record.iter().all(|f| std::str::from_utf8(f).is_ok());
            // The same rows as those of the index, which leaves out the header and malformed rows.
            if std::mem::take(&mut is_header) || !is_row {
                continue;
            }
            let field = record.get(column).and_then(|f| std::str::from_utf8(f).ok());
            f(row, field.ok_or_else(|| self.row_error(row, "the row has too few fields"))?)?;
            row += 1;
        }
        if row == self.rows.len() {
            Ok(())
        } else {
            Err(self.wrong("the file has changed since it was opened; start again"))
        }
    }

    /// A malformed row: an error, or one more skipped.
    fn bad_row(&mut self, line: u64, what: String, skip: bool) -> Result<(), DataError> {
        if !skip {
            return Err(self.line_error(line, format!("{what} (set data.bad_rows=skip to leave such rows out)")));
        }
        self.skipped += 1;
        if self.first_skipped.len() < 5 {
            self.first_skipped.push(format!("line {line}: {what}"));
        }
        Ok(())
    }

    fn open_stream(&self) -> Result<BufReader<files::File>, DataError> {
        let file = files::open(&self.path).map_err(|source| DataError::Io { path: self.path.clone(), source })?;
        Ok(BufReader::with_capacity(1 << 18, file))
    }

    fn index_lines(&mut self, skip: bool) -> Result<(), DataError> {
        let mut stream = self.open_stream()?;
        let mut bytes = Vec::new();
        let (mut start, mut line) = (0u64, 0u64);
        loop {
            bytes.clear();
            let limit = MAX_ROW_BYTES as u64 + 1;
            let read = (&mut stream).take(limit).read_until(b'\n', &mut bytes);
            let n = read.map_err(|source| DataError::Io { path: self.path.clone(), source })? as u64;
            if n == 0 {
                return Ok(());
            }
            line += 1;
            if n == limit {
                return Err(self.line_error(line, "the line is longer than 64 MiB"));
            }
            let bom = if line == 1 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let mut end = bytes.len();
            while end > bom && matches!(bytes[end - 1], b'\n' | b'\r') {
                end -= 1;
            }
            if end > bom {
                let place = Place { start: start + bom as u64, len: (end - bom) as u32, line: line as u32 };
                match std::str::from_utf8(&bytes[bom..end]) {
                    Ok(text) => self.take_line(text, place, skip)?,
                    Err(_) if self.columns.is_empty() => return Err(self.line_error(line, "the line is not UTF-8")),
                    Err(_) => self.bad_row(line, "the row is not UTF-8".to_owned(), skip)?,
                }
            }
            start += n;
        }
    }

    /// A line that is not empty: the header, or a row that is checked.
    fn take_line(&mut self, text: &str, place: Place, skip: bool) -> Result<(), DataError> {
        let line = u64::from(place.line);
        if self.format == Format::Tsv {
            let n = text.split('\t').count();
            if self.columns.is_empty() {
                self.columns = text.split('\t').map(|c| c.trim().to_owned()).collect();
                return Ok(());
            }
            if n != self.columns.len() {
                let what = format!("{n} fields instead of {}", self.columns.len());
                return self.bad_row(line, what, skip);
            }
        } else {
            let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
            match parsed {
                Err(e) => return self.bad_row(line, format!("not a JSON object: {e}"), skip),
                Ok(object) if self.columns.is_empty() => self.columns = object.keys().cloned().collect(),
                Ok(object) => {
                    if let Some(c) = self.columns.iter().find(|c| object.get(*c).is_none_or(|v| v.is_null())) {
                        let what = format!("'{c}' is missing");
                        return self.bad_row(line, what, skip);
                    }
                }
            }
        }
        self.rows.push(place);
        Ok(())
    }

    /// The first place from `start` on that is no line end, and its line.
    fn past_line_ends(&self, mut start: u64, mut line: u64) -> (u64, u64) {
        let mut byte = [0];
        while start < self.file.len() && self.file.read_exact_at(&mut byte, start).is_ok() {
            match byte[0] {
                b'\n' => line += 1,
                b'\r' => {}
                _ => break,
            }
            start += 1;
        }
        (start, line)
    }

    fn index_csv(&mut self, skip: bool) -> Result<(), DataError> {
        let mut reader = csv_reader(self.open_stream()?, 1 << 16);
        let mut record = csv::ByteRecord::new();
        loop {
            let (start, line) = (reader.position().byte(), reader.position().line());
            let more = reader.read_byte_record(&mut record).map_err(|e| self.line_error(line, e.to_string()))?;
            if !more {
                return Ok(());
            }
            // A record may be said to begin in the line ends before it: those of CRLF files and of empty lines.
            let (start, line) = record.position().map_or((start, line), |p| (p.byte(), p.line()));
            let (start, line) = self.past_line_ends(start, line);
            let len = reader.position().byte().saturating_sub(start);
            if len > MAX_ROW_BYTES as u64 {
                return Err(self.line_error(line, "the row is longer than 64 MiB (a quote that is never closed?)"));
            }
            let utf8 = record.iter().all(|f| std::str::from_utf8(f).is_ok());
            if self.columns.is_empty() {
                if !utf8 {
                    return Err(self.line_error(line, "the header is not UTF-8"));
                }
                let clean = |f: &[u8]| String::from_utf8_lossy(f).trim_start_matches('\u{feff}').trim().to_owned();
                self.columns = record.iter().map(clean).collect();
            } else if !utf8 {
                self.bad_row(line, "the row is not UTF-8".to_owned(), skip)?;
            } else if record.len() != self.columns.len() {
                let what = format!("{} fields instead of {}", record.len(), self.columns.len());
                self.bad_row(line, what, skip)?;
            } else {
                self.rows.push(Place { start, len: len as u32, line: line as u32 });
            }
        }
    }
}

fn csv_reader<R: Read>(input: R, buffer: usize) -> csv::Reader<R> {
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).flexible(true).buffer_capacity(buffer.max(1)).from_reader(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str, text: &[u8], skip: bool) -> (tempfile::TempDir, Result<Table, DataError>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        files::replace(&path, text).unwrap();
        let table = Table::open(&path, skip);
        (dir, table)
    }

    #[test]
    fn csv_quotes_and_lines() {
        let (_dir, t) =
            open("a.csv", b"\xef\xbb\xbflabel,text\r\na,\"two\nlines, \"\"quoted\"\"\"\n\nb,plain\n", false);
        let t = t.unwrap();
        assert_eq!(t.columns(), ["label", "text"]);
        assert_eq!(t.len(), 2);
        assert_eq!(t.row(0).unwrap(), ["a", "two\nlines, \"quoted\""]);
        assert_eq!(t.row(1).unwrap(), ["b", "plain"]);
        assert_eq!((t.line(0), t.line(1)), (2, 5));
    }

    #[test]
    fn tsv_splits_at_tabs_only() {
        let (_dir, t) = open("a.tsv", "label\ttext\nx\t\"Er sagte, \"so\"\n\ny\tü\r\n".as_bytes(), false);
        let t = t.unwrap();
        assert_eq!(t.row(0).unwrap(), ["x", "\"Er sagte, \"so\""]);
        assert_eq!(t.row(1).unwrap(), ["y", "ü"]);
        assert!(t.column("nothing").unwrap_err().to_string().contains("label, text"));
    }

    #[test]
    fn bad_rows_name_their_line() {
        let text = b"label\ttext\na\tb\nno tab here\nc\td\n\xff\xff\tz\n";
        let (_dir, t) = open("a.tsv", text, false);
        let message = t.unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("1 fields instead of 2"), "{message}");
        let (_dir, t) = open("a.tsv", text, true);
        let t = t.unwrap();
        assert_eq!((t.len(), t.skipped().0), (2, 2));
        let (_dir, t) = open("a.csv", b"a,b\n1,2,3\n", false);
        assert!(t.unwrap_err().to_string().contains("line 2: 3 fields instead of 2"));
        let (_dir, t) = open("a.jsonl", b"{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2}\n", false);
        assert!(t.unwrap_err().to_string().contains("line 2: 'b' is missing"));
        let (_dir, t) = open("a.csv", b"", false);
        assert!(t.unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn json_lines_hold_any_scalar() {
        let (_dir, t) = open("a.jsonl", b"{\"label\": 1, \"text\": \"x\"}\n{\"text\": \"y\", \"label\": 0}\n", false);
        let t = t.unwrap();
        let label = t.column("label").unwrap();
        assert_eq!(t.row(1).unwrap()[label], "0");
    }
}
