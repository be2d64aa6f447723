#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tyn_fuzz::run("image", data);
});
