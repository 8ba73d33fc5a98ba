//! Who may ask a node, as the kubelet decides it: the API server may ask anything; anybody else shows a certificate or a
//! token, and the API says who that is and whether they may.
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

mod asked;
mod caller;
mod decisions;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mizzen_api::Status;

use asked::Asked;
pub(super) use caller::Caller;
pub(super) use decisions::Decisions;

/// Of one connection.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) decisions: Arc<Decisions>,
    /// By the certificate that the connection came with.
    pub(super) caller: Caller,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("Unauthorized")]
    Unknown,
    #[error("Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)={subresources:?})")]
    Forbidden { user: String, verb: &'static str, subresources: Vec<&'static str> },
    #[error("ask the API who may: {0}")]
    Api(Status),
}

/// Lets on who may.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let asked = Asked::of(request.method(), request.uri().path());
    let token = bearer(&request).map(str::to_owned);
    match admit(&access, asked, token.as_deref()).await {
        Ok(()) => next.run(request).await,
        Err(refused) => {
            let code = match refused {
                Refused::Unknown => StatusCode::UNAUTHORIZED,
                Refused::Forbidden { .. } => StatusCode::FORBIDDEN,
                Refused::Api(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (code, refused.to_string()).into_response()
        }
    }
}

async fn admit(access: &Access, asked: Asked, token: Option<&str>) -> Result<(), Refused> {
    let user = match &access.caller {
        Caller::ApiServer => return Ok(()),
        Caller::User(user) => user.clone(),
        Caller::Nobody => {
            let token = token.ok_or(Refused::Unknown)?;
            access.decisions.user(token).await.map_err(Refused::Api)?.ok_or(Refused::Unknown)?
        }
    };
    for subresource in &asked.subresources {
        if access.decisions.may(&user, asked.verb, subresource).await.map_err(Refused::Api)? {
            return Ok(());
        }
    }
    Err(Refused::Forbidden { user: user.name, verb: asked.verb, subresources: asked.subresources })
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}
