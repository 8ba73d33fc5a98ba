//! Decoding of request bodies, remembering fields that were given twice.

use std::fmt;

use mizzen_api::{Reason, Status};
use mizzen_client::Body;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use tokio::sync::Semaphore;

/// Bodies beyond this many bytes are refused with 413.
pub(crate) const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Documents that nest deeper are refused: the decoder could not read them back.
const MAX_DEPTH: usize = 120;

/// Documents with more objects and lists in them are refused, and those with more values of any kind: defaulting and
/// validating make some kilobytes of an object that a client writes with two bytes. Of 2 MB that name a million containers
/// they made 2.4 GiB in 25 s of processor time (measured without this bound); with it, what is made is a sixth of that at
/// most. Kubernetes has no such bound, but its store takes no object of half the size of a body.
///
/// What has its fields and who owns them in [`MAX_BYTES`] stays below: an entry of a ConfigMap, with its owner, takes 20
/// bytes for one object, a field of a definition's schema 24.
const MAX_OBJECTS: usize = 160_000;
const MAX_VALUES: usize = 500_000;

/// What a document may still have.
#[derive(Clone, Copy, Debug)]
struct Room {
    objects: usize,
    values: usize,
}

impl Room {
    const WHOLE: Self = Self { objects: MAX_OBJECTS, values: MAX_VALUES };

    fn is_used_up(&self) -> bool {
        self.values == 0
    }

    /// False when there is no more.
    fn take(&mut self, is_object: bool) -> bool {
        if self.values == 0 || (is_object && self.objects == 0) {
            return false;
        }
        self.values -= 1;
        self.objects -= usize::from(is_object);
        true
    }

    fn fits(&mut self, value: &Value) -> bool {
        self.take(value.is_array() || value.is_object())
            && match value {
                Value::Array(items) => items.iter().all(|item| self.fits(item)),
                Value::Object(fields) => fields.values().all(|field| self.fits(field)),
                _ => true,
            }
    }
}

/// # Errors
/// `RequestEntityTooLarge` for a document that has more in it than is worked on.
pub(crate) fn check_room(value: &Value) -> Result<(), Status> {
    let mut room = Room::WHOLE;
    if room.fits(value) { Ok(()) } else { Err(too_many()) }
}

fn too_many() -> Status {
    Status::new(
        Reason::RequestEntityTooLarge,
        format!("Request entity too large: limit is {MAX_OBJECTS} objects and lists, and {MAX_VALUES} values"),
    )
}

/// Whether a document can be read back once it is stored.
pub(super) fn is_too_deep(value: &Value) -> bool {
    fn within(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| within(item, left - 1)),
            Value::Object(fields) => left > 0 && fields.values().all(|field| within(field, left - 1)),
            _ => true,
        }
    }
    !within(value, MAX_DEPTH)
}

pub(crate) struct Parsed {
    pub(crate) value: Value,
    /// Paths of fields that appear more than once, as many as are told; the last one counts.
    pub(crate) duplicates: Vec<String>,
    /// The first of them in a YAML body, as Go's decoder tells it: `line 3: key "a" already set in map`.
    pub(crate) duplicate_line: Option<String>,
}

/// Larger bodies in YAML are read one at a time, on another thread: before anything of one is looked at, its parser makes
/// two hundred bytes for each of its signs (550 MB of `? ? ? …`, 2.8 MB and 3 s long).
const LARGE_YAML: usize = 128 << 10;
static LARGE: Semaphore = Semaphore::const_new(1);

/// Decodes a body when it is its turn.
///
/// # Errors
/// As [`parse`].
pub(crate) async fn read(body: Body) -> Result<Parsed, Status> {
    match body {
        Body::Yaml(bytes) if bytes.len() > LARGE_YAML => {
            if let Some(parsed) = yaml_as_json(&bytes)? {
                return Ok(parsed);
            }
            let turn = LARGE.acquire().await;
            // The turn is over when it is read, also when nobody waits for it any more.
            let reading = move || {
                let read = yaml(&bytes);
                drop((bytes, turn));
                read
            };
            let failed = |error| Status::internal(format!("read the body: {error}"));
            tokio::task::spawn_blocking(reading).await.unwrap_or_else(|error| Err(failed(error)))
        }
        body => parse(body),
    }
}

/// # Errors
/// `BadRequest` when the body is not one document, or is nested more than 128 levels deep; `RequestEntityTooLarge` when it
/// has too much in it.
pub(crate) fn parse(body: Body) -> Result<Parsed, Status> {
    let plain = |value| Ok(Parsed { value, duplicates: Vec::new(), duplicate_line: None });
    match body {
        Body::None => plain(Value::Null),
        Body::Value(value) => plain(value),
        Body::Json(bytes) => {
            let (mut duplicates, mut room) = (Vec::new(), Room::WHOLE);
            match json(&bytes, &mut duplicates, &mut room) {
                Err(_) if room.is_used_up() => Err(too_many()),
                Err(error) => Err(unreadable(&error)),
                Ok(value) => Ok(Parsed { value, duplicates, duplicate_line: None }),
            }
        }
        Body::Yaml(bytes) => yaml_as_json(&bytes)?.map_or_else(|| yaml(&bytes), Ok),
    }
}

/// Most clients apply JSON, which is YAML too, and is read many times faster as what it is. `None` for what is no JSON.
fn yaml_as_json(bytes: &[u8]) -> Result<Option<Parsed>, Status> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    let (mut duplicates, mut room) = (Vec::new(), Room::WHOLE);
    match json(bytes, &mut duplicates, &mut room) {
        Ok(value) => Ok(Some(Parsed { value, duplicate_line: first_of(&duplicates, bytes), duplicates })),
        Err(_) if room.is_used_up() => Err(too_many()),
        Err(_) => Ok(None),
    }
}

fn yaml(bytes: &[u8]) -> Result<Parsed, Status> {
    if flow_depth(bytes) > MAX_FLOW_DEPTH {
        return Err(Status::bad_request(format!("error decoding YAML: exceeded max depth of {MAX_FLOW_DEPTH}")));
    }
    let (mut duplicates, mut room) = (Vec::new(), Room::WHOLE);
    let root = Node { place: Place::Root, duplicates: &mut duplicates, room: &mut room };
    match root.deserialize(serde_yaml_ng::Deserializer::from_slice(bytes)) {
        Ok(value) => Ok(Parsed { value, duplicate_line: first_of(&duplicates, bytes), duplicates }),
        Err(_) if room.is_used_up() => Err(too_many()),
        Err(error) => Err(Status::bad_request(format!("error decoding YAML: {error}"))),
    }
}

/// How Go's decoder tells of the first of the duplicates, where there are any.
fn first_of(duplicates: &[String], bytes: &[u8]) -> Option<String> {
    if duplicates.is_empty() { None } else { super::duplicate_keys::first(bytes) }
}

/// What YAML in braces and brackets may nest: the scanner goes through all that are open at every word.
const MAX_FLOW_DEPTH: usize = 512;

/// How many brackets and braces are open at once at most, quoted ones too.
fn flow_depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut before = b' ';
    for byte in bytes {
        match byte {
            // Where nothing is open, one within a word opens nothing.
            b'[' | b'{' if depth > 0 || before.is_ascii_whitespace() || b"[{-:,?".contains(&before) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = *byte;
    }
    deepest
}

fn json(bytes: &[u8], duplicates: &mut Vec<String>, room: &mut Room) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Node { place: Place::Root, duplicates, room }.deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

fn unreadable(error: &serde_json::Error) -> Status {
    Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
}

/// Where a value stands: most documents have no field that is told of, and no path needs writing.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(above, name) => write!(f, "{above}.{name}"),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// Builds the value of a place.
struct Node<'a> {
    place: Place<'a>,
    duplicates: &'a mut Vec<String>,
    room: &'a mut Room,
}

const USED_UP: &str = "too many values";

impl Node<'_> {
    fn leaf<E: serde::de::Error>(&mut self, value: Value) -> Result<Value, E> {
        if self.room.take(false) { Ok(value) } else { Err(self.used_up()) }
    }

    fn used_up<E: serde::de::Error>(&mut self) -> E {
        self.room.values = 0;
        E::custom(USED_UP)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<Value, E> {
        self.leaf(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(mut self) -> Result<Value, E> {
        self.leaf(Value::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> Result<Value, E> {
        self.leaf(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(mut self, value: i64) -> Result<Value, E> {
        self.leaf(value.into())
    }

    fn visit_u64<E: serde::de::Error>(mut self, value: u64) -> Result<Value, E> {
        self.leaf(value.into())
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        self.leaf(Value::Number(number))
    }

    fn visit_str<E: serde::de::Error>(mut self, value: &str) -> Result<Value, E> {
        self.leaf(Value::String(value.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(mut self, value: String) -> Result<Value, E> {
        self.leaf(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        if !self.room.take(true) {
            return Err(self.used_up());
        }
        let mut list = Vec::new();
        loop {
            let place = Place::Item(&self.place, list.len());
            match items.next_element_seed(Node { place, duplicates: self.duplicates, room: self.room })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        if !self.room.take(true) {
            return Err(self.used_up());
        }
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = Place::Field(&self.place, &key);
            let value = entries.next_value_seed(Node { place, duplicates: self.duplicates, room: self.room })?;
            match map.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    let place = Place::Field(&self.place, entry.key());
                    mizzen_api::schema::note(self.duplicates, &place);
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_two_equal_fields_counts_and_is_reported() {
        let parsed = parse(Body::Json(r#"{"spec":{"a":1,"list":[{"b":1,"b":2}],"a":3}}"#.into())).expect("parses");
        assert_eq!(parsed.value, json!({"spec": {"a": 3, "list": [{"b": 2}]}}));
        assert_eq!(parsed.duplicates, ["spec.list[0].b", "spec.a"]);
    }

    #[test]
    fn a_document_that_is_too_deep_is_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(parse(Body::Json(deep.clone().into())).err().map(|status| status.code), Some(400));
        assert_eq!(parse(Body::Yaml(deep.into())).err().map(|status| status.code), Some(400));
    }

    #[test]
    fn yaml_may_be_json_or_only_look_like_it() {
        for text in [r#" {"a": {"b": 1, "b": 2}}"#, "{a: {b: 1, b: 2}} # YAML's own way"] {
            let parsed = parse(Body::Yaml(text.into())).expect("parses");
            assert_eq!((parsed.value, parsed.duplicates), (json!({"a": {"b": 2}}), vec!["a.b".to_owned()]), "{text}");
        }
    }

    #[tokio::test]
    async fn large_yaml_waits_for_its_turn() {
        let large = || Body::Yaml(format!("a: {}\nb: 1", "x".repeat(LARGE_YAML)).into());
        let json = Body::Yaml(format!("{{\"a\": \"{}\"}}", "x".repeat(LARGE_YAML)).into());
        let turn = LARGE.acquire().await.expect("is never closed");
        let mut waiting = std::pin::pin!(read(large()));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        for body in [Body::Yaml("a: 1".into()), json] {
            assert!(read(body).await.expect("parses").value["a"] != Value::Null);
        }
        drop(turn);
        assert_eq!(waiting.await.expect("parses").value["b"], json!(1));
        let broken = Body::Yaml(format!("{{a: [{}", "x,".repeat(LARGE_YAML)).into());
        assert_eq!(read(broken).await.err().map(|status| status.code), Some(400));
    }

    #[test]
    fn what_has_too_much_in_it_is_refused_in_every_form() {
        let list = |item: &str, count: usize| format!("{{\"a\": [{}]}}", vec![item; count].join(","));
        let flow = |levels: usize| format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
        let code = |body: Body| parse(body).map(drop).map_err(|status| status.code);
        for (text, wanted) in [
            (list("1", MAX_VALUES - 2), Ok(())),
            (list("1", MAX_VALUES - 1), Err(413)),
            (list("{}", MAX_OBJECTS - 2), Ok(())),
            (list("[]", MAX_OBJECTS - 1), Err(413)),
        ] {
            assert_eq!(code(Body::Json(text.clone().into())), wanted, "{}", &text[..20]);
            assert_eq!(code(Body::Yaml(text.into())), wanted);
        }
        assert_eq!(code(Body::Yaml(flow(100).into())), Ok(()));
        assert_eq!(code(Body::Yaml(flow(100_000).into())), Err(400));
        // Brackets of a text nest nothing.
        let text = format!("a: |\n  {}\n", "\u{1b}[31mred x[0] ".repeat(1000));
        assert!(flow_depth(text.as_bytes()) <= 1, "{}", flow_depth(text.as_bytes()));
        assert_eq!(check_room(&json!([[], {}, 1])), Ok(()));
        assert_eq!(check_room(&json!(vec![0; MAX_VALUES])).map_err(|status| status.code), Err(413));
    }

    #[test]
    fn no_config_map_and_no_definition_has_too_much_in_it() {
        const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        let key = |number: usize| -> String {
            [number >> 12, number >> 6, number].map(|digit| char::from(ALPHABET[digit & 63])).iter().collect()
        };
        let all = |count: usize, entry: &dyn Fn(String) -> String| -> String {
            (0..count).map(|number| entry(key(number))).collect::<Vec<_>>().join(",")
        };
        let count = (MAX_BYTES - 100) / 20;
        let (data, owned) = (all(count, &|key| format!("\"{key}\":\"\"")), all(count, &|key| format!("\"f:{key}\":{{}}")));
        let map = format!(r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{{"f:data":{{{owned}}}}}}}]}},"data":{{{data}}}}}"#);
        let fields = all((MAX_BYTES - 100) / 24, &|key| format!(r#""{key}":{{"type":"string"}}"#));
        let definition = format!(r#"{{"spec":{{"versions":[{{"schema":{{"properties":{{{fields}}}}}}}]}}}}"#);
        for text in [map, definition] {
            assert!((MAX_BYTES - 200..=MAX_BYTES).contains(&text.len()), "{} bytes", text.len());
            assert_eq!(parse(Body::Json(text.into())).map(drop).map_err(|status| status.message), Ok(()));
        }
    }

    #[test]
    fn trailing_text_is_refused() {
        assert!(parse(Body::Json("{} {}".into())).is_err());
    }

    fn document() -> impl Strategy<Value = Value> {
        let text = || "[ -~\n\u{e9}]{0,8}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            text().prop_map(Value::from),
            prop::sample::select(vec!["yes", "null", "~", "0x1f", "1e3", "- a", "2026-01-01", "<<", "&a", "*a", "!!str"])
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((text(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_document_is_read_as_it_was_written(document in document()) {
            let json = Bytes::from(serde_json::to_vec(&document).expect("encodes"));
            let yaml = Bytes::from(serde_yaml_ng::to_string(&document).expect("encodes"));
            for body in [Body::Json(json.clone()), Body::Yaml(json), Body::Yaml(yaml)] {
                let told = format!("{body:?}");
                match parse(body) {
                    Ok(parsed) => prop_assert_eq!((&parsed.value, parsed.duplicates), (&document, Vec::new()), "{}", told),
                    Err(status) => return Err(TestCaseError::fail(format!("{told}: {}", status.message))),
                }
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            text in "[a-c{}\\[\\]:,\"'&*!|>#?~ \n\t-]{0,64}",
        ) {
            for body in [bytes.clone(), text.clone().into_bytes()] {
                let _ = parse(Body::Json(body.clone().into()));
                let _ = parse(Body::Yaml(body.into()));
            }
        }
    }
}
