"""The forms of a receipt: JSON-LD (ISO/IEC TS 27560 in W3C DPV), Kantara v1.1, text, HTML, PDF."""
