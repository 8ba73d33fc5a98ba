//! Which protocols a request for a stream offers.

use http::{HeaderMap, header};

pub(super) const SPDY: &str = "SPDY/3.1";
/// How SPDY clients name the protocol above it.
pub(super) const VERSION: &str = "x-stream-protocol-version";
/// A WebSocket's subprotocol that carries SPDY.
pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

pub(super) const V4: &str = "v4.channel.k8s.io";
pub(super) const V3: &str = "v3.channel.k8s.io";
pub(super) const REMOTE_COMMAND: &[&str] = &[V4, V3, "v2.channel.k8s.io", "channel.k8s.io"];
pub(super) const PORT_FORWARD: &[&str] = &["portforward.k8s.io"];

/// What a client of a pod's stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// What nodes speak themselves; or no stream at all.
    WebSocket,
    Spdy,
    /// SPDY within a WebSocket.
    Tunnel,
}

pub(crate) fn spoken(headers: &HeaderMap, subresource: &str) -> Spoken {
    let is_tunnel = || words(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str()).any(|protocol| protocol == TUNNEL);
    let upgrades_to_spdy = words(headers, "upgrade").any(|protocol| protocol.eq_ignore_ascii_case(SPDY));
    match subresource {
        "exec" | "attach" | "portforward" if upgrades_to_spdy => Spoken::Spdy,
        "portforward" if is_tunnel() => Spoken::Tunnel,
        _ => Spoken::WebSocket,
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    #[error("unable to upgrade: X-Stream-Protocol-Version is required")]
    Missing,
    #[error(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
        client.join(" "),
        server.join(" ")
    )]
    Unknown { client: Vec<String>, server: &'static [&'static str] },
}

/// The first protocol of the client's that is served.
pub(super) fn negotiate(headers: &HeaderMap, served: &'static [&'static str]) -> Result<&'static str, Refused> {
    let mut asked = words(headers, VERSION).peekable();
    if asked.peek().is_none() {
        return Err(Refused::Missing);
    }
    let known = |asked: &str| served.iter().find(|served| **served == asked).copied();
    words(headers, VERSION)
        .find_map(known)
        .ok_or_else(|| Refused::Unknown { client: asked.map(str::to_owned).collect(), server: served })
}

/// A header's values, which stand in lines of their own or between commas.
fn words<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_clients_order_decides() {
        let asked = headers(&[(VERSION, "v9.channel.k8s.io, v3.channel.k8s.io"), (VERSION, "v4.channel.k8s.io")]);
        assert_eq!(negotiate(&asked, REMOTE_COMMAND), Ok(V3));
        assert_eq!(negotiate(&headers(&[]), REMOTE_COMMAND), Err(Refused::Missing));
        assert_eq!(
            negotiate(&headers(&[(VERSION, "v4.channel.k8s.io")]), PORT_FORWARD).expect_err("is refused").to_string(),
            "unable to upgrade: unable to negotiate protocol: client supports [v4.channel.k8s.io], server accepts [portforward.k8s.io]"
        );
    }

    #[test]
    fn spdy_is_upgraded_to_or_tunnelled() {
        assert_eq!(spoken(&headers(&[("upgrade", "spdy/3.1")]), "exec"), Spoken::Spdy);
        assert_eq!(spoken(&headers(&[("upgrade", "SPDY/3.1")]), "log"), Spoken::WebSocket);
        let tunnel = headers(&[("upgrade", "websocket"), ("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io")]);
        assert_eq!(spoken(&tunnel, "portforward"), Spoken::Tunnel);
        assert_eq!(spoken(&headers(&[("sec-websocket-protocol", "v4.channel.k8s.io")]), "portforward"), Spoken::WebSocket);
    }
}
