//! Runs `nft(8)`: a script is one transaction of the kernel.
//!
//! The scripts are in nft's own language and not in its JSON, so that they read as the manual and
//! as what `nft list ruleset` shows.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::Error;

/// Has the script done as a whole or not at all, in the network namespace of the calling thread;
/// takes some ten milliseconds.
pub(crate) fn run(script: &str) -> Result<(), Error> {
    let system = Error::system("running nft", "CAP_NET_ADMIN");
    let output = match output(script) {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoNft),
        Err(error) => return Err(system(error)),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // The first line says what is wrong, the others point into the script.
    Err(Error::Nft(said.lines().next().unwrap_or("it did not say why").to_owned()))
}

fn output(script: &str) -> io::Result<std::process::Output> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // When it has ended already its status tells more.
        let _ = stdin.write_all(script.as_bytes());
    }
    child.wait_with_output()
}

/// A MAC as nft writes it.
pub(crate) fn mac(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
