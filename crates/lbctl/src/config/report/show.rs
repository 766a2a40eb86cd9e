//! The report as text.

use std::fmt::Write as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, ContentArrangement, Table, presets};

use super::{Keyword, Place, Places, Remark, Report};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const MIXED: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Ranges of lines that are shown of one keyword or complaint.
const RANGES: usize = 16;

/// Complaints of one kind that are shown.
const REMARKS: usize = 20;

/// The whole report, at most `width` columns wide, in colour.
pub fn text(report: &Report, width: u16) -> String {
    let mut page = Page { out: String::new(), width, main: &report.main };
    page.keywords(GOOD, "Honoured", &report.honoured);
    page.keywords(MIXED, "Read, not acted on yet", &report.not_acted_on);
    page.remarks(MIXED, "Skipped or adjusted, as by keepalived", &report.changed);
    page.remarks(MIXED, "Taken as written, but is it meant so?", &report.doubtful);
    page.remarks(BAD, "Unknown, and ignored", &report.unknown);
    page.remarks(BAD, "Errors", &report.errors);
    if report.left_out > 0 {
        let _ = writeln!(page.out, "and {} more warnings\n", report.left_out);
    }
    let style = match (report.is_good(), report.not_acted_on.is_empty()) {
        (true, true) => GOOD,
        (true, false) => MIXED,
        (false, _) => BAD,
    };
    let verdict = wrapped(&report.verdict(), width);
    let _ = writeln!(page.out, "{style}{}{style:#}\n{verdict}", report.file);
    page.out
}

struct Page<'a> {
    out: String,
    width: u16,
    /// The file that was asked for.
    main: &'a Path,
}

impl Page<'_> {
    /// A list of keywords by block; what is missed without those that have no effect is said too.
    fn keywords(&mut self, style: Style, title: &str, keywords: &[Keyword]) {
        if keywords.is_empty() {
            return;
        }
        let count = super::super::count(keywords.len(), "keyword");
        let _ = writeln!(self.out, "{style}{title}{style:#}: {count}, in lines\n");
        let mut blocks: Vec<&str> = Vec::new();
        for keyword in keywords {
            if !blocks.contains(&keyword.block) {
                blocks.push(keyword.block);
            }
        }
        let mut table = self.table();
        for block in blocks {
            let head = if block.is_empty() { "(top level)" } else { block };
            table.add_row([Cell::new(head)]);
            for keyword in keywords.iter().filter(|keyword| keyword.block == block) {
                let mut said = self.places(&keyword.places);
                if title != "Honoured" && !keyword.within_idle {
                    let _ = write!(said, "\n{}", keyword.meaning);
                }
                table.add_row([Cell::new(format!("  {}", keyword.name)), Cell::new(said)]);
            }
        }
        self.add(&table);
    }

    fn remarks(&mut self, style: Style, title: &str, remarks: &[Remark]) {
        if remarks.is_empty() {
            return;
        }
        let _ = writeln!(self.out, "{style}{title}{style:#}: {}\n", remarks.len());
        let mut table = self.table();
        for remark in remarks.iter().take(REMARKS) {
            let mut said = remark.message.clone();
            if let Some(hint) = &remark.hint {
                let _ = write!(said, "; {hint}");
            }
            table.add_row([Cell::new(self.places(&remark.places)), Cell::new(said)]);
        }
        if remarks.len() > REMARKS {
            let more = format!(
                "and {} more, which a check without --report shows",
                remarks.len() - REMARKS
            );
            table.add_row([Cell::new(""), Cell::new(more)]);
        }
        self.add(&table);
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(self.width);
        table
    }

    fn add(&mut self, table: &Table) {
        for line in table.lines() {
            let _ = writeln!(self.out, "{}", line.trim_end());
        }
        self.out.push('\n');
    }

    /// Lines by file, the main one without its name: `3, 7-9; web.conf:2`.
    fn places(&self, places: &Places) -> String {
        let mut out = String::new();
        let mut shown = 0;
        let mut left = 0;
        let mut last_file: Option<&str> = None;
        let lines: Vec<&Place> = places.iter().collect();
        for run in lines.chunk_by(|one, next| one.file == next.file && next.line == one.line + 1) {
            let (first, last) = (run[0], run[run.len() - 1]);
            if shown == RANGES {
                left += run.len();
                continue;
            }
            shown += 1;
            if last_file == Some(first.file.as_str()) {
                out.push_str(", ");
            } else {
                if last_file.is_some() {
                    out.push_str("; ");
                }
                if Path::new(&first.file) != self.main {
                    let _ = write!(out, "{}:", self.short(&first.file));
                }
                last_file = Some(&first.file);
            }
            let _ = write!(out, "{}", first.line);
            if last.line > first.line {
                let _ = write!(out, "-{}", last.line);
            }
        }
        if left > 0 {
            let _ = write!(out, " and {left} more");
        }
        out
    }

    /// The name of a file as seen from the main one.
    fn short<'a>(&self, file: &'a str) -> &'a str {
        let directory = self.main.parent();
        let inside = directory.and_then(|directory| Path::new(file).strip_prefix(directory).ok());
        inside.and_then(Path::to_str).unwrap_or(file)
    }
}

/// Words in lines of at most `width` columns.
fn wrapped(text: &str, width: u16) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > usize::from(width) {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}
