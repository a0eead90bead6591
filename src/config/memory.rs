//! `[memory]`: how much of it the node may use.

use serde::{Deserialize, Serialize};

use super::units::Size;

/// Two budgets; the process needs some 20 MiB beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Entries kept in memory. Default: a quarter of what this machine or its cgroup has, at most 1GiB.
    pub hot: Size,
    /// Bodies on their way in or out.
    pub transfers: Size,
}

const MOST_BY_DEFAULT: u64 = 1 << 30;
const LEAST_HOT: u64 = 1 << 20;
const LEAST_TRANSFERS: u64 = 4 << 20;

impl Default for MemoryConfig {
    fn default() -> Self {
        let quarter = memory_limit().map_or(256 << 20, |limit| limit / 4);
        // Whole mebibytes read better.
        Self { hot: Size(quarter.min(MOST_BY_DEFAULT) >> 20 << 20), transfers: Size::mib(256) }
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
            Some(limit) if self.hot.0 > limit => Err(format!(
                "memory.hot: {} is more than the {} that this machine or its cgroup has",
                self.hot,
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
