"""Readable pages that the marketplace asks for."""

from flask import Blueprint, render_template

blueprint = Blueprint("legal", __name__)


@blueprint.get("/legal/terms")
def terms() -> str:
    """The licence agreement."""
    return render_template("legal/terms.html")


@blueprint.get("/legal/privacy")
def privacy() -> str:
    """What is stored, for how long, and how it is deleted."""
    return render_template("legal/privacy.html")


@blueprint.get("/support")
def support() -> str:
    """Where to get help."""
    return render_template("legal/support.html")
