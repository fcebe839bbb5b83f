//! Processor time and peak memory of this process, where the platform tells.

/// Seconds of processor time of all threads so far.
pub fn cpu_seconds() -> Option<f64> {
    let usage = usage()?;
    Some(usage.0)
}

/// The largest resident size so far.
pub fn peak_resident_bytes() -> Option<u64> {
    let usage = usage()?;
    Some(usage.1)
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn usage() -> Option<(f64, u64)> {
    let mut u = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `getrusage` fills the structure that it is given; zeroed is a valid value of it.
    let u = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, u.as_mut_ptr()) != 0 {
            return None;
        }
        u.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Some((seconds(u.ru_utime) + seconds(u.ru_stime), u64::try_from(u.ru_maxrss).ok()? * unit))
}

#[cfg(not(unix))]
fn usage() -> Option<(f64, u64)> {
    None
}
