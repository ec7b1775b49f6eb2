"""Values of the model as arguments of NGINX's language."""

from fairlead.model.route_text import Capture, Text, Variable
from fairlead.net import Prefix
from fairlead.nginx import Dollar, Literal, Template


def template_of(text: Text) -> Template:
    """A text with variables; literal parts stay literal."""
    parts: list[str | Dollar] = []
    for part in text:
        match part:
            case Variable(name):
                parts.append(Dollar(name))
            case Capture(number):
                parts.append(Dollar(str(number)))
            case _:
                parts.append(part)
    return Template(tuple(parts))


def plain(text: str) -> Template:
    """Text without variables where NGINX would look for some."""
    return Template((text,))


def on(value: bool) -> str:
    """NGINX's word for a flag."""
    return "on" if value else "off"


def prefix(value: Prefix) -> Literal:
    """Addresses for allow, deny, geo and set_real_ip_from."""
    return Literal(str(value))
