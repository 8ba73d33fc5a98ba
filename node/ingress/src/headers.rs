//! Which headers go on, and what backends are told of the client.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};

/// Of one connection only (RFC 9110, section 7.6.1), or said to the proxy.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// As many as backends are told more than clients say.
const TOLD: usize = 6;
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// CGI programs would take it for the name of a proxy to use.
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// What backends are told of a client.
pub(crate) struct Client {
    pub(crate) address: HeaderValue,
    pub(crate) port: HeaderValue,
    pub(crate) is_tls: bool,
    /// It is a proxy that may say whom it asks for.
    pub(crate) is_trusted: bool,
}

/// Makes of a client's headers those of the request to the backend.
pub(crate) fn to_backend(headers: &mut HeaderMap, client: &Client, host: Option<&HeaderValue>) {
    headers.reserve(TOLD);
    let upgrade = wanted_protocol(headers);
    let takes_trailers = headers.get_all(header::TE).iter().any(|value| names(value).any(|name| name == "trailers"));
    // Two ways to say how long it is are one too many: the one that counts is the chunks.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    drop_hop_by_hop(headers);
    headers.remove(header::TE);
    // Was answered when the body was asked for.
    headers.remove(header::EXPECT);
    headers.remove(PROXY);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    tell_of_client(headers, client, host);
}

fn tell_of_client(headers: &mut HeaderMap, client: &Client, host: Option<&HeaderValue>) {
    let proto = HeaderValue::from_static(if client.is_tls { "https" } else { "http" });
    let said = [(FORWARDED_PROTO, Some(&proto)), (FORWARDED_PORT, Some(&client.port)), (FORWARDED_HOST, host)];
    let own = said.into_iter().filter_map(|(name, value)| Some((name, value?)));
    if !client.is_trusted {
        headers.remove(header::FORWARDED);
        headers.remove(FORWARDED_HOST);
        headers.insert(FORWARDED_FOR, client.address.clone());
        headers.insert(REAL_IP, client.address.clone());
        own.for_each(|(name, value)| drop(headers.insert(name, value.clone())));
        return;
    }
    let before: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let chain = [before, vec![client.address.as_bytes()]].concat().join(&b", "[..]);
    headers.insert(FORWARDED_FOR, HeaderValue::from_bytes(&chain).unwrap_or_else(|_| client.address.clone()));
    for (name, value) in own.chain([(REAL_IP, &client.address)]) {
        if let Entry::Vacant(place) = headers.entry(name) {
            place.insert(value.clone());
        }
    }
}

/// Makes of a backend's headers those of the answer; `switches` when both go on in another protocol.
pub(crate) fn to_client(headers: &mut HeaderMap, switches: bool) {
    let protocol = headers.get(header::UPGRADE).filter(|_| switches).cloned();
    drop_hop_by_hop(headers);
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// The other protocol that a client wants to go on in.
pub(crate) fn wanted_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let wants = headers.get_all(header::CONNECTION).iter().any(|value| names(value).any(|name| name == "upgrade"));
    // HTTP/2 is not what a backend would be asked for by this.
    let other = protocol.to_str().is_ok_and(|protocol| !protocol.to_ascii_lowercase().contains("h2c"));
    (wants && other).then(|| protocol.clone())
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let listed = headers.get_all(header::CONNECTION).iter().flat_map(names);
        let listed: Vec<HeaderName> = listed.filter_map(|name| name.parse().ok()).collect();
        for name in listed.iter().filter(|name| **name != header::HOST && **name != header::CONTENT_LENGTH) {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn names(value: &HeaderValue) -> impl Iterator<Item = String> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(|name| name.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(is_trusted: bool) -> Client {
        let text = HeaderValue::from_static;
        Client { address: text("192.0.2.7"), port: text("443"), is_tls: true, is_trusted }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn told(client: &Client, lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = headers(lines);
        to_backend(&mut headers, client, Some(&HeaderValue::from_static("a.example:8443")));
        let mut told: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("is text"))).collect();
        told.sort();
        told
    }

    #[test]
    fn a_backend_is_told_of_the_client_whatever_the_client_says() {
        let told = told(
            &client(false),
            &[("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1"), ("x-forwarded-proto", "http"), ("accept", "*/*")],
        );
        let expected = [
            "accept: */*",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: a.example:8443",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
            "x-real-ip: 192.0.2.7",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_trusted_proxy_may_say_whom_it_asks_for() {
        let told = told(
            &client(true),
            &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "b.example")],
        );
        let expected = [
            "x-forwarded-for: 10.0.0.1, 192.0.2.7",
            "x-forwarded-host: b.example",
            "x-forwarded-port: 443",
            "x-forwarded-proto: http",
            "x-real-ip: 192.0.2.7",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_of_one_connection_does_not_go_on() {
        let mut headers = headers(&[
            ("connection", "close, X-Secret, host, TE"),
            ("x-secret", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("proxy", "http://evil"),
            ("host", "a"),
        ]);
        to_backend(&mut headers, &client(false), None);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).filter(|name| !name.starts_with("x-")).collect();
        assert_eq!((left, headers[header::TE].to_str().expect("is text")), (vec!["host", "te"], "trailers"));
        assert!(!headers.contains_key("x-secret"));
    }

    #[test]
    fn an_upgrade_goes_on_in_both_directions_but_not_to_http_2() {
        let mut asked = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        to_backend(&mut asked, &client(false), None);
        assert_eq!(
            (&asked[header::CONNECTION], &asked[header::UPGRADE]),
            (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
        let mut answered = headers(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        to_client(&mut answered, true);
        assert_eq!(answered.len(), 2);
        to_client(&mut answered, false);
        assert_eq!(answered.len(), 0);
        let http2 = headers(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")]);
        assert_eq!(wanted_protocol(&http2), None);
        assert_eq!(wanted_protocol(&headers(&[("upgrade", "websocket")])), None);
    }
}
