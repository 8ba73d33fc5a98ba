//! Questions to a server whose certificate cannot be checked yet, since nobody knows its authority.

use bytes::Bytes;

use super::{CONNECT_TIMEOUT, HttpError, failure};

/// What a server answers there to anybody: the code and the body. Nothing of it is to be trusted before it is checked.
///
/// # Errors
/// When there is no answer.
pub async fn get_unverified(server: &str, path: &str) -> Result<(u16, Bytes), HttpError> {
    let server = server.trim_end_matches('/').to_owned();
    let builder = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).timeout(CONNECT_TIMEOUT);
    let client = builder.build().map_err(|source| HttpError::Build { server: server.clone(), source })?;
    let unreachable = |error: reqwest::Error| HttpError::Unreachable { server: server.clone(), why: failure::reason(&error) };
    let response = client.get(format!("{server}{path}")).send().await.map_err(unreachable)?;
    let code = response.status().as_u16();
    Ok((code, response.bytes().await.map_err(unreachable)?))
}
