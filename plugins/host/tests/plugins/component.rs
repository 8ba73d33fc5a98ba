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

/// A component of a world (`package/world`), from a core module's text. With `@0.1.0` behind it, one that was built against the
/// minor version before.
pub fn component(world: &str, text: &str) -> Vec<u8> {
    let (world, version) = world.split_once('@').unwrap_or((world, "0.2.0"));
    let (folder, text) = if version == "0.2.0" { ("", text.to_owned()) } else { ("previous", text.replace("@0.2.0", "@0.1.0")) };
    let package = world.split_once('/').expect("package/world").0;
    // Tests of other crates use this file, too.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = here.ancestors().find(|folder| folder.join("plugins/wit").is_dir()).expect("within the repository");
    let wit = |name: &str| repository.join("plugins/wit").join(name);
    let mut resolve = Resolve::default();
    resolve.push_path(wit("plugin")).expect("the shared package parses");
    resolve.push_path(wit(folder).join(package)).expect("the package parses");
    resolve.push_source("io.wit", IO).expect("it parses");
    resolve.push_source("clocks.wit", CLOCKS).expect("it parses");
    let guest = format!(
        "package test:guest; world guest {{
            include mizzen:{world}@{version};
            import wasi:io/poll@0.2.0;
            import wasi:clocks/monotonic-clock@0.2.0;
        }}"
    );
    // Of what the world imports, a component imports what its module does.
    let package = resolve.push_source("guest.wit", &guest).expect("it parses");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world is there");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world is described");
    ComponentEncoder::default().module(&module).expect("a module").validate(true).encode().expect("a component")
}
