//! Switches and cables: what a lab asks of rtnetlink.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use netlink_packet_route::link::{BridgeStpState, InfoData, InfoVeth, LinkMessage};
use nix::errno::Errno;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use crate::error::{Context, Error, Result};
use crate::namespace;
use crate::topology::{HostSpec, InterfaceSpec, Prefix};

/// The namespace in which the switches live; each is a bridge, each cable's end a port of it.
pub(crate) struct Fabric {
    pub(crate) net: File,
}

impl Fabric {
    /// Makes the switches.
    pub(crate) fn new(switches: &[String]) -> Result<Self> {
        let net = namespace::network()?;
        namespace::in_network(&net, || {
            netlink(async |handle| {
                for name in switches {
                    let bridge = LinkBridge::new(name)
                        .stp_state(BridgeStpState::Disabled)
                        .forward_delay(0)
                        .mcast_snooping(false)
                        .up();
                    handle
                        .link()
                        .add(bridge.build())
                        .execute()
                        .await
                        .netlink(|| format!("make switch `{name}`"))?;
                }
                Ok(())
            })
        })?;
        Ok(Self { net })
    }

    /// Lays a cable from `interface` of a host, whose network namespace is `host`, to its switch.
    pub(crate) fn plug(
        &self,
        host: &File,
        interface: &InterfaceSpec,
        port: &str,
        mac: [u8; 6],
    ) -> Result<()> {
        let end = LinkMessageBuilder::<LinkUnspec>::new()
            .name(interface.name.as_str())
            .address(mac.to_vec())
            .setns_by_fd(host.as_raw_fd())
            .build();
        self.with(async |handle| {
            let switch = index(&handle, &interface.switch).await?;
            let cable = LinkMessageBuilder::<LinkVeth>::new(port, &interface.name)
                .set_info_data(InfoData::Veth(InfoVeth::Peer(end)))
                .controller(switch)
                .up()
                .build();
            handle.link().add(cable).execute().await.netlink(|| format!("lay cable `{port}`"))
        })
    }

    /// Takes a cable away, with both its ends; none is there: nothing to do.
    pub(crate) fn unplug(&self, port: &str) -> Result<()> {
        self.with(async |handle| {
            let Ok(index) = index(&handle, port).await else { return Ok(()) };
            match handle.link().del(index).execute().await {
                // With the network of a host that has lost its power the kernel takes it away itself, when it likes.
                Err(rtnetlink::Error::NetlinkError(refusal))
                    if refusal.raw_code() == -(Errno::ENODEV as i32) =>
                {
                    Ok(())
                }
                done => done.netlink(|| format!("take cable `{port}` away")),
            }
        })
    }

    /// Kills or revives a cable: both ends lose or regain carrier.
    pub(crate) fn carrier(&self, port: &str, on: bool) -> Result<()> {
        self.set(port, |port| if on { port.up() } else { port.down() })
    }

    /// Connects the port with `switch`, or leaves it with carrier and nothing behind it.
    pub(crate) fn connect(&self, port: &str, switch: Option<&str>) -> Result<()> {
        let index = match switch {
            Some(switch) => self.with(async |handle| index(&handle, switch).await)?,
            None => 0,
        };
        self.set(port, |port| port.controller(index))
    }

    /// Makes a hub of a switch: what comes for one host goes to all.
    pub(crate) fn make_hub(&self, switch: &str) -> Result<()> {
        self.with(async |handle| {
            index(&handle, switch).await?;
            let hub = LinkBridge::new(switch).ageing_time(0).build();
            handle.link().change(hub).execute().await.netlink(|| format!("make hub `{switch}`"))
        })
    }

    fn set(
        &self,
        port: &str,
        how: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec> + Send,
    ) -> Result<()> {
        self.with(async |handle| {
            let message = how(LinkUnspec::new_with_index(index(&handle, port).await?)).build();
            handle.link().set(message).execute().await.netlink(|| format!("change cable `{port}`"))
        })
    }

    fn with<R: Send>(&self, f: impl AsyncFnOnce(Handle) -> Result<R> + Send) -> Result<R> {
        namespace::in_network(&self.net, || netlink(f))
    }
}

/// Brings the host's interfaces up, with their addresses and the routes. Runs in the host.
pub(crate) fn configure(host: &HostSpec) -> Result<()> {
    netlink(async |handle| {
        up(&handle, "lo").await?;
        for interface in &host.interfaces {
            up(&handle, &interface.name).await?;
            for prefix in &interface.addresses {
                add_address(&handle, &interface.name, *prefix).await?;
            }
        }
        for route in &host.routes {
            let (address, length) = match (route.to, route.via) {
                (Some(to), _) => (to.address, to.length),
                (None, IpAddr::V4(_)) => (IpAddr::from([0u8; 4]), 0),
                (None, IpAddr::V6(_)) => (IpAddr::from([0u16; 8]), 0),
            };
            let wrong = |source: String| Error::System {
                what: format!("route {address}/{length} via {}", route.via),
                source: std::io::Error::other(source),
            };
            let message = RouteMessageBuilder::<IpAddr>::new()
                .destination_prefix(address, length)
                .and_then(|message| message.gateway(route.via))
                .map_err(|error| wrong(error.to_string()))?
                .build();
            handle.route().add(message).execute().await.netlink(|| {
                format!("add the route {address}/{length} via {} to `{}`", route.via, host.name)
            })?;
        }
        Ok(())
    })
}

/// Adds an address to an interface. Runs in the host.
pub(crate) async fn add_address(handle: &Handle, interface: &str, prefix: Prefix) -> Result<()> {
    let index = index(handle, interface).await?;
    handle
        .address()
        .add(index, prefix.address, prefix.length)
        .execute()
        .await
        .netlink(|| format!("add {prefix} to {interface}"))
}

/// Removes an address from an interface. Runs in the host.
pub(crate) async fn remove_address(
    handle: &Handle,
    interface: &str,
    address: IpAddr,
) -> Result<()> {
    let index = index(handle, interface).await?;
    let mut found =
        handle.address().get().set_link_index_filter(index).set_address_filter(address).execute();
    while let Some(message) =
        found.try_next().await.netlink(|| format!("list the addresses of {interface}"))?
    {
        handle
            .address()
            .del(message)
            .execute()
            .await
            .netlink(|| format!("remove {address} from {interface}"))?;
    }
    Ok(())
}

/// Sets a host's interface administratively up or down. Runs in the host.
pub(crate) async fn set_link(handle: &Handle, interface: &str, on: bool) -> Result<()> {
    let link = LinkUnspec::new_with_index(index(handle, interface).await?);
    let link = if on { link.up() } else { link.down() };
    handle.link().set(link.build()).execute().await.netlink(|| format!("change {interface}"))
}

async fn up(handle: &Handle, name: &str) -> Result<()> {
    set_link(handle, name, true).await
}

async fn index(handle: &Handle, name: &str) -> Result<u32> {
    let mut links = handle.link().get().match_name(name).execute();
    let link: Option<LinkMessage> = links.try_next().await.netlink(|| format!("find `{name}`"))?;
    link.map(|link| link.header.index).ok_or_else(|| Error::System {
        what: format!("find `{name}`"),
        source: std::io::ErrorKind::NotFound.into(),
    })
}

/// Runs `f` with a netlink socket of the calling thread's network namespace.
pub(crate) fn netlink<R>(f: impl AsyncFnOnce(Handle) -> Result<R>) -> Result<R> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context(|| "start a runtime".into())?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().context(|| "open a netlink socket".into())?;
        let connection = tokio::spawn(connection);
        let result = f(handle).await;
        connection.abort();
        result
    })
}

trait Netlink<T> {
    fn netlink(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Netlink<T> for std::result::Result<T, rtnetlink::Error> {
    fn netlink(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Netlink { what: what(), source })
    }
}
