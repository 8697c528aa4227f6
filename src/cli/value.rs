//! Values of flags that are more than a word: addresses, sizes, counts.

use std::net::SocketAddr;

/// `127.0.0.1:5455`, `[::1]:5455` or `localhost:5455`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let ip = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    ip.parse().map_err(|_| "it is not an address and a port, such as 127.0.0.1:5455".to_owned())
}

/// `4GiB`, `512 MiB`, `2GB`, `1048576`: bytes.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err("it is not a size such as 4GiB or 512MiB".to_owned()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "it is not a size such as 4GiB or 512MiB".to_owned())
}

/// A whole number of at least 1; `1_000_000` is one too.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let number = text.replace('_', "").parse::<usize>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it is not a whole number of at least 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, expected) in [
            ("4GiB", 4 << 30),
            ("512 MiB", 512 << 20),
            ("2GB", 2_000_000_000),
            ("10k", 10 << 10),
            ("77", 77),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "GiB", "4 bananas", "-1GiB", "0", "99999999999TiB", "1.5GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("localhost:5455"), address("127.0.0.1:5455"));
        assert!(address("[::1]:1").is_ok());
        for text in ["nowhere", "127.0.0.1", "127.0.0.1:99999", ":5455"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
