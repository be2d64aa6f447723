//! Puts the kernel into the tool: the ELF file that the environment variable `TYN_KERNEL` names when the tool is built
//! (`cargo xtask build` sets it). Without it the tool asks for `--kernel`. A kernel of other sources than the tool's is refused.

use std::path::Path;
use std::{env, fs};

use tyn_bootfmt::contract::OS_VERSION;

fn main() {
    println!("cargo::rerun-if-env-changed=TYN_KERNEL");
    let expression = match env::var("TYN_KERNEL") {
        Ok(path) if Path::new(&path).is_absolute() && Path::new(&path).is_file() => {
            println!("cargo::rerun-if-changed={path}");
            let kernel = fs::read(&path).expect("TYN_KERNEL can be read");
            let mut parts = kernel.windows(OS_VERSION.len());
            if !parts.any(|part| part == OS_VERSION.as_bytes()) {
                println!("cargo::error=TYN_KERNEL={path} is no kernel of version {OS_VERSION:?}");
                return;
            }
            format!("Some(include_bytes!({path:?}))")
        }
        Ok(path) => {
            println!("cargo::error=TYN_KERNEL={path} is not the absolute path of a file");
            return;
        }
        Err(_) => "None".to_owned(),
    };
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let file = Path::new(&out).join("embedded.rs");
    fs::write(file, expression).expect("OUT_DIR can be written");
}
