"""The QR code of a receipt: it leads to the place where choices are changed, and says nothing else."""

import io

import segno


def qr_svg(url: str) -> str:
    """Return the code as an SVG element of black squares on white."""
    buffer = io.BytesIO()
    _code(url).save(buffer, kind="svg", scale=4, border=4, xmldecl=False, svgns=True, light="#fff")
    return buffer.getvalue().decode()


def qr_text(url: str) -> str:
    """Return the code in half-block characters, to be read off a terminal by a telephone."""
    buffer = io.StringIO()
    _code(url).terminal(out=buffer, compact=True)
    return buffer.getvalue()


def qr_png(url: str) -> bytes:
    """Return the code as a PNG image."""
    buffer = io.BytesIO()
    _code(url).save(buffer, kind="png", scale=6, border=4)
    return buffer.getvalue()


def _code(url: str) -> segno.QRCode:
    return segno.make_qr(url, error="m")
