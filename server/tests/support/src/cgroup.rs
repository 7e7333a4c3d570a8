//! What the kernel was told of a container's limits.

/// How much of one CPU the kernel lets a container have, of whichever version its groups are;
/// `None`: there is no limit, or no such container.
pub fn cpu_part(uid: &str, container: &str) -> Option<f64> {
    let read = |directory: &str, file: &str| {
        let path = format!("/sys/fs/cgroup/{directory}berth/{uid}/{container}/{file}");
        std::fs::read_to_string(path).ok()
    };
    let words = match read("", "cpu.max") {
        Some(both) => both,
        None => read("cpu/", "cpu.cfs_quota_us")? + " " + &read("cpu/", "cpu.cfs_period_us")?,
    };
    let numbers: Vec<f64> = words.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers.as_slice() {
        [quota, period] if *quota > 0.0 => Some(quota / period),
        _ => None,
    }
}
