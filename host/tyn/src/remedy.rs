//! Remedies for what the operating system refuses, whatever was tried.

/// What it says, and what can be done. The numbers are Linux's.
const REMEDIES: [(&str, &str); 6] = [
    (
        "(os error 2)",
        "there is nothing of that name: mend the path, or make it",
    ),
    (
        "(os error 13)",
        "this user may not: have its owner change the permissions (chmod, chown), or name another place",
    ),
    ("(os error 21)", "it is a folder: name a file"),
    (
        "(os error 28)",
        "make room on that disk, or name another place (for temporary files: by TMPDIR)",
    ),
    (
        "(os error 30)",
        "that disk is mounted read-only: name another place",
    ),
    (
        "(os error 40)",
        "a symbolic link leads back to itself: mend or remove it, or name another place",
    ),
];

/// Adds the remedy to an error that ends in the system's own words, and has none of its own.
pub(crate) fn complete(error: String) -> String {
    let known = REMEDIES.iter().find(|(end, _)| error.ends_with(end));
    match known {
        Some((_, remedy)) => format!("{error}; {remedy}"),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn system_errors_get_a_remedy_and_others_stay() {
        for (number, want) in [
            (2, "; there is nothing"),
            (13, "; this user may not"),
            (21, "; it is a folder"),
            (28, "; make room"),
            (30, "; that disk is"),
            (40, "; a symbolic link"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert!(complete(format!("x can't be read: {error}")).contains(want));
            let own = format!("x can't be read: {error}; do this");
            assert_eq!(complete(own.clone()), own);
        }
        assert_eq!(complete("x".into()), "x");
    }
}
