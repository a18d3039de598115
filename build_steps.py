"""
What setuptools cannot be told in pyproject.toml, so that a build holds what it says.

An extension that does not compile is left out and the build goes on (`optional = true`): setuptools would then leave
the last one that did where it is, before the source that Python should read instead, and would name a wheel without
any extension after the machine it was built on.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


class Compile(build_ext):
    """Never keeps an extension that is older than its source, and no C at all."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.cython_c_in_temp = True  # an option in pyproject.toml is lost in editable builds

    def build_extension(self, ext: Extension) -> None:
        built = Path(self.get_ext_fullpath(ext.name))
        if built.exists() and built.stat().st_mtime < max(Path(source).stat().st_mtime for source in ext.sources):
            built.unlink()
        super().build_extension(ext)

    def copy_extensions_to_source(self) -> None:
        for extension in self.extensions:
            Path(self.get_ext_filename(self.get_ext_fullname(extension.name))).unlink(missing_ok=True)
        super().copy_extensions_to_source()


class Wheel(bdist_wheel):
    """Is named after a machine only if it holds something that was compiled for it."""

    def get_tag(self) -> tuple[str, str, str]:
        outputs = self.get_finalized_command("build_ext").get_outputs()
        self.root_is_pure = not any(Path(output).exists() for output in outputs)
        return super().get_tag()
