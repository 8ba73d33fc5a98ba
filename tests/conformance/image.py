#!/usr/bin/env python3
"""Makes the image of the behaviours that need containers, and pushes it.

    image.py MIZZEN REFERENCE

Debian's static busybox with a link for each of its applets: a shell, files, and plain servers and clients of TCP, UDP and HTTP.
Debian's Python beside it, for the servers of `served` (in /served): webhooks, another API server, what pods say of themselves.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PYTHON = pathlib.Path("/usr/bin/python3").resolve()
LIBRARY = pathlib.Path("/usr/lib", PYTHON.name)
UNUSED = ("test", "idlelib", "lib2to3", "ensurepip", "distutils", "tkinter", "turtledemo", "pydoc_data", "unittest", "config-3*", "__pycache__", "_test*", "_codecs_*")


def loaded_by(*programs):
    """The shared libraries that these name, and the loader."""
    said = "".join(subprocess.run(["ldd", program], text=True, capture_output=True, check=True).stdout for program in programs)
    return {pathlib.Path(path) for path in re.findall(r"(/\S+) \(0x", said)}


def add_python(root):
    shutil.copytree(LIBRARY, root / LIBRARY.relative_to("/"), ignore=shutil.ignore_patterns(*UNUSED), symlinks=False, ignore_dangling_symlinks=True)
    shutil.copy(PYTHON, root / "bin/python3")
    for library in loaded_by(PYTHON, *(LIBRARY / "lib-dynload").glob("*.so")):
        there = root / library.relative_to("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, there)
    shutil.copytree(pathlib.Path(__file__).parent / "served", root / "served", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([PYTHON, "-m", "compileall", "-q", "-s", root, root / LIBRARY.relative_to("/")], check=True)


def main():
    mizzen, reference = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root, layout = pathlib.Path(folder, "root"), pathlib.Path(folder, "layout")
        for name in ("bin", "etc", "tmp", "root", "home"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        shutil.copy("/bin/busybox", root / "bin")
        for applet in subprocess.check_output(["/bin/busybox", "--list"], text=True).split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
        (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
        add_python(root)
        build = [mizzen, "image", "build", layout, "--root", root, "--env", "PATH=/bin", "--entrypoint", "/bin/sh"]
        subprocess.run([*build, "--cmd=-c", "--cmd=trap exit TERM; while :; do sleep 1; done"], check=True)
        subprocess.run([mizzen, "image", "push", layout, reference], check=True)


if __name__ == "__main__":
    main()
