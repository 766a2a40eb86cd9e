//! Speaks to `lbd` over its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use lb_control::{PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody};

/// How long the daemon may take to answer; a reload of a large configuration takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks one thing of the daemon that listens on `socket`.
///
/// # Errors
/// It cannot be reached, says no, or is of another version; each with the remedy.
pub fn ask(socket: &Path, body: RequestBody) -> anyhow::Result<ResponseBody> {
    let mut stream = UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))?;
    let lost = || format!("lost the connection to lbd at {}", socket.display());
    stream.set_read_timeout(Some(PATIENCE)).with_context(lost)?;
    let mut request = serde_json::to_vec(&Request { v: PROTOCOL_VERSION, body })?;
    request.push(b'\n');
    // A daemon that turns us away says why before it closes.
    let sent = stream.write_all(&request);
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).with_context(lost)?;
    if line.is_empty() {
        sent.with_context(lost)?;
        bail!("lbd at {} hung up; see its log", socket.display());
    }
    let response: Response = serde_json::from_str(&line).with_context(|| {
        format!(
            "what answers at {} does not speak like lbd; use the lbctl that came with it",
            socket.display()
        )
    })?;
    match response.body {
        ResponseBody::Error { message } => bail!(message),
        body => Ok(body),
    }
}

fn unreachable(socket: &Path, error: &std::io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            "permission denied: try it with sudo, or as a member of group lbd"
        }
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "is it running? See `systemctl status lbd`; -S PATH picks another socket"
        }
        _ => return anyhow::anyhow!("cannot reach lbd at {}: {error}", socket.display()),
    };
    anyhow::anyhow!("cannot reach lbd at {}: {remedy}", socket.display())
}
