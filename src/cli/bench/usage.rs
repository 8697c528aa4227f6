//! What this process has used: CPU seconds, as its clock counts them, and memory, as Linux tells it
//! in `/proc`.

use cpu_time::ProcessTime;

use crate::error::{Error, Result};

/// Reads a file of `/proc/self`.
fn about_us(name: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/self/{name}")).map_err(|error| {
        Error::from(error)
            .context(format!("cannot read /proc/self/{name}"))
            .hint("Memory is measured on Linux only.")
    })
}

/// CPU seconds used so far, by all threads, in user mode and in the kernel: to the microsecond and
/// better, where `/proc/self/stat` counts in hundredths.
pub(super) fn cpu_seconds() -> Result<f64> {
    Ok(ProcessTime::try_now()?.as_duration().as_secs_f64())
}

/// From now on the peak is that of what follows. Where the kernel does not allow this, it is the
/// peak since the start.
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
