//! One registry, for one pull or push.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::time::timeout;

use crate::blobs::{Paths, io, verify};
use crate::digest::{Digest, Hashing};
use crate::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST};
use crate::retry::{Failure, Wait};
use crate::{Credentials, ImageError, Progress, Settings};

const ACCEPTED: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// A manifest or index beyond this is refused, as registries do.
const LONGEST_MANIFEST: usize = 4 << 20;

/// Credentials are never shared between two of these.
pub(crate) struct Registry {
    client: Client,
    pub(crate) reference: Reference,
    auth: RegistryAuth,
    settings: Settings,
}

/// Registries on this machine speak plain HTTP.
fn is_local(registry: &str) -> bool {
    let host = registry.strip_prefix("[::1]").map_or_else(|| registry.split(':').next().unwrap_or_default(), |_| "::1");
    host == "localhost" || host == "::1" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a request there goes to the registry itself. An answer may be of whom the registry led to, who is told nothing of
/// credentials.
fn is_own(url: &reqwest::Url, registry: &str) -> bool {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
    let is_named = registry == format!("{host}:{port}") || url.port().is_none() && registry == host;
    is_named && (url.scheme() == "https" || is_local(registry))
}

impl Registry {
    pub(crate) fn new(reference: Reference, credentials: &Credentials, settings: &Settings) -> Self {
        // Of the process, once; an earlier choice is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = reference.resolve_registry().to_owned();
        let protocol = match is_local(&registry) {
            true => ClientProtocol::HttpsExcept(vec![registry]),
            false => ClientProtocol::Https,
        };
        let config = ClientConfig {
            protocol,
            use_monolithic_push: true,
            platform_resolver: None,
            connect_timeout: Some(settings.stall),
            user_agent: concat!("mizzen/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = match credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Basic { username, password } => RegistryAuth::Basic(username.clone(), password.clone()),
        };
        Self { client: Client::new(config), reference, auth, settings: settings.clone() }
    }

    fn name(&self) -> String {
        self.reference.resolve_registry().to_owned()
    }

    fn stalled(&self, what: &str) -> ImageError {
        ImageError::Stalled {
            registry: self.name(),
            reference: self.reference.whole(),
            what: what.to_owned(),
            after: self.settings.stall,
        }
    }

    /// A manifest or index, verified; by digest when one is given.
    pub(crate) async fn manifest(&self, digest: Option<&Digest>) -> Result<Bytes, ImageError> {
        let reference = match digest {
            Some(digest) => self.reference.clone_with_digest(digest.to_string()),
            None => self.reference.clone(),
        };
        let fetch = || async {
            let asked = self.client.pull_manifest_raw(&reference, &self.auth, &ACCEPTED);
            match timeout(self.settings.stall, asked).await {
                Err(_) => Err(Failure::Final(self.stalled("the manifest"))),
                Ok(Err(error)) => Err(self.judge(error, "the manifest")),
                Ok(Ok((bytes, _))) => Ok(bytes),
            }
        };
        let bytes = self.patiently(RegistryOperation::Pull, fetch).await?;
        if bytes.len() > LONGEST_MANIFEST {
            let why = format!("it has {} bytes, more than {LONGEST_MANIFEST}", bytes.len());
            return Err(ImageError::Manifest { reference: reference.whole(), why });
        }
        if let Some(wanted) = reference.digest() {
            let actual = Digest::of(&bytes).to_string();
            if actual != wanted {
                let what = format!("manifest of {}", self.reference.whole());
                return Err(ImageError::DigestMismatch { what, expected: wanted.to_owned(), actual });
            }
        }
        Ok(bytes)
    }

    /// The artifacts that refer to the manifest with this digest, from newer registries by their list, from others by the tag
    /// that clients keep one under; none is no error.
    pub(crate) async fn referrers(&self, digest: &str) -> Result<Vec<Digest>, ImageError> {
        let reference = self.reference.clone_with_digest(digest.to_owned());
        let fetch = || async {
            match timeout(self.settings.stall, self.client.pull_referrers(&reference, None)).await {
                Err(_) => Err(Failure::Final(self.stalled("what refers to it"))),
                Ok(answer) => answer.map_err(|error| self.judge(error, "what refers to it")),
            }
        };
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        let index = self.patiently(RegistryOperation::Pull, fetch).await?;
        // What has another algorithm is not ours to read.
        Ok(index.manifests.into_iter().filter_map(|artifact| artifact.digest.parse().ok()).collect())
    }

    /// Streams a blob into the store, verified.
    pub(crate) async fn blob(
        &self,
        paths: &Paths,
        blob: &Descriptor,
        progress: Option<&Arc<dyn Progress>>,
    ) -> Result<(), ImageError> {
        let fetch = || self.fetch_blob(paths, blob, progress);
        // So that the token is there before the first request; failing is the request's own to report.
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        self.patiently(RegistryOperation::Pull, fetch).await
    }

    async fn fetch_blob(&self, paths: &Paths, blob: &Descriptor, progress: Option<&Arc<dyn Progress>>) -> Result<(), Failure> {
        let name = blob.digest.to_string();
        let what = format!("blob {name}");
        let asked = timeout(self.settings.stall, self.client.pull_blob_stream(&self.reference, name.as_str())).await;
        let mut stream = asked.map_err(|_| Failure::Final(self.stalled(&what)))?.map_err(|e| self.judge(e, &what))?.stream;
        let mut file = Hashing::new(paths.new_file().map_err(Failure::Final)?);
        loop {
            let chunk = match timeout(self.settings.stall, stream.next()).await {
                Err(_) => return Err(Failure::Final(self.stalled(&what))),
                Ok(None) => break,
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => match error.get_ref().and_then(|e| e.downcast_ref::<DigestError>()) {
                    // The end of the stream; our own judgement below says which way it is wrong.
                    Some(_) => break,
                    None => {
                        let what = format!("{what} of {}", self.reference.whole());
                        return Err(Failure::Passing(ImageError::Truncated { what, why: chain(&error) }, Wait::Backoff));
                    }
                },
            };
            if file.count() + chunk.len() as u64 > blob.size {
                let (what, expected) = (format!("{what} of {}", self.reference.whole()), name);
                let actual = format!("more than the announced {} bytes", blob.size);
                return Err(Failure::Final(ImageError::DigestMismatch { what, expected, actual }));
            }
            // Small writes into the page cache: cheaper than a trip to another thread for each chunk.
            file.write_all(&chunk).map_err(|e| Failure::Final(io("write a blob below", paths.root())(e)))?;
            if let Some(progress) = progress {
                progress.transferred(&name, file.count(), Some(blob.size));
            }
        }
        let (file, digest, bytes) = file.finish();
        let what = format!("{what} of {}", self.reference.whole());
        match verify(&what, blob, &digest, bytes) {
            Err(truncated @ ImageError::Truncated { .. }) => return Err(Failure::Passing(truncated, Wait::Backoff)),
            other => other.map_err(Failure::Final)?,
        }
        let (paths, digest) = (paths.clone(), blob.digest.clone());
        let kept = tokio::task::spawn_blocking(move || paths.keep(file, &digest)).await;
        kept.map_err(|_| Failure::Final(ImageError::Worker))?.map_err(Failure::Final)
    }

    /// A blob that fits into memory, verified.
    pub(crate) async fn small_blob(&self, blob: &Descriptor) -> Result<Vec<u8>, ImageError> {
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        let what = format!("blob {}", blob.digest);
        let fetch = || async {
            let name = blob.digest.to_string();
            let asked = timeout(self.settings.stall, self.client.pull_blob_stream(&self.reference, name.as_str())).await;
            let mut stream = asked.map_err(|_| Failure::Final(self.stalled(&what)))?.map_err(|e| self.judge(e, &what))?.stream;
            let mut bytes = Vec::new();
            while bytes.len() as u64 <= blob.size {
                match timeout(self.settings.stall, stream.next()).await {
                    Err(_) => return Err(Failure::Final(self.stalled(&what))),
                    Ok(Some(Ok(chunk))) => bytes.extend_from_slice(&chunk),
                    // Whether that was all is judged below.
                    Ok(None | Some(Err(_))) => break,
                }
            }
            verify(&what, blob, &Digest::of(&bytes), bytes.len() as u64).map_err(Failure::Final)?;
            Ok(bytes)
        };
        self.patiently(RegistryOperation::Pull, fetch).await
    }

    /// Sends a blob that the registry lacks.
    pub(crate) async fn push_blob(
        &self,
        file: &std::path::Path,
        blob: &Descriptor,
        progress: Option<&Arc<dyn Progress>>,
    ) -> Result<(), ImageError> {
        let name = blob.digest.to_string();
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        let exists = || async {
            match timeout(self.settings.stall, self.client.blob_exists(&self.reference, &name)).await {
                Err(_) => Err(Failure::Final(self.stalled(&name))),
                Ok(answer) => answer.map_err(|e| self.judge(e, &name)),
            }
        };
        if self.patiently(RegistryOperation::Push, exists).await? {
            if let Some(progress) = progress {
                progress.exists(&name);
            }
            return Ok(());
        }
        let send = || async {
            let open = tokio::fs::File::open(file).await.map_err(|e| Failure::Final(io("open", file)(e)))?;
            let (moved, watched) = tokio::sync::watch::channel(0_u64);
            let (sink, digest, size) = (progress.cloned(), name.clone(), blob.size);
            let stream = tokio_util::io::ReaderStream::with_capacity(open, 1 << 17).map(move |chunk| {
                let chunk = chunk.map_err(OciDistributionError::from)?;
                moved.send_modify(|bytes| *bytes += chunk.len() as u64);
                if let Some(sink) = &sink {
                    sink.transferred(&digest, *moved.borrow(), Some(size));
                }
                Ok(chunk)
            });
            let sending = self.client.push_blob_stream(&self.reference, stream, &name, Some(blob.size));
            match self.while_moving(sending, watched).await {
                None => Err(Failure::Final(self.stalled(&name))),
                Some(answer) => answer.map(drop).map_err(|e| self.judge(e, &name)),
            }
        };
        self.patiently(RegistryOperation::Push, send).await
    }

    /// `None` when nothing moved for too long.
    async fn while_moving<T>(&self, work: impl Future<Output = T>, mut moved: tokio::sync::watch::Receiver<u64>) -> Option<T> {
        tokio::pin!(work);
        let mut sending = true;
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                changed = moved.changed(), if sending => sending = changed.is_ok(),
                () = tokio::time::sleep(self.settings.stall) => return None,
            }
        }
    }

    pub(crate) async fn push_manifest(&self, bytes: Bytes, media_type: &str) -> Result<(), ImageError> {
        let wrong = |why: String| ImageError::Manifest { reference: self.reference.whole(), why };
        let media_type = media_type.parse().map_err(|_| wrong(format!("its media type {media_type:?} is no media type")))?;
        let media_type: &reqwest::header::HeaderValue = &media_type;
        let send = || async {
            let sent = self.client.push_manifest_raw(&self.reference, bytes.clone(), media_type.clone());
            match timeout(self.settings.stall, sent).await {
                Err(_) => Err(Failure::Final(self.stalled("the manifest"))),
                Ok(answer) => answer.map(drop).map_err(|e| self.judge(e, "the manifest")),
            }
        };
        self.patiently(RegistryOperation::Push, send).await
    }

    async fn patiently<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        operation: RegistryOperation,
        attempt: impl Fn() -> F,
    ) -> Result<T, ImageError> {
        crate::retry::patiently(&self.settings, attempt, |url| self.retry_after(url, operation)).await
    }

    /// How long the registry wants us to wait. The client does not show headers, so the question is asked once more, by
    /// HEAD, which rate limits mostly do not count.
    async fn retry_after(&self, url: String, operation: RegistryOperation) -> Option<Duration> {
        let asked = async {
            let url: reqwest::Url = url.parse().ok()?;
            let is_own = is_own(&url, self.reference.resolve_registry());
            let request = reqwest::Client::new().head(url);
            let request = match &self.auth {
                _ if !is_own => request,
                RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
                _ => match self.client.auth(&self.reference, &self.auth, operation).await {
                    Ok(Some(token)) => request.bearer_auth(token),
                    _ => request,
                },
            };
            let answer = request.send().await.ok()?;
            let header = answer.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
            header.trim().parse().ok().map(Duration::from_secs)
        };
        timeout(self.settings.stall, asked).await.ok().flatten()
    }

    fn judge(&self, error: OciDistributionError, what: &str) -> Failure {
        let (registry, reference) = (self.name(), self.reference.whole());
        let server = |status: u16, url: &str, message: String| match status {
            401 | 403 => Failure::Final(ImageError::Unauthorized { registry: self.name(), reference: self.reference.whole() }),
            404 => Failure::Final(ImageError::NotFound { reference: self.reference.whole(), why: format!("{what}: {message}") }),
            429 => Failure::limited(
                ImageError::RateLimited { registry: self.name(), reference: self.reference.whole(), attempts: 0 },
                url,
            ),
            500.. => {
                let error = ImageError::ServerError {
                    registry: self.name(),
                    reference: self.reference.whole(),
                    status,
                    attempts: 0,
                    message: shorten(&message),
                };
                if status == 503 { Failure::limited(error, url) } else { Failure::Passing(error, Wait::Backoff) }
            }
            _ => {
                let why = format!("status {status} for {what}: {}", shorten(&message));
                Failure::Final(ImageError::Protocol { registry: self.name(), reference: self.reference.whole(), why })
            }
        };
        match error {
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                server(401, "", String::new())
            }
            OciDistributionError::ImageManifestNotFoundError(why) => server(404, "", why),
            OciDistributionError::ServerError { code, url, message } => server(code, &url, message),
            OciDistributionError::RegistryError { envelope, url } => {
                let message =
                    envelope.errors.iter().map(|e| format!("{:?} {}", e.code, e.message)).collect::<Vec<_>>().join("; ");
                match envelope.errors.first().map(|e| &e.code) {
                    Some(
                        OciErrorCode::ManifestUnknown
                        | OciErrorCode::NameUnknown
                        | OciErrorCode::NotFound
                        | OciErrorCode::BlobUnknown
                        | OciErrorCode::ManifestBlobUnknown,
                    ) => server(404, &url, message),
                    Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => server(401, &url, message),
                    Some(OciErrorCode::Toomanyrequests) => server(429, &url, message),
                    _ => server(400, &url, message),
                }
            }
            OciDistributionError::DigestError(DigestError::VerificationError { expected, actual }) => {
                Failure::Final(ImageError::DigestMismatch { what: format!("{what} of {reference}"), expected, actual })
            }
            OciDistributionError::RequestError(e) if e.is_timeout() => Failure::Final(self.stalled(what)),
            OciDistributionError::RequestError(e) if e.status().is_some() => {
                let url = e.url().map(ToString::to_string).unwrap_or_default();
                server(e.status().map_or(0, |s| s.as_u16()), &url, e.to_string())
            }
            OciDistributionError::RequestError(e) => {
                Failure::Passing(ImageError::Unreachable { registry, reference, why: chain(&e) }, Wait::Backoff)
            }
            OciDistributionError::IoError(e) => {
                Failure::Passing(ImageError::Unreachable { registry, reference, why: chain(&e) }, Wait::Backoff)
            }
            other => Failure::Final(ImageError::Protocol { registry, reference, why: format!("{what}: {other}") }),
        }
    }
}

/// An error with its causes: the outermost alone mostly says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// An error page is not for an event.
fn shorten(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or_default();
    if line.chars().count() > 200 { line.chars().take(200).chain(['…']).collect() } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_the_registry_and_not_for_whom_it_leads_to() {
        let is = |url: &str, registry: &str| is_own(&url.parse().unwrap(), registry);
        for (url, registry) in [
            ("https://r.example/v2/x/blobs/1", "r.example"),
            ("https://r.example/v2/x/blobs/1", "r.example:443"),
            ("https://r.example:8443/v2/", "r.example:8443"),
            ("http://localhost:5000/v2/", "localhost:5000"),
            ("http://[::1]:5000/v2/", "[::1]:5000"),
        ] {
            assert!(is(url, registry), "{url} {registry}");
        }
        for (url, registry) in [
            ("https://storage.example/1", "r.example"),
            ("https://r.example.evil/v2/", "r.example"),
            ("https://r.example@evil/v2/", "r.example"),
            ("https://r.example:8443/v2/", "r.example"),
            ("http://r.example/v2/", "r.example"),
            ("http://r.example:443/v2/", "r.example:443"),
            ("http://localhost:5001/v2/", "localhost:5000"),
        ] {
            assert!(!is(url, registry), "{url} {registry}");
        }
    }

    #[test]
    fn only_registries_of_this_machine_get_plain_http() {
        for local in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_local(local), "{local}");
        }
        for far in ["docker.io", "localhost.example.com", "10.0.0.1:5000", "127.example.com", "registry:5000"] {
            assert!(!is_local(far), "{far}");
        }
    }
}
