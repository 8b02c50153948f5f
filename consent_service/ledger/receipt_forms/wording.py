"""Our own words on a receipt, in the languages we speak; the notice's words are the shop's.

A notice in another language gets English labels around its own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from consent_service.domain.consent import Status

FALLBACK = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The labels of a receipt in one language."""

    receipt: str
    given: str
    renewed: str
    refused: str
    withdrawn: str
    benefit: str
    description: str
    categories: str
    recipients: str
    nobody_else: str
    never: str
    until: str
    kept: str
    decided: str
    how: str
    subject: str
    controller: str
    contact: str
    notice: str
    entry: str
    change: str
    proof: str

    def status(self, status: Status) -> str:
        """Return what a status means, in words."""
        words: Mapping[Status, str] = {
            Status.GIVEN: self.given,
            Status.RENEWED: self.renewed,
            Status.WITHDRAWN: self.withdrawn,
        }
        return words.get(status, self.refused)


WORDINGS: Mapping[str, Wording] = {
    "en": Wording(
        receipt="Receipt of your choices",
        given="You agreed",
        renewed="You agreed again",
        refused="You refused",
        withdrawn="You withdrew your agreement",
        benefit="You get",
        description="What happens",
        categories="Data used",
        recipients="Seen by",
        nobody_else="nobody else",
        never="We never",
        until="Stands until",
        kept="Data kept for",
        decided="Chosen at",
        how="How",
        subject="You, as this shop's ledger knows you",
        controller="Who answers for it",
        contact="Contact",
        notice="Words you were shown",
        entry="Entry in the ledger",
        change="Change or withdraw any time",
        proof="Proof, for a verifier",
    ),
    "fr": Wording(
        receipt="Reçu de vos choix",
        given="Vous avez accepté",
        renewed="Vous avez accepté de nouveau",
        refused="Vous avez refusé",
        withdrawn="Vous avez retiré votre accord",
        benefit="Ce que vous y gagnez",
        description="Ce qui est fait",
        categories="Données utilisées",
        recipients="Vues par",
        nobody_else="personne d'autre",
        never="Jamais",
        until="Valable jusqu'au",
        kept="Données conservées pendant",
        decided="Choisi le",
        how="Comment",
        subject="Vous, tel que le registre de cette boutique vous connaît",
        controller="Responsable",
        contact="Contact",
        notice="Texte qui vous a été montré",
        entry="Entrée du registre",
        change="Modifier ou retirer à tout moment",
        proof="Preuve, pour un vérificateur",
    ),
    "de": Wording(
        receipt="Beleg Ihrer Entscheidungen",
        given="Sie haben zugestimmt",
        renewed="Sie haben erneut zugestimmt",
        refused="Sie haben abgelehnt",
        withdrawn="Sie haben Ihre Zustimmung widerrufen",
        benefit="Ihr Nutzen",
        description="Was geschieht",
        categories="Verwendete Daten",
        recipients="Gesehen von",
        nobody_else="niemand sonst",
        never="Niemals",
        until="Gilt bis",
        kept="Daten aufbewahrt für",
        decided="Entschieden am",
        how="Wie",
        subject="Sie, wie das Register dieses Geschäfts Sie kennt",
        controller="Verantwortlich",
        contact="Kontakt",
        notice="Der Text, der Ihnen gezeigt wurde",
        entry="Eintrag im Register",
        change="Jederzeit ändern oder widerrufen",
        proof="Nachweis, für ein Prüfprogramm",
    ),
    "es": Wording(
        receipt="Recibo de sus decisiones",
        given="Ha aceptado",
        renewed="Ha aceptado de nuevo",
        refused="Ha rechazado",
        withdrawn="Ha retirado su consentimiento",
        benefit="Lo que obtiene",
        description="Qué se hace",
        categories="Datos utilizados",
        recipients="Los ven",
        nobody_else="nadie más",
        never="Nunca",
        until="Válido hasta",
        kept="Datos conservados durante",
        decided="Decidido el",
        how="Cómo",
        subject="Usted, tal como lo conoce el registro de esta tienda",
        controller="Responsable",
        contact="Contacto",
        notice="Texto que se le mostró",
        entry="Entrada del registro",
        change="Cambiar o retirar en cualquier momento",
        proof="Prueba, para un verificador",
    ),
    "it": Wording(
        receipt="Ricevuta delle sue scelte",
        given="Ha accettato",
        renewed="Ha accettato di nuovo",
        refused="Ha rifiutato",
        withdrawn="Ha revocato il consenso",
        benefit="Che cosa ottiene",
        description="Che cosa succede",
        categories="Dati usati",
        recipients="Visti da",
        nobody_else="nessun altro",
        never="Mai",
        until="Valido fino al",
        kept="Dati conservati per",
        decided="Scelto il",
        how="Come",
        subject="Lei, come la conosce il registro di questo negozio",
        controller="Titolare",
        contact="Contatto",
        notice="Testo che le è stato mostrato",
        entry="Voce del registro",
        change="Cambiare o revocare in ogni momento",
        proof="Prova, per un verificatore",
    ),
    "nl": Wording(
        receipt="Ontvangstbewijs van uw keuzes",
        given="U hebt toegestemd",
        renewed="U hebt opnieuw toegestemd",
        refused="U hebt geweigerd",
        withdrawn="U hebt uw toestemming ingetrokken",
        benefit="Wat u krijgt",
        description="Wat er gebeurt",
        categories="Gebruikte gegevens",
        recipients="Gezien door",
        nobody_else="niemand anders",
        never="Nooit",
        until="Geldig tot",
        kept="Gegevens bewaard gedurende",
        decided="Gekozen op",
        how="Hoe",
        subject="U, zoals het register van deze winkel u kent",
        controller="Verantwoordelijke",
        contact="Contact",
        notice="Tekst die u te zien kreeg",
        entry="Regel in het register",
        change="Altijd te wijzigen of in te trekken",
        proof="Bewijs, voor een controleprogramma",
    ),
}


def wording_for(language: str) -> tuple[str, Wording]:
    """Return the labels for a language tag and the language they are in."""
    primary = language.lower().partition("-")[0]
    return (primary, WORDINGS[primary]) if primary in WORDINGS else (FALLBACK, WORDINGS[FALLBACK])
