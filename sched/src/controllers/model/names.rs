//! Names that follow from what they are for: the same plan made twice gives the same names.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Kubernetes' own alphabet: no vowels, so that no words come out, and nothing that is misread.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Of what is put behind the name of an owner.
const SUFFIX_LENGTH: usize = 5;
const TEMPLATE_HASH_LENGTH: usize = 10;
/// A pod's name is its host name too: a DNS label.
const NAME_LENGTH_MAX: usize = 63;

/// FNV-1a of 64 bits: stable over time and builds, which names must be.
fn fnv(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // The end of a part counts too: "a", "bc" is not "ab", "c".
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

fn spell(mut hash: u64, length: usize) -> String {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        let digit = usize::try_from(hash % 27).unwrap_or_default();
        text.push(char::from(ALPHABET[digit]));
        hash /= 27;
    }
    text
}

/// A short name for what the parts say.
pub(crate) fn short(parts: &[&str]) -> String {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    spell(fnv(&parts), SUFFIX_LENGTH)
}

/// `<base>-<suffix>`, the base shortened as far as needed.
pub(crate) fn below(base: &str, suffix: &str) -> String {
    let room = NAME_LENGTH_MAX.saturating_sub(suffix.len() + 1);
    let base: String = base.chars().take(room).collect();
    format!("{}-{suffix}", base.trim_end_matches(['-', '.']))
}

/// The value of `pod-template-hash`: the same for equal templates.
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    // A document of strings, numbers, lists and maps with ordered keys always has a text.
    let text = serde_json::to_vec(template).unwrap_or_default();
    spell(fnv(&[&text, &collisions.to_be_bytes()]), TEMPLATE_HASH_LENGTH)
}

/// Names for new children of one owner. The revision of the view makes them new each time, and the
/// same if one view is planned on twice.
pub(crate) struct Fresh<'a> {
    pub(crate) base: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) revision: i64,
}

impl Fresh<'_> {
    /// Names in a fixed order, without those that are taken.
    pub(crate) fn names(&self, is_taken: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        let revision = self.revision.to_string();
        (0_u64..)
            .map(move |at| below(self.base, &short(&[self.uid, &revision, &at.to_string()])))
            .filter(move |name| !is_taken(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_and_repeat_for_the_same_view_alone() {
        // Proves that a plan made twice on one view asks for the same pods, that another view asks
        // for others, and that no name is longer than a DNS label.
        let long = "a".repeat(80);
        let at = |revision| Fresh { base: &long, uid: "u", revision };
        let take = |revision: i64| at(revision).names(|_| false).take(50).collect::<Vec<_>>();
        assert_eq!(take(7), take(7));
        assert!(take(7).iter().all(|name| !take(8).contains(name)));
        assert!(take(7).iter().all(|name| name.len() <= NAME_LENGTH_MAX));
        let first = take(7)[0].clone();
        assert_ne!(at(7).names(|name| name == first).next(), Some(first.clone()));
    }

    #[test]
    fn equal_templates_have_one_hash() {
        // Proves that the hash depends on the template and on the count of collisions.
        let template = PodTemplateSpec::default();
        assert_eq!(template_hash(&template, 0), template_hash(&template.clone(), 0));
        assert_ne!(template_hash(&template, 0), template_hash(&template, 1));
    }
}
