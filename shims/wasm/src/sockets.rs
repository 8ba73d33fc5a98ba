//! Our own layer over wasi:sockets: the pods of a host share one network namespace, and each has its own addresses there.
//!
//! Whatever a guest binds without an address, or to a loopback one, is bound to the pod's address, and whatever it
//! connects to at a loopback address is sought there. So two pods never clash over a port, nor reach each other's
//! loopback. Other addresses cannot be bound.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpSocketAddress, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::HostTcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::{
    HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream,
};
use wasmtime_wasi::p2::{SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView, WasiSocketsView};

use crate::data::Data;

const TCP: &str = "wasi:sockets/tcp@0.2.12";
const UDP: &str = "wasi:sockets/udp@0.2.12";

/// A pod's own addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Arc<[IpAddr]>);

impl Addresses {
    pub(crate) fn new(addresses: &[IpAddr]) -> Self {
        Self(addresses.into())
    }

    /// The first one of the other's family.
    pub(crate) fn like(&self, other: IpAddr) -> Option<IpAddr> {
        self.0.iter().copied().find(|own| own.is_ipv4() == other.is_ipv4())
    }

    pub(crate) fn has_family(&self, v4: bool) -> bool {
        self.0.iter().any(|own| own.is_ipv4() == v4)
    }

    /// Where a bind goes; `None` is refused.
    pub(crate) fn local(&self, wanted: SocketAddr) -> Option<SocketAddr> {
        let ip = wanted.ip();
        let own = if ip.is_unspecified() || ip.is_loopback() { self.like(ip) } else { Some(ip).filter(|ip| self.0.contains(ip)) };
        Some(SocketAddr::new(own?, wanted.port()))
    }

    /// Where a connection or a datagram goes; `None` is refused.
    pub(crate) fn remote(&self, wanted: SocketAddr) -> Option<SocketAddr> {
        let ip = wanted.ip();
        let target = if ip.to_canonical().is_loopback() { self.like(ip)? } else { ip };
        Some(SocketAddr::new(target, wanted.port()))
    }

    /// The last look before a system call, for what found another way to it.
    pub(crate) fn allow(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        match usage {
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind | SocketAddrUse::TcpListen => self.0.contains(&address.ip()),
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => !address.ip().to_canonical().is_loopback(),
            SocketAddrUse::TcpAccept | SocketAddrUse::UdpReceive => true,
        }
    }
}

/// What the guest sees of an error: its code, unless it is a trap.
fn answer<T>(result: SocketResult<T>) -> wasmtime::Result<(Result<T, ErrorCode>,)> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn local(addresses: &Addresses, wanted: IpSocketAddress) -> SocketResult<IpSocketAddress> {
    addresses.local(wanted.into()).map(Into::into).ok_or_else(|| ErrorCode::AddressNotBindable.into())
}

fn remote(addresses: &Addresses, wanted: IpSocketAddress) -> SocketResult<IpSocketAddress> {
    addresses.remote(wanted.into()).map(Into::into).ok_or_else(|| ErrorCode::RemoteUnreachable.into())
}

async fn connect(
    view: &mut WasiSocketsCtxView<'_>,
    addresses: &Addresses,
    socket: Resource<TcpSocket>,
    network: Resource<Network>,
    wanted: IpSocketAddress,
) -> SocketResult<()> {
    let wanted = remote(addresses, wanted)?;
    let borrow = || Resource::<TcpSocket>::new_borrow(socket.rep());
    // An unbound socket would get the namespace's first address.
    if let Err(error) = HostTcpSocket::local_address(view, borrow())
        && matches!(error.downcast_ref(), Some(ErrorCode::InvalidState))
    {
        let own = addresses.like(SocketAddr::from(wanted).ip()).ok_or(ErrorCode::RemoteUnreachable)?;
        let network = Resource::new_borrow(network.rep());
        HostTcpSocket::start_bind(view, borrow(), network, SocketAddr::new(own, 0).into()).await?;
        HostTcpSocket::finish_bind(view, borrow())?;
    }
    HostTcpSocket::start_connect(view, socket, network, wanted)
}

/// Puts our functions in the place of those that open a way out.
pub(crate) fn replace(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut tcp = linker.instance(TCP)?;
    type Bind<T> = (Resource<T>, Resource<Network>, IpSocketAddress);
    tcp.func_wrap_async("[method]tcp-socket.start-bind", |mut store, (socket, network, address): Bind<TcpSocket>| {
        Box::new(async move {
            let addresses = store.data().addresses.clone();
            let bound = match local(&addresses, address) {
                Ok(own) => HostTcpSocket::start_bind(&mut store.data_mut().sockets(), socket, network, own).await,
                Err(error) => Err(error),
            };
            answer(bound)
        })
    })?;
    tcp.func_wrap_async("[method]tcp-socket.start-connect", |mut store, (socket, network, address): Bind<TcpSocket>| {
        Box::new(async move {
            let addresses = store.data().addresses.clone();
            answer(connect(&mut store.data_mut().sockets(), &addresses, socket, network, address).await)
        })
    })?;
    let mut udp = linker.instance(UDP)?;
    udp.func_wrap_async("[method]udp-socket.start-bind", |mut store, (socket, network, address): Bind<UdpSocket>| {
        Box::new(async move {
            let addresses = store.data().addresses.clone();
            let bound = match local(&addresses, address) {
                Ok(own) => HostUdpSocket::start_bind(&mut store.data_mut().sockets(), socket, network, own).await,
                Err(error) => Err(error),
            };
            answer(bound)
        })
    })?;
    type Streams = SocketResult<(Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>)>;
    udp.func_wrap_async(
        "[method]udp-socket.stream",
        |mut store, (socket, address): (Resource<UdpSocket>, Option<IpSocketAddress>)| {
            Box::new(async move {
                let addresses = store.data().addresses.clone();
                let streams: Streams = match address.map(|address| remote(&addresses, address)).transpose() {
                    Ok(target) => HostUdpSocket::stream(&mut store.data_mut().sockets(), socket, target).await,
                    Err(error) => Err(error),
                };
                answer(streams)
            })
        },
    )?;
    udp.func_wrap(
        "[method]outgoing-datagram-stream.send",
        |mut store, (stream, mut datagrams): (Resource<OutgoingDatagramStream>, Vec<OutgoingDatagram>)| {
            let addresses = store.data().addresses.clone();
            for datagram in &mut datagrams {
                if let Some(target) = datagram.remote_address {
                    match remote(&addresses, target) {
                        Ok(target) => datagram.remote_address = Some(target),
                        Err(error) => return answer(Err::<u64, SocketError>(error)),
                    }
                }
            }
            answer(HostOutgoingDatagramStream::send(&mut store.data_mut().sockets(), stream, datagrams))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Addresses {
        Addresses::new(&["10.1.0.5".parse().unwrap()])
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn binds_go_to_the_pods_own_address_or_are_refused() {
        assert_eq!(pod().local(address("0.0.0.0:80")), Some(address("10.1.0.5:80")));
        assert_eq!(pod().local(address("127.0.0.1:80")), Some(address("10.1.0.5:80")));
        assert_eq!(pod().local(address("10.1.0.5:80")), Some(address("10.1.0.5:80")));
        assert_eq!(pod().local(address("10.1.0.6:80")), None);
        assert_eq!(pod().local(address("[::]:80")), None);
    }

    #[test]
    fn loopback_leads_to_the_pod_itself_and_nothing_else_is_touched() {
        assert_eq!(pod().remote(address("127.9.9.9:80")), Some(address("10.1.0.5:80")));
        assert_eq!(pod().remote(address("10.1.0.6:80")), Some(address("10.1.0.6:80")));
        assert_eq!(pod().remote(address("[::1]:80")), None);
    }

    #[test]
    fn what_slips_by_is_stopped_before_the_system_call() {
        assert!(!pod().allow(address("0.0.0.0:0"), SocketAddrUse::TcpBind));
        assert!(!pod().allow(address("127.0.0.1:80"), SocketAddrUse::TcpConnect));
        assert!(pod().allow(address("10.1.0.5:80"), SocketAddrUse::UdpBind));
    }
}
