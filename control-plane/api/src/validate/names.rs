//! Names and other short strings. Each check returns its complaints, none when the text is right.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
                     with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                         start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
                       character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
                       validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_FORM: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                              with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                              validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix \
                              and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
                           start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
                           used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Which names a kind's objects may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NameRule {
    #[default]
    Dns1123Subdomain,
    Dns1123Label,
    Dns1035Label,
    /// Anything that is one segment of a URL path (RBAC objects).
    PathSegment,
    /// An address in its canonical form (IPAddress objects).
    IpAddress,
}

impl NameRule {
    pub fn check(self, name: &str) -> Vec<String> {
        match self {
            Self::Dns1123Subdomain => dns1123_subdomain(name),
            Self::Dns1123Label => dns1123_label(name),
            Self::Dns1035Label => dns1035_label(name),
            Self::PathSegment => path_segment(name),
            Self::IpAddress => canonical_ip_address(name),
        }
    }
}

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn lower_or_digit(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            lower_or_digit(first) && lower_or_digit(last) && bytes.iter().all(|&c| lower_or_digit(c) || c == b'-')
        }
        _ => false,
    }
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        }
        _ => false,
    }
}

fn collect(text: &str, limit: usize, right: bool, complaint: &str) -> Vec<String> {
    let long = (text.len() > limit).then(|| too_long(limit));
    long.into_iter().chain((!right).then(|| complaint.to_owned())).collect()
}

pub fn dns1123_label(text: &str) -> Vec<String> {
    collect(text, 63, is_label(text), LABEL)
}

pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    collect(text, 253, text.split('.').all(is_label), SUBDOMAIN)
}

pub fn dns1035_label(text: &str) -> Vec<String> {
    collect(text, 63, is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()), DNS1035)
}

pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|bad| text.contains(**bad)).map(|bad| format!("may not contain '{bad}'")).collect()
}

/// A label or annotation key: a name with an optional DNS prefix.
pub fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        None => (None, text),
        Some((_, rest)) if rest.contains('/') => return vec![QUALIFIED_FORM.to_owned()],
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut complaints = Vec::new();
    match prefix {
        Some("") => complaints.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            complaints.extend(dns1123_subdomain(prefix).into_iter().map(|complaint| format!("prefix part {complaint}")))
        }
        None => {}
    }
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        complaints.push(format!("name part {}", too_long(63)));
    }
    if !is_name_part(name) {
        complaints.push(QUALIFIED.to_owned());
    }
    complaints
}

pub fn label_key(text: &str) -> Vec<String> {
    qualified_name(text)
}

pub fn label_value(text: &str) -> Vec<String> {
    collect(text, 63, text.is_empty() || is_name_part(text), LABEL_VALUE)
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let right = !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'));
    let mut complaints = collect(
        text,
        253,
        right,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
         'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    );
    match text {
        "." => complaints.push("must not be '.'".to_owned()),
        ".." => complaints.push("must not be '..'".to_owned()),
        text if text.starts_with("..") => complaints.push("must not start with '..'".to_owned()),
        _ => {}
    }
    complaints
}

/// An environment variable: any printable ASCII but `=` (KEP-4369).
pub fn env_var_name(text: &str) -> Vec<String> {
    match !text.is_empty() && text.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
        true => Vec::new(),
        false => vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '=' (e.g. \
             'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1')"
                .to_owned(),
        ],
    }
}

/// A port's name (IANA_SVC_NAME of RFC 6335).
pub fn port_name(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if text.len() > 15 {
        complaints.push("must be no more than 15 characters".to_owned());
    }
    if !text.bytes().all(|c| lower_or_digit(c) || c == b'-') {
        complaints.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|c| c.is_ascii_lowercase()) {
        complaints.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        complaints.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        complaints.push("must not begin or end with a hyphen".to_owned());
    }
    complaints
}

pub fn port_number(port: i64) -> Vec<String> {
    match (1..=65535).contains(&port) {
        true => Vec::new(),
        false => vec!["must be between 1 and 65535, inclusive".to_owned()],
    }
}

/// An address that others can reach: none of the machine's own, and none of the link's.
pub fn public_address(text: &str) -> Vec<String> {
    let Ok(address) = text.parse::<IpAddr>() else { return ip_address(text) };
    let (link_local, local_multicast) = match address {
        IpAddr::V4(address) => (address.is_link_local(), address.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(address) => (address.is_unicast_link_local(), address.segments()[0] == 0xff02),
    };
    let mut wrong = ip_address(text);
    for (is_wrong, why) in [
        (address.is_unspecified(), format!("may not be unspecified ({text:?})")),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ] {
        if is_wrong {
            wrong.push(why);
        }
    }
    wrong
}

pub fn ip_address(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

fn canonical_ip_address(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.to_string() == text => Vec::new(),
        Ok(address) => vec![format!("must be in canonical form ({:?})", address.to_string())],
        Err(_) => ip_address(text),
    }
}

/// An address range such as `10.0.0.0/8`, its host bits zero.
pub fn cidr(text: &str) -> Vec<String> {
    let Some((address, bits)) = parse_cidr(text) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    };
    let host_bits = match address {
        IpAddr::V4(address) => u32::from(address).checked_shl(bits).unwrap_or(0) != 0,
        IpAddr::V6(address) => u128::from(address).checked_shl(bits).unwrap_or(0) != 0,
    };
    if host_bits { vec!["must not have bits set beyond the prefix length".to_owned()] } else { Vec::new() }
}

fn parse_cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?);
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

/// A domain, a slash and a path, as controllers are named.
pub fn domain_prefixed_path(text: &str) -> Vec<String> {
    let Some((domain, path)) = text.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty()) else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    let mut complaints: Vec<String> =
        dns1123_subdomain(domain).into_iter().map(|complaint| format!("domain part: {complaint}")).collect();
    if !path.bytes().all(|c| c.is_ascii_alphanumeric() || b"/:.-_~%!$&'()*+,;=@".contains(&c)) {
        complaints.push(
            "Invalid path (e.g. 'acme.io/foo', regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')".to_owned(),
        );
    }
    complaints
}

/// `*.` and a subdomain.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    match text.strip_prefix("*.") {
        Some(rest) if text.len() <= 253 && rest.split('.').all(is_label) => Vec::new(),
        _ => vec![
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower \
             case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used \
             for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        ],
    }
}

/// Standard base64 with padding, as secrets hold it; line breaks are skipped.
///
/// # Errors
/// The offset of the first wrong byte.
pub fn base64(text: &str) -> Result<Vec<u8>, usize> {
    let joined: String;
    let text = match text.contains(['\n', '\r']) {
        true => {
            joined = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            &joined
        }
        false => text,
    };
    STANDARD.decode(text).map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_their_rule_says() {
        let long = "a".repeat(64);
        for (rule, name, right) in [
            (NameRule::Dns1123Subdomain, "a.b-c.1", true),
            (NameRule::Dns1123Subdomain, &long, true),
            (NameRule::Dns1123Subdomain, "", false),
            (NameRule::Dns1123Subdomain, "A", false),
            (NameRule::Dns1123Subdomain, "a..b", false),
            (NameRule::Dns1123Subdomain, "a_b", false),
            (NameRule::Dns1123Subdomain, "-a", false),
            (NameRule::Dns1123Label, "1-a", true),
            (NameRule::Dns1123Label, "a.b", false),
            (NameRule::Dns1123Label, &long, false),
            (NameRule::Dns1035Label, "a1", true),
            (NameRule::Dns1035Label, "1a", false),
            (NameRule::PathSegment, "system:node:A", true),
            (NameRule::PathSegment, "a/b", false),
            (NameRule::PathSegment, "..", false),
        ] {
            assert_eq!(rule.check(name).is_empty(), right, "{rule:?} {name:?}");
        }
    }

    #[test]
    fn label_keys_and_values_are_checked() {
        for (key, right) in [
            ("app", true),
            ("app.kubernetes.io/name", true),
            ("example.com/My_Name.1", true),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a/b/c", false),
            ("Example.com/a", false),
            ("a b", false),
        ] {
            assert_eq!(label_key(key).is_empty(), right, "{key:?}");
        }
        for (value, right) in [("", true), ("A.b_c-1", true), ("-a", false), ("a b", false), (&"a".repeat(64), false)] {
            assert_eq!(label_value(value).is_empty(), right, "{value:?}");
        }
    }

    #[test]
    fn other_short_strings_are_checked() {
        assert!(config_map_key("key.name").is_empty() && config_map_key("_-A").is_empty());
        assert!(!config_map_key("").is_empty() && !config_map_key("..a").is_empty() && !config_map_key("a/b").is_empty());
        assert!(env_var_name("my.env-NAME 1").is_empty() && !env_var_name("a=b").is_empty() && !env_var_name("").is_empty());
        assert!(port_name("http-2").is_empty() && !port_name("1").is_empty() && !port_name("a--b").is_empty());
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert!(ip_address("::1").is_empty() && !ip_address("10.0.0").is_empty());
        for (range, right) in
            [("10.0.0.0/8", true), ("0.0.0.0/0", true), ("fd00::/64", true), ("10.0.0.1/8", false), ("10.0.0.0", false)]
        {
            assert_eq!(cidr(range).is_empty(), right, "{range}");
        }
        assert!(NameRule::IpAddress.check("2001:db8::1").is_empty() && !NameRule::IpAddress.check("2001:DB8::1").is_empty());
        assert!(domain_prefixed_path("a.io/b").is_empty() && !domain_prefixed_path("b").is_empty());
        assert!(wildcard_subdomain("*.a.b").is_empty() && !wildcard_subdomain("a.b").is_empty());
        assert_eq!(base64("aGk=\n"), Ok(b"hi".to_vec()));
        assert_eq!(base64("a*k="), Err(1));
    }
}
