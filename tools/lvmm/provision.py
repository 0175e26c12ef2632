"""Set-up: what lvmm needs beyond Python, obtained once and kept in a cache directory.

The cache is $LVMM_CACHE, else $XDG_CACHE_HOME/lvmm, else ~/.cache/lvmm. Everything in it can be
deleted at any time.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lvmm import apt
from lvmm.apt import ensure_packages
from lvmm.cache import cache_dir, errors_as_environment, locked
from lvmm.errors import EnvironmentProblem
from lvmm.messages import say
from lvmm.packages import dependency, unpack_packages

_BOCHS_DIR = Path(__file__).resolve().parents[2] / "boards" / "bochs"
_MODULE = _BOCHS_DIR / "pmu"
_PATCHES = _BOCHS_DIR / "patches"

# Bochs's msrs= file: the MSRs that the module and the guests need.
MSRS = _BOCHS_DIR / "msrs.def"

IMAGE_PACKAGES = ("grub-common", "grub-pc-bin", "xorriso", "mtools")
GUEST_PACKAGES = ("busybox-static", "cpio", "xz-utils")
BUILD_PACKAGES = ("build-essential",)
FIRMWARE_PACKAGES = ("bochsbios", "vgabios")
PEER_PACKAGES = ("qemu-system-x86",)
TEST_PACKAGES = ("clang-format", "cppcheck", "gdb", "tshark")

_QEMU = "qemu-system-x86_64"
_BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
_VGA_BIOS = Path("/usr/share/vgabios/vgabios.bin")

BOCHS_MAJOR = 3
_CONFIGURE = (
    "--enable-all-optimizations",
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-vmx=2",
    "--enable-svm",
    "--enable-avx",
    "--enable-evex",
    "--enable-pci",
    "--enable-e1000",
    "--enable-ne2000",
    "--enable-usb",
    "--enable-es1370",
    "--enable-configurable-msrs",
    "--enable-smp=no",
    "--disable-plugins",
    "--disable-docbook",
    "--with-nogui",
    "--enable-instrumentation=instrument/lvmm",
)
_CXXFLAGS = "-O2"

# The metapackages of the distribution's kernels, Debian's first. The small one is made for clouds:
# it has the drivers of virtual machines only and boots in a third of the time.
KERNELS = {
    "stock": ("linux-image-amd64", "linux-image-generic"),
    "small": ("linux-image-cloud-amd64", "linux-image-virtual"),
}

# The suite whose `bochs` source package is used where the distribution's own is older.
_DEBIAN_SUITES = ("trixie",)
_UBUNTU_SUITES = ("devel",)


@dataclasses.dataclass(frozen=True)
class Bochs:
    """A ready emulator."""

    program: Path
    bios: Path
    vga_bios: Path


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The distribution's kernel: its release name, the bzImage and its module directory."""

    release: str
    vmlinuz: Path
    modules: Path


def setup() -> None:
    """Everything that recording and replaying need. Instant when it is all there."""
    ensure_packages(IMAGE_PACKAGES + GUEST_PACKAGES + BUILD_PACKAGES + FIRMWARE_PACKAGES)
    bochs()
    kernel_package()


def bochs() -> Bochs:
    """The emulator with the PMU module, built when it is not in the cache.

    Raises EnvironmentProblem when the source cannot be had or does not build.
    """
    program = _bochs_program()
    if not program.exists():
        with errors_as_environment(), locked("bochs"):
            if not program.exists():  # another run may have built it meanwhile
                _build_bochs(program.parent)
    if not (_BIOS.exists() and _VGA_BIOS.exists()):
        ensure_packages(FIRMWARE_PACKAGES)
    for path in (_BIOS, _VGA_BIOS):
        if not path.exists():
            raise EnvironmentProblem(f"the emulator's firmware is missing: {path}")
    return Bochs(program, _BIOS, _VGA_BIOS)


def qemu() -> Path:
    """QEMU's program, which is installed where it is missing. Raises EnvironmentProblem."""
    program = shutil.which(_QEMU)
    if program is None:
        try:
            ensure_packages(PEER_PACKAGES)
        except EnvironmentProblem as error:
            raise EnvironmentProblem(f"the peers need QEMU: {error}") from None
        program = shutil.which(_QEMU)
    if program is None:
        raise EnvironmentProblem(
            f"the peers need QEMU: {PEER_PACKAGES[0]} is installed, but there is no {_QEMU} in PATH"
        )
    return Path(program)


def cached_bochs() -> Path | None:
    """The emulator's program, where it has been built."""
    program = _bochs_program()
    return program if program.exists() else None


def kernel_package(flavour: str = "stock") -> Kernel:
    """The distribution's kernel of a flavour in KERNELS, downloaded and unpacked, not installed.

    The one in the cache is kept, so that runs can be compared.
    """
    kernel = cached_kernel(flavour)
    if kernel:
        return kernel
    record = _kernel_record(flavour)
    with errors_as_environment(), locked("kernel"):
        return _read_kernel(record) or _fetch_kernel(record, KERNELS[flavour])


def cached_kernel(flavour: str) -> Kernel | None:
    """The kernel of a flavour, where it has been downloaded."""
    return _read_kernel(_kernel_record(flavour))


def _kernel_record(flavour: str) -> Path:
    return cache_dir() / f"kernel-{flavour}.json"


def _bochs_program() -> Path:
    return cache_dir() / f"bochs-{_bochs_key()}" / "bochs"


def _bochs_key() -> str:
    digest = hashlib.sha256()
    for text in (str(BOCHS_MAJOR), _CXXFLAGS, *_CONFIGURE):
        digest.update(text.encode() + b"\0")
    for path in sorted((*_MODULE.iterdir(), *_PATCHES.iterdir())):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _build_bochs(directory: Path) -> None:
    ensure_packages((*BUILD_PACKAGES, "xz-utils", "patch"))
    tarball = _bochs_source()
    log = cache_dir() / "bochs-build.log"
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="build-") as work:
        tree = Path(work) / "bochs"
        tree.mkdir()
        unpack = ["tar", "-xf", str(tarball), "--strip-components=1", "-C", str(tree)]
        error = apt.run_quietly(unpack)
        if error:
            raise EnvironmentProblem(f"cannot unpack {tarball}: {error}")
        for path in sorted(_PATCHES.iterdir()):
            apply = ["patch", "-d", str(tree), "-p1", "--fuzz=0", "-s", "-i", str(path)]
            error = apt.run_quietly(apply)
            if error:
                raise EnvironmentProblem(f"{tarball.name} is not as {path.name} expects: {error}")
        shutil.copytree(_MODULE, tree / "instrument" / "lvmm")
        say("building the emulator, once (about 4 minutes)")
        with log.open("wb") as output:
            for command in (
                ["./configure", *_CONFIGURE, f"CXXFLAGS={_CXXFLAGS}", f"CFLAGS={_CXXFLAGS}"],
                ["make", f"-j{os.cpu_count() or 1}"],
            ):
                _run_build(command, tree, output.fileno(), log)
        ready = Path(work) / "ready"
        ready.mkdir()
        shutil.copy2(tree / "bochs", ready / "bochs")
        ready.rename(directory)
    log.unlink()
    say("the emulator is ready")


def _run_build(command: list[str], tree: Path, output: int, log: Path) -> None:
    """Run one step of the build, with a progress line where somebody watches."""
    start = time.monotonic()
    process = subprocess.Popen(
        ["nice", *command], cwd=tree, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    try:
        while process.poll() is None:
            time.sleep(0.5)
            if sys.stderr.isatty():
                objects = sum(1 for _ in tree.rglob("*.o"))
                seconds = int(time.monotonic() - start)
                print(f"\rlvmm: {objects} files compiled, {seconds} s ", end="", file=sys.stderr)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if sys.stderr.isatty():
            print(file=sys.stderr)
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines[-1:] or ["no output"]
        raise EnvironmentProblem(f"building the emulator failed: {errors[0]} (log: {log})")


def _bochs_source() -> Path:
    """Bochs's source, downloaded through apt and checked by SHA256 unless that was done before."""
    for ready in sorted(cache_dir().glob(f"bochs_{BOCHS_MAJOR}.*.orig.tar.*")):
        return ready
    if not shutil.which("apt-get"):
        raise EnvironmentProblem("this system has no apt to get the emulator's source from")
    problems = []
    for uri, keyring, suite in _source_candidates():
        say(f"getting the emulator's source (suite {suite})")
        with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="apt-") as state:
            archive = apt.SourceArchive(Path(state), uri, keyring, suite)
            problem = archive.update()
            found = None if problem else archive.upstream_tarball("bochs")
            if not found:
                problems.append(problem or f"{suite} has no bochs")
                continue
            name, checksum = found
            match = re.match(r"bochs_(\d+)\.", name)
            if not match or int(match[1]) < BOCHS_MAJOR:
                problems.append(f"{suite} has only {name}")
                continue
            problem = archive.download_tarball("bochs", Path(state))
            if problem:
                problems.append(problem)
                continue
            tarball = Path(state) / name
            if hashlib.sha256(tarball.read_bytes()).hexdigest() != checksum:
                raise EnvironmentProblem(f"{name} has not the checksum that the archive gives")
            return tarball.rename(cache_dir() / name)
    why = "; ".join(dict.fromkeys(problems)) or "no archive in apt's configuration"
    raise EnvironmentProblem(f"cannot get the source of Bochs {BOCHS_MAJOR} through apt: {why}")


def _source_candidates() -> list[tuple[str, str, str]]:
    own = apt.os_release().get("VERSION_CODENAME", "")
    candidates = []
    for uri, keyring in apt.archive_entries():
        suites = _UBUNTU_SUITES if "ubuntu" in uri else _DEBIAN_SUITES
        candidates += [(uri, keyring, suite) for suite in (*suites, own) if suite]
    return list(dict.fromkeys(candidates))


def _fetch_kernel(record: Path, metapackages: tuple[str, ...]) -> Kernel:
    if not shutil.which("apt-get"):
        raise EnvironmentProblem("this system has no apt to get a kernel from; give one by --linux")
    packages = _kernel_packages(metapackages)
    directory = cache_dir() / f"kernel-{packages[0]}"
    say(f"getting the kernel: {' '.join(packages)}")
    unpack_packages(packages, directory)
    images = sorted(directory.glob("boot/vmlinuz-*"))
    if not images:
        raise EnvironmentProblem(f"{packages[0]} has no boot/vmlinuz")
    release = images[-1].name.removeprefix("vmlinuz-")
    modules = directory / "lib" / "modules" / release
    if not modules.is_dir():
        modules = directory / "usr" / "lib" / "modules" / release
    kernel = Kernel(release, images[-1], modules)
    text = json.dumps({key: str(value) for key, value in dataclasses.asdict(kernel).items()})
    fresh = record.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.rename(record)
    return kernel


def _read_kernel(record: Path) -> Kernel | None:
    try:
        fields = json.loads(record.read_text(encoding="utf-8"))
        kernel = Kernel(fields["release"], Path(fields["vmlinuz"]), Path(fields["modules"]))
    except (OSError, ValueError, KeyError):
        return None
    return kernel if kernel.vmlinuz.is_file() and kernel.modules.is_dir() else None


def _kernel_packages(metapackages: tuple[str, ...]) -> list[str]:
    """The packages behind a metapackage: the kernel's image, and its modules where separate."""
    for attempt in range(2):
        for meta in metapackages:
            found = dependency(meta, r"linux-image-\d\S*")
            if found:
                return [found, *filter(None, [dependency(found, r"linux-modules-\d\S*")])]
        if attempt == 0:
            apt.update()
    raise EnvironmentProblem(f"apt knows no kernel package ({' or '.join(metapackages)})")
