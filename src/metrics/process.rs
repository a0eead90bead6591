//! What the kernel says of this process, from `/proc/self`.
#![allow(clippy::disallowed_methods)] // the kernel's figures, not the store's files

use super::Metrics;
use crate::clock;

impl Metrics {
    /// Sets the process figures as they are now. Where there is no `/proc`, they stay 0.
    pub fn observe_process(&self) {
        let page = i64::try_from(rustix::param::page_size()).unwrap_or(4096);
        if let Some(pages) = field("/proc/self/statm", 1) {
            self.process_resident_memory_bytes.set(pages * page);
        }
        if let Ok(fds) = std::fs::read_dir("/proc/self/fd") {
            self.process_open_fds.set(i64::try_from(fds.count()).unwrap_or(0));
        }
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let used = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.process_cpu_seconds.inc_by((used - self.process_cpu_seconds.get()).max(0.0));
    }

    /// Remembers when the process started.
    pub fn observe_start(&self) {
        self.process_start_time_seconds.set(i64::try_from(clock::unix_ms() / 1000).unwrap_or(0));
    }
}

fn field(path: &str, index: usize) -> Option<i64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().nth(index)?.parse().ok()
}
