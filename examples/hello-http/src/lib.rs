//! A `wasi:http/proxy` component: answers every request with a greeting, its environment's `GREETING`, and the path.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let greeting = std::env::var("GREETING").unwrap_or_else(|_| "Hello from Wasm".to_owned());
        let path = request.path_with_query().unwrap_or_default();
        println!("request for {path}");
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a new response has a body");
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            // A client that went away needs no answer.
            let _ = stream.blocking_write_and_flush(format!("{greeting} at {path}\n").as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Hello);
