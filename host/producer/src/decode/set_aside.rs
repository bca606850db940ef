//! Messages that the source itself sets aside, by the attribute `fault`: no decoder sees them.

use spout_data::{Messages, Origins};
use spout_plugin::RowFault;

use super::{Rows, fault};

/// What a source has not set aside, and what it has.
#[derive(Debug)]
pub(super) struct Separated {
    /// The messages to decode.
    pub(super) sound: Messages,
    /// Which message each of them was.
    index: Vec<u32>,
    faults: Vec<RowFault>,
}

/// Takes out what the source has set aside; `None` if that is nothing.
pub(super) fn separate(messages: &Messages) -> Option<Separated> {
    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let marks: Vec<(u32, &[u8])> = messages
        .attributes
        .iter()
        .filter(|attribute| attribute.name == "fault")
        .map(|attribute| (attribute.first.min(count), attribute.value.as_slice()))
        .collect();
    if marks.iter().all(|(_, value)| value.is_empty()) {
        return None;
    }
    let mut separated = Separated { sound: Messages::default(), index: Vec::new(), faults: Vec::new() };
    let ends = marks.iter().skip(1).map(|(first, _)| *first).chain([count]);
    separated.keep(messages, 0, marks.first().map_or(count, |(first, _)| *first));
    for (&(first, value), end) in marks.iter().zip(ends) {
        if value.is_empty() {
            separated.keep(messages, first, end);
            continue;
        }
        let text = String::from_utf8_lossy(value);
        let (code, reason) = text.split_once(' ').unwrap_or((&text, "the source set it aside"));
        separated.faults.extend((first..end).map(|message| fault(message, code, reason)));
    }
    Some(separated)
}

impl Separated {
    fn keep(&mut self, messages: &Messages, from: u32, to: u32) {
        if from >= to {
            return;
        }
        let more = messages.slice(from as usize..to as usize);
        if self.sound.is_empty() {
            self.sound = more;
        } else {
            self.sound.append(more);
        }
        self.index.extend(from..to);
    }

    /// The rows of `sound` as rows of all messages.
    pub(super) fn restore(self, rows: Rows) -> Rows {
        let Self { index, mut faults, .. } = self;
        let whole = |message: u32| index.get(message as usize).copied().unwrap_or(u32::MAX);
        faults.extend(rows.faults.into_iter().map(|fault| RowFault { message: whole(fault.message), ..fault }));
        faults.sort_by_key(|fault| fault.message);
        let origins = match rows.origins {
            Origins::Each => Origins::Taken(index.into()),
            Origins::Taken(list) => Origins::Taken(list.iter().map(|&message| whole(message)).collect()),
            Origins::Unknown => Origins::Unknown,
        };
        Rows { origins, faults, ..rows }
    }
}

#[cfg(test)]
mod tests {
    use spout_codec::Attribute;

    use super::*;
    use spout_data::Blobs;

    fn messages(count: u64, faults: &[(u32, &str)]) -> Messages {
        let mut values = Blobs::default();
        (0..count).for_each(|n| values.push(format!("m{n}").as_bytes()));
        let attribute = |&(first, value): &(u32, &str)| Attribute { first, name: "fault".into(), value: value.into() };
        let attributes = faults.iter().map(attribute).collect();
        Messages {
            keys: Some(values.clone()),
            values,
            offsets: (10..10 + count).collect(),
            attributes,
            ..Messages::default()
        }
    }

    #[test]
    fn what_the_source_sets_aside_is_not_decoded() {
        assert!(separate(&messages(3, &[])).is_none());
        let all = messages(6, &[(1, "a.b why so"), (2, ""), (4, "c"), (5, "d e")]);
        let separated = separate(&all).unwrap();
        let sound: Vec<_> = (0..3).map(|at| separated.sound.values.get(at).to_vec()).collect();
        assert_eq!(sound, [b"m0", b"m2", b"m3"]);
        assert_eq!(
            (&separated.sound.offsets[..], separated.sound.keys.as_ref().map(Blobs::len)),
            (&[10, 12, 13][..], Some(3))
        );
        let rows = Rows { faults: vec![fault(2, "x", "y")], origins: Origins::Taken([0, 1].into()), ..Rows::none() };
        let restored = separated.restore(rows);
        let faults: Vec<_> = restored.faults.iter().map(|fault| (fault.message, fault.code.as_str())).collect();
        assert_eq!(faults, [(1, "a.b"), (3, "x"), (4, "c"), (5, "d")]);
        assert_eq!((restored.origins, restored.faults[0].reason.as_str()), (Origins::Taken([0, 2].into()), "why so"));
    }

    #[test]
    fn all_may_be_set_aside() {
        let separated = separate(&messages(2, &[(0, "a b")])).unwrap();
        assert!(separated.sound.is_empty());
        assert_eq!(separated.restore(Rows::none()).faults.len(), 2);
    }
}
