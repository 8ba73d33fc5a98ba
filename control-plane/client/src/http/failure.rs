//! Why there was no answer.

use std::error::Error;

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error = *error;
        // An I/O error's source is its content's source; what matters is the content.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(content) => Some(content as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The error with its causes, which the display of a reqwest error leaves out though they say what went wrong.
pub(super) fn text(error: &reqwest::Error) -> String {
    joined(causes(error))
}

/// The causes alone: the error itself tells the request, which its user knows.
pub(super) fn reason(error: &reqwest::Error) -> String {
    joined(causes(error).skip(1))
}

fn joined<'a>(causes: impl Iterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut text = String::new();
    for cause in causes {
        let said = cause.to_string();
        // An I/O error says what its content says.
        if text.ends_with(&said) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&said);
    }
    text
}

/// Whether one of the two sides refused the other's certificate.
pub(super) fn is_distrust(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<rustls::Error>()).any(|error| {
        matches!(
            error,
            rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_) | rustls::Error::NoCertificatesPresented
        )
    })
}
