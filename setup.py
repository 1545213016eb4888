"""What setup.cfg cannot say: the links of the README, and that a wheel holds cfg/."""

import os
import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HOME = "https://github.com/ghostyolo/ghostyolo"
README = Path(__file__).with_name("README.md").read_text("utf-8")


class BuildWithCfgs(build_py):
    """Copy cfg/ into the package that is built, see `ghostyolo.network.model_files`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_tree("cfg", os.path.join(self.build_lib, "ghostyolo", "cfg"))


def absolute(match: re.Match[str]) -> str:
    """Return a link of the README, which is relative to the repository, as an address."""
    picture, text, target = match.groups()
    return f"{picture}[{text}]({HOME}/{'raw' if picture else 'blob'}/HEAD/{target})"


setup(
    cmdclass={"build_py": BuildWithCfgs},
    long_description=re.sub(r"(!?)\[([^][]*)\]\((?!https?:|#)([^)]*)\)", absolute, README),
    project_urls={
        "Homepage": HOME,
        "Documentation": f"{HOME}/tree/HEAD/docs",
        "Changelog": f"{HOME}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{HOME}/issues",
    },
)
