"""The page in an audit pack that people read first: what the pack is, what is in it, how to check it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from consent_service.domain.notice import Notice
from consent_service.ledger.receipt_forms.sheet import RIGHT_TO_LEFT, clean

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}"
    "dt{font-weight:600}dd{margin:0 0 .5rem;overflow-wrap:anywhere}pre{white-space:pre-wrap}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSummary:
    """The figures of a pack."""

    origin: str
    vkey: str
    root: str
    first: int
    size: int
    made_at: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    title: str
    what: str
    entries: str
    erased: str
    subjects: str
    made: str
    root: str
    key: str
    check: str
    browser: str
    members: str


_FALLBACK = "en"
_WORDS: Mapping[str, _Words] = {
    "en": _Words(
        title="Audit pack of a consent ledger",
        what="What people chose, under which words, and the proof that nothing was changed or left out.",
        entries="Entries",
        erased="Records that were erased at their subject's request",
        subjects="People, each known by an opaque reference only",
        made="Made",
        root="Root of the log: compare it with one that a witness or an older pack holds",
        key="Key of the log: compare it with one from another source",
        check="Check it on any computer, without a network:",
        browser="Or drop the file on the page /verify of a consent service: it stays on your computer.",
        members="entries/ is the evidence, table/ the same as tables, notices/ the words that were shown, "
        "erasures.ndjson a certificate of each erasure.",
    ),
    "fr": _Words(
        title="Dossier d'audit d'un registre de consentements",
        what="Ce que chacun a choisi, devant quels mots, et la preuve que rien n'a été changé ni omis.",
        entries="Entrées",
        erased="Enregistrements effacés à la demande de la personne",
        subjects="Personnes, connues seulement par une référence opaque",
        made="Établi le",
        root="Racine du registre : comparez-la à celle d'un témoin ou d'un dossier plus ancien",
        key="Clé du registre : comparez-la à celle d'une autre source",
        check="Vérifiez-le sur n'importe quel ordinateur, sans réseau :",
        browser="Ou déposez-le sur la page /verify d'un service de consentement : il reste chez vous.",
        members="entries/ contient les preuves, table/ la même chose en tableaux, notices/ les mots montrés, "
        "erasures.ndjson un certificat par effacement.",
    ),
    "de": _Words(
        title="Prüfpaket eines Einwilligungsregisters",
        what="Was Menschen entschieden haben, vor welchem Text, und der Nachweis, dass nichts fehlt.",
        entries="Einträge",
        erased="Auf Wunsch der betroffenen Person gelöschte Datensätze",
        subjects="Personen, nur unter einer undurchsichtigen Kennung bekannt",
        made="Erstellt am",
        root="Wurzel des Registers: mit der eines Zeugen oder eines älteren Pakets vergleichen",
        key="Schlüssel des Registers: mit einem aus anderer Quelle vergleichen",
        check="Auf jedem Rechner und ohne Netz zu prüfen:",
        browser="Oder auf /verify eines Einwilligungsdienstes ablegen: Die Datei bleibt auf dem Rechner.",
        members="entries/ enthält die Nachweise, table/ dasselbe als Tabellen, notices/ die gezeigten Texte, "
        "erasures.ndjson eine Bescheinigung je Löschung.",
    ),
    "es": _Words(
        title="Paquete de auditoría de un registro de consentimientos",
        what="Lo que las personas eligieron, ante qué palabras, y la prueba de que nada se cambió ni falta.",
        entries="Entradas",
        erased="Registros borrados a petición de la persona",
        subjects="Personas, conocidas solo por una referencia opaca",
        made="Hecho el",
        root="Raíz del registro: compárela con la de un testigo o de un paquete anterior",
        key="Clave del registro: compárela con una de otra fuente",
        check="Compruébelo en cualquier ordenador, sin red:",
        browser="O suéltelo en la página /verify de un servicio de consentimiento: no sale de su ordenador.",
        members="entries/ contiene las pruebas, table/ lo mismo en tablas, notices/ las palabras mostradas, "
        "erasures.ndjson un certificado por borrado.",
    ),
    "it": _Words(
        title="Pacchetto di verifica di un registro dei consensi",
        what="Che cosa ha scelto ciascuno, davanti a quali parole, e la prova che nulla è stato tolto.",
        entries="Voci",
        erased="Registrazioni cancellate su richiesta della persona",
        subjects="Persone, note solo con un riferimento opaco",
        made="Creato il",
        root="Radice del registro: confrontarla con quella di un testimone o di un pacchetto precedente",
        key="Chiave del registro: confrontarla con una di altra fonte",
        check="Si verifica su qualsiasi computer, senza rete:",
        browser="Oppure trascinarlo sulla pagina /verify di un servizio di consenso: resta sul computer.",
        members="entries/ contiene le prove, table/ lo stesso in tabelle, notices/ le parole mostrate, "
        "erasures.ndjson un certificato per cancellazione.",
    ),
    "nl": _Words(
        title="Controlepakket van een toestemmingsregister",
        what="Wat mensen kozen, bij welke woorden, en het bewijs dat niets is veranderd of weggelaten.",
        entries="Regels",
        erased="Gegevens die op verzoek van de persoon zijn gewist",
        subjects="Personen, alleen bekend onder een ondoorzichtig kenmerk",
        made="Gemaakt op",
        root="Wortel van het register: vergelijk met die van een getuige of een ouder pakket",
        key="Sleutel van het register: vergelijk met een uit een andere bron",
        check="Te controleren op elke computer, zonder netwerk:",
        browser="Of zet het op de pagina /verify van een toestemmingsdienst: het blijft op uw computer.",
        members="entries/ bevat het bewijs, table/ hetzelfde als tabellen, notices/ de getoonde woorden, "
        "erasures.ndjson een bewijs van elke wissing.",
    ),
}


def pack_page(summary: PackSummary, notice: Notice | None) -> str:
    """Return the page, with a section for each of the notice's languages; we speak English where not that."""
    declared = (_FALLBACK,) if notice is None else notice.languages
    first = _spoken(declared[0])
    sections = "".join(_section(summary, notice, language) for language in declared)
    return (
        f'<!doctype html>\n<html lang="{escape(first)}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(_WORDS[first].title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{sections}</body>\n</html>\n"
    )


def _section(summary: PackSummary, notice: Notice | None, language: str) -> str:
    words = _WORDS[_spoken(language)]
    counts = summary.counts
    lines = [
        (words.entries, f"{counts.get('entries', 0)} ({summary.first}-{summary.size})"),
        (words.subjects, str(counts.get("subjects", 0))),
        (words.erased, str(counts.get("erased", 0))),
        (words.made, summary.made_at),
        (words.root, f"{summary.size}: {summary.root}"),
        (words.key, summary.vkey),
    ]
    purposes = [] if notice is None else list(notice.purposes.values())
    shown = [(clean(each.name[language]), clean(each.benefit[language])) for each in purposes]
    rows = _rows(lines, "") + _rows(shown, _lang(language))
    heading = summary.origin if notice is None else clean(notice.controller.name)
    return (
        f'<section lang="{_spoken(language)}">\n<h1>{escape(words.title)}</h1>\n'
        f"<p>{escape(heading)}</p>\n<p>{escape(words.what)}</p>\n<dl>\n{rows}</dl>\n"
        f"<p>{escape(words.members)}</p>\n<p>{escape(words.check)}</p>\n"
        f"<pre>python verify.py PACK.zip --key {escape(summary.vkey)}</pre>\n"
        f"<p>{escape(words.browser)}</p>\n</section>\n"
    )


def _rows(pairs: Sequence[tuple[str, str]], lang: str) -> str:
    return "".join(
        f"<dt{lang}>{escape(label)}</dt><dd{lang}>{escape(value)}</dd>\n" for label, value in pairs
    )


def _lang(language: str) -> str:
    """Mark the notice's words where they are in another language than ours (WCAG 3.1.2)."""
    if _primary(language) in _WORDS:
        return ""
    direction = "rtl" if _primary(language) in RIGHT_TO_LEFT else "ltr"
    return f' lang="{escape(language)}" dir="{direction}"'


def _spoken(language: str) -> str:
    primary = _primary(language)
    return primary if primary in _WORDS else _FALLBACK


def _primary(language: str) -> str:
    return language.lower().partition("-")[0]
