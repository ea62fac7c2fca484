"""The bare baselines: one Flask view that stores one row, answered once the row is committed and synced.

``raw`` uses the driver alone, ``orm`` Flask-SQLAlchemy as its documentation shows it. Both have the app's kind of
database with the same durability.
"""

import json
import os
import sqlite3
import threading
from typing import Any
from uuid import uuid4

import psycopg
from flask import Flask, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bx24app.database import configure_sqlite
from bx24app.database.engine import SQLITE_PRAGMAS

URL = make_url(os.environ["BENCH_DATABASE_URL"])
IS_SQLITE = URL.drivername == "sqlite"


class Base(DeclarativeBase):
    """Not the app's."""


db = SQLAlchemy(model_class=Base)


class Bare(Base):
    """The one row."""

    __tablename__ = "bare"

    id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str]
    body: Mapped[str]


_connections = threading.local()


def _connect() -> Any:
    """This thread's own connection, kept open: no pool can be faster."""
    if not hasattr(_connections, "one"):
        if IS_SQLITE:
            _connections.one = sqlite3.connect(str(URL.database), isolation_level=None)
            for pragma in SQLITE_PRAGMAS:
                _connections.one.execute(f"PRAGMA {pragma}")
        else:
            _connections.one = psycopg.connect(URL.set(drivername="postgresql").render_as_string(hide_password=False))
    return _connections.one


def _store_raw(id: str, number: str, body: str) -> None:
    connection = _connect()
    if IS_SQLITE:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO bare VALUES (?, ?, ?)", (id, number, body))
        connection.execute("COMMIT")
    else:
        connection.execute("INSERT INTO bare VALUES (%s, %s, %s)", (id, number, body))
        connection.commit()


def _store_orm(id: str, number: str, body: str) -> None:
    db.session.add(Bare(id=id, number=number, body=body))
    db.session.commit()


app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = URL.render_as_string(hide_password=False)
db.init_app(app)
store = {"raw": _store_raw, "orm": _store_orm}[os.environ.get("BENCH_BARE", "raw")]
with app.app_context():
    if IS_SQLITE:
        configure_sqlite(db.engine)


@app.post("/bare")
def take() -> Any:
    """Store a request and answer its id."""
    body = request.get_json()
    id = str(uuid4())
    store(id, str(body["to_number"]), json.dumps(body))
    return jsonify({"id": id, "state": "queued"}), 201
