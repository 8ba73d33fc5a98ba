//! Our own `wasi:sockets/ip-name-lookup`: names as the pod sees them.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::data::Data;
use crate::names::NameError;

const LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";

type Found = Result<std::vec::IntoIter<IpAddr>, ErrorCode>;

/// The guest's `resolve-address-stream`.
enum Addresses {
    Asking(AbortOnDropHandle<Found>),
    Found(Found),
}

impl Addresses {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Self::Asking(asking) = self {
            let Poll::Ready(found) = Pin::new(asking).poll(context) else { return Poll::Pending };
            // The task ends early only with the host.
            *self = Self::Found(found.unwrap_or(Err(ErrorCode::TemporaryResolverFailure)));
        }
        Poll::Ready(())
    }

    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        let _ = self.poll(&mut Context::from_waker(Waker::noop()));
        match self {
            Self::Asking(_) => Err(ErrorCode::WouldBlock),
            Self::Found(Ok(found)) => Ok(found.next().map(IpAddress::from)),
            Self::Found(Err(code)) => Err(*code),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }
}

fn code(error: &NameError) -> ErrorCode {
    match error {
        NameError::Invalid(_) => ErrorCode::InvalidArgument,
        NameError::Unknown(_) => ErrorCode::NameUnresolvable,
        NameError::Unanswered { .. } => ErrorCode::TemporaryResolverFailure,
        NameError::NoServer(_) | NameError::Refused { .. } => ErrorCode::PermanentResolverFailure,
    }
}

/// Puts our functions in the place of those that ask the machine.
pub(crate) fn replace(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut lookup = linker.instance(LOOKUP)?;
    lookup.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut store, rep| {
        store.data_mut().ctx().table.delete(Resource::<Addresses>::new_own(rep))?;
        Ok(())
    })?;
    lookup.func_wrap("resolve-addresses", |mut store, (_, name): (Resource<Network>, String)| {
        let names = Arc::clone(&store.data().names);
        let asking = tokio::spawn(async move {
            let found = names.lookup(&name).await;
            found.map(Vec::into_iter).map_err(|error| {
                tracing::debug!(%error, "a name is not resolved");
                code(&error)
            })
        });
        let addresses = Addresses::Asking(AbortOnDropHandle::new(asking));
        Ok((Ok::<_, ErrorCode>(store.data_mut().ctx().table.push(addresses)?),))
    })?;
    type Stream = (Resource<Addresses>,);
    lookup.func_wrap("[method]resolve-address-stream.resolve-next-address", |mut store, (stream,): Stream| {
        Ok((store.data_mut().ctx().table.get_mut(&stream)?.next(),))
    })?;
    lookup.func_wrap("[method]resolve-address-stream.subscribe", |mut store, (stream,): Stream| {
        let pollable: Resource<DynPollable> = subscribe(store.data_mut().ctx().table, stream)?;
        Ok((pollable,))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}
