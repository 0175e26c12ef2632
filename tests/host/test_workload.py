"""The guest's own code, run on the host: its SHA-256 against Python's."""

import hashlib
import random
import subprocess
from pathlib import Path

from lvmm.guest_build import SOURCES

DRIVER = """
#include "sha256.h"
#include <stdio.h>

int main(void) {
    static unsigned char buffer[1 << 16];
    struct sha256 hash;
    unsigned char digest[32];
    unsigned step = 1;
    size_t length;
    sha256_init(&hash);
    while ((length = fread(buffer, 1, step, stdin)) > 0) {
        sha256_update(&hash, buffer, length);
        step = step * 7 % 4093 + 1;
    }
    sha256_final(&hash, digest);
    for (int i = 0; i < 32; i++)
        printf("%02x", digest[i]);
    return 0;
}
"""


def test_sha256_agrees_with_hashlib(tmp_path: Path) -> None:
    (tmp_path / "driver.c").write_text(DRIVER)
    folder = SOURCES / "linux" / "common"
    program = tmp_path / "driver"
    subprocess.run(
        [
            *("gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"),
            *("-I", str(folder), "-o", str(program)),
            *(str(tmp_path / "driver.c"), str(folder / "sha256.c")),
        ],
        check=True,
    )
    generator = random.Random(1)
    for size in (0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 100_000):
        data = generator.randbytes(size)
        result = subprocess.run([program], input=data, capture_output=True, check=True)
        assert result.stdout.decode() == hashlib.sha256(data).hexdigest(), size
