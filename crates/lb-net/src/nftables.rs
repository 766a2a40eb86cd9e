//! The tables of nftables by their names, without the program nft. `nfnetlink.h`, `nf_tables.h`.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::netlink::{self, attributes, text};
use crate::route::receive;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// `NFPROTO_`.
    pub family: u8,
    pub name: String,
}

/// `NFPROTO_INET`, `NFPROTO_ARP` and `NFPROTO_NETDEV` of `netfilter.h`: where our tables are.
pub(crate) const INET: u8 = 1;
pub(crate) const ARP: u8 = 3;
pub(crate) const NETDEV: u8 = 5;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const TABLE_NAME: u16 = 1;
/// `struct nfgenmsg`.
const HEADER: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

fn header(out: &mut Vec<u8>, family: u8, resource: u16) {
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Every table of the namespace; none where the kernel has no nftables.
pub(crate) fn tables() -> io::Result<Vec<Table>> {
    let socket = open()?;
    let mut request = Vec::new();
    netlink::push(&mut request, GET_TABLE, NLM_F_REQUEST | NLM_F_DUMP, 1, |out| header(out, 0, 0));
    socket.send(&request, 0)?;
    let (mut found, mut reply) = (Vec::new(), Vec::new());
    loop {
        receive(&socket, &mut reply, 0)?;
        for message in netlink::messages(&reply) {
            match message.kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return refusal(message.body).map_or(Ok(found), Err),
                NEW_TABLE => {
                    let name =
                        attributes(message.body, HEADER).find(|(kind, _)| *kind == TABLE_NAME);
                    let family = message.body.first().copied();
                    found.extend(
                        family
                            .zip(name)
                            .map(|(family, (_, name))| Table { family, name: text(name) }),
                    );
                }
                _ => {}
            }
        }
    }
}

/// Deletes a table with all that is in it.
pub(crate) fn delete(table: &Table) -> io::Result<()> {
    let socket = open()?;
    let mut request = Vec::new();
    netlink::push(&mut request, BATCH_BEGIN, NLM_F_REQUEST, 1, |out| {
        header(out, 0, SUBSYSTEM >> 8);
    });
    netlink::push(&mut request, DELETE_TABLE, NLM_F_REQUEST | NLM_F_ACK, 2, |out| {
        header(out, table.family, 0);
        let name = table.name.as_bytes();
        let len = u16::try_from(HEADER + name.len() + 1).unwrap_or(u16::MAX);
        out.extend(len.to_ne_bytes());
        out.extend(TABLE_NAME.to_ne_bytes());
        out.extend(name);
        out.resize((out.len() + 1).next_multiple_of(4), 0);
    });
    netlink::push(&mut request, BATCH_END, NLM_F_REQUEST, 3, |out| header(out, 0, SUBSYSTEM >> 8));
    socket.send(&request, 0)?;
    let mut reply = Vec::new();
    loop {
        receive(&socket, &mut reply, 0)?;
        for message in netlink::messages(&reply) {
            if message.kind == NLMSG_ERROR && message.sequence == 2 {
                return refusal(message.body).map_or(Ok(()), Err);
            }
            if let Some(error) = refusal(message.body).filter(|_| message.kind == NLMSG_ERROR) {
                return Err(error);
            }
        }
    }
}

fn refusal(body: &[u8]) -> Option<io::Error> {
    netlink::parse_errno(body).filter(|errno| *errno != 0).map(io::Error::from_raw_os_error)
}
