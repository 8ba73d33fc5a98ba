#!/usr/bin/env python3
"""Makes the image of the behaviours that need containers, and pushes it.

    image.py MIZZEN REFERENCE

Debian's static busybox with a link for each of its applets: a shell, files, and plain servers and clients of TCP, UDP and HTTP.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile


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
        build = [mizzen, "image", "build", layout, "--root", root, "--env", "PATH=/bin", "--entrypoint", "/bin/sh"]
        subprocess.run([*build, "--cmd=-c", "--cmd=trap exit TERM; while :; do sleep 1; done"], check=True)
        subprocess.run([mizzen, "image", "push", layout, reference], check=True)


if __name__ == "__main__":
    main()
