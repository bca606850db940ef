//! What a collection may do, and what it did: of records and objects, and of Delta tables.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a collection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Collect {
    /// Objects that are younger are left alone; milliseconds.
    #[schemars(range(min = 0))]
    pub min_age_ms: i64,
    /// Only says what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// Records of commits that are no longer kept.
    pub records: u64,
    /// Objects that nothing leads to.
    pub objects: u64,
    /// Bytes of those objects.
    pub bytes: u64,
    /// Objects that nothing leads to, too young to be touched.
    pub young: u64,
}

impl Collected {
    /// Both together.
    pub(super) fn with(self, more: Self) -> Self {
        Self {
            records: self.records + more.records,
            objects: self.objects + more.objects,
            bytes: self.bytes + more.bytes,
            young: self.young + more.young,
        }
    }
}
