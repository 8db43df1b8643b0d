//! What a process has used, as Linux tells it.

use std::fs;

use anyhow::{Context, Result};

/// CPU time of a process so far, in microseconds, that of its ended threads included.
pub(crate) fn cpu_micros(pid: u32) -> Result<f64> {
    /// What the kernel counts CPU time in, for everybody who asks: a hundredth of a second (proc(5), sysconf(3)).
    const TICK_MICROS: f64 = 10_000.0;
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}, which Linux has"))?;
    // The name of the program may hold anything, and ends with the last bracket.
    let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
    let mut ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let mut next = || ticks.next().and_then(Result::ok).with_context(|| format!("{path} has no CPU times"));
    Ok((next()? + next()?) * TICK_MICROS)
}

/// Forgets the most memory that a process had.
pub(crate) fn reset_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("cannot write {path}, which Linux has"))
}

/// The most memory that a process had since then, in MiB.
pub(crate) fn peak_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}, which Linux has"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{path} does not tell the most memory"))? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        reset_peak(pid).unwrap();
        let block = vec![1_u8; 64 << 20];
        let (before, mut sum) = (cpu_micros(pid).unwrap(), 0_u64);
        while cpu_micros(pid).unwrap() < before + 50_000.0 {
            sum += block.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        assert!(sum >= 64 << 20);
        assert!(peak_mib(pid).unwrap() > 60.0);
    }
}
