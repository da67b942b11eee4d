//! `--version`: what was built. `-V` is the number alone.

use std::sync::LazyLock;

use crate::recording;

static LONG: LazyLock<String> = LazyLock::new(|| {
    let features = [
        ("cri", cfg!(feature = "cri")),
        ("parquet", cfg!(feature = "parquet")),
        ("top", cfg!(feature = "top")),
    ];
    let built: Vec<_> = features.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
    format!(
        "{}\ncommit: {}\nfeatures: {}\nrecording format: {}",
        env!("CARGO_PKG_VERSION"),
        env!("INOTIFY_TRACE_COMMIT"),
        if built.is_empty() { "none".to_owned() } else { built.join(", ") },
        recording::VERSION
    )
});

/// The number, the commit, the features, and the format of recordings.
pub(super) fn long() -> &'static str {
    &LONG
}
