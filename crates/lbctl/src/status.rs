//! `lbctl status`: what runs, who is MASTER, which servers are in service.

mod table;
mod trouble;

use std::io::IsTerminal;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use lb_control::{RequestBody, ResponseBody, Status};

use crate::client;
use crate::text::{self, write_all};

/// Shows what runs, who is MASTER and which servers are in service
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
    /// Show it again every SECS seconds until interrupted
    #[arg(short, long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2", value_parser = period)]
    watch: Option<Duration>,
}

fn period(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "use seconds, 0.1 to 86400".to_owned())
}

/// Shows the status once, or again and again.
///
/// # Errors
/// The daemon cannot be reached, or the output not be written.
pub fn run(socket: &Path, args: &Args) -> anyhow::Result<()> {
    let Some(period) = args.watch else {
        return show(&frame(&ask(socket)?, args.json)?, false);
    };
    loop {
        // A daemon that is restarted comes back: the error is a frame like any other.
        let text = match ask(socket) {
            Ok(status) => frame(&status, args.json)?,
            Err(error) => format!("lbctl: {error:#}\n"),
        };
        show(&text, !args.json)?;
        thread::sleep(period);
    }
}

/// The status of the daemon.
///
/// # Errors
/// It cannot be reached, or is of another version.
pub fn ask(socket: &Path) -> anyhow::Result<Status> {
    match client::ask(socket, RequestBody::Status)? {
        ResponseBody::Status { status } => Ok(*status),
        _ => bail!("lbd answered something else than its status; use the lbctl that came with it"),
    }
}

fn frame(status: &Status, json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(serde_json::to_string_pretty(status)? + "\n");
    }
    Ok(table::render(status, Timestamp::now(), text::width()))
}

/// Writes a text to stdout, in colour where the terminal takes it. `over` writes it over the
/// frame before: line by line in place, so that nothing flickers.
fn show(text: &str, over: bool) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    if over && std::io::stdout().is_terminal() {
        let height =
            terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| height.0.into());
        let text = cut(text, height).replace('\n', "\x1b[K\n");
        write_all(&mut std::io::stdout().lock(), "\x1b[H")?;
        write_all(&mut out, &text)?;
        return write_all(&mut std::io::stdout().lock(), "\x1b[J");
    }
    write_all(&mut out, text)
}

/// As many lines as fit with one to spare: a frame that scrolled could not be written over.
fn cut(text: &str, height: usize) -> String {
    let lines = text.lines().count();
    if lines < height {
        return text.to_owned();
    }
    let shown = height.saturating_sub(2);
    let mut out: String = text.split_inclusive('\n').take(shown).collect();
    out += &format!("... {} more lines; see them all without --watch\n", lines - shown);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_leaves_the_last_line_of_the_terminal_free() {
        assert_eq!(cut("a\nb\n", 3), "a\nb\n");
        assert_eq!(cut("a\nb\nc\n", 3), "a\n... 2 more lines; see them all without --watch\n");
        assert_eq!(cut("a\nb\n", 0), "... 2 more lines; see them all without --watch\n");
    }
}
