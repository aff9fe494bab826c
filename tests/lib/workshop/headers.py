# SPDX-License-Identifier: GPL-2.0-or-later
"""What modules for one of our kernels are built with: its headers, and Kbuild.

Made from the kernel's source, the series and the configuration beside the Image, in a tree of its own: the tree in
which kernels are built stays as it is, and no kernel has to be built for it.
"""

import re
import shutil

from . import cache, linux
from .run import output, run
from .ui import Failure, say

RECIPE = 1  # raise it when the way of making headers changes what is made
# Most of the source is not looked at when modules are prepared. Kconfig and make files are, everywhere.
UNUSED = ["Documentation/*.rst", "Documentation/*.txt", "Documentation/*.yaml", "Documentation/*.svg",
          "tools/testing/*", "drivers/*.c", "drivers/*.h", "fs/*.c", "net/*.c", "sound/*.[ch]", "mm/*.c", "samples/*.c", "rust/*.rs",
          *(f"arch/{letter}*/*.{end}" for letter in "bchlmnoprsux" for end in ("[chS]", "dts", "dtsi")),
          "arch/alpha/*.[chS]", "arch/arc/*.[chS]", "arch/arm/*.[chS]", "arch/arm*/*.dts", "arch/arm*/*.dtsi"]
NOT_COPIED = {"kconfig", "dtc", "package", "selftests", "dt-bindings"}


def unpack(the_source, tree):
    tree.mkdir()
    deb = next(the_source.glob("*.deb"))
    excluded = " ".join(f"'--exclude=linux-*/{pattern}'" for pattern in UNUSED)
    run(["sh", "-ec", 'dpkg-deb --fsys-tarfile "$1" | tar -x -O --wildcards "./usr/src/linux-source-*.tar.xz" '
         f'| tar -x -J --strip-components=1 -C "$2" --wildcards {excluded}', "sh", str(deb), str(tree)])


def patch(tree, series, log):
    """Applies the series as far as the files are there."""
    for each in series:
        run(["patch", "-p1", "--forward", "--batch", "--no-backup-if-mismatch", "-d", str(tree), "-i", str(each)],
            log=log, check=False)
    failed = [path for path in tree.rglob("*.rej") if not path.parent.match("*/drivers/*")]
    if failed:
        raise Failure(f"the series does not apply to the headers: {failed[0].relative_to(tree)}")


def copy(base, names, target):
    for name in names:
        for path in [base / name] if (base / name).is_file() else sorted((base / name).rglob("*")):
            inner = path.relative_to(base)
            if path.is_file() and path.suffix not in (".o", ".cmd") and not NOT_COPIED & set(inner.parts):
                (target / inner).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / inner)


def of_image(image):
    """The folder to build modules in, for an Image that kernel/build has made from the series as it is now."""
    folder, the_source = image.parent, linux.source()
    series = [] if folder.parent.name == "kernel-stock" else linux.patches()

    def make(new):
        cache.need_space(2, "headers of a kernel")
        log, tree, objects = cache.new_log("kernel-headers"), new / "tree", new / "objects"
        say(f"preparing to build modules for {folder.parent.name}")
        unpack(the_source, tree)
        patch(tree, series, log)
        objects.mkdir()
        shutil.copy(folder / "config", objects / ".config")
        # Modules fit only a kernel that calls itself the same.
        release = re.search(rb"Linux version (\S+) ", image.read_bytes())[1].decode()
        local = {"LOCALVERSION": release.removeprefix(linux.version(the_source))}
        linux.make(tree, objects, "olddefconfig", "modules_prepare", log=log, **local)
        made = output(["cat", str(objects / "include/config/kernel.release")])
        if made != release:
            raise Failure(f"the headers are those of {made}, and {image} is {release}")
        copy(tree, ["Makefile", "arch/arm64/Makefile", "arch/arm64/include", "include", "scripts"], new)
        copy(objects, [".config", "include/config/auto.conf", "include/config/kernel.release", "include/generated",
                       "arch/arm64/include/generated", "scripts"], new)
        (new / "Module.symvers").touch()
        shutil.rmtree(tree)
        shutil.rmtree(objects)
    return cache.make("kernel-headers", cache.key(RECIPE, folder.parent.name, folder.name, *series), make, keep=5)
