"""What tests are made with: people, websites, processes, databases, a browser, and the look for leaks."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
