"""The page that a browser gets where a program gets a problem: what went wrong, and where to go on."""

from dataclasses import dataclass

from consent_service.domain.notice import Notice
from consent_service.web.layout import contact_address, pages
from consent_service.web.words import FALLBACK, best_language, direction, languages, words


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage:
    """What the page says, each by the name of a word: a heading, a text, and the way back with its address.

    `notice` is the shop's, where that is known.
    """

    heading: str
    text: str
    back: tuple[str, str] | None
    notice: Notice | None

    def render(self, wanted: str) -> tuple[str, str]:
        """Return the language taken and the page; `wanted` is a comma-separated list, best first."""
        language = best_language(f"{wanted},{FALLBACK}", languages())
        spoken = words(language)
        text = (
            pages()
            .get_template("error.html")
            .render(
                notice=self.notice,
                language=language,
                direction=direction(language),
                words=spoken,
                contact=None if self.notice is None else contact_address(self.notice),
                heading=self.heading,
                text=self.text,
                back=self.back,
            )
        )
        return language, text
