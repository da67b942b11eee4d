//! Amounts of data.

use std::fmt;

/// A rotated file holds at least a header and the state.
const SMALLEST_FILE: u64 = 16 << 10;

/// Eight such files and the one that is being written.
const SMALLEST_TOTAL: u64 = 256 << 10;

/// A few hundred cgroups and instances.
const SMALLEST_MEMORY: u64 = 1 << 20;

/// Bounds of the ring buffer. The kernel takes powers of two of at least a page.
const SMALLEST_BUFFER: u32 = 64 << 10;
const LARGEST_BUFFER: u32 = 1 << 30;

/// A number of bytes, printed as on the command line: `4M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K"), (0, "")];
        let is_whole = |&(shift, _): &(u32, &str)| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        let (shift, unit) = units.into_iter().find(is_whole).unwrap_or_default();
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

/// The size in bytes at which a file is rotated.
///
/// # Errors
/// If it is no size, or too small for a file.
pub(in crate::cli) fn file_size(text: &str) -> Result<u64, String> {
    at_least(text, SMALLEST_FILE)
}

/// The total size of files, in bytes.
///
/// # Errors
/// If it is no size, or too small for several files.
pub(in crate::cli) fn total_size(text: &str) -> Result<u64, String> {
    at_least(text, SMALLEST_TOTAL)
}

/// The most memory, in bytes; 0 for no limit.
///
/// # Errors
/// If it is no size, or too small for the state of a machine where nothing happens.
pub(in crate::cli) fn memory_size(text: &str) -> Result<usize, String> {
    let size = if size(text)? == 0 { 0 } else { at_least(text, SMALLEST_MEMORY)? };
    usize::try_from(size).map_err(|error| error.to_string())
}

/// The size of the ring buffer, in bytes.
///
/// # Errors
/// If it is no size, or one that the kernel refuses.
pub(in crate::cli) fn buffer_size(text: &str) -> Result<u32, String> {
    let size = size(text)?;
    let (least, most) = (u64::from(SMALLEST_BUFFER), u64::from(LARGEST_BUFFER));
    if !(least..=most).contains(&size) {
        return Err(format!(
            "must be a power of two from {} to {}: the nearest is {}",
            Size(least),
            Size(most),
            Size(size.clamp(least, most))
        ));
    }
    if !size.is_power_of_two() {
        let above = size.next_power_of_two();
        return Err(format!(
            "must be a power of two: the nearest are {} and {}",
            Size(above / 2),
            Size(above)
        ));
    }
    u32::try_from(size).map_err(|error| error.to_string())
}

fn at_least(text: &str, least: u64) -> Result<u64, String> {
    let size = size(text)?;
    if size < least {
        return Err(format!("must be a size of at least {}", Size(least)));
    }
    Ok(size)
}

/// Parses a number of bytes, or a number with a unit; all units are powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..].to_ascii_uppercase()[..] {
        "" | "B" => Some(0),
        "K" | "KB" | "KIB" => Some(10),
        "M" | "MB" | "MIB" => Some(20),
        "G" | "GB" | "GIB" => Some(30),
        "T" | "TB" | "TIB" => Some(40),
        _ => None,
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| is_number);
    shift
        .zip(number)
        .and_then(|(shift, number)| number.checked_mul(1 << shift))
        .ok_or_else(|| "must be a size such as 64K, 4M or 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, bytes) in [
            ("4096", 4096),
            ("0", 0),
            ("12B", 12),
            ("64K", 64 << 10),
            ("64k", 64 << 10),
            ("4M", 4 << 20),
            ("4MB", 4 << 20),
            ("4MiB", 4 << 20),
            ("1G", 1 << 30),
            ("1GiB", 1 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in
            ["", "M", "-1", "+1", "1X", "lots", "99999999999T", "1 M", "1.5M", "1MM", "4Mi", "٤M"]
        {
            assert_eq!(size(bad).expect_err(bad), "must be a size such as 64K, 4M or 1G", "{bad}");
        }
    }

    #[test]
    fn files_have_room_for_what_every_file_has() {
        assert_eq!(file_size("16K"), Ok(16 << 10));
        assert_eq!(total_size("1G"), Ok(1 << 30));
        assert!(file_size("1K").is_err_and(|error| error.contains("at least 16K")));
        assert!(file_size("0").is_err_and(|error| error.contains("at least 16K")));
        assert!(total_size("1K").is_err_and(|error| error.contains("at least 256K")));
    }

    #[test]
    fn memory_is_enough_or_without_limit() {
        assert_eq!(["0", "1M", "64M"].map(memory_size), [Ok(0), Ok(1 << 20), Ok(64 << 20)]);
        assert!(memory_size("4K").is_err_and(|error| error.contains("at least 1M")));
    }

    #[test]
    fn the_nearest_sizes_of_a_buffer_are_named() {
        assert_eq!(buffer_size("4M"), Ok(4 << 20));
        assert_eq!(buffer_size("64K"), Ok(64 << 10));
        assert_eq!(buffer_size("1GiB"), Ok(1 << 30));
        for (bad, words) in [
            ("3M", "power of two: the nearest are 2M and 4M"),
            ("100000", "power of two: the nearest are 64K and 128K"),
            ("4K", "from 64K to 1G: the nearest is 64K"),
            ("0", "from 64K to 1G: the nearest is 64K"),
            ("2G", "from 64K to 1G: the nearest is 1G"),
            ("many", "such as 64K, 4M or 1G"),
        ] {
            assert!(buffer_size(bad).is_err_and(|error| error.contains(words)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(number in any::<u64>(), shift in 0..64_u32) {
            let bytes = number >> shift << (shift / 2);
            prop_assert_eq!(size(&Size(bytes).to_string()), Ok(bytes));
        }

        #[test]
        fn the_nearest_buffers_are_ones(bytes in any::<u64>(), shift in 0..64_u32) {
            if let Err(error) = buffer_size(&(bytes >> shift).to_string()) {
                let (_, nearest) = error.split_once("nearest ").expect("it names them");
                let nearest = nearest.trim_start_matches("is ").trim_start_matches("are ");
                for text in nearest.split(" and ") {
                    prop_assert!(buffer_size(text).is_ok(), "{}", error);
                }
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC*") {
            let _ = buffer_size(&text);
        }
    }
}
