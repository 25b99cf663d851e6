"""What every answer says to browsers: what a page may do, and who may see or keep what it holds.

A cell, a name or a chat message is shown as text; should one ever become markup all the same, no
script in it runs and nothing that it loads or sends leaves this site. The address of a room is all
that it takes to enter it, so no other site is told it.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from server.accept.edge.guard import site_of
from server.settings import Settings

# What the pages use, and nothing else: files of ours, and forms, requests and sockets to here.
_OF_PAGES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
}
# Not meant to be shown as a page. If it is, it is on its own: no scripts, no cookies, no forms.
OF_DATA: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
OF_ALL: Final = {
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: with that, browsers hide the origin of our own forms from us as well.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in (
            "accelerometer",
            "camera",
            "display-capture",
            "geolocation",
            "gyroscope",
            "magnetometer",
            "microphone",
            "midi",
            "payment",
            "serial",
            "usb",
        )
    ),
}
# Half a year, and of this host alone: what else its owner runs beside it is not ours to decide.
_HTTPS_ONLY: Final = f"max-age={180 * 24 * 3600}"
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


class Headers:
    """Completes answers (`on_response_prepare`); what a door has said itself stays."""

    def __init__(self, settings: Settings) -> None:
        self._node = settings.node
        self._trusted = settings.trusted_proxies
        self._embedders = settings.embedders

    async def complete(self, request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["Tablecast-Node"] = self._node
        headers["Server"] = "Tablecast"  # without the versions that the library would tell
        if response.status == 101:
            return  # no document; and each viewer's connection begins with it
        site = site_of(request, self._trusted)
        for name, value in OF_ALL.items():
            headers.setdefault(name, value)
        if response.content_type == "text/html":
            headers.setdefault("Content-Security-Policy", self._policy(site.scheme, site.host))
            if not self._embedders:
                headers.setdefault("X-Frame-Options", "DENY")
        else:
            headers.setdefault("Content-Security-Policy", OF_DATA)
            headers.setdefault("X-Frame-Options", "DENY")
        if site.scheme == "https":
            headers.setdefault("Strict-Transport-Security", _HTTPS_ONLY)
        if request.path.startswith("/static/") and response.status < 400:
            # Modules of two releases must never meet in one page, so browsers ask (and get a
            # short 304).
            headers["Cache-Control"] = "no-cache"
        else:
            headers.setdefault("Cache-Control", "no-store")

    # Internal

    def _policy(self, scheme: str, host: str) -> str:
        of_pages = dict(_OF_PAGES)
        # Not every browser in use takes 'self' to include the sockets of the same host. A host that
        # does not look like one would be read as more of the policy.
        if _HOST.fullmatch(host):
            of_pages["connect-src"] += f" {'wss' if scheme == 'https' else 'ws'}://{host}"
        of_pages["frame-ancestors"] = " ".join(self._embedders) or "'none'"
        return "; ".join(f"{name} {value}" for name, value in of_pages.items())
