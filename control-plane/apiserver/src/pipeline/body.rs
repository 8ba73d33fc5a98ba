//! Decoding of request bodies, remembering fields that were given twice.

mod document;
mod room;

use mizzen_api::Status;
use mizzen_client::Body;
use serde_json::Value;
use tokio::sync::Semaphore;

pub(crate) use room::check_room;
pub(super) use room::is_too_deep;
use room::{Room, too_many};

/// Bodies beyond this many bytes are refused with 413.
pub(crate) const MAX_BYTES: usize = 3 * 1024 * 1024;

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
    match document::read(serde_yaml_ng::Deserializer::from_slice(bytes), &mut duplicates, &mut room) {
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
    let value = document::read(&mut reader, duplicates, room)?;
    reader.end().map(|()| value)
}

fn unreadable(error: &serde_json::Error) -> Status {
    Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::room::{MAX_OBJECTS, MAX_VALUES};
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
