"""Headers of every answer: what the page may load, who may frame it, what must not be kept."""

from flask import Flask, Response, g, request

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
)
# A page for a post that proves nothing holds no data; the browser would blank it if we named nobody.
ANY_FRAME = "https:"


def frame_only_in(origin: str) -> None:
    """Let the answer be framed by one verified portal and nobody else."""
    g.frame_ancestors = origin


def frame_anywhere(*, insecure: bool) -> None:
    """Let a page without data be framed by any portal."""
    g.frame_ancestors = f"{ANY_FRAME} http:" if insecure else ANY_FRAME


def _add_headers(response: Response) -> Response:
    headers = response.headers
    ancestors = g.get("frame_ancestors", "'none'")
    headers.setdefault("Content-Security-Policy", _POLICY.format(ancestors=ancestors))
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
    if request.is_secure:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "no-store")
    return response


def init_app(app: Flask) -> None:
    """Add the headers to every answer, errors included."""
    app.after_request(_add_headers)
