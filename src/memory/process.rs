//! What the system says of this process's memory: Linux tells it in `/proc`.

/// Bytes of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// In memory, all together.
    pub all: u64,
    /// Of it what was allocated.
    pub allocated: u64,
    /// Of it pages of files: the program itself, and what libraries map.
    pub mapped: u64,
    /// The most that was ever in memory.
    pub peak: u64,
}

/// What is in memory now; None where there is no `/proc`.
pub fn resident() -> Option<Resident> {
    std::fs::read_to_string("/proc/self/status").ok().map(|status| parse(&status))
}

fn parse(status: &str) -> Resident {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) << 10
    };
    Resident {
        all: kib("VmRSS:"),
        allocated: kib("RssAnon:"),
        mapped: kib("RssFile:") + kib("RssShmem:"),
        peak: kib("VmHWM:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_process_are_read_in_bytes() {
        let status =
            "Name:\tx\nVmHWM:\t  40 kB\nVmRSS:\t  30 kB\nRssAnon:\t  20 kB\nRssFile:\t  10 kB\n";
        let expect =
            Resident { all: 30 << 10, allocated: 20 << 10, mapped: 10 << 10, peak: 40 << 10 };
        assert_eq!(parse(status), expect);
        assert_eq!(parse(""), Resident::default());
    }
}
