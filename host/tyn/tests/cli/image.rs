//! `tyn image`: what is said when a disk can't be made. Disks that boot are tested by `cargo xtask test disk`.

use std::fs;
use std::os::unix::net::UnixListener;

use crate::bench::Bench;

#[test]
fn lacks_are_named_and_leave_no_file() {
    let bench = Bench::new();
    bench.image("app.img", &["/init"], &[("/init", b"x")]);
    bench.kernel("kernel", "", true);
    let image = "image app.img -o out/disk --kernel kernel --grub grub";
    fs::create_dir(bench.path("out")).unwrap();
    bench.refused("image none.img -o out/disk", "the image none.img can't be read: No such file or directory (os error 2); build one with `tyn build`");
    let _socket = UnixListener::bind(bench.path("socket")).unwrap();
    bench.refused(
        "image app.img -o socket",
        "socket is there and no regular file, so it is not replaced; name a file by -o",
    );
    let error = tyn_bootfmt::options::Options::parse("quiet").unwrap_err();
    bench.refused(&format!("{image} --append quiet"), &error.to_string());
    bench.refused(image, "grub/usr/bin/grub-mkimage is missing; install GRUB (Debian packages grub-common, grub-pc-bin and grub-efi-amd64-bin)");
    for (path, bytes) in [
        (
            "grub/usr/bin/grub-mkimage",
            "#!/bin/sh\necho no such module >&2\nexit 1\n",
        ),
        ("grub/usr/lib/grub/i386-pc/boot.img", "not a sector"),
        ("grub/usr/lib/grub/x86_64-efi/multiboot2.mod", ""),
    ] {
        bench.program(path, bytes);
    }
    bench.refused(image, "grub/usr/lib/grub/i386-pc/boot.img is not what GRUB 2 installs on a disk; reinstall grub-pc-bin");
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    bench.write("grub/usr/lib/grub/i386-pc/boot.img", sector);
    bench.refused(image, "grub-mkimage failed: no such module");
    bench.refused(&format!("{image} --append virtio_mmio.device=$x"), "the kernel option 'virtio_mmio.device=$x' has characters that GRUB would misread; use letters, digits and . , : / @ = _ - only");
    for (format, tool, package) in [
        ("qcow2", "qemu-img", "qemu-utils"),
        ("vmdk", "qemu-img", "qemu-utils"),
        ("iso", "xorriso", "xorriso"),
    ] {
        let mut command = bench.command(&format!("{image} --format {format}"));
        let output = command.env("PATH", "/none").output().unwrap();
        assert_eq!(
            bench.ended(&output).err,
            format!(
                "tyn: {tool} is missing; install it (Debian package {package}), or use --format raw\n"
            )
        );
    }
    bench.refused(
        "image app.img --kernel kernel --grub grub -o none/disk",
        "the folder none is not there; make it, or name another --output",
    );
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 0);
    bench.has_no_files();
}
