"""Values of the model as arguments of NGINX's language."""

from fairlead.model.route_settings import ClientAddress
from fairlead.model.route_text import Capture, Text, Variable
from fairlead.net import Prefix
from fairlead.nginx import Config, Dollar, Literal, Template, directive


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


def trusted_peers(client: ClientAddress) -> Config:
    """Whom to believe about a client's address: everybody, where nobody is named."""
    everybody = (Literal("0.0.0.0/0"), Literal("::/0"))
    peers = tuple(prefix(each) for each in client.trusted) or everybody
    return tuple(directive("set_real_ip_from", each) for each in peers)
