"""`{% consented "coupons" %}…{% else %}…{% endconsented %}` and `{% allows "coupons" as shown %}`."""

from django.template import Context, Library, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token

register = Library()


@register.simple_tag(takes_context=True)
def allows(context: Context, purpose: str) -> bool:
    """Return whether the subject of this request allows the purpose; false without the middleware."""
    request = getattr(context, "request", None) or context.get("request")
    consent = getattr(request, "consent", None)
    return consent is not None and bool(consent.allows(purpose))


class _Consented(Node):
    def __init__(self, purpose: FilterExpression, yes: NodeList, no: NodeList) -> None:
        self._purpose = purpose
        self._yes = yes
        self._no = no

    def render(self, context: Context) -> str:
        allowed = allows(context, str(self._purpose.resolve(context)))
        return str((self._yes if allowed else self._no).render(context))


@register.tag
def consented(parser: Parser, token: Token) -> Node:
    """Show what is between the tags to those who allow the purpose, and what follows `else` to the others."""
    words = token.split_contents()
    if len(words) != 2:  # noqa: PLR2004  # the tag and its purpose
        raise TemplateSyntaxError("consented takes one purpose.")
    yes = parser.parse(("else", "endconsented"))
    no = NodeList()
    if parser.next_token().contents == "else":
        no = parser.parse(("endconsented",))
        parser.delete_first_token()
    return _Consented(parser.compile_filter(words[1]), yes, no)
