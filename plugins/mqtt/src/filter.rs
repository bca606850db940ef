//! Which topics: filters as MQTT writes them, several with commas.

use std::collections::BTreeSet;

use spout_guest::{Error, Result};

/// The filters of a topic, each once.
pub(crate) fn filters(topic: &str) -> Result<BTreeSet<String>> {
    let all: BTreeSet<String> =
        topic.split(',').map(str::trim).filter(|filter| !filter.is_empty()).map(str::to_owned).collect();
    if all.is_empty() {
        return Err(Error::invalid_config(
            "the topic is empty; write a filter such as `plant/+/state`, or several with commas",
        ));
    }
    match all.iter().find(|filter| !is_filter(filter)) {
        Some(wrong) => Err(Error::invalid_config(format!(
            "`{wrong}` is no filter of MQTT: `+` is a level of its own, `#` the last one, and after `$share/` come the name of a group and a filter"
        ))),
        None => Ok(all),
    }
}

fn is_filter(filter: &str) -> bool {
    let plain = match filter.strip_prefix("$share/") {
        None => filter,
        Some(shared) => match shared.split_once('/') {
            Some((group, filter)) if !group.is_empty() && !group.contains(['+', '#']) => filter,
            _ => return false,
        },
    };
    let mut levels = plain.split('/').peekable();
    let mut sound = !plain.is_empty() && filter.len() <= usize::from(u16::MAX) && !filter.contains('\0');
    while let Some(level) = levels.next() {
        sound &= match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            _ => !level.contains(['+', '#']),
        };
    }
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_of_mqtt() {
        let all = filters(" a/+/b , $share/g/c/#,a/+/b,").unwrap();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["$share/g/c/#", "a/+/b"]);
        for good in ["#", "+", "/", "a//b", "+/+/#", "$SYS/#", "a b"] {
            assert!(filters(good).is_ok(), "{good}");
        }
        for wrong in ["", " , ", "a#", "a/#/b", "a+/b", "$share/g", "$share//a", "$share/+/a", "$share/g/", "a\0b"] {
            assert!(matches!(filters(wrong), Err(Error::InvalidConfig { .. })), "{wrong}");
        }
    }
}
