//! What this machine is called, and where it is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::ctl::args::Global;
use crate::ctl::failure::Failure;

/// The address that packets to the store leave from; none is sent.
pub(crate) async fn own_address(global: &Global) -> Result<IpAddr, Failure> {
    let endpoint = global.endpoints.first().map_or("", String::as_str);
    let target = endpoint.split_once("://").map_or(endpoint, |(_, target)| target);
    let found = async {
        let resolved = tokio::net::lookup_host(target).await?.next();
        let resolved = resolved.ok_or_else(|| std::io::Error::other("it has no address"))?;
        let any: IpAddr = match resolved {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(resolved).await?;
        socket.local_addr().map(|address| address.ip())
    };
    found.await.map_err(|error: std::io::Error| {
        Failure::bad_args(format!(
            "cannot tell the address of this machine towards {target} ({error}): set --address"
        ))
    })
}

pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
