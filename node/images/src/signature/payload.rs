//! What is signed: "simple signing" (containers/image, docs/atomic-signature.md), with cosign's type.

use serde::Deserialize;
use serde_json::json;

const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// For an image of this name (without a tag) and digest.
pub(super) fn of(name: &str, digest: &str) -> String {
    json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": TYPE,
        },
        "optional": null,
    })
    .to_string()
}

/// # Errors
/// When it is for something else than the image with this digest.
pub(super) fn check(payload: &str, digest: &str) -> Result<(), String> {
    let Payload { critical } = serde_json::from_str(payload).map_err(|error| format!("its payload cannot be read: {error}"))?;
    if critical.kind != TYPE {
        return Err(format!("it is of the type {:?}", critical.kind));
    }
    if critical.image.digest != digest {
        return Err(format!("it is of {}", critical.image.digest));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_for_one_image_and_of_one_type() {
        let payload = of("example.com/a", "sha256:12");
        assert_eq!(check(&payload, "sha256:12"), Ok(()));
        assert!(check(&payload, "sha256:1").unwrap_err().contains("sha256:12"));
        assert!(check(&payload.replace(TYPE, "atomic"), "sha256:12").unwrap_err().contains("atomic"));
        assert!(check("{}", "sha256:12").is_err());
        // As cosign writes it.
        let cosign = r#"{"critical":{"identity":{"docker-reference":"example.com/a"},"image":{"docker-manifest-digest":"sha256:12"},"type":"cosign container image signature"},"optional":{"creator":"ann"}}"#;
        assert_eq!(check(cosign, "sha256:12"), Ok(()));
    }
}
