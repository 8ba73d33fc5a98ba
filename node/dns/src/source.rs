//! Keeps the zone as the API server says; while that is away, it stays as it was last.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{Feed, WatchCache, WatchSpec};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::views::{ServiceView, SliceView};
use crate::zone::Zone;

/// What names are made of.
pub struct Source {
    services: Arc<WatchCache<ServiceView>>,
    slices: Arc<WatchCache<SliceView>>,
}

impl Source {
    /// By watches of all services and slices that others may share.
    pub fn fed_by(services: &mut Feed, slices: &mut Feed) -> Self {
        Self {
            services: WatchCache::projected(WatchSpec::all(gvr::<Service>()), ServiceView::of).fed_by(services),
            slices: WatchCache::projected(WatchSpec::all(gvr::<EndpointSlice>()), SliceView::of).fed_by(slices),
        }
    }
}

/// Follows services and slices until `cancel`; `synced` turns true when all that were there are in the zone.
pub(crate) async fn follow(
    Source { services, slices }: Source,
    zone: Arc<RwLock<Zone>>,
    synced: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let told = zone.clone();
    services.on_change(move |change| {
        told.write().set_service(&change.key.namespace, &change.key.name, change.new.cloned());
    });
    slices.on_change(move |change| {
        let key = change.key;
        let zone = &mut *zone.write();
        if let Some(old) = change.old
            && change.new.is_none_or(|new| new.service != old.service)
        {
            zone.set_slice(&key.namespace, &old.service, &key.name, None);
        }
        if let Some(new) = change.new {
            zone.set_slice(&key.namespace, &new.service, &key.name, Some(new.clone()));
        }
    });
    let all = async {
        services.synced().await;
        slices.synced().await;
        synced.send_replace(true);
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = all => cancel.cancelled().await,
    }
}
