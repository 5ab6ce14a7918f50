"""One promise: what an operator may rely on, and the figure that it is measured by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """A sentence with a figure.

    Attributes:
        slug: What tests call it: ``@pytest.mark.promise("slug")``.
        sentence: What is promised, for people who run this as root.
        figure: What has to be reached.
    """

    slug: str
    sentence: str
    figure: str
