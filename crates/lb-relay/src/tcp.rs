//! TCP services: accept, find a server that answers, move octets until both sides are done.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lb_pool::DestinationKey;
use socket2::Type;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::balance::Lease;
use crate::guard;
use crate::pump::pump;
use crate::site::Site;
use crate::sockets;
use crate::unsent::unsent;

/// How long accepting rests when there are too many open files.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A reset waits for what was sent before it to be taken: this long at a time, and in all.
const SETTLE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// Accepts connections until it is dropped.
pub async fn serve(listener: &TcpListener, site: &Arc<Site>) {
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                let site = Arc::clone(site);
                tokio::spawn(async move { relay(client, peer, &site).await });
            }
            Err(error) if sockets::is_shortage(&error) => {
                site.context.report_shortage(&error);
                sleep(SHORTAGE_PAUSE).await;
            }
            // The client was gone before it was accepted.
            Err(error) => debug!("{}: accept: {error}", site.key),
        }
    }
}

/// Serves one connection to its end. A connection that cannot end well is reset on both sides, so
/// that nobody takes half an answer for a whole one.
async fn relay(mut client: TcpStream, peer: SocketAddr, site: &Site) {
    let Some(place) = site.place() else {
        let _ = client.set_zero_linger();
        return;
    };
    let reached = tokio::select! {
        reached = reach(peer, site) => reached,
        () = place.displaced.notified() => None,
    };
    let Some((mut server, mut lease)) = reached else {
        reset(&client).await;
        return;
    };
    lease.establish();
    // Without it small pieces would wait for acknowledgements.
    let _ = client.set_nodelay(true);

    let (activity, pipes) = (&place.activity, &site.context.pipes);
    activity.touch();
    let finished = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let both = async {
            tokio::try_join!(
                pump(from_client, to_server, activity, pipes),
                pump(from_server, to_client, activity, pipes),
            )
        };
        tokio::select! {
            result = both => result.is_ok(),
            () = activity.idle(site.context.options.tcp_timeout) => false,
            () = activity.half_closed_idle(site.context.options.tcp_fin_timeout) => false,
            () = place.displaced.notified() => false,
            () = lease.closed() => false,
        }
    };
    drop(lease);
    if !finished {
        tokio::join!(reset(&client), reset(&server));
    }
}

/// Connects to a server. One that refuses is passed over for the next, and while one is silent
/// another is tried beside it, which IPVS cannot do: a client is turned away only when no server is
/// left. A sticky client waits for its own server, which the second attempt would change.
///
/// Two are tried at a time, so that a client whose servers are silent holds no more descriptors than one
/// that is served: the next one takes the place of the one that has been silent longest.
async fn reach(peer: SocketAddr, site: &Site) -> Option<(TcpStream, Lease)> {
    let options = &site.context.options;
    let impatient = !guard(&site.balance).is_sticky();
    let mut tried: Vec<DestinationKey> = Vec::new();
    let (mut older, mut newer) = (None, None);
    let mut failure = None;
    loop {
        let next = site.assign(peer, &tried);
        let more = next.is_some();
        if let Some((lease, server)) = next {
            tried.push(lease.key());
            if let Some(before) = newer.replace(Box::pin(attempt(server, peer, lease, site))) {
                older = Some(before);
            }
        } else if older.is_none() && newer.is_none() {
            break;
        }
        let done = tokio::select! {
            done = end_of(&mut older) => done,
            done = end_of(&mut newer) => done,
            () = sleep(options.attempt_delay), if more && impatient => continue,
        };
        match done {
            Ok(reached) => {
                site.report_reached();
                return Some(reached);
            }
            Err(error) if sockets::is_shortage(&error) => {
                site.context.report_shortage(&error);
                return None;
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(last) => site.report_unreachable(tried.len(), &last),
        None => debug!("{}: no server takes a connection", site.key),
    }
    None
}

/// Waits for the end of an attempt, which is none after it; for ever where there is none.
async fn end_of<T>(attempt: &mut Option<Pin<Box<impl Future<Output = T>>>>) -> T {
    let Some(running) = attempt else { return pending().await };
    let done = running.await;
    *attempt = None;
    done
}

/// Connects to one server for as long as its lease holds.
async fn attempt(
    server: SocketAddr,
    peer: SocketAddr,
    lease: Lease,
    site: &Site,
) -> io::Result<(TcpStream, Lease)> {
    let result = tokio::select! {
        done = timeout(site.context.options.connect_timeout, connect(server, peer, site)) => {
            done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        () = lease.closed() => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    match result {
        Ok(stream) => Ok((stream, lease)),
        Err(error) => {
            debug!("{}: {server}: {error}", site.key);
            Err(error)
        }
    }
}

async fn connect(server: SocketAddr, peer: SocketAddr, site: &Site) -> io::Result<TcpStream> {
    let socket = site.dial(server, peer, Type::STREAM)?;
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Makes the coming close a reset, after the peer got what came before: a reset overtakes what
/// is still queued.
async fn reset(stream: &TcpStream) {
    let settled = async {
        while unsent(stream).is_ok_and(|octets| octets > 0) {
            sleep(SETTLE.0).await;
        }
    };
    let _ = timeout(SETTLE.1, settled).await;
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn a_reset_comes_behind_what_was_sent_before() {
        const SENT: usize = 200_000;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut reader = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut writer, _) = listener.accept().await.unwrap();
        writer.write_all(&[7; SENT]).await.unwrap();
        assert!(unsent(&writer).unwrap() > 0, "the reader's buffer holds less");

        let closing = async {
            reset(&writer).await;
            drop(writer);
        };
        let mut got = Vec::new();
        let ((), end) = tokio::join!(closing, reader.read_to_end(&mut got));
        assert_eq!((got.len(), end.unwrap_err().kind()), (SENT, io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn nobody_waits_for_who_was_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let reader = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut writer, _) = listener.accept().await.unwrap();
        writer.write_all(&[7; 200_000]).await.unwrap();
        assert!(unsent(&writer).unwrap() > 0);
        reset(&reader).await;
        drop(reader);
        assert!(writer.read(&mut [0]).await.is_err());
        assert_eq!(unsent(&writer).unwrap(), 0);
    }
}
