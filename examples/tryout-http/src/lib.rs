//! A `wasi:http/proxy` component for trying out what a serving Wasm pod gets. The path chooses: `/wait/MS` answers after so
//! long, `/work/N` after so many million steps, `/fetch?URL` with what another server says, `/status/CODE` with that code,
//! anything else with the path.

use std::time::Duration;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

struct Tryout;

impl wasip2::exports::http::incoming_handler::Guest for Tryout {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (status, text) = answer(&path);
        let response = OutgoingResponse::new(Fields::new());
        // What is no status stays 200.
        let _ = response.set_status_code(status);
        let body = response.body().expect("a new response has a body");
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            // As much at a time as the interface allows. A client that went away needs no answer.
            let _ = format!("{text}\n").as_bytes().chunks(4096).try_for_each(|part| stream.blocking_write_and_flush(part));
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

fn answer(path: &str) -> (u16, String) {
    if let Some(url) = path.strip_prefix("/fetch?") {
        return fetch(url).unwrap_or_else(|why| (502, why));
    }
    let mut parts = path.trim_start_matches('/').split('/');
    let (verb, value) = (parts.next().unwrap_or_default(), parts.next().and_then(|value| value.parse::<u16>().ok()));
    match (verb, value) {
        ("wait", Some(value)) => {
            println!("waiting for {value} ms");
            std::thread::sleep(Duration::from_millis(value.into()));
            (200, format!("waited for {value} ms"))
        }
        ("work", Some(value)) => {
            let steps = u64::from(value) * 1_000_000;
            let sum = (0..steps).fold(0u64, |sum, step| std::hint::black_box(sum.rotate_left(5) ^ step));
            (200, format!("worked to {sum:x}"))
        }
        ("status", Some(value)) => (value, format!("status {value}")),
        _ => (200, path.to_owned()),
    }
}

/// Status and body of a GET.
fn fetch(url: &str) -> Result<(u16, String), String> {
    let (scheme, rest) = url.split_once("://").ok_or("no URL")?;
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let request = OutgoingRequest::new(Fields::new());
    let set = request.set_method(&Method::Get).is_ok()
        && request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).is_ok();
    if !set {
        return Err(format!("{url} is no URL"));
    }
    let answer = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    answer.subscribe().block();
    let response = answer.get().ok_or("no answer")?.map_err(|()| "asked twice")?.map_err(|code| format!("{code:?}"))?;
    let body = response.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut text = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => text.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(format!("{error:?}")),
        }
    }
    Ok((response.status(), String::from_utf8_lossy(&text).trim_end().to_owned()))
}

wasip2::http::proxy::export!(Tryout);
