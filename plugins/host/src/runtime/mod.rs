//! The engine, made when the first plugin is loaded, and the compiled code of every digest.

mod cache;
mod compile;
mod engine;
pub(crate) mod ticker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use mizzen_reconcile::{Clock, SystemClock};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use wasmtime::Engine;

use crate::artifact::{Artifact, Code};
use crate::error::LoadError;
use crate::kubewarden::Outside;
use cache::Cache;
use ticker::Ticker;

/// Bytes of a component that is still compiled.
const LARGEST: usize = 64 << 20;

pub struct HostOptions {
    /// Where compiled plugins are kept; nowhere without it.
    pub cache: Option<PathBuf>,
    /// The `mizzen-wasm` executable, whose `compile` turns strangers' bytes into code in a sandbox of its own; without it
    /// that is done on a thread of this process.
    pub compiler: Option<PathBuf>,
    pub clock: Arc<dyn Clock>,
    /// What policies of Kubewarden may ask where it is granted; nothing without it.
    pub outside: Option<Arc<dyn Outside>>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { cache: None, compiler: None, clock: Arc::new(SystemClock), outside: None }
    }
}

/// Everything plugins share. Costs nothing before the first is loaded.
pub struct Host {
    options: HostOptions,
    runtime: Mutex<Option<Arc<Runtime>>>,
    /// What is in use, so that two objects with one digest share its code.
    loaded: Mutex<HashMap<String, Weak<Artifact>>>,
    /// One compilation at a time: it takes every processor there is.
    compiling: tokio::sync::Mutex<()>,
}

pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outside: Option<Arc<dyn Outside>>,
    cache: Option<Cache>,
}

impl Host {
    pub fn new(options: HostOptions) -> Arc<Self> {
        Arc::new(Self { options, runtime: Mutex::default(), loaded: Mutex::default(), compiling: tokio::sync::Mutex::default() })
    }

    /// The digest by which [`Host::load`] knows these bytes, such as `sha256:0123…`.
    pub fn digest(bytes: &[u8]) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
    }

    /// Compiles a component or a core module, or finds what was compiled before; it is not instantiated.
    ///
    /// # Errors
    /// When these bytes are no plugin, or the machine cannot hold it.
    pub async fn load(self: &Arc<Self>, bytes: Bytes) -> Result<Arc<Artifact>, LoadError> {
        if bytes.len() > LARGEST {
            return Err(LoadError::TooLarge { size: bytes.len(), most: LARGEST });
        }
        compile::kind(&bytes)?;
        let digest = Self::digest(&bytes);
        if let Some(artifact) = self.known(&digest) {
            return Ok(artifact);
        }
        let _alone = self.compiling.lock().await;
        if let Some(artifact) = self.known(&digest) {
            return Ok(artifact);
        }
        let host = Arc::clone(self);
        let (found, runtime) = blocking({
            let digest = digest.clone();
            move || {
                let runtime = host.runtime()?;
                let found = runtime.cached(&digest)?;
                Ok((found, runtime))
            }
        })
        .await?;
        let code = match found {
            Some(code) => code,
            None => self.compile(&runtime, &digest, bytes.clone()).await?,
        };
        let artifact = Arc::new(Artifact::new(runtime, digest.clone(), code, &bytes)?);
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, artifact| artifact.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&artifact));
        Ok(artifact)
    }

    /// Whether the bytes of this digest were compiled before, by this process or one before it: then [`Host::load`] has next to
    /// nothing to do. Where no plugin was loaded yet, nobody knows.
    pub fn is_compiled(&self, digest: &str) -> bool {
        let is_kept = |runtime: &Arc<Runtime>| runtime.cache.as_ref().is_some_and(|cache| cache.has(digest));
        self.known(digest).is_some() || self.runtime.lock().as_ref().is_some_and(is_kept)
    }

    async fn compile(&self, runtime: &Arc<Runtime>, digest: &str, bytes: Bytes) -> Result<Code, LoadError> {
        let compiled = match &self.options.compiler {
            Some(compiler) => Some(compile::in_sandbox(compiler, &bytes).await?),
            None => None,
        };
        let (runtime, digest) = (Arc::clone(runtime), digest.to_owned());
        blocking(move || {
            let compiled = compiled.map_or_else(|| compile::here(&runtime.engine, &bytes), Ok)?;
            if let Some(cache) = &runtime.cache {
                cache.keep(&digest, &compiled)?;
            }
            // SAFETY: this is what the compiler has just answered.
            unsafe { compile::code(&runtime.engine, &compiled) }
        })
        .await
    }

    fn known(&self, digest: &str) -> Option<Arc<Artifact>> {
        self.loaded.lock().get(digest).and_then(Weak::upgrade)
    }

    fn runtime(&self) -> Result<Arc<Runtime>, LoadError> {
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = &*runtime {
            return Ok(Arc::clone(runtime));
        }
        let engine = engine::new().map_err(|error| LoadError::Engine(error.to_string()))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| LoadError::Engine(error.to_string()))?;
        let cache = self.options.cache.as_deref().map(|path| Cache::open(path, &engine::fingerprint(&engine))).transpose()?;
        let (clock, outside) = (Arc::clone(&self.options.clock), self.options.outside.clone());
        let made = Arc::new(Runtime { engine, ticker, clock, outside, cache });
        Ok(Arc::clone(runtime.insert(made)))
    }
}

impl Runtime {
    fn cached(&self, digest: &str) -> Result<Option<Code>, LoadError> {
        let Some(compiled) = self.cache.as_ref().map(|cache| cache.find(digest)).transpose()?.flatten() else { return Ok(None) };
        // SAFETY: authenticated: it is what the compiler once answered.
        Ok(unsafe { compile::code(&self.engine, &compiled) }.ok())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, LoadError> + Send + 'static) -> Result<T, LoadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(LoadError::Compile(error.to_string())),
    }
}
