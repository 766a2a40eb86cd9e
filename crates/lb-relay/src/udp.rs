//! UDP services: each client has a socket of its own towards its server, and answers come back
//! from the address it asked.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use lb_pool::DestinationKey;
use socket2::{SockRef, Type};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tracing::debug;

use crate::balance::Lease;
use crate::flows::Place;
use crate::guard;
use crate::pump::{SCRATCH, with_scratch};
use crate::site::Site;
use crate::sockets;

/// A client; in one-packet mode a client and a server, because each datagram may go elsewhere.
type FlowKey = (SocketAddr, Option<DestinationKey>);

type Flows = Mutex<HashMap<FlowKey, Arc<Flow>>>;

/// What one client says to one server.
#[derive(Debug)]
struct Flow {
    server: UdpSocket,
    lease: Lease,
    place: Arc<Place>,
    /// The server refused: the client's next datagram goes to whoever is chosen then.
    refused: Notify,
}

/// Receives datagrams until it is dropped; the socket lives until the last flow has ended.
pub async fn serve<S>(socket: &Arc<S>, site: &Arc<Site>)
where
    S: AsRef<UdpSocket> + Send + Sync + 'static,
{
    let flows = Arc::new(Flows::default());
    let mut datagram = vec![0; SCRATCH];
    loop {
        let (len, client) = match (**socket).as_ref().recv_from(&mut datagram).await {
            Ok(received) => received,
            // Asynchronous errors of earlier answers.
            Err(error) => {
                debug!("{}: receive: {error}", site.key);
                continue;
            }
        };
        match flow_of(client, &flows, socket, site) {
            Ok(Some(flow)) => flow.forward(&datagram[..len]),
            Ok(None) => debug!("{}: no server takes a datagram", site.key),
            Err(error) if sockets::is_shortage(&error) => site.context.report_shortage(&error),
            Err(error) => debug!("{}: {client}: {error}", site.key),
        }
    }
}

/// The client's flow, or a new one.
fn flow_of<S>(
    client: SocketAddr,
    flows: &Arc<Flows>,
    socket: &Arc<S>,
    site: &Arc<Site>,
) -> io::Result<Option<Arc<Flow>>>
where
    S: AsRef<UdpSocket> + Send + Sync + 'static,
{
    let one_packet = guard(&site.balance).one_packet();
    let living = |key| guard(flows).get(&key).filter(|flow| !flow.lease.is_closed()).cloned();
    if !one_packet && let Some(flow) = living((client, None)) {
        return Ok(Some(flow));
    }
    let Some((lease, server)) = site.assign(client, &[]) else { return Ok(None) };
    let key = (client, one_packet.then(|| lease.key()));
    if let Some(flow) = living(key) {
        return Ok(Some(flow));
    }
    let Some(place) = site.place() else { return Ok(None) };
    let towards = site.dial(server, client, Type::DGRAM)?;
    let server = UdpSocket::from_std(towards.into())?;
    let flow = Arc::new(Flow { server, lease, place, refused: Notify::new() });
    guard(flows).insert(key, Arc::clone(&flow));

    let (ours, flows, socket, site) =
        (Arc::clone(&flow), Arc::clone(flows), Arc::clone(socket), Arc::clone(site));
    tokio::spawn(async move {
        tokio::select! {
            () = ours.answer((*socket).as_ref(), client) => {}
            () = ours.place.activity.idle(site.context.options.udp_timeout) => {}
            () = ours.place.displaced.notified() => {}
            () = ours.lease.closed() => {}
            () = ours.refused.notified() => {}
        }
        let mut flows = guard(&flows);
        if flows.get(&key).is_some_and(|now| Arc::ptr_eq(now, &ours)) {
            flows.remove(&key);
        }
    });
    Ok(Some(flow))
}

impl Flow {
    /// Sends a client's datagram on. It is lost where the kernel has no room for it.
    fn forward(&self, datagram: &[u8]) {
        self.place.activity.touch();
        // Not `try_send`: a new socket's readiness is not known yet.
        match SockRef::from(&self.server).send(datagram) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.refused.notify_one(),
            _ => {}
        }
    }

    /// Sends the server's datagrams back, until the server refuses.
    async fn answer(&self, socket: &UdpSocket, client: SocketAddr) {
        let to = client.into();
        while self.server.readable().await.is_ok() {
            let answered = with_scratch(|buffer| {
                let len = self.server.try_recv(buffer)?;
                self.place.activity.touch();
                // An answer that cannot leave is lost, as on any wire.
                let _ = SockRef::from(socket).send_to(&buffer[..len], &to);
                Ok::<_, io::Error>(())
            });
            match answered {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => tokio::task::coop::consume_budget().await,
            }
        }
    }
}
