//! What a Node has from its first moment, in the kubelet's words.

use k8s_openapi::api::core::v1::Taint;
use mizzen_agent::Registration;
use mizzen_api::node_labels::is_own_label;
use mizzen_api::validate::{label_key, label_value};

use super::{ConfigError, File};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "registration")]
pub struct Flags {
    /// Labels that the Node gets when it is made, KEY=VALUE
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub node_labels: Vec<String>,
    /// Taints that the Node gets when it is made, KEY[=VALUE]:EFFECT
    #[arg(long, value_name = "TAINTS", value_delimiter = ',')]
    pub register_with_taints: Vec<String>,
}

impl Flags {
    /// Flags are added to what the file has, and go before it.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub(super) fn resolve(&self, file: &File) -> Result<Registration, ConfigError> {
        let mut labels = file.node_labels.clone();
        for label in &self.node_labels {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            labels.insert(key.to_owned(), value.to_owned());
        }
        for (key, value) in &labels {
            check("nodeLabels", key, value)?;
            if !is_own_label(key) {
                let why =
                    format!("{key:?} is no label that a node may give itself: `kubectl label node` does, as an administrator");
                return Err(ConfigError::Invalid { field: "nodeLabels", why });
            }
        }
        let mut taints = file.register_with_taints.clone();
        for text in &self.register_with_taints {
            let taint = parse(text)?;
            taints.retain(|known| (&known.key, &known.effect) != (&taint.key, &taint.effect));
            taints.push(taint);
        }
        for taint in &taints {
            check(TAINTS, &taint.key, taint.value.as_deref().unwrap_or_default())?;
            if !EFFECTS.contains(&taint.effect.as_str()) {
                let why = format!("the effect {:?} of {:?} is none of {}", taint.effect, taint.key, EFFECTS.join(", "));
                return Err(ConfigError::Invalid { field: TAINTS, why });
            }
        }
        Ok(Registration { labels, taints })
    }
}

const TAINTS: &str = "registerWithTaints";

fn parse(text: &str) -> Result<Taint, ConfigError> {
    let why = || format!("{text:?} is not of the form KEY[=VALUE]:EFFECT");
    let (pair, effect) = text.rsplit_once(':').ok_or_else(|| ConfigError::Invalid { field: TAINTS, why: why() })?;
    let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value.to_owned())));
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

fn check(field: &'static str, key: &str, value: &str) -> Result<(), ConfigError> {
    let wrong = label_key(key).into_iter().map(|why| format!("{key:?}: {why}"));
    let mut wrong = wrong.chain(label_value(value).into_iter().map(|why| format!("{value:?}: {why}")));
    wrong.next().map_or(Ok(()), |why| Err(ConfigError::Invalid { field, why }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(labels: &[&str], taints: &[&str], file: &str) -> Result<Registration, String> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let flags = Flags { node_labels: owned(labels), register_with_taints: owned(taints) };
        flags.resolve(&serde_yaml_ng::from_str(file).expect("parses")).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_and_file_together_make_labels_and_taints() {
        let file = "nodeLabels: {rack: a, site: north}\nregisterWithTaints: [{key: edge, effect: NoSchedule}]\n";
        let made = resolve(&["rack=b", "gpu"], &["edge=yes:NoSchedule", "slow:NoExecute"], file).expect("is valid");
        let labels: Vec<_> = made.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["gpu=", "rack=b", "site=north"]);
        let taints: Vec<_> = made.taints.iter().map(|taint| (taint.key.as_str(), taint.value.as_deref())).collect();
        assert_eq!(taints, [("edge", Some("yes")), ("slow", None)]);
    }

    #[test]
    fn what_the_server_would_refuse_is_refused_at_once() {
        for (labels, taints, why) in [
            (&["node-role.kubernetes.io/worker="][..], &[][..], "nodeLabels: \"node-role.kubernetes.io/worker\" is no label"),
            (&["a b=c"], &[], "nodeLabels: \"a b\""),
            (&[], &["a"], "registerWithTaints: \"a\" is not of the form"),
            (&[], &["a:Never"], "registerWithTaints: the effect \"Never\""),
        ] {
            let refused = resolve(labels, taints, "{}").expect_err("is refused");
            assert!(refused.starts_with(why), "{refused}");
        }
    }
}
