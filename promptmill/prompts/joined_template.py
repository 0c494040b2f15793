"""Templates of texts and columns alone, as most prompts are: joined without Jinja2, in a tenth of its time.

The text is the one that Jinja2 makes, byte for byte. Whatever could differ is left to Jinja2: a null, a list, bytes, a value
that Python can't hold, and a text so long that a limit of one rendering may matter.
"""

from collections.abc import Collection, Mapping

from jinja2 import nodes

from promptmill.prompts.template_values import PLAIN, to_text

_MOST_CHARACTERS = 1 << 20  # of all values: then no template that may be compiled reaches a limit of template_meter.py


class JoinedTemplate:
    """Constant texts and the names of columns, in turns. Safe to use from many threads."""

    def __init__(self, texts: list[str], names: list[str]) -> None:
        """`texts`: one before each name and one after the last."""
        self._pieces = [piece for text, name in zip(texts, [*names, ""], strict=True) for piece in (text, name)][:-1]
        self._names = list(enumerate(names))
        self._most_characters = _MOST_CHARACTERS // len(names)  # of one value

    def render(self, row: Mapping[str, object]) -> str | None:
        """The text for a row's values, as the dataset has them; None where Jinja2 must make it."""
        pieces = self._pieces.copy()
        for number, name in self._names:
            value = row.get(name)
            if not isinstance(value, str):
                if value.__class__ not in PLAIN:
                    return None
                value = to_text(value)
            if len(value) > self._most_characters:
                return None
            pieces[2 * number + 1] = value
        return "".join(pieces)


def joined_template(tree: nodes.Template, columns: Collection[str]) -> JoinedTemplate | None:
    """A template of texts and these columns alone; None for one that does anything else."""
    texts, names = [""], list[str]()
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                texts[-1] += part.data
            elif isinstance(part, nodes.Name) and part.name in columns:
                names.append(part.name)
                texts.append("")
            else:
                return None
    return JoinedTemplate(texts, names) if names else None
