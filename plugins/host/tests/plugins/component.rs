//! Components from text.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The parts of WASI that the guests use.
const IO: &str = "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }";
const CLOCKS: &str = "package wasi:clocks@0.2.0;
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }";

/// A component of the world (`package/world`), from a core module's text.
pub fn component(world: &str, text: &str) -> Vec<u8> {
    let package = world.split_once('/').expect("package/world").0;
    // The scheduler's tests use this file, too.
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates stand two folders deep");
    let wit = |name: &str| repository.join("plugins/wit").join(name);
    let mut resolve = Resolve::default();
    resolve.push_path(wit("plugin")).expect("the shared package parses");
    resolve.push_path(wit(package)).expect("the package parses");
    resolve.push_source("io.wit", IO).expect("it parses");
    resolve.push_source("clocks.wit", CLOCKS).expect("it parses");
    let guest = format!(
        "package test:guest; world guest {{
            include mizzen:{world}@0.1.0;
            import wasi:io/poll@0.2.0;
            import wasi:clocks/monotonic-clock@0.2.0;
        }}"
    );
    // Of what the world imports, a component imports what its module does.
    let package = resolve.push_source("guest.wit", &guest).expect("it parses");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world is there");
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world is described");
    ComponentEncoder::default().module(&module).expect("a module").validate(true).encode().expect("a component")
}
