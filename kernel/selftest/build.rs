//! Link arguments of the self-test image, the kernel's: freestanding, static, laid out by `kernel.ld`.
fn main() {
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=../image/kernel.ld");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,--no-relax",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{dir}/../image/kernel.ld");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,max-page-size=4096,-z,norelro,--gc-sections");
}
