//! Runs `nft(8)`: a script is one transaction of the kernel.
//!
//! The scripts are in nft's own language and not in its JSON, so that they read as the manual and
//! as what `nft list ruleset` shows.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::Error;

/// It takes some ten milliseconds; on a busy machine with large rulesets more.
const LIMIT: Duration = Duration::from_secs(5);
/// How long one that was killed may take to be gone.
const GONE: Duration = Duration::from_millis(500);
/// Where it is; the PATH of whoever started us says nothing about that.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];
/// What it says is kept as far as this, octets.
const SAID: u64 = 4096;

/// Has the script done as a whole or not at all, in the network namespace of the calling thread;
/// takes some ten milliseconds, and never more than 5.5 seconds: then it is killed. It is the `nft` of
/// a fixed place, not of the inherited PATH.
///
/// # Errors
/// [`Error::NoNft`] when it is not installed, [`Error::Nft`] with its words when it refuses, and when
/// it did not end in time; the kernel may then have made the change or not.
pub(crate) fn run(script: &str) -> Result<(), Error> {
    let place = PLACES.map(Path::new).into_iter().find(|place| place.exists());
    run_within(place.ok_or(Error::NoNft)?, script, LIMIT)
}

fn run_within(program: &Path, script: &str, limit: Duration) -> Result<(), Error> {
    let (status, said) =
        output(program, script, limit).map_err(Error::system("running nft", "CAP_NET_ADMIN"))?;
    match status {
        Some(status) if status.success() => Ok(()),
        // The first line says what is wrong, the others point into the script.
        Some(_) => Err(Error::Nft(said.lines().next().unwrap_or("it did not say why").to_owned())),
        None => Err(Error::Nft(format!("it did not end within {} s", limit.as_secs_f64()))),
    }
}

/// How it ended, `None` when it was killed, and what it complained of. Files in memory stand for its
/// input and output, so that neither side ever waits for the other.
fn output(
    program: &Path,
    script: &str,
    limit: Duration,
) -> io::Result<(Option<ExitStatus>, String)> {
    let mut input = memory(c"script")?;
    input.write_all(script.as_bytes())?;
    input.seek(SeekFrom::Start(0))?;
    let mut complaints = memory(c"complaints")?;
    let child = Command::new(program)
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::from(complaints.try_clone()?))
        .spawn()?;
    let status = wait(child, limit)?;
    complaints.seek(SeekFrom::Start(0))?;
    let mut said = Vec::new();
    complaints.take(SAID).read_to_end(&mut said)?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

fn memory(name: &std::ffi::CStr) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// Waits for a child, or kills it when its time is over. One that the kernel does not let go of even
/// then is left to it.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = wait_until(&mut child, Instant::now() + limit)? {
        return Ok(Some(status));
    }
    child.kill()?;
    wait_until(&mut child, Instant::now() + GONE)?;
    Ok(None)
}

/// Looks ever less often.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(500);
    loop {
        let status = child.try_wait()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if status.is_some() || left.is_zero() {
            return Ok(status);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 3 / 2).min(Duration::from_millis(20));
    }
}

/// A MAC as nft writes it.
pub(crate) fn mac(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A program in the place of nft.
    fn program(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lb-net-{name}-{}", std::process::id()));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn one_that_hangs_is_killed() {
        let program = program("hangs", "exec sleep 1000");
        let (begun, limit) = (Instant::now(), Duration::from_millis(200));
        let error = run_within(&program, "", limit).unwrap_err();
        assert!(error.to_string().contains("did not end within 0.2 s"), "{error}");
        assert!((limit..limit + Duration::from_secs(5)).contains(&begun.elapsed()));
        fs::remove_file(program).unwrap();
    }

    #[test]
    fn a_long_script_and_many_complaints_hold_nobody_up() {
        // Neither reads its input nor has its output read, each larger than a pipe.
        let program = program("talks", "yes complaint | head -c 1000000 >&2; exit 1");
        let script = "#".repeat(1 << 20);
        let error = run_within(&program, &script, Duration::from_secs(60)).unwrap_err();
        assert!(error.to_string().contains("complaint"), "{error}");
        fs::remove_file(program).unwrap();
    }
}
