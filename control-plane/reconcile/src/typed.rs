//! Requests typed with k8s-openapi's types, so that controllers read as sentences.
//!
//! Reading is typed. Writing a whole document takes the stored one as a value, so that fields this build does not
//! know survive.

use std::sync::Arc;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_api::{GroupVersionResource, Object, Reason};
use mizzen_client::{ApiRequest, Client, DeleteOptions, ListOptions, PatchKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;

/// A kind of k8s-openapi that has metadata.
pub trait Kind: Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Send + Sync + 'static> Kind for T {}

/// The resource of a kind.
pub fn gvr<T: k8s_openapi::Resource>() -> GroupVersionResource {
    GroupVersionResource::new(T::GROUP, T::VERSION, T::URL_PATH_SEGMENT)
}

fn operation<T: k8s_openapi::Resource>(verb: &str, namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("{verb} {} {name}", T::URL_PATH_SEGMENT),
        namespace => format!("{verb} {} {namespace}/{name}", T::URL_PATH_SEGMENT),
    }
}

/// The decoded view of a document.
///
/// # Errors
/// When the document does not fit `T`.
pub fn view<T: Kind>(object: &Object) -> Result<Arc<T>, Error> {
    let head = object.head();
    object.typed().map_err(|source| Error::Decode { operation: operation::<T>("decode", &head.namespace, &head.name), source })
}

/// The object, or `None` when there is none.
///
/// # Errors
/// Whatever the API answers but NotFound.
pub async fn get_object<T: Kind>(client: &dyn Client, namespace: &str, name: &str) -> Result<Option<Arc<Object>>, Error> {
    match client.get(&gvr::<T>(), namespace, name).await {
        Ok(object) => Ok(Some(object)),
        Err(status) if status.is(Reason::NotFound) => Ok(None),
        Err(status) => Err(Error::api(operation::<T>("get", namespace, name), status)),
    }
}

/// The decoded object, or `None` when there is none.
///
/// # Errors
/// Whatever the API answers but NotFound; a document that does not fit `T`.
pub async fn get<T: Kind>(client: &dyn Client, namespace: &str, name: &str) -> Result<Option<Arc<T>>, Error> {
    get_object::<T>(client, namespace, name).await?.map(|object| view(&object)).transpose()
}

/// All objects, decoded; `namespace` empty for all namespaces.
///
/// # Errors
/// Whatever the API answers; a document that does not fit `T`.
pub async fn list<T: Kind>(client: &dyn Client, namespace: &str, options: &ListOptions) -> Result<Vec<Arc<T>>, Error> {
    let list = client.list(&gvr::<T>(), namespace, options).await;
    let list = list.map_err(|status| Error::api(operation::<T>("list", namespace, ""), status))?;
    list.items.iter().map(|object| view(object)).collect()
}

/// Creates an object.
///
/// # Errors
/// Whatever the API answers.
pub async fn create<T: Kind>(client: &dyn Client, namespace: &str, object: &T) -> Result<Arc<Object>, Error> {
    let name = object.metadata().name.as_deref().or(object.metadata().generate_name.as_deref()).unwrap_or_default();
    let operation = operation::<T>("create", namespace, name);
    let value = serde_json::to_value(object).map_err(|source| Error::Encode { operation: operation.clone(), source })?;
    send(client, ApiRequest::create(&gvr::<T>(), namespace, value), operation).await
}

/// Creates a subresource of an object, such as a pod's `binding`.
///
/// # Errors
/// Whatever the API answers.
pub async fn create_subresource<T: Kind>(
    client: &dyn Client,
    namespace: &str,
    name: &str,
    subresource: &str,
    body: Value,
) -> Result<Arc<Object>, Error> {
    let mut request = ApiRequest::create(&gvr::<T>(), namespace, body).subresource(subresource);
    name.clone_into(&mut request.name);
    send(client, request, operation::<T>(&format!("create {subresource} of"), namespace, name)).await
}

/// Changes an object's document (not its status) and writes it back on the condition that it is still the one read.
///
/// # Errors
/// `Conflict` when the object changed meanwhile; whatever else the API answers.
pub async fn update<T: Kind>(
    client: &dyn Client,
    object: &Object,
    change: impl FnOnce(&mut Value),
) -> Result<Arc<Object>, Error> {
    update_at::<T>(client, object, "", change).await
}

/// Replaces an object's status on the condition that the object is still the one read.
///
/// # Errors
/// `Conflict` when the object changed meanwhile; whatever else the API answers.
pub async fn update_status<T: Kind>(client: &dyn Client, object: &Object, status: &impl Serialize) -> Result<Arc<Object>, Error> {
    let head = object.head();
    let operation = operation::<T>("update status of", &head.namespace, &head.name);
    let status = serde_json::to_value(status).map_err(|source| Error::Encode { operation, source })?;
    update_at::<T>(client, object, "status", |document| document["status"] = status).await
}

/// Like [`update`], to a subresource.
///
/// # Errors
/// `Conflict` when the object changed meanwhile; whatever else the API answers.
pub async fn update_at<T: Kind>(
    client: &dyn Client,
    object: &Object,
    subresource: &str,
    change: impl FnOnce(&mut Value),
) -> Result<Arc<Object>, Error> {
    let head = object.head();
    let verb = if subresource.is_empty() { "update".to_owned() } else { format!("update {subresource} of") };
    let operation = operation::<T>(&verb, &head.namespace, &head.name);
    let mut document = object.value().map_err(|source| Error::Decode { operation: operation.clone(), source })?;
    change(&mut document);
    let request = ApiRequest::update(&gvr::<T>(), &head.namespace, &head.name, document).subresource(subresource);
    send(client, request, operation).await
}

/// Patches an object, or with a non-empty `subresource` a part of it.
///
/// # Errors
/// Whatever the API answers.
pub async fn patch<T: Kind>(
    client: &dyn Client,
    namespace: &str,
    name: &str,
    subresource: &str,
    kind: PatchKind,
    patch: Value,
) -> Result<Arc<Object>, Error> {
    let request = ApiRequest::patch(&gvr::<T>(), namespace, name, kind, patch).subresource(subresource);
    send(client, request, operation::<T>("patch", namespace, name)).await
}

/// Deletes an object; `false` when there was none (or, with a uid precondition, none with that uid).
///
/// # Errors
/// Whatever the API answers but NotFound, and Conflict where a uid was demanded.
pub async fn delete<T: Kind>(client: &dyn Client, namespace: &str, name: &str, options: DeleteOptions) -> Result<bool, Error> {
    let only_uid = options.uid.is_some() && options.resource_version.is_none();
    match client.write(ApiRequest::delete(&gvr::<T>(), namespace, name, options)).await {
        Ok(_) => Ok(true),
        Err(status) if status.is(Reason::NotFound) || (only_uid && status.is(Reason::Conflict)) => Ok(false),
        Err(status) => Err(Error::api(operation::<T>("delete", namespace, name), status)),
    }
}

async fn send(client: &dyn Client, request: ApiRequest, operation: String) -> Result<Arc<Object>, Error> {
    client.write(request).await.map(|response| response.object).map_err(|status| Error::api(operation, status))
}
