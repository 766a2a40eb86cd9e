//! The kernel's connection timeouts before ours, which a stop puts back.
//!
//! While ours are in force they are kept in a file as well: a daemon that comes after a crash would take ours
//! for them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lb_ipvs::Timeouts;
use tracing::warn;

/// The timeouts that were there first, once ours are in force.
#[derive(Debug, Default)]
pub(super) struct Originals {
    timeouts: Option<Timeouts>,
    file: Option<PathBuf>,
}

impl Originals {
    /// Those an engine before this one has left, or a daemon before this one in `file`.
    pub fn new(timeouts: Option<Timeouts>, file: Option<PathBuf>) -> Self {
        Self { timeouts: timeouts.or_else(|| read(file.as_deref()?)), file }
    }

    pub fn get(&self) -> Option<Timeouts> {
        self.timeouts
    }

    /// Keeps what is there before ours are set.
    pub fn keep(&mut self, timeouts: Timeouts) {
        self.timeouts = Some(timeouts);
        if let Some(file) = &self.file
            && let Err(error) = write(file, &timeouts)
        {
            let file = file.display();
            warn!(
                "lvs_timeouts: cannot keep the kernel's own in {file}: {error}; after a crash they are not put back"
            );
        }
    }

    /// They are in force again.
    pub fn forget(&mut self) {
        self.timeouts = None;
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file); // mostly there was none
        }
    }
}

/// Seconds of [`Timeouts::tcp`], [`Timeouts::tcp_fin`] and [`Timeouts::udp`]; nothing if there is anything else.
fn read(file: &Path) -> Option<Timeouts> {
    let text = fs::read_to_string(file).ok()?;
    let mut seconds = text.split_whitespace().map(|word| word.parse().map(Duration::from_secs));
    let mut next = || seconds.next()?.ok();
    let timeouts = Timeouts { tcp: next()?, tcp_fin: next()?, udp: next()? };
    seconds.next().is_none().then_some(timeouts)
}

/// Whole or not at all.
fn write(file: &Path, timeouts: &Timeouts) -> io::Result<()> {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    let new = file.with_extension("timeouts-new");
    fs::write(&new, format!("{} {} {}\n", tcp.as_secs(), tcp_fin.as_secs(), udp.as_secs()))?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_leaves_is_found_and_nothing_else_is_believed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lbd.timeouts");
        let originals = || Originals::new(None, Some(file.clone()));
        let [tcp, tcp_fin, udp] = [900, 120, 300].map(Duration::from_secs);
        let found = Timeouts { tcp, tcp_fin, udp };
        assert_eq!(originals().get(), None);
        originals().keep(found);
        assert_eq!(originals().get(), Some(found));
        originals().forget();
        assert_eq!(originals().get(), None);
        for garbage in ["", "900 120", "900 120 300 1", "900 120 x", "\u{0}"] {
            fs::write(&file, garbage).unwrap();
            assert_eq!(originals().get(), None, "{garbage}");
        }
    }
}
