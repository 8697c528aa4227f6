//! What this process has used: CPU seconds and memory, as Linux tells them in `/proc`.

use crate::error::{Error, Result};

/// A tick of the CPU times in `/proc/self/stat`: Linux shows them in hundredths of a second on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads a file of `/proc/self`.
fn about_us(name: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/self/{name}")).map_err(|error| {
        Error::from(error)
            .context(format!("cannot read /proc/self/{name}"))
            .hint("CPU seconds and memory are measured on Linux only.")
    })
}

/// CPU seconds used so far, by all threads, in user mode and in the kernel.
pub(super) fn cpu_seconds() -> Result<f64> {
    let stat = about_us("stat")?;
    // The second field is the program's name in parentheses, which may hold anything.
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let ticks: u64 = after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// From now on the peak is that of what follows. Where the kernel does not allow this, it is the peak since the start.
pub(super) fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Bytes in memory now, and at the most since [`forget_peak`].
pub(super) fn memory() -> Result<(u64, u64)> {
    let status = about_us("status")?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0)
    };
    Ok((kib("VmRSS:") << 10, kib("VmHWM:") << 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_uses_time_and_memory() {
        let watch = crate::clock::Stopwatch::start();
        let mut numbers: Vec<u64> = vec![1; 1 << 20];
        while watch.ms() < 60.0 {
            numbers.iter_mut().for_each(|number| *number = std::hint::black_box(*number * 3 + 1));
        }
        let (now, peak) = memory().unwrap();
        assert!(now > 8 << 20 && peak >= now, "{now} {peak}");
        assert!(cpu_seconds().unwrap() > 0.0);
    }
}
