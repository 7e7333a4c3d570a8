//! A socket for datagrams that answers from where it was asked.
//!
//! One that listens on all addresses of the node would answer from the one that is nearest to the
//! client, and a client that asked another waits for that one. So the kernel is asked with each
//! datagram where it was sent to, and told with each answer where it is from (ip(7), `IP_PKTINFO`).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::sockopt::Ipv4PacketInfo;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Who sent a datagram, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) client: SocketAddr,
    /// The node's address that it spoke to; `None`: the one that is listened on.
    own: Option<Ipv4Addr>,
}

pub(super) struct Socket {
    socket: UdpSocket,
    /// It listens on all addresses.
    is_everywhere: bool,
}

impl Socket {
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        // With IPv6 an address is listened on by itself.
        let is_everywhere = address.ip() == Ipv4Addr::UNSPECIFIED;
        if is_everywhere {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        }
        Ok(Self { socket, is_everywhere })
    }

    /// Cancel safe: a datagram is taken or it is not.
    pub(super) async fn receive(&self, datagram: &mut [u8]) -> io::Result<(usize, Peer)> {
        if !self.is_everywhere {
            let (length, client) = self.socket.recv_from(datagram).await?;
            return Ok((length, Peer { client, own: None }));
        }
        self.socket.async_io(Interest::READABLE, || receive(&self.socket, datagram)).await
    }

    pub(super) async fn send(&self, datagram: &[u8], to: Peer) -> io::Result<()> {
        match (to.own, to.client) {
            (Some(own), SocketAddr::V4(client)) => {
                let send = || send(&self.socket, datagram, own, client);
                self.socket.async_io(Interest::WRITABLE, send).await
            }
            _ => self.socket.send_to(datagram, to.client).await.map(drop),
        }
    }
}

fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> io::Result<(usize, Peer)> {
    let mut space = cmsg_space!(in_pktinfo);
    let mut parts = [IoSliceMut::new(datagram)];
    let message =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
    let own = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
        }
        _ => None,
    });
    let client = message.address.ok_or_else(|| io::Error::other("a datagram of nobody"))?;
    Ok((message.bytes, Peer { client: SocketAddrV4::from(client).into(), own }))
}

fn send(socket: &UdpSocket, datagram: &[u8], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<()> {
    let address = |address: Ipv4Addr| in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
    let info = in_pktinfo {
        // The route says by which interface.
        ipi_ifindex: 0,
        ipi_spec_dst: address(from),
        ipi_addr: address(Ipv4Addr::UNSPECIFIED),
    };
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    let parts = [IoSlice::new(datagram)];
    let to = SockaddrIn::from(to);
    sendmsg(socket.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn an_answer_comes_from_where_was_asked() {
        // Proves that clients which take answers of one address alone get theirs, whichever of the
        // machine's addresses it is, from a socket on all of them and from one on that address.
        for (listens, asked) in [
            ("0.0.0.0:0", &["127.0.0.1", "127.0.0.2", "127.0.0.3"][..]),
            ("127.0.0.2:0", &["127.0.0.2"]),
            ("[::1]:0", &["::1"]),
        ] {
            let server = Socket::bind(listens.parse().unwrap()).await.unwrap();
            let port = server.socket.local_addr().unwrap().port();
            for address in asked {
                let address: IpAddr = address.parse().unwrap();
                let own: IpAddr = if address.is_ipv4() { [127, 0, 0, 1].into() } else { address };
                let client = UdpSocket::bind((own, 0)).await.unwrap();
                client.connect((address, port)).await.unwrap();
                client.send(b"question").await.unwrap();
                let mut datagram = [0; 64];
                let (length, peer) = server.receive(&mut datagram).await.unwrap();
                assert_eq!(&datagram[..length], b"question");
                assert_eq!(peer.client, client.local_addr().unwrap());
                server.send(b"answer", peer).await.unwrap();
                let answer = tokio::time::timeout(PATIENCE, client.recv(&mut datagram)).await;
                let length = answer.expect("it comes").unwrap();
                assert_eq!(&datagram[..length], b"answer", "{address}");
            }
        }
    }
}
