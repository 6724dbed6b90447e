//! Owns how numbers are written: sizes, shares, times, names of classes.

/// A size in bytes as people write it.
pub(super) fn bytes(count: u64) -> String {
    let count = count as f64;
    if count < 1e6 {
        format!("{:.0} kB", count / 1e3)
    } else {
        format!("{:.1} MB", count / 1e6)
    }
}

/// A count, with a comma before every three digits.
pub(super) fn whole(count: usize) -> String {
    let digits = count.to_string();
    let mut written = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// A probability in per cent; never a false 0 or 100.
pub(super) fn percent(probability: f64) -> String {
    match probability * 100.0 {
        p if p >= 99.95 => "> 99.9 %".into(),
        p if p < 0.05 => "< 0.1 %".into(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// The time an answer took.
pub(super) fn milliseconds(time: f64) -> String {
    if time < 10.0 {
        format!("{time:.1} ms")
    } else {
        format!("{time:.0} ms")
    }
}

/// A time that is only guessed, from milliseconds.
pub(super) fn duration(time: f64) -> String {
    let seconds = (time / 1e3).ceil();
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

/// A figure with two places and a true minus.
pub(super) fn signed(value: f64) -> String {
    format!("{value:.2}").replace('-', "−")
}

/// A class's name as a heading: labels are often written like variables.
pub(super) fn label(name: &str) -> String {
    capitalised(&name.replace('_', " "))
}

/// A message as a sentence: errors begin small and have no full stop, since they are often put together.
pub(super) fn sentence(message: &str) -> String {
    let message = capitalised(message.trim());
    if message.is_empty() || message.ends_with(['.', '!', '?']) {
        message
    } else {
        message + "."
    }
}

fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!(bytes(2_034_567), "2.0 MB");
        assert_eq!(bytes(34_567), "35 kB");
        assert_eq!(whole(7), "7");
        assert_eq!(whole(123_456), "123,456");
        assert_eq!(whole(1_000), "1,000");
        assert_eq!(percent(0.931), "93 %");
        assert_eq!(percent(0.0004), "< 0.1 %");
        assert_eq!(percent(0.9999), "> 99.9 %");
        assert_eq!(percent(0.042), "4.2 %");
        assert_eq!(label("sweet_meal"), "Sweet meal");
        assert_eq!(milliseconds(7.25), "7.2 ms");
        assert_eq!(duration(41_200.0), "42 s");
        assert_eq!(duration(240_000.0), "4 min");
        assert_eq!(signed(-0.5), "−0.50");
        assert_eq!(sentence("image: broken"), "Image: broken.");
    }
}
