//! `[memory]`: how much of it the node may use.

use serde::{Deserialize, Serialize};

use super::units::Size;

/// Two budgets; the process needs some 20 MiB beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Entries kept in memory. Default: a quarter of what this machine or its cgroup has, at most 1GiB.
    pub hot: Size,
    /// Bodies on their way in or out. Default: a quarter, too, at most 256MiB.
    pub transfers: Size,
}

const MOST_HOT_BY_DEFAULT: u64 = 1 << 30;
const MOST_TRANSFERS_BY_DEFAULT: u64 = 256 << 20;
const LEAST_HOT: u64 = 1 << 20;
const LEAST_TRANSFERS: u64 = 4 << 20;

impl Default for MemoryConfig {
    fn default() -> Self {
        let quarter = memory_limit().map_or(256 << 20, |limit| limit / 4);
        // Whole mebibytes read better.
        let at_most = |most: u64| Size(quarter.min(most) >> 20 << 20);
        Self { hot: at_most(MOST_HOT_BY_DEFAULT), transfers: at_most(MOST_TRANSFERS_BY_DEFAULT) }
    }
}

impl MemoryConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.hot.0 < LEAST_HOT {
            return Err(format!("memory.hot: {} is too little, at least 1MiB is needed", self.hot));
        }
        if self.transfers.0 < LEAST_TRANSFERS {
            return Err(format!("memory.transfers: {} is too little, at least 4MiB is needed", self.transfers));
        }
        match memory_limit() {
            Some(limit) if self.hot.0.saturating_add(self.transfers.0) > limit => Err(format!(
                "memory: hot ({}) and transfers ({}) are more than the {} that this machine or its cgroup has",
                self.hot,
                self.transfers,
                super::units::human_bytes(limit)
            )),
            _ => Ok(()),
        }
    }
}

/// What this process may use: the cgroup's limit where there is one (version 2 or 1), else the machine's memory.
#[allow(clippy::disallowed_methods)] // the kernel's figures, not the store's files
pub fn memory_limit() -> Option<u64> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let cgroup = [
        format!("/sys/fs/cgroup{}/memory.max", unified.trim_end_matches('/')),
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    cgroup.iter().filter_map(|path| number(path)).chain(machine).min()
}
