"""The bare baseline of waking: one Flask view that asks the portal itself, and answers when the portal has."""

import os
from typing import Any

import requests
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post("/call")
def call() -> Any:
    """Ring the line, then the number; answers the call's id."""
    body = request.get_json()
    fields = {"FROM_LINE": body["line_id"], "TO_NUMBER": body["to_number"], "TEXT_TO_PRONOUNCE": "Callback request."}
    fields["auth"] = os.environ["BENCH_TOKEN"]
    address = f"{os.environ['BENCH_PORTAL']}voximplant.callback.start.json"
    answer = requests.post(address, json=fields, timeout=70).json()
    return jsonify({"call_id": answer["result"]["CALL_ID"]}), 201
