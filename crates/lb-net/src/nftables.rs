//! The tables of nftables by their names, without the program nft. `nfnetlink.h`, `nf_tables.h`.

use std::hash::{DefaultHasher, Hash, Hasher};
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
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const GET_RULE: u16 = SUBSYSTEM | 7;
const GET_SET: u16 = SUBSYSTEM | 10;
const GET_ELEMENTS: u16 = SUBSYSTEM | 13;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// Of a table its name; of all others that of their table.
const TABLE_NAME: u16 = 1;
const SET_NAME: u16 = 2;
const ELEMENTS: u16 = 3;
/// What to ask for, and the attributes that identify one: handle, name, hook, policy, flags.
const OBJECTS: [(u16, &[u16]); 4] = [
    (GET_TABLE, &[2, 4]),
    (GET_CHAIN, &[2, 3, 4, 5]),
    (GET_RULE, &[2, 3]),
    (GET_SET, &[SET_NAME, 16]),
];
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

/// Asks for everything of a kind and gives each message of it to `each`.
fn dump(
    kind: u16,
    family: u8,
    attributes: &[(u16, &str)],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let socket = open()?;
    let mut request = Vec::new();
    netlink::push(&mut request, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, |out| {
        header(out, family, 0);
        attributes.iter().for_each(|(kind, text)| push_text(out, *kind, text));
    });
    socket.send(&request, 0)?;
    let mut reply = Vec::new();
    loop {
        receive(&socket, &mut reply, 0)?;
        for message in netlink::messages(&reply) {
            match message.kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return refusal(message.body).map_or(Ok(()), Err),
                // The message that answers is the one before.
                found if found + 1 == kind => each(message.body),
                _ => {}
            }
        }
    }
}

fn push_text(out: &mut Vec<u8>, kind: u16, text: &str) {
    let len = u16::try_from(HEADER + text.len() + 1).unwrap_or(u16::MAX);
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(text.as_bytes());
    out.resize((out.len() + 1).next_multiple_of(4), 0);
}

fn attribute(body: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(body, HEADER).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Every table of the namespace; none where the kernel has no nftables.
pub(crate) fn tables() -> io::Result<Vec<Table>> {
    let mut found = Vec::new();
    dump(GET_TABLE, 0, &[], |body| {
        if let (Some(family), Some(name)) = (body.first(), attribute(body, TABLE_NAME)) {
            found.push(Table { family: *family, name: text(name) });
        }
    })?;
    Ok(found)
}

/// What identifies a table with its chains, rules, sets and their elements, as they are now: another
/// value after any change. `None` when it does not exist.
pub(crate) fn fingerprint(table: &Table) -> io::Result<Option<u64>> {
    let Table { family, name } = table;
    // The kernel gives each object a handle of its own.
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut sets = Vec::new();
    for (kind, identity) in OBJECTS {
        dump(kind, *family, &[], |body| {
            let ours = body.first() == Some(family)
                && attribute(body, TABLE_NAME).is_some_and(|of| text(of) == *name);
            if ours {
                let mut part = kind.to_ne_bytes().to_vec();
                identity
                    .iter()
                    .filter_map(|of| attribute(body, *of))
                    .for_each(|it| part.extend(it));
                parts.push(part);
                if kind == GET_SET {
                    sets.extend(attribute(body, SET_NAME).map(text));
                }
            }
        })?;
    }
    if parts.is_empty() {
        return Ok(None);
    }
    for set in sets {
        dump(GET_ELEMENTS, *family, &[(TABLE_NAME, name), (SET_NAME, &set)], |body| {
            let elements = attribute(body, ELEMENTS).unwrap_or_default();
            parts.extend(
                attributes(elements, 0).map(|(_, element)| [set.as_bytes(), element].concat()),
            );
        })?;
    }
    // Those of a set have no order.
    parts.sort();
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    Ok(Some(hasher.finish()))
}

/// Tables of ours that others may change: `nft flush ruleset` takes them away too.
#[derive(Debug)]
pub(crate) struct Watched {
    tables: Vec<Table>,
    /// As they were when we had made them.
    noted: Vec<Option<u64>>,
}

impl Watched {
    /// None of these tables is there.
    pub(crate) fn new(tables: impl IntoIterator<Item = Table>) -> Self {
        let tables: Vec<_> = tables.into_iter().collect();
        Self { noted: vec![None; tables.len()], tables }
    }

    /// Notes how they are, which is how they should be.
    pub(crate) fn note(&mut self) {
        // What cannot be asked for will look different, and is then made anew.
        self.noted = self.now().unwrap_or_else(|_| vec![None; self.tables.len()]);
    }

    /// Whether they are as noted. When the kernel does not say, nothing speaks against it. A list that
    /// is read while others change their tables may be wrong, but not twice in the same way.
    pub(crate) fn are_intact(&self) -> bool {
        let differs = |now: &Vec<_>| *now != self.noted;
        match (self.now(), self.now()) {
            (Ok(now), Ok(again)) => !(differs(&now) && now == again),
            _ => true,
        }
    }

    fn now(&self) -> io::Result<Vec<Option<u64>>> {
        self.tables.iter().map(fingerprint).collect()
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
        push_text(out, TABLE_NAME, &table.name);
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
