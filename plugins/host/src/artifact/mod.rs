//! A compiled plugin, not yet running: what it is and what it asks for.

mod world;

use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Module};

use crate::error::LoadError;
use crate::kubewarden::Metadata;
use crate::plugin::grants::{self, Grants};
use crate::runtime::Runtime;
pub(crate) use world::Interface;
pub use world::{Minor, World};

pub(crate) enum Code {
    Component(Component),
    Module(Module),
}

/// Compiled code and what it says of itself; shared by all objects with its digest.
pub struct Artifact {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) code: Code,
    digest: String,
    world: World,
    version: String,
    minor: Minor,
    imports: Vec<String>,
    exports: Vec<String>,
    kubewarden: Option<Metadata>,
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { digest, world, version, .. } = self;
        f.debug_struct("Artifact").field("digest", digest).field("world", world).field("version", version).finish_non_exhaustive()
    }
}

impl Artifact {
    /// # Errors
    /// When it exports no world of ours, or one that is not offered.
    pub(crate) fn new(runtime: Arc<Runtime>, digest: String, code: Code, bytes: &[u8]) -> Result<Self, LoadError> {
        let (imports, exports) = code.names(&runtime.engine);
        let ((world, version, minor), kubewarden) = match &code {
            Code::Component(_) => (world::find(&exports)?, None),
            Code::Module(_) => match Metadata::of(bytes, &exports)? {
                Some(metadata) => {
                    let version = metadata.protocol_version.clone().unwrap_or_default();
                    ((World::Kubewarden, version, Minor::Current), Some(metadata))
                }
                None => ((World::Module, String::new(), Minor::Current), None),
            },
        };
        Ok(Self { runtime, code, digest, world, version, minor, imports, exports, kubewarden })
    }

    /// Of the bytes it was compiled from, such as `sha256:0123…`.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn world(&self) -> World {
        self.world
    }

    /// Of the world that it was built for, or of the protocol that a policy of Kubewarden says it speaks; empty for other modules.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Which minor version of its world it was built for, of those that are linked.
    pub fn minor(&self) -> Minor {
        self.minor
    }

    /// What a policy of Kubewarden says of itself; of nothing else.
    pub fn kubewarden(&self) -> Option<&Metadata> {
        self.kubewarden.as_ref()
    }

    /// The interfaces that it imports, or the functions (`module.name`) of a core module.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// Bytes of machine code and data.
    pub fn code_size(&self) -> usize {
        let range = match &self.code {
            Code::Component(component) => component.image_range(),
            Code::Module(module) => module.image_range(),
        };
        (range.end as usize).saturating_sub(range.start as usize)
    }

    /// The imports that an object has to grant for this to be loaded. No grant helps with a version that is not linked.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        let imports = self.imports.iter().map(String::as_str);
        imports.filter(|import| {
            self.world != World::Module && !grants::always(import, self.world) && Interface::of(import).check().is_ok()
        })
    }

    /// # Errors
    /// The first import that is of a version of ours which is not linked; else the first that is not granted or not offered.
    pub fn check(&self, grants: &Grants) -> Result<(), LoadError> {
        self.imports.iter().try_for_each(|import| Interface::of(import).check())?;
        self.needs().try_for_each(|import| grants.check(import))
    }

    /// # Errors
    /// When it is something else.
    pub(crate) fn component(&self, wanted: World) -> Result<&Component, LoadError> {
        match &self.code {
            Code::Component(component) if self.world == wanted => Ok(component),
            _ => Err(LoadError::WrongWorld { found: self.world.name().to_owned(), wanted: wanted.name() }),
        }
    }

    /// # Errors
    /// When it is a component.
    pub(crate) fn module(&self) -> Result<&Module, LoadError> {
        match &self.code {
            Code::Module(module) => Ok(module),
            Code::Component(_) => {
                Err(LoadError::WrongWorld { found: self.world.name().to_owned(), wanted: World::Kubewarden.name() })
            }
        }
    }
}

impl Code {
    fn names(&self, engine: &Engine) -> (Vec<String>, Vec<String>) {
        match self {
            Self::Component(component) => {
                let ty = component.component_type();
                let imports =
                    ty.imports(engine).filter(|(_, item)| !is_type(&item.ty)).map(|(name, _)| name.to_owned()).collect();
                (imports, ty.exports(engine).map(|(name, _)| name.to_owned()).collect())
            }
            Self::Module(module) => (
                module.imports().map(|import| format!("{}.{}", import.module(), import.name())).collect(),
                module.exports().map(|export| export.name().to_owned()).collect(),
            ),
        }
    }
}

/// Types ask for nothing.
fn is_type(item: &ComponentItem) -> bool {
    matches!(item, ComponentItem::Type(_))
}
