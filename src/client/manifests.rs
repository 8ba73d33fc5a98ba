//! The objects in files and folders of YAML and JSON.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

#[derive(Clone, Debug, clap::Args)]
pub struct Files {
    /// File or folder of YAML or JSON; `-` is standard input
    #[arg(short, long, value_delimiter = ',')]
    filename: Vec<PathBuf>,
    /// Folders with all below them
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// An object, and the file that it is from.
#[derive(Debug)]
pub struct Manifest {
    pub object: Value,
    pub from: String,
}

impl Manifest {
    /// Its apiVersion, kind and name.
    ///
    /// # Errors
    /// Names the one that is missing.
    pub fn identify(&self) -> anyhow::Result<(&str, &str, &str)> {
        let text = |pointer: &str| {
            let found = self.object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
            found.with_context(|| format!("error validating {:?}: {} not set", self.from, pointer[1..].replace('/', ".")))
        };
        Ok((text("/apiVersion")?, text("/kind")?, text("/metadata/name")?))
    }

    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str()
    }
}

impl Files {
    pub fn are_given(&self) -> bool {
        !self.filename.is_empty()
    }

    /// Everything in the files, in order of their names; lists are taken apart.
    ///
    /// # Errors
    /// Names the file that is not there, or cannot be read or parsed.
    pub fn read(&self) -> anyhow::Result<Vec<Manifest>> {
        let mut all = Vec::new();
        for path in &self.filename {
            if path == Path::new("-") {
                let text = std::io::read_to_string(std::io::stdin()).context("read standard input")?;
                all.extend(parse(&text, "STDIN")?);
                continue;
            }
            if !path.exists() {
                bail!("the path {:?} does not exist", path.display().to_string());
            }
            let files = self.files(path)?;
            if files.is_empty() {
                bail!("error reading [{}]: recognized file extensions are [.json .yaml .yml]", path.display());
            }
            for file in files {
                let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
                all.extend(parse(&text, &file.display().to_string())?);
            }
        }
        Ok(all)
    }

    /// The file itself, or the files of a folder that are called like manifests.
    fn files(&self, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
        if !path.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let entries = std::fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut entries: Vec<PathBuf> = entries.with_context(|| format!("read {}", path.display()))?;
        entries.sort();
        let mut files = Vec::new();
        for entry in entries {
            if !entry.is_dir() {
                let extension = entry.extension().and_then(|extension| extension.to_str());
                files.extend(extension.is_some_and(|extension| EXTENSIONS.contains(&extension)).then_some(entry));
            } else if self.recursive {
                files.extend(self.files(&entry)?);
            }
        }
        Ok(files)
    }
}

fn parse(text: &str, from: &str) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let document = Value::deserialize(document).with_context(|| format!("error parsing {from}"))?;
        manifests.extend(apart(document).into_iter().map(|object| Manifest { object, from: from.to_owned() }));
    }
    Ok(manifests)
}

/// The objects of a document, which may be none, one or a list.
fn apart(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        // A kind that only ends so has no items.
        Value::Object(mut list)
            if list.get("items").is_some_and(Value::is_array)
                && list.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) =>
        {
            let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
            items.unwrap_or_default().into_iter().flat_map(apart).collect()
        }
        object => vec![object],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "---\nkind: A\n---\n# nothing\n---\nkind: List\nitems:\n- kind: B\n- {kind: CList, items: [{kind: C}]}\n- kind: AllowList\n";
        let manifests = parse(text, "a.yaml").expect("parses");
        let kinds: Vec<&str> = manifests.iter().filter_map(|manifest| manifest.object["kind"].as_str()).collect();
        assert_eq!(kinds, ["A", "B", "C", "AllowList"]);
        assert!(parse("a: [", "b.yaml").expect_err("is cut off").to_string().contains("b.yaml"));
    }

    #[test]
    fn folders_are_read_in_order_and_what_is_below_them_only_if_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("below")).expect("makes");
        for (name, kind) in [("b.yml", "B"), ("a.json", "A"), ("notes.txt", "T"), ("below/c.yaml", "C")] {
            std::fs::write(folder.path().join(name), format!("{{\"kind\": \"{kind}\"}}")).expect("writes");
        }
        let kinds = |recursive| {
            let files = Files { filename: vec![folder.path().to_owned()], recursive };
            let read = files.read().expect("reads");
            read.iter().filter_map(|manifest| Some(manifest.object["kind"].as_str()?.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(kinds(false), ["A", "B"]);
        assert_eq!(kinds(true), ["A", "B", "C"]);
        let empty = Files { filename: vec![tempfile::tempdir().expect("a folder").keep()], recursive: true };
        let said = empty.read().expect_err("has nothing").to_string();
        assert!(said.contains("recognized file extensions are [.json .yaml .yml]"), "{said}");
        std::fs::remove_dir(&empty.filename[0]).expect("removes");
    }

    #[test]
    fn what_an_object_does_not_say_is_named() {
        let manifest = Manifest { object: serde_json::json!({"apiVersion": "v1", "kind": "Pod"}), from: "a.yaml".to_owned() };
        let said = manifest.identify().expect_err("is nameless").to_string();
        assert_eq!(said, "error validating \"a.yaml\": metadata.name not set");
    }
}
