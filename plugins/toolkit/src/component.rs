//! Core modules become components here, so that a plugin's author needs a compiler and nothing else.

use anyhow::Context as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::project::Kind;
use crate::template::wit;

/// What the runtimes of ordinary languages ask of WASI preview 1 and no plugin needs: an adapter that answers without asking
/// the host.
const STUBS: &str = include_str!("preview1.wat");

/// The component that a core module holds; a component stays as it is. `kind` says which world a module is for that does not
/// say so itself.
///
/// # Errors
/// When it does not fit the world.
pub fn component(mut bytes: Vec<u8>, kind: Option<Kind>) -> anyhow::Result<Vec<u8>> {
    // Bytes 4 to 7 are the version and the layer: a component's layer is 1.
    if bytes.get(6) == Some(&1) {
        return Ok(bytes);
    }
    let described = bytes.windows(b"component-type".len()).any(|window| window == b"component-type");
    if let Some(kind) = kind
        && !described
    {
        let mut resolve = Resolve::default();
        let [plugin, own] = wit(kind);
        resolve.push_source(plugin.0, plugin.1)?;
        let package = resolve.push_source(own.0, own.1)?;
        let world = resolve.select_world(&[package], Some(kind.world()))?;
        embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)?;
    }
    let mut stubs = wat::parse_str(STUBS).context("the stubs of WASI preview 1")?;
    let mut resolve = Resolve::default();
    let package = resolve.push_source("stubs.wit", "package mizzen:stubs; world stubs {}")?;
    let world = resolve.select_world(&[package], Some("stubs"))?;
    embed_component_metadata(&mut stubs, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default()
        .module(&bytes)?
        .adapter("wasi_snapshot_preview1", &stubs)
        .context("the stubs of WASI preview 1")?
        .validate(true)
        .encode()
}
