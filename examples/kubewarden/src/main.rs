//! The policy as a WASI program.

mod policy;

use std::error::Error;

use kubewarden_policy_sdk::request::ValidationRequest;
use kubewarden_policy_sdk::response::ValidationResponse;
use kubewarden_policy_sdk::settings::{SettingsValidationResponse, Validatable};
use policy::Settings;

fn main() -> Result<(), Box<dyn Error>> {
    let input = std::io::read_to_string(std::io::stdin())?;
    match std::env::args().nth(1).as_deref() {
        Some("validate") => println!("{}", serde_json::to_string(&validate(input.as_bytes())?)?),
        Some("validate-settings") => {
            let message = serde_json::from_str::<Settings>(&input)?.validate().err();
            println!("{}", serde_json::to_string(&SettingsValidationResponse { valid: message.is_none(), message })?);
        }
        other => return Err(format!("asked {other:?}").into()),
    }
    Ok(())
}

fn validate(payload: &[u8]) -> Result<ValidationResponse, Box<dyn Error>> {
    let ValidationRequest { request, settings } = ValidationRequest::<Settings>::new(payload)?;
    let owner = policy::owner(&request.object, &settings);
    Ok(ValidationResponse {
        accepted: owner.is_ok(),
        mutated_object: owner.as_ref().ok().and_then(|owner| policy::stamped(&request.object, owner, &settings)),
        message: owner.err(),
        code: None,
        audit_annotations: None,
        warnings: None,
    })
}
