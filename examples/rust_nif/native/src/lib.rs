//! Native functions of the module `rust_nif_native`.

use rustler::{Error, NifResult};

/// Most that `primes` looks at: a byte each.
const MOST: usize = 100_000_000;

/// Returns how many primes there are below `limit`. Takes long, so it runs on a dirty scheduler.
#[rustler::nif(schedule = "DirtyCpu")]
fn primes(limit: usize) -> NifResult<usize> {
    if limit > MOST {
        return Err(Error::BadArg);
    }
    let mut is_prime = vec![true; limit];
    let mut count = 0;
    for number in 2..limit {
        if !is_prime[number] {
            continue;
        }
        count += 1;
        for multiple in (number.saturating_mul(number)..limit).step_by(number) {
            is_prime[multiple] = false;
        }
    }
    Ok(count)
}

/// Panics: an exception in Erlang, not the end of the VM.
#[rustler::nif]
fn panics() -> usize {
    panic!("on purpose")
}

rustler::init!("rust_nif_native");
