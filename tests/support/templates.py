"""Templates that hundreds of apps in one process share: each is compiled once, not once for every test."""

from types import CodeType

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

COMPILED: dict[str, tuple[str, CodeType]] = {}


class _Memory(BytecodeCache):
    def load_bytecode(self, bucket: Bucket) -> None:
        checksum, code = COMPILED.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        COMPILED[bucket.key] = (bucket.checksum, bucket.code)


def compiled_once(app: Flask) -> Flask:
    """Let an app take the templates that another one has compiled; returns the app."""
    app.jinja_env.bytecode_cache = _Memory()
    return app
