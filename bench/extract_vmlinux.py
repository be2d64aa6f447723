#!/usr/bin/env python3
"""Extracts the ELF kernel from a bzImage: extract_vmlinux.py VMLINUZ OUT (payload found by the setup header, boot.rst)."""
import lzma, subprocess, struct, sys, zlib

data = open(sys.argv[1], 'rb').read()
if data[0x202:0x206] != b'HdrS':
    sys.exit(f'{sys.argv[1]}: no Linux setup header: not a bzImage')
setup = (data[0x1f1] or 4) * 512 + 512
offset, length = struct.unpack_from('<II', data, 0x248)
payload = data[setup + offset:setup + offset + length]
if payload[:4] == b'\x28\xb5\x2f\xfd':
    elf = subprocess.run(['zstd', '-dc'], input=payload, capture_output=True).stdout
elif payload[:6] == b'\xfd7zXZ\0':
    elf = lzma.LZMADecompressor().decompress(payload)
elif payload[:2] == b'\x1f\x8b':
    elf = zlib.decompressobj(31).decompress(payload)
else:
    sys.exit(f'{sys.argv[1]}: payload compressed in an unknown way: {payload[:6].hex()}')
if elf[:4] != b'\x7fELF':
    sys.exit(f'{sys.argv[1]}: the payload is no ELF file')
open(sys.argv[2], 'wb').write(elf)
